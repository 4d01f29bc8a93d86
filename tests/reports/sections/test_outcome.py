from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from core.records import Generation, ItemScore, Judgment, Prompt, Score
from core.stages import Ref, Stage, evaluation_ref, named_model
from core.store import Built
from evaluation.ifeval.scores import scores as ifeval_scores
from reports.document import Report, Section
from reports.formats import html, markdown
from reports.sections import outcome
from reports.sections.outcome import example, figure, table, verdict
from tests.reports.documents import HOSTILE
from tests.reports.runs import RunBuilder, imported
from tests.reports.trained import ledger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from reports.document import Cell

STRICT = "prompt_level_strict_acc"
MODELS = ("M0", "sft", "M1", "M2", "M3")


def loop(tmp_path: Path, *models: str) -> RunBuilder:
    """A run whose models are made: all of M0, SFT, M1, M2, M3 unless others are named."""
    run = RunBuilder(tmp_path).config()
    for model in models or MODELS:
        run.model(model)
    return run


def followed(run: RunBuilder, model: str, right: str) -> None:
    """Make a model's IFEval: a letter per prompt, "x" where every instruction is followed."""
    rows = [
        ItemScore(str(n), "ifeval", str(n), {STRICT: float(letter == "x")}, {})
        for n, letter in enumerate(right)
    ]
    run.rows(evaluation_ref(f"{model}/ifeval", Stage.ITEMS), rows)
    run.scores(f"{model}/ifeval", *ifeval_scores(rows)[:1])


def judged(run: RunBuilder, ref: Ref, scores: Sequence[float | None]) -> None:
    rows = [
        Judgment(f"r{n}/j0", f"r{n}", f"p{n}", 0, "", score, None if score else "no_score", 3)
        for n, score in enumerate(scores)
    ]
    run.rows(ref, rows)


def logged(run: RunBuilder, model: str, lines: Sequence[Mapping[str, float]]) -> None:
    text = "".join(json.dumps({"step": at, **line}) + "\n" for at, line in enumerate(lines, 1))
    run.store.paths.metrics(named_model(model)).write_text(text, encoding="utf-8")


def answered(run: RunBuilder, model: str, benchmark: str, texts: Mapping[str, str]) -> None:
    """Make a model's answers, the first of them cut by the token limit."""
    rows = [
        Generation(key, key, f"prompt {key}", text, 3, "stop" if at else "length")
        for at, (key, text) in enumerate(texts.items())
    ]
    counts = {"finish_length": 1, "finish_stop": len(rows) - 1}
    ref = evaluation_ref(f"{model}/{benchmark}", Stage.ANSWERS)
    run.rows(ref, rows, built=Built(counts={k: n for k, n in counts.items() if n}))


def cells(run: RunBuilder) -> dict[str, dict[str, Cell]]:
    found = table.table(run.open())
    assert found is not None
    return {row.label: dict(zip(found.columns, row.cells, strict=True)) for row in found.rows}


def section(run: RunBuilder) -> Section:
    (found,) = outcome.SECTION.build(run.open())
    return found


@pytest.mark.parametrize(
    ("before", "after", "beginning", "p"),
    [
        # 8 gained, none lost: 2/2^8; then the same the other way round.
        ("." * 12, "x" * 8 + "." * 4, "Yes: M3 follows 66.7 % of 12 verifiable prompts, M1 0.0 %"
         " (difference 66.7 points [", "p = 0.0078"),
        ("x" * 8 + "." * 4, "." * 12, "No, it became worse: M3 follows 0.0 %", "p = 0.0078"),
        # 3 gained, 3 lost.
        ("xxx......", "...xxx...", "Not shown: M3 follows 33.3 % of 9", "p = 1.0000"),
        # 20 gained: 2/2^20 is below what four digits show.
        ("." * 20, "x" * 20, "Yes: M3 follows 100.0 % of 20", "p < 0.0001"),
    ],
)  # fmt: skip
def test_the_sentence_compares_the_last_model_with_m1_on_the_same_prompts(
    tmp_path: Path, before: str, after: str, beginning: str, p: str
) -> None:
    run = loop(tmp_path)
    followed(run, "M1", before)
    followed(run, "M3", after)
    (sentence,) = verdict.paragraphs(run.open())
    assert sentence.startswith(beginning)
    assert sentence.endswith(f", {p}).")


