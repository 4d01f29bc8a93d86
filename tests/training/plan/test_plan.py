from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from core.config import (
    CandidatesSection,
    Config,
    EftConstructionSection,
    EftSection,
    EftSelectionSection,
    IftSection,
    ImprovementSection,
    JudgeSection,
    M1Section,
    PairsSection,
    ProbeSection,
    PromptsSection,
)
from core.records import Example, Prompt
from core.stages import SFT_BASELINE, Ref, Stage, model_ref
from core.store import Built, Key, Store
from tests.training.making import KEY, interrupted, made
from training.plan.plan import PlanRow, plan, plan_table

if TYPE_CHECKING:
    from pathlib import Path

    from core.store import Partial

EXAMPLES = [Example(f"e{i}", "Why?", "Because.") for i in range(5)]


def config(folder: Path, **more: Any) -> Config:
    return Config(out_dir=str(folder), run="r", **more)


def rows_of(settings: Config, k: int = 2) -> dict[str, PlanRow]:
    return {str(row.ref): row for row in plan(settings, k)}


def make_ift(folder: Path) -> None:
    def add_all(out: Partial) -> Built:
        for example in EXAMPLES:
            out.add(example)
        return Built()

    made(folder / "r", Ref(1, Stage.IFT), add_all)


def make_model(folder: Path, ref: Ref) -> None:
    store = Store(folder / "r")
    built = store.begin_model(ref, KEY) / "model"
    built.mkdir()
    (built / "config.json").write_text("{}")
    (built / "model.safetensors").write_text("weights")
    store.commit_model(ref, KEY, built, Built())


def test_the_stages_come_in_the_order_they_run(tmp_path: Path) -> None:
    # M0's probe reads iteration 1's ranked replies, so it runs after M1's.
    assert [str(row.ref) for row in plan(config(tmp_path), 2)] == [
        "iter0/base",
        "iter1/ift",
        "iter1/ranked",
        "iter1/sft",
        "iter1/eft_judgments",
        "iter1/eft_constructed",
        "iter1/eft",
        "iter1/model",
        "iter1/probe",
        "iter0/probe",
        "iter2/prompt_calls",
        "iter2/prompts",
        "iter2/candidates",
        "iter2/judgments",
        "iter2/health",
        "iter2/pairs",
        "iter2/model",
    ]
    # Seven more for each further iteration.
    assert len(plan(config(tmp_path), 3)) == 17 + 7


def test_in_a_new_run_everything_runs_and_planning_writes_nothing(tmp_path: Path) -> None:
    assert {row.state for row in plan(config(tmp_path / "new"), 3)} == {"runs"}
    assert not (tmp_path / "new").exists()


def test_finished_artifacts_are_done_with_their_rows(tmp_path: Path) -> None:
    make_ift(tmp_path)
    make_model(tmp_path, model_ref(0))
    found = rows_of(config(tmp_path))
    assert found["iter1/ift"] == PlanRow(Ref(1, Stage.IFT), "done", 5, None)
    assert found["iter0/base"].state == "done"
    assert found["iter1/ranked"].state == "runs"


def test_an_artifact_whose_bytes_changed_is_altered(tmp_path: Path) -> None:
    make_ift(tmp_path)
    path = tmp_path / "r" / "iter1" / "ift.jsonl"
    path.write_text(path.read_text().replace("Because", "Whatever"))
    assert rows_of(config(tmp_path))["iter1/ift"].state == "altered"


@pytest.mark.parametrize("count", [0, 1, 4])
def test_a_killed_row_stage_resumes_after_its_finished_rows(tmp_path: Path, count: int) -> None:
    interrupted(tmp_path / "r", Ref(1, Stage.IFT), EXAMPLES[:count])
    assert rows_of(config(tmp_path))["iter1/ift"].state == f"resumes after {count} rows"


def test_a_row_cut_by_the_kill_is_not_counted(tmp_path: Path) -> None:
    interrupted(tmp_path / "r", Ref(1, Stage.IFT), EXAMPLES[:3])
    path = tmp_path / "r" / "iter1" / "ift.partial.jsonl"
    path.write_bytes(path.read_bytes()[:-4])
    assert rows_of(config(tmp_path))["iter1/ift"].state == "resumes after 2 rows"


