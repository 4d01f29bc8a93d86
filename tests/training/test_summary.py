from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from core.config import Config
from core.records import Candidate, Example, JudgeExample, Judgment, LedgerRow, Prompt
from core.stages import SFT_BASELINE, Ref, Stage, model_ref
from core.store import Built, Store
from tests.training.making import KEY, judgment, made
from training.summary import (
    IterationRow,
    iteration_row,
    models_made,
    parse_rate,
    seed_facts,
    summary_tables,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from core.store import Manifest, Partial


def put(folder: Path, ref: Ref, rows: Sequence[Any], **built: Any) -> Manifest:
    """Make an artifact with these rows and this report."""

    def add_all(out: Partial) -> Built:
        for row in rows:
            out.add(row)
        return Built(**built)

    return made(folder, ref, add_all).manifest


def put_model(folder: Path, ref: Ref, **facts: Any) -> None:
    store = Store(folder)
    built = store.begin_model(ref, KEY) / "model"
    built.mkdir()
    (built / "config.json").write_text("{}")
    store.commit_model(ref, KEY, built, Built(facts=facts))


def put_judgments(folder: Path, ref: Ref, scores: Sequence[float | None]) -> Manifest:
    rows: list[Judgment] = [judgment(f"p/a{i}", 0, score) for i, score in enumerate(scores)]
    unread = sum(score is None for score in scores)
    counts = {"parsed": len(scores) - unread, "unparsed_no_score": unread}
    return put(folder, ref, rows, counts=counts)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a run whose iteration 2 is complete, made by hand."""
    folder = tmp_path / "r"
    prompts = [Prompt(f"c0/t{i}", "text", None if i < 3 else "too_short", 0) for i in range(8)]
    put(folder, Ref(2, Stage.PROMPTS), prompts, counts={"kept": 3, "rejected_too_short": 5})
    answers = [Candidate(f"p/a{i}", "p", i, "text", 1, "stop") for i in range(12)]
    facts = {"mean_characters": 123.6}
    put(folder, Ref(2, Stage.CANDIDATES), answers, counts={"finish_stop": 12}, facts=facts)
    put_judgments(folder, Ref(2, Stage.JUDGMENTS), [5, 2, None, 3, 0, None, None, 2])
    ledger = [LedgerRow("a", "A?", "pair", (4.0, 1.0), (3, 3)), LedgerRow("b", "B?", "tie", (), ())]
    put(folder, Ref(2, Stage.PAIRS), ledger, counts={"pair": 1, "tie": 1})
    last = {"rewards/accuracies": 0.75, "rewards/margins": 0.0421, "loss": 0.6}
    put_model(folder, model_ref(2), at_kept_step=last)
    return folder


def test_an_iterations_numbers_come_from_its_manifests_and_rows(run: Path) -> None:
    assert iteration_row(Store(run), 2) == IterationRow(
        model="M2",
        prompts_kept=3,
        prompts_rejected=5,  # 8 rows - 3 kept
        candidates=12,
        parse_rate=0.625,  # 5 of 8 replies
        mean_score=2.4,  # (5 + 2 + 3 + 0 + 2) / 5: the zero counts, the unread do not
        pairs=1,
        dpo_accuracy=0.75,
        dpo_margin=0.0421,
        mean_characters=123.6,
    )


def test_an_iteration_that_was_not_made_has_no_numbers(run: Path) -> None:
    assert iteration_row(Store(run), 3) == IterationRow("M3", *[None] * 9)


def test_an_iteration_without_a_pair_has_zero_pairs_not_none(tmp_path: Path) -> None:
    ledger = [LedgerRow("b", "B?", "tie", (), ())]
    put(tmp_path, Ref(2, Stage.PAIRS), ledger, counts={"tie": 1})
    assert iteration_row(Store(tmp_path), 2).pairs == 0


def test_prompts_of_which_none_was_kept_are_all_rejected(tmp_path: Path) -> None:
    rows = [Prompt("c0/t0", "", "empty_reply", 0)]
    put(tmp_path, Ref(2, Stage.PROMPTS), rows, counts={"rejected_empty_reply": 1})
    row = iteration_row(Store(tmp_path), 2)
    assert (row.prompts_kept, row.prompts_rejected) == (0, 1)


def test_scores_that_could_not_be_read_have_no_mean(tmp_path: Path) -> None:
    put_judgments(tmp_path, Ref(2, Stage.JUDGMENTS), [None, None])
    row = iteration_row(Store(tmp_path), 2)
    assert (row.parse_rate, row.mean_score) == (0.0, None)


def test_the_parse_rate_is_the_share_of_readable_replies(tmp_path: Path) -> None:
    ref = Ref(2, Stage.JUDGMENTS)
    assert parse_rate(put_judgments(tmp_path / "a", ref, [1, None, None, None])) == 0.25
    assert parse_rate(put_judgments(tmp_path / "b", ref, [1, 2])) == 1.0
    assert parse_rate(put_judgments(tmp_path / "c", ref, [])) is None
    assert parse_rate(None) is None


def test_the_seed_facts_name_counts_yield_and_parse_rates(tmp_path: Path) -> None:
    put(tmp_path, Ref(1, Stage.IFT), [Example(str(i), "p", "r") for i in range(1200)])
    eft = [JudgeExample(str(i), "p", "r", "t", 3.0, "constructed") for i in range(4)]
    put(tmp_path, Ref(1, Stage.EFT), eft)
    counts = {"replies": 10, "kept": 4, "dropped_order_disagrees": 6}
    put(tmp_path, Ref(1, Stage.EFT_CONSTRUCTED), eft, counts=counts)
    put_judgments(tmp_path, Ref(1, Stage.EFT_JUDGMENTS), [4, 3, None, 1])
    put_judgments(tmp_path, Ref(0, Stage.PROBE), [None, None, 3])
    put_judgments(tmp_path, Ref(1, Stage.PROBE), [5, 4, 3])
    assert seed_facts(Store(tmp_path)) == [
        ("IFT examples", "1,200"),
        ("EFT training examples", "4"),
        ("EFT by construction: kept of judged replies", "4 of 10"),
        ("judge parse rate, iter1/sft on ranked replies", "75.0% of 4"),
        ("judge parse rate, M0 on the EFT evaluation split", "33.3% of 3"),
        ("judge parse rate, M1 on the EFT evaluation split", "100.0% of 3"),
    ]


def test_missing_artifacts_are_a_dash_or_omitted(tmp_path: Path) -> None:
    assert seed_facts(Store(tmp_path)) == [("IFT examples", "–"), ("EFT training examples", "–")]


def test_the_tables_show_each_iteration_in_its_own_row(run: Path) -> None:
    config = Config(out_dir=str(run.parent), run="r")
    console = Console(width=200)
    with console.capture() as captured:
        for table in summary_tables(config, 3):
            console.print(table)
    lines = [
        [cell.strip() for cell in line.split("│")[1:-1]] for line in captured.get().splitlines()
    ]
    numbers = ["M2", "3", "5", "12", "62.5%", "2.40", "1", "0.75", "0.042", "124"]
    assert numbers in lines
    assert ["M3", *["–"] * 9] in lines


def test_the_models_that_exist_are_named_with_their_folders(run: Path) -> None:
    put_model(run, model_ref(0))
    put_model(run, SFT_BASELINE)
    # M1 and M3 were not made.
    assert models_made(Config(out_dir=str(run.parent), run="r"), 3) == [
        ("M0", run / "iter0" / "base"),
        ("SFT baseline", run / "iter1" / "sft"),
        ("M2", run / "iter2" / "model"),
    ]