def test_five_prompts_cannot_say_and_have_no_p_value(tmp_path: Path) -> None:
    run = loop(tmp_path)
    followed(run, "M1", ".....")
    followed(run, "M3", "xxxxx")
    (sentence,) = verdict.paragraphs(run.open())
    assert sentence.startswith("Cannot be said from fewer than 6 prompts: M3 follows 100.0 % of 5")
    assert "p =" not in sentence


def test_prompts_are_called_held_out_only_if_every_iteration_was_checked_against_them(
    tmp_path: Path,
) -> None:
    run = loop(tmp_path)
    run.rows(Ref(1, Stage.IFT), [])
    run.rows(Ref(2, Stage.PROMPTS), [])
    followed(run, "M1", "." * 8)
    followed(run, "M3", "x" * 8)

    def checked(k: int, flagged: dict[str, int]) -> None:
        detail = {"compared": {"ifeval": 8}, "left_out": [], "flagged": flagged}
        run.scores(f"contamination/iter{k}", Score("flagged", 10.0, 10, detail=detail))

    checked(1, {"nlp": 1})
    assert "of 8 verifiable prompts" in verdict.paragraphs(run.open())[0]
    checked(2, {})
    assert "of 8 held-out verifiable prompts" in verdict.paragraphs(run.open())[0]
    checked(2, {"ifeval": 1})
    assert "of 8 verifiable prompts" in verdict.paragraphs(run.open())[0]


def test_without_verifiable_prompts_it_says_why_and_what_there_is(tmp_path: Path) -> None:
    run = loop(tmp_path)
    judged(run, Ref(0, Stage.PROBE), [None, None])
    judged(run, Ref(1, Stage.PROBE), [4.0, 2.0])
    logged(run, "M2", [{"rewards/margins": value} for value in (0.0, 0.1, 0.2, 0.3)])
    first, rest = verdict.paragraphs(run.open())
    assert first == (
        "Whether M3 follows more verifiable prompts than M1 is not known: ifeval is not among "
        "evaluation.benchmarks."
    )
    assert rest == (
        "What there is: readable judge replies M0 0.0 % of 2, M1 100.0 % of 2; reward margin in "
        "training M2 0.000 → 0.300."
    )


def test_before_m2_there_is_nothing_to_compare(tmp_path: Path) -> None:
    (sentence,) = verdict.paragraphs(loop(tmp_path, "M0", "M1").open())
    assert sentence == "Nothing to compare yet: no model after M1 is made."


def test_results_from_elsewhere_have_no_loop(tmp_path: Path) -> None:
    found = section(imported(tmp_path, "claude-2", Score("win_rate", 17.0, 805)))
    assert (found.paragraphs, found.figures, found.tables) == ((), (), ())


