"""Runs whose M1 is given (`m1.model`): what they make, what they leave out, and what reads them."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from core.config import Config, load_config
from core.errors import ConfigError, StaleArtifact
from core.stages import SFT_BASELINE, Ref, Stage, model_ref
from core.store import Store
from evaluation.suite import evaluate, raise_failures
from reports.build import build
from tests import loop
from tests.engines.rewarding import make_reward_model
from tests.training.making import write_jsonl
from tests.web.explorer.made import reader
from tests.web.explorer.test_app import crawl
from training import models
from training.iterate import iterate
from training.plan.plan import plan
from training.preflight import check_files
from training.run import Run, open_run
from training.seed_stages import EFT, IFT, PROBES, RANKED, seed_stages
from web.explorer.source import Source

if TYPE_CHECKING:
    from collections.abc import Sequence

GIVEN = {"m1": {"model": "someone/theirs"}, "prompts": {"source": "asked.jsonl"}}
M0, M1 = model_ref(0), model_ref(1)


def wanted(**sections: object) -> set[Ref]:
    return set(seed_stages(Config.model_validate(GIVEN | sections)))


def test_nothing_is_made_before_a_given_m1_unless_something_needs_it() -> None:
    # By default checkpoints are judged by M_{k-1} and DPO is held to it: neither needs M0.
    assert wanted() == {M1}
    assert wanted(prompts={"source": "self", "generator": "self"}) == {M1, IFT}
    assert wanted(prompts={"source": "self"}) == {M1, IFT, M0}  # generator "base"
    assert wanted(prompts={"source": "a.jsonl", "source_share": 0.5}) == {M1, IFT, M0}
    assert wanted(dpo={"reference": "base"}) == {M1, M0}
    assert wanted(improvement={"judge": "sft"}) == {M1, SFT_BASELINE, M0, IFT}
    assert wanted(iteration={3: {"improvement": {"judge": "sft"}}}) == {M1, SFT_BASELINE, M0, IFT}
    # In iteration 2 the model before M1 is M0; later there is no need of it.
    assert wanted(health={"consistency": True}) == {M1, M0}
    assert wanted(iteration={3: {"pairs": {"filter": "implicit_reward"}}}) == {M1}
    stopping = {"judge": "base"}
    assert wanted(dpo={"early_stopping": stopping}) == {M1, M0}
    assert wanted(dpo={"early_stopping": stopping | {"enabled": False}}) == {M1}


def test_what_is_asked_for_is_made_with_what_it_needs() -> None:
    def asked(*names: str) -> set[Ref]:
        return wanted(m1={"model": "someone/theirs", "also_make": names})

    assert asked("ift") == {M1, IFT}
    assert asked("sft") == {M1, SFT_BASELINE, M0, IFT}
    assert asked("ranked") == {M1, RANKED, PROBES[1]}
    assert asked("ranked", "base") == {M1, M0, RANKED, *PROBES}
    with pytest.raises(ValueError, match="also_make is for a given model"):
        wanted(m1={"also_make": ["sft"]})


def test_a_trained_m1_needs_everything_that_is_not_switched_off() -> None:
    whole = set(seed_stages(Config()))
    assert {M0, M1, IFT, RANKED, EFT, SFT_BASELINE, *PROBES} <= whole
    off = Config.model_validate(
        {
            "probe": {"enabled": False},
            "eft": {"construction": {"enabled": False}, "selection": {"source": "written"}},
        }
    )
    built = {Ref(1, Stage.EFT_JUDGMENTS), Ref(1, Stage.EFT_CONSTRUCTED)}
    assert whole - set(seed_stages(off)) == {*PROBES, *built}


def given(out_dir: Path, model: Path | str, *settings: str) -> Config:
    out_dir.mkdir(exist_ok=True)
    prompts = write_jsonl(out_dir / "asked.jsonl", [{"prompt": f"Question {n}?"} for n in range(9)])
    return load_config(
        loop.SMOKE,
        [
            f"out_dir={out_dir}", f"m1.model={model}", f"prompts.source={prompts}", "iterations=2",
            "ift.source=./nowhere.jsonl", "eft.source.path=./nowhere.jsonl",
            "dpo.early_stopping.enabled=false", *settings,
        ],
    )  # fmt: skip


def test_a_dry_run_shows_what_is_off_and_asks_for_no_file_of_it(tiny: Path, tmp_path: Path) -> None:
    config = given(tmp_path, tiny)
    check_files(config, 2)  # the sources of IFT and EFT are not there
    states = {str(row.ref): row.state for row in plan(config, 2)}
    assert {name for name, state in states.items() if state == "runs"} == {
        "iter1/model", "iter2/prompts", "iter2/candidates", "iter2/judgments", "iter2/health",
        "iter2/pairs", "iter2/model",
    }  # fmt: skip
    assert set(states.values()) == {"runs", "off"}


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("m1.model=./nowhere", "m1.model = './nowhere': no such folder, and not a hub name"),
        ("m1.model=tiny", "m1.model = 'tiny'"),
        ("improvement.method=positive_only", "improvement.method = 'positive_only' trains M0"),
        ("m1.also_make=['ift']", "ift.source = ./nowhere.jsonl: no such file"),
        ("prompts.source=./nowhere.jsonl", "prompts.source = ./nowhere.jsonl: no such file"),
        ("prompts.subset=main", "a file has no subsets"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_made(
    tiny: Path, tmp_path: Path, setting: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        check_files(given(tmp_path, tiny, setting), 2)


def take(out_dir: Path, model: Path | str, *settings: str) -> Store:
    config = given(out_dir, model, *settings)
    models.take_m1(Run(config), str(model))
    return Store(config.folder)


def test_a_given_m1_is_known_by_its_bytes_wherever_it_lies(tiny: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(tiny, own)
    made = take(tmp_path, own).manifest(M1)
    assert made.key.config == {"m1.model": str(own)}
    assert list(made.key.inputs) == ["folder:own"]
    moved = own.rename(tmp_path / "elsewhere")
    assert take(tmp_path, moved).manifest(M1) == made
    assert take(tmp_path, own).manifest(M1) == made  # gone: M1 is what the run has
    assert {str(row.ref): row.state for row in plan(given(tmp_path, moved), 1)}["iter1/model"] == (
        "done"
    )
    (moved / "generation_config.json").write_text("{}")
    with pytest.raises(StaleArtifact, match="iter1/model was made with other settings: input"):
        take(tmp_path, moved)


def test_a_given_m1_in_the_place_of_a_trained_one_is_stale(tiny: Path, tmp_path: Path) -> None:
    run = Run(given(tmp_path, tiny))
    run.model(M1, [], lambda: models._materialised(run, M1, "m1.model", str(tiny), []))
    with pytest.raises(StaleArtifact, match=r"m1\.model was None, is"):
        take(tmp_path, tiny)


def test_a_context_window_too_small_names_the_given_model(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"dpo.max_length is too large for M1's context window"):
        take(tmp_path, tiny, "dpo.max_length=5000")
    take(tmp_path / "b", tiny, "sft.max_length=5000")  # nothing is trained by SFT


def test_hub_names_are_downloaded_when_they_are_opened_and_known_by_name(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str | None]] = []

    def download(name: str, *, revision: str | None, allow_patterns: Sequence[str]) -> str:
        assert not any("bin" in pattern or "py" in pattern for pattern in allow_patterns)
        asked.append((name, revision))
        return str(tiny)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    store = take(tmp_path, "someone/theirs@abc123", "model.revision=other")
    assert asked == [("someone/theirs", "abc123")]
    assert store.manifest(M1).facts["origin"] == "hub model someone/theirs at abc123"
    take(tmp_path, "someone/theirs@abc123", "model.revision=other")
    assert len(asked) == 1
    with pytest.raises(StaleArtifact, match="abc124"):
        take(tmp_path, "someone/theirs@abc124")

    run = Run(given(tmp_path, tiny, "prompts.generator=some/writer@v1", "prompts.source=self"))
    writer = models.prompt_writer(run, 2)
    assert (writer.inputs, list(writer.sources)) == ([], ["hub:some/writer@v1"])
    assert len(asked) == 1
    writer.open(Ref(2, Stage.PROMPT_CALLS))
    assert asked[1:] == [("some/writer", "v1")]


# ----- whole runs


def chats(folder: Path) -> Path:
    """Twelve conversations of two turns, the second of which continues the first."""
    rows = [
        {
            "id": f"chat{n}",
            "system": "You are brief.",
            "conversations": [
                {"from": "human", "value": f"What is the number {n} good for?"},
                {"from": "gpt", "value": "For counting."},
                {"from": "human", "value": "And for what else?"},
            ],
        }
        for n in range(6)
    ]
    return write_jsonl(folder / "chats.jsonl", rows)


RUBRIC = """<!--
Scores: 1 to 10
-->
Rate from 1 to 10 how well the response follows the instruction. Conclude with "Score: <score>".