def test_a_header_cut_by_the_kill_leaves_no_rows(tmp_path: Path) -> None:
    folder = tmp_path / "r" / "iter1"
    folder.mkdir(parents=True)
    (folder / "ift.partial.jsonl").write_text('{"key": {"inp')
    assert rows_of(config(tmp_path))["iter1/ift"].state == "resumes after 0 rows"


def test_killed_training_resumes_from_a_checkpoint_if_there_is_one(tmp_path: Path) -> None:
    work = Store(tmp_path / "r").begin_model(SFT_BASELINE, KEY)
    assert rows_of(config(tmp_path))["iter1/sft"].state == "runs"
    (work / "checkpoint-200").mkdir()
    assert rows_of(config(tmp_path))["iter1/sft"].state == "resumes from a checkpoint"


def test_disabled_stages_are_off(tmp_path: Path) -> None:
    without = config(
        tmp_path,
        eft=EftSection(
            construction=EftConstructionSection(enabled=False),
            selection=EftSelectionSection(source="written"),
        ),
        probe=ProbeSection(enabled=False),
    )
    off = {name for name, row in rows_of(without).items() if row.state == "off"}
    assert off == {"iter1/eft_judgments", "iter1/eft_constructed", "iter0/probe", "iter1/probe"}


def test_bounds_are_each_iterations_own(tmp_path: Path) -> None:
    settings = config(
        tmp_path,
        prompts=PromptsSection(count=10),
        candidates=CandidatesSection(n=4),
        iteration={3: {"prompts": {"count": 7}, "candidates": {"n": 2}}},
    )
    found = rows_of(settings, 3)
    rows = [found[f"iter{k}/{stage}"].rows for stage in ("candidates", "pairs") for k in (2, 3)]
    assert rows == [40, 14, 10, 7]


def bounded(folder: Path, **more: Any) -> Config:
    return config(
        folder,
        ift=IftSection(max_examples=100),
        eft=EftSection(selection=EftSelectionSection(max_examples=60)),
        prompts=PromptsSection(count=10, max_calls=30, max_new_tokens=96),
        candidates=CandidatesSection(n=4, max_new_tokens=24),
        judge=JudgeSection(draws=3, max_new_tokens=120),
        **more,
    )


def test_rows_and_tokens_are_bounded_by_the_configuration(tmp_path: Path) -> None:
    found = {n: (row.rows, row.tokens) for n, row in rows_of(bounded(tmp_path)).items()}
    assert found["iter1/ift"] == (100, 0)
    assert found["iter1/eft"] == (60, 0)
    assert found["iter2/prompt_calls"] == (30, 2880)  # 30 calls of 96 tokens
    assert found["iter2/candidates"] == (40, 960)  # 10 prompts, 4 answers, 24 tokens each
    assert found["iter2/judgments"] == (120, 14400)  # 40 answers, 3 draws, 120 tokens each
    assert found["iter2/pairs"] == (10, 0)  # one ledger row a prompt
    assert found["iter2/health"] == (9, 0)
    assert found["iter2/model"] == (10, None)  # at most one pair a prompt
    assert found["iter1/sft"] == (100, None)  # IFT alone
    assert found["iter1/model"] == (160, None)  # IFT and EFT


def test_prompts_have_no_bound_because_rejected_ones_are_rows_too(tmp_path: Path) -> None:
    # 10 are kept, but every task that was read and rejected is written as well.
    row = rows_of(bounded(tmp_path))["iter2/prompts"]
    assert (row.rows, row.tokens) == (None, 0)
    kept = [Prompt(f"c0/t{i}", "text", None, 0) for i in range(10)]
    rejected = [Prompt(f"c1/t{i}", "text", "too_short", 1) for i in range(25)]

    def add_all(out: Partial) -> Built:
        for prompt in kept + rejected:
            out.add(prompt)
        return Built(counts={"kept": 10, "rejected_too_short": 25})

    made(tmp_path / "r", Ref(2, Stage.PROMPTS), add_all)
    assert rows_of(bounded(tmp_path))["iter2/prompts"].rows == 35