def test_each_model_has_its_replies_training_and_pairs(tmp_path: Path) -> None:
    run = loop(tmp_path)
    judged(run, Ref(0, Stage.PROBE), [None, None])
    judged(run, Ref(3, Stage.JUDGMENTS), [4.0, None, 2.0, 3.0])  # by M2
    logged(run, "M1", [{"loss": 3.0}, {"loss": 1.0}])
    logged(
        run,
        "M2",
        [{"loss": 0.7, "rewards/accuracies": 0.25}, {"loss": 0.4, "rewards/accuracies": 1.0}],
    )
    run.rows(Ref(2, Stage.PROMPTS), [Prompt(f"p{n}", "", None, 0) for n in range(4)])
    run.rows(Ref(2, Stage.PAIRS), [
        ledger("p0", "pair", "a", "b"), ledger("p1", "pair", "a", "b"), ledger("p2", "tie"),
        ledger("p3", "unscored"),
    ])  # fmt: skip
    run.scores("head_to_head/M2-M1", Score("judge/flip_rate", 0.4, 5))
    answered(run, "M2", "head_to_head", {"0": "a", "1": "b", "2": "c", "3": "d"})
    answered(run, "M2", "ifeval", {"0": "a"})

    found = cells(run)
    replies = "readable judge replies, %"
    assert (found["M0"][replies].value, found["M0"][replies].n) == (0.0, 2)
    assert (found["M2"][replies].value, found["M2"][replies].n) == (75.0, 4)
    assert found["M3"][replies].reason == "it has judged nothing"
    assert found["M1"]["loss"].text == "3.000\N{NO-BREAK SPACE}→\N{NO-BREAK SPACE}1.000"
    assert found["M2"]["reward accuracy, %"].text == "25\N{NO-BREAK SPACE}→\N{NO-BREAK SPACE}100"
    assert found["M1"]["reward accuracy, %"].reason is None  # M1 has no pairs: not a gap
    assert found["M3"]["loss"].reason == "it is not in the training log"
    pairs, ties = (found["M2"][f"{what}, %"] for what in ("prompts with a pair", "tied prompts"))
    assert (pairs.value, ties.value, pairs.n) == (50.0, 25.0, 4)
    assert found["M2"]["verdicts flipped by order, %"].value == pytest.approx(40.0)
    cut = found["M2"]["answers cut by the token limit, %"]
    assert (cut.value, cut.n) == (40.0, 5)  # one of four, and one of one


def test_the_figure_has_a_panel_for_each_score_that_was_measured(tmp_path: Path) -> None:
    run = loop(tmp_path)
    assert figure.figure(run.open()) is None
    run.scores("M1/agreement", Score("pairwise_accuracy", 60.0, 20, low=40.0, high=77.0))
    one = figure.figure(run.open())
    assert one is not None
    assert "M1 60.00 (95 % interval 40.00 to 77.00, n = 20)" in one.description
    assert "checked by code" not in one.svg
    followed(run, "M1", "x.")
    both = figure.figure(run.open())
    assert both is not None
    assert "M1 50.00" in both.description
    assert "checked by code" in both.svg


def test_the_figure_shows_judging_against_the_truth_where_that_was_measured(
    tmp_path: Path,
) -> None:
    run = loop(tmp_path)
    run.scores("M1/agreement", Score("pairwise_accuracy", 60.0, 20, low=40.0, high=77.0))
    run.scores("truth/iter2", Score("judge_accuracy", 70.0, 30, low=50.0, high=84.0))
    found = figure.figure(run.open())
    assert found is not None
    assert "right of two answers: M1 70.00 (95 % interval 50.00 to" in found.description
    assert "M2" not in found.description  # iteration 3 was not measured
    assert "60.00" not in found.description


def test_the_example_is_the_first_prompt_by_key_that_all_models_answered(tmp_path: Path) -> None:
    run = loop(tmp_path, "M0", "M1")
    answered(run, "M0", "ifeval", {"1": "only M0", "10": "later", "2": "M0's"})
    answered(run, "M1", "ifeval", {"10": "later", "2": "w" * 700})
    followed(run, "M1", "..x")
    found = example.table(run.open())
    assert found is not None
    rows = {row.label: [cell.text for cell in row.cells] for row in found.rows}
    assert rows["the prompt"] == ["prompt 2", None]
    assert rows["M0"] == ["M0's", None]
    assert rows["M1"] == ["w" * 599 + "…", "yes"]
    assert found.rows[1].cells[1].reason == "not checked"


def test_a_hostile_answer_is_printed_as_text(tmp_path: Path) -> None:
    run = loop(tmp_path, "M0", "M1")
    for model in ("M0", "M1"):
        answered(run, model, "alpaca_eval", {"0": HOSTILE[0]})
    found = example.table(run.open())
    assert found is not None
    report = Report("x", (), (Section("s", "s", tables=(found,)),))
    page, text = html.render(report), markdown.render(report)
    assert "<script>document" not in page + text
    assert "&lt;script&gt;document" in page
    assert "&lt;script&gt;document" in text