Instruction: <INSTRUCTION_HERE>

Response: <RESPONSE_HERE>
"""


@pytest.fixture(scope="module")
def own_run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The out_dir of a run of one TOML file: own chats, M1, rubric and reward model.

    Never change its files.
    """
    folder = tmp_path_factory.mktemp("own")
    model, toml = shutil.copytree(tiny, folder / "mine"), folder / "own.toml"
    reward = make_reward_model(tiny, folder / "reward")
    (folder / "rubric.md").write_text(RUBRIC)
    toml.write_text(
        f"""
        run = "own"
        iterations = 2
        m1.model = "{model}"
        prompts = {{ source = "{chats(folder)}", count = 10 }}
        improvement.judge = "{reward}"
        judge.rubric = "{folder / "rubric.md"}"
        engine = {{ device = "cpu", dtype = "float32" }}
        candidates.max_new_tokens = 24
        health.action = "warn"
        [dpo]
        lr = 5e-4
        batch_size = 4
        precision = "fp32"
        max_length = 512
        early_stopping.enabled = false
        """
    )
    assert len(toml.read_text().strip().splitlines()) <= 20
    planned = loop.run(folder, "--dry-run", config=toml)
    assert planned.returncode == 0, planned.stderr
    assert not (folder / "own").exists()
    done = loop.run(folder, config=toml)
    assert done.returncode == 0, done.stderr
    assert "M1 (given)" in done.stdout
    return folder


