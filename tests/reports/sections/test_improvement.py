from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest

from core.records import Annotation, ItemScore, Score, Verdict
from core.stages import Stage, evaluation_ref
from evaluation.alpaca_eval.scores import win_rate
from evaluation.head_to_head.benchmark import scores as head_to_head_scores
from reports.sections import improvement
from tests.reports.runs import RunBuilder

if TYPE_CHECKING:
    from pathlib import Path

    from reports.document import Cell


def preferred(run: RunBuilder, model: str, values: list[float]) -> None:
    rows = [
        Annotation(f"p{n}", f"p{n}", "a", "b", "ref", model, "judge", value, None, "")
        for n, value in enumerate(values)
    ]
    run.rows(evaluation_ref(f"{model}/alpaca_eval", Stage.ANNOTATIONS), rows)
    run.scores(f"{model}/alpaca_eval", win_rate(rows))


def task(run: RunBuilder, model: str, name: str, right: list[float]) -> None:
    rows = [
        ItemScore(f"{name}/{n}", name, str(n), {"acc": value}, {}) for n, value in enumerate(right)
    ]
    run.rows(evaluation_ref(f"{model}/nlp/{name}", Stage.ITEMS), rows)
    mean = 100 * sum(right) / len(right)
    run.scores(f"{model}/nlp/{name}", Score("acc", mean, len(right), detail={"headline": True}))


def compared(run: RunBuilder, matchup: str, winners: str) -> None:
    a, b = matchup.split("-")
    sides: dict[str, Literal["A", "B", "tie"]] = {"W": "A", "L": "B", "T": "tie"}
    rows = [
        Verdict(f"p{n}/{order}", f"p{n}", a, b, sides[letter], None, ("",))
        for n, letter in enumerate(winners)
        for order in ("ab", "ba")
    ]
    run.rows(evaluation_ref(f"head_to_head/{matchup}", Stage.VERDICTS), rows)
    lengths = {f"p{n}": (1, 1) for n in range(len(winners))}
    run.scores(f"head_to_head/{matchup}", *head_to_head_scores(rows, lengths))


def found(run: RunBuilder) -> dict[str, tuple[Cell, ...]]:
    table = improvement.table(run.open())
    assert table is not None
    assert table.columns == ("difference", "p", "Holm's p", "better?")
    return {row.label: row.cells for row in table.rows}


def test_each_step_is_tested_on_the_same_items_and_corrected_for_all_tests(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path)
    preferred(run, "M1", [1.0] * 12)
    preferred(run, "M2", [2.0] * 12)
    compared(run, "M2-M1", "WWWWWWWWTTLT")
    rows = found(run)

    difference, p_value, adjusted, answer = rows["M2 − M1: AlpacaEval 2.0, win rate"]
    # Twelve items that M2 alone won: 2/2^12 by McNemar, doubled for two tests by Holm.
    assert (difference.value, difference.n) == (100.0, 12)
    assert difference.low is not None and 0 < difference.low < 100
    assert p_value.value == pytest.approx(2 / 4096)
    assert adjusted.value == pytest.approx(4 / 4096)
    assert answer.text == "yes"
    # Eight wins and a loss: 2·(1 + 9)/2^9 = 0.0391; the larger of two stays.
    net, p_value, adjusted, answer = rows["M2 − M1: head to head, net wins, %"]
    assert net.value == pytest.approx(700 / 12)
    assert p_value.value == adjusted.value == pytest.approx(0.0390625)
    assert answer.text == "yes"


def test_a_worse_model_and_chance_are_called_so(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path)
    preferred(run, "M1", [2.0] * 12)
    preferred(run, "M2", [1.0] * 12)
    compared(run, "M2-M1", "WLWLWLWL")
    rows = found(run)
    assert rows["M2 − M1: AlpacaEval 2.0, win rate"][3].text == "no: worse"
    assert rows["M2 − M1: head to head, net wins, %"][3].text == "not shown"


def test_a_handful_of_prompts_cannot_say(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path)
    preferred(run, "M1", [1.0] * 5)
    preferred(run, "M2", [2.0] * 5)
    assert found(run)["M2 − M1: AlpacaEval 2.0, win rate"][3].text == "cannot be said"


def test_tasks_weigh_the_same_whatever_their_items(tmp_path: Path) -> None:
    # 20 items of one task all won, 10 of another all lost: 0 on average, not +33.
    run = RunBuilder(tmp_path)
    task(run, "M1", "piqa", [0.0] * 20)
    task(run, "M2", "piqa", [1.0] * 20)
    task(run, "M1", "nq_open", [1.0] * 10)
    task(run, "M2", "nq_open", [0.0] * 10)
    difference, _, _, answer = found(run)["M2 − M1: NLP, mean of tasks, %"]
    assert difference.value == pytest.approx(0.0)
    assert difference.n == 30
    assert answer.text == "not shown"


def test_a_model_whose_predecessor_has_nothing_is_compared_with_nothing(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path)
    preferred(run, "M1", [1.0] * 8)
    assert improvement.table(run.open()) is None
