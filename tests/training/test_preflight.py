from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.config import load_config
from core.errors import ConfigError, SrlmError, StaleArtifact
from core.stages import Ref, Stage
from core.store import Built, Key
from tests.conftest import ROOT
from training.preflight import check_settings
from training.run import Run


def check(tmp_path: Path, *settings: str, k: int = 3) -> None:
    config = load_config(ROOT / "configs" / "smoke.toml", [f"out_dir={tmp_path}", *settings])
    check_settings(Run(config), k)


def test_the_shipped_settings_pass(tmp_path: Path) -> None:
    check(tmp_path)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("ift.source=./nowhere.jsonl", "nowhere.jsonl: no such file"),
        ("eft.source.path=./nowhere.jsonl", "nowhere.jsonl: no such file"),
        ("model.chat_template=./nowhere.jinja", "model.chat_template = ./nowhere.jinja"),
        ("engine.device=cuda", "no CUDA device here"),
        ("prompts.generator=nobody", "prompts.generator = 'nobody': no such folder"),
        ("dpo.early_stopping.judge=nobody", "dpo.early_stopping.judge = 'nobody'"),
        ("dpo.early_stopping.validation=./nowhere.jsonl", "nowhere.jsonl: no such file"),
        ("iteration.3.pairs.consistency=mean iteration.3.dpo.loss=ipo", "_norm' .not 'ipo'"),
        ("pairs.consistency=prompt dpo.label_smoothing=0.1", "dpo.label_smoothing 0 .not 0.1."),
        ("health.consistency=true improvement.judge=sft", "improvement.judge is 'sft': set it to"),
    ],
)
def test_settings_of_late_stages_are_checked_before_the_first_stage(
    tmp_path: Path, setting: str, words: str
) -> None:
    with pytest.raises(SrlmError, match=words):
        check(tmp_path, *setting.split())


def test_validation_prompts_in_no_language_of_the_run_are_an_error_not_an_empty_comparison(
    tmp_path: Path,
) -> None:
    # The packaged sample is English.
    with pytest.raises(ConfigError, match="no validation prompt in 'de'"):
        check(tmp_path, "ift.language=de")


def test_a_run_to_m1_does_not_ask_for_what_only_later_iterations_use(tmp_path: Path) -> None:
    check(tmp_path, "prompts.generator=nobody", "ift.language=de", k=1)


def test_redo_stale_removes_what_is_stale_with_what_was_made_from_it(tmp_path: Path) -> None:
    run = Run(load_config(ROOT / "configs" / "smoke.toml", [f"out_dir={tmp_path}"]))
    ift, ranked, health = Ref(1, Stage.IFT), Ref(1, Stage.RANKED), Ref(2, Stage.HEALTH)

    def make(run: Run) -> None:
        for ref, inputs in ((ift, []), (ranked, [ift]), (health, [])):
            run.rows(ref, inputs, lambda _: Built())

    make(run)
    changed = load_config(
        ROOT / "configs" / "smoke.toml", [f"out_dir={tmp_path}", "ift.max_examples=7"]
    )
    made = run.store.manifest(health).finished_at
    with pytest.raises(StaleArtifact, match=r"max_examples was 16, is 7.*--redo stale"):
        make(Run(changed))
    assert run.store.exists(ranked)
    again = Run(changed, redo_stale=True)
    again.rows(ift, [], lambda _: Built())
    assert not run.store.exists(ranked)
    make(again)
    assert run.store.manifest(ift).key.config["ift"]["max_examples"] == 7
    assert run.store.manifest(health).finished_at == made


def test_an_unfinished_redo_is_resumed_and_a_finished_one_starts_again(tmp_path: Path) -> None:
    config = load_config(ROOT / "configs" / "smoke.toml", [f"out_dir={tmp_path}"])
    run, ref = Run(config), Ref(1, Stage.IFT)

    def make() -> None:
        with run.store.begin(ref, Key({}, {}, 0)) as out:
            out.commit(lambda row: row.key, Built())

    make()
    run.redo(ref)
    assert not run.store.exists(ref)
    make()
    run.redo(ref)  # the same command again, after a kill: what was made since stays
    assert run.store.exists(ref)
    run.redone()
    run.redo(ref)
    assert not run.store.exists(ref)
    make()
    # Other settings are another redo.
    other = Run(load_config(ROOT / "configs" / "smoke.toml", [f"out_dir={tmp_path}", "seed=9"]))
    other.redo(ref)
    assert not run.store.exists(ref)
    assert json.loads(run.store.paths.redo.read_text())["redo"] == "iter1/ift"