def test_a_strangers_chats_rubric_model_and_reward_model_make_m2_and_nothing_before_m1(
    own_run: Path,
) -> None:
    found = loop.manifests(own_run / "own")
    assert set(found) == {
        "iter1/model", "iter2/prompts", "iter2/candidates", "iter2/judgments", "iter2/health",
        "iter2/pairs", "iter2/model",
    }  # fmt: skip
    store = Store(own_run / "own")
    prompts = store.read(Ref(2, Stage.PROMPTS))
    # 6 chats have 12 users' turns, of which 10 are asked for.
    assert len(prompts) == 10
    roles = Counter(tuple(m["role"] for m in row.before) for row in prompts)
    assert set(roles) == {("system",), ("system", "user", "assistant")}
    ledger = {row.key: row for row in store.read(Ref(2, Stage.PAIRS))}
    assert all(ledger[row.key].before == row.before for row in prompts)
    # Same weights as the folder that was given; M2 has moved.
    weights = (own_run / "own" / "iter1" / "model" / "model.safetensors").read_bytes()
    assert weights == (own_run / "mine" / "model.safetensors").read_bytes()
    assert found["iter2/model"]["sha256"] != found["iter1/model"]["sha256"]


def test_the_same_command_makes_nothing_and_a_killed_stage_resumes(
    own_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(own_run / "own", tmp_path / "own", copy_function=shutil.copy2)
    toml = own_run / "own.toml"
    before = loop.manifests(tmp_path / "own")
    assert loop.run(tmp_path, config=toml).returncode == 0
    assert loop.manifests(tmp_path / "own") == before
    # A kill between the files and the manifest of the prompts: they are taken again, the same.
    store = Store(tmp_path / "own")
    rows = store.paths.artifact(Ref(2, Stage.PROMPTS)).read_bytes()
    store.remove([Ref(2, Stage.PROMPTS)])
    assert loop.run(tmp_path, config=toml).returncode == 0
    assert store.paths.artifact(Ref(2, Stage.PROMPTS)).read_bytes() == rows
    # Another file of chats is other prompts, and all that followed is stale.
    other = tmp_path / "chats.jsonl"
    other.write_text((own_run / "chats.jsonl").read_text().replace("counting", "nothing"))
    stale = loop.run(tmp_path, "--set", f"prompts.source={other}", config=toml)
    assert stale.returncode == 2
    assert "iter2/prompts was made with other settings: input file:chats.jsonl" in stale.stderr


@pytest.mark.slow
def test_a_run_without_seed_data_is_evaluated_reported_and_browsed(
    own_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(own_run / "own", tmp_path / "own", copy_function=shutil.copy2)
    toml, smoke = tmp_path / "own.toml", loop.SMOKE.read_text()
    toml.write_text((own_run / "own.toml").read_text() + smoke[smoke.index("[evaluation.judge]") :])
    settings = ['evaluation.nlp.tasks=["piqa"]', "evaluation.alpaca_eval.reference=M1"]
    config = load_config(toml, [f"out_dir={tmp_path}", *settings])
    raise_failures(evaluate(config))
    said = capsys.readouterr().err
    assert "agreement is left out: the run has no iter1/ranked; m1.also_make = ['ranked']" in said
    assert "M0 is not made yet and is left out" in said
    made = {path.parent.name for path in (tmp_path / "own" / "eval").glob("*/*/scores.jsonl")}
    assert {"mt_bench", "alpaca_eval", "M2-M1", "iter2"} <= made
    assert "agreement" not in made
    assert not (tmp_path / "own" / "eval" / "contamination" / "iter1").exists()

    page = build(tmp_path / "own", tmp_path / "report")[0].read_text()
    assert "M1 was not trained here but given (m1.model): local folder" in page
    assert "not part of this run, whose M1 was given (m1.model)" in page
    assert "prompts were taken from chats.jsonl" in page
    # Another place of the same model is no other model.
    moved = shutil.copytree(own_run / "mine", tmp_path / "moved" / "mine")
    again = load_config(toml, [f"out_dir={tmp_path}", f"m1.model={moved}", *settings])
    with open_run(again) as run:
        iterate(run, 2)
    build(tmp_path / "own", tmp_path / "report")
    with Source(tmp_path / "own") as source:
        pages = crawl(reader(source), most=60)
    assert "/iteration/1" in pages and "/iteration/2/prompts" in pages


@pytest.mark.slow
def test_the_sft_baseline_and_ranked_replies_can_be_made_beside_a_given_m1(
    own_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(own_run / "own", tmp_path / "own", copy_function=shutil.copy2)
    before = loop.manifests(tmp_path / "own")
    words = [
        word
        for setting in (
            "m1.also_make=['ranked','sft']", "model.base=tiny", "ift.source=sample",
            "ift.max_examples=16", "eft.source.path=sample", "sft.max_steps=1", "sft.batch_size=2",
            "sft.max_length=512", "sft.precision=fp32", "probe.max_prompts=1",
        )
        for word in ("--set", setting)
    ]  # fmt: skip
    done = loop.run(tmp_path, *words, config=own_run / "own.toml")
    assert done.returncode == 0, done.stderr
    after = loop.manifests(tmp_path / "own")
    # What the loop made of the given M1 stays as it is.
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {
        "iter0/base", "iter0/probe", "iter1/ift", "iter1/ranked", "iter1/sft", "iter1/probe"
    }  # fmt: skip
    assert after["iter1/probe"]["key"]["inputs"]["iter1/model"] == before["iter1/model"]["sha256"]