def test_the_positive_only_ablation_is_not_bounded_by_pairs(tmp_path: Path) -> None:
    ablation = bounded(tmp_path, improvement=ImprovementSection(method="positive_only"))
    assert rows_of(ablation)["iter2/model"].rows is None


def test_an_unlimited_selection_has_no_bound(tmp_path: Path) -> None:
    unlimited = config(tmp_path, eft=EftSection(selection=EftSelectionSection(max_examples=None)))
    assert rows_of(unlimited)["iter1/eft"].rows is None
    assert rows_of(unlimited)["iter1/model"].rows is None


def test_without_eft_m1_is_trained_on_no_more_than_the_baseline(tmp_path: Path) -> None:
    ablation = bounded(tmp_path, m1=M1Section(use_eft=False))
    assert rows_of(ablation)["iter1/model"].rows == 100


def test_the_table_shows_states_and_bounds(tmp_path: Path) -> None:
    make_ift(tmp_path)
    settings = bounded(tmp_path)
    console = Console(width=200)
    with console.capture() as captured:
        console.print(plan_table(settings, 2, plan(settings, 2)))
    lines = {cells[1]: cells[2:-1] for cells in map(cells_of, captured.get().splitlines()) if cells}
    assert lines["iter1/ift"] == ["IFT examples", "done", "5", ""]
    assert lines["iter2/judgments"] == ["self-judgments", "runs", "120", "14,400"]
    assert lines["iter1/ranked"][2] == "?"
    assert lines["iter2/model"][0] == "M2"
    assert lines["iter1/model"][0] == "M1"


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("│")] if line.count("│") > 3 else []


def test_a_stage_made_with_other_settings_is_shown_as_stale(tmp_path: Path) -> None:
    store = Store(tmp_path / "r")
    ref = Ref(2, Stage.PAIRS)
    settings = config(tmp_path)
    key = Key({}, settings.plain("pairs"), settings.seed)
    with store.begin(ref, key) as out:
        out.commit(lambda row: row.key, Built())
    assert rows_of(settings)["iter2/pairs"].state == "done"
    other = config(tmp_path, pairs=PairsSection(min_margin=0.5))
    assert rows_of(other)["iter2/pairs"].state == "stale: pairs.min_margin was 0.0, is 0.5"


def test_what_a_redo_would_rebuild_is_shown(tmp_path: Path) -> None:
    store = Store(tmp_path / "r")
    settings = config(tmp_path)
    judged, pairs = Ref(2, Stage.JUDGMENTS), Ref(2, Stage.PAIRS)
    for ref, inputs in ((judged, {}), (pairs, {str(judged): "x"})):
        with store.begin(ref, Key(inputs, {}, settings.seed)) as out:
            out.commit(lambda row: row.key, Built())
    states = {str(row.ref): row.state for row in plan(settings, 2, redo=judged)}
    assert states["iter2/judgments"] == states["iter2/pairs"] == "redo"
    assert store.exists(pairs)  # a plan removes nothing


def test_what_redo_stale_would_rebuild_is_shown(tmp_path: Path) -> None:
    store = Store(tmp_path / "r")
    settings = config(tmp_path, pairs=PairsSection(min_margin=0.5))
    pairs, model = Ref(2, Stage.PAIRS), model_ref(2)
    key = Key({}, config(tmp_path).plain("pairs"), settings.seed)
    with store.begin(pairs, key) as out:
        out.commit(lambda row: row.key, Built())
    with store.begin(Ref(2, Stage.HEALTH), Key({str(pairs): "x"}, {}, settings.seed)) as out:
        out.commit(lambda row: row.key, Built())
    states = {str(row.ref): row.state for row in plan(settings, 2, redo_stale=True)}
    assert states["iter2/pairs"] == states["iter2/health"] == "redo"
    assert states[str(model)] == "runs"
