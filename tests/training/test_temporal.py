"""Pairs with the answers of other models: their stages in a run, resumed, stale and planned."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config import load_config
from core.errors import ConfigError
from core.stages import FUTURE_STAGES, PAST_STAGES, Paths, Ref, Stage, is_model
from core.store import Store
from tests import loop
from tests.engines.rewarding import make_reward_model
from tests.training.making import write_jsonl
from training.plan.plan import plan
from training.preflight import check_files

STAGES = (*PAST_STAGES, *FUTURE_STAGES)


def settings(folder: Path, tiny: Path, *more: str) -> list[str]:
    """Four prompts an iteration and a given M1; a reward model judges, so that no score is tied."""
    reward = folder / "reward"
    if not reward.exists():
        make_reward_model(tiny, reward)
    asked = write_jsonl(folder / "asked.jsonl", [{"prompt": f"Question {n}?"} for n in range(9)])
    given = [
        f"m1.model={tiny}", f"improvement.judge={reward}", f"prompts.source={asked}",
        "prompts.count=4", "iterations=3", "candidates.max_new_tokens=8", "dpo.max_steps=2",
        "dpo.early_stopping.enabled=false", "pairs.rejected_from=past", "pairs.chosen_from=future",
    ]  # fmt: skip
    return [word for setting in (*given, *more) for word in ("--set", setting)]


@pytest.fixture(scope="module")
def temporal(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The out_dir of a run to M3 with others' answers; never change its files."""
    folder = tmp_path_factory.mktemp("temporal")
    done = loop.run(folder, *settings(folder, tiny))
    assert done.returncode == 0, done.stderr
    return folder


def test_a_dry_run_shows_the_stages_of_other_models(tiny: Path, tmp_path: Path) -> None:
    config = load_config(loop.SMOKE, settings(tmp_path, tiny, f"out_dir={tmp_path}")[1::2])
    rows = {str(row.ref): row for row in plan(config, 3)}
    assert {rows[str(Ref(3, stage))].state for stage in STAGES} == {"runs"}
    # In iteration 2 the past is the model itself.
    assert [stage for stage in STAGES if str(Ref(2, stage)) in rows] == [*FUTURE_STAGES]
    # 4 prompts x 4 answers, each with one reward; a pair for each prompt at most.
    sizes = {stage: rows[str(Ref(3, stage))].rows for stage in STAGES}
    assert set(sizes.values()) == {4, 16}
    assert sizes[Stage.PAST_ANSWERS] == sizes[Stage.FUTURE_JUDGMENTS] == 16
    plain = load_config(loop.SMOKE, [f"out_dir={tmp_path}"])
    assert not {row.ref.stage for row in plan(plain, 3)} & {*STAGES}


def test_other_models_answer_only_where_pairs_are_trained_on(tmp_path: Path) -> None:
    config = load_config(
        loop.SMOKE,
        [f"out_dir={tmp_path}", "pairs.rejected_from=past", "improvement.method=positive_only"],
    )
    check_files(config, 1)
    with pytest.raises(ConfigError, match=r"pairs\.rejected_from and chosen_from need"):
        check_files(config, 2)


def test_each_answer_is_its_models_and_both_trainings_begin_with_the_same_one(
    temporal: Path,
) -> None:
    store, found = Store(temporal / "smoke"), loop.manifests(temporal / "smoke")
    assert "iter2/past_answers" not in found
    m1, m2, future = (
        found[name]["sha256"] for name in ("iter1/model", "iter2/model", "iter3/future")
    )
    for stage, model in (("past_answers", m1), ("candidates", m2), ("future_answers", future)):
        assert model in found[f"iter3/{stage}"]["engine"]
    for stage in ("past_judgments", "future_judgments"):
        assert found[f"iter3/{stage}"]["engine"] == found["iter3/judgments"]["engine"]
    for name in ("iter3/future", "iter3/model"):
        assert found[name]["key"]["inputs"]["iter2/model"] == m2
    assert "iter3/future" not in found["iter3/model"]["key"]["inputs"]
    # The future is trained on pairs with the past alone.
    first, last = (found[f"iter3/{name}"]["key"]["inputs"] for name in ("future_pairs", "pairs"))
    assert last.keys() - first.keys() == {"iter3/future_answers", "iter3/future_judgments"}
    assert "iter3/past_judgments" in first
    whose = {"M1": Stage.PAST_ANSWERS, "M2": Stage.CANDIDATES, "future": Stage.FUTURE_ANSWERS}
    texts = {
        (by, row.key): row.text for by, stage in whose.items() for row in store.read(Ref(3, stage))
    }
    pairs = [row for row in store.read(Ref(3, Stage.PAIRS)) if row.outcome == "pair"]
    assert pairs
    for row in pairs:
        assert texts[row.chosen_by, row.chosen_key] == row.chosen
        assert texts[row.rejected_by, row.rejected_key] == row.rejected
        assert row.chosen_by in ("M2", "future")
        assert row.rejected_by in ("M2", "M1")


def test_what_was_made_is_current_and_another_past_is_stale(temporal: Path, tiny: Path) -> None:
    before = loop.manifests(temporal / "smoke")
    assert loop.run(temporal, *settings(temporal, tiny)).returncode == 0
    assert loop.manifests(temporal / "smoke") == before
    stale = loop.run(temporal, *settings(temporal, tiny, "pairs.rejected_from=own"))
    assert stale.returncode == 2
    assert "iter2/future_pairs was made with other settings" in stale.stderr


@pytest.mark.slow
def test_the_stages_of_other_models_go_on_after_a_kill(
    temporal: Path, tiny: Path, tmp_path: Path
) -> None:
    words = settings(temporal, tiny)
    paths, command = Paths(tmp_path / "smoke"), loop.command(tmp_path, *words)

    def has_begun(ref: Ref) -> bool:
        scratch = paths.work(ref) / "key.json" if is_model(ref) else paths.partial(ref)
        return scratch.exists() or paths.manifest(ref).exists()

    stopped = [
        loop.killed_once(command, lambda ref=ref: has_begun(ref), tmp_path / "log", 0.02)  # type: ignore[misc]
        for ref in (Ref(3, stage) for stage in STAGES)
    ]
    assert sum(stopped) >= 3
    last = loop.run_apart(tmp_path, *words)
    assert last.returncode == 0, last.stderr
    whole, found = loop.manifests(temporal / "smoke"), loop.manifests(tmp_path / "smoke")
    assert {name: m["sha256"] for name, m in found.items()} == {
        name: m["sha256"] for name, m in whole.items()
    }
