from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core.config import Config, PairsSection
from core.records import Candidate
from core.stages import Ref, Stage
from tests.training.making import judgment, made, prompt
from training.data.pairs import select_pairs
from training.data.temporal import Answers, Others

if TYPE_CHECKING:
    from pathlib import Path

    from core.records import LedgerRow

Scores = dict[str, list[float | None]]


def answers(by: str, letter: str, scores: Scores) -> Answers:
    """One judged answer per score; None: its judgment could not be read."""
    candidates = [
        Candidate(f"{key}/{letter}{n}", key, n, f"{by} says {key} {n}", 4, "stop")
        for key, found in scores.items()
        for n in range(len(found))
    ]
    judged = [
        judgment(f"{key}/{letter}{n}", 0, score)
        for key, found in scores.items()
        for n, score in enumerate(found)
    ]
    return Answers(by, candidates, judged)


def ledger(
    folder: Path, own: Scores, past: Scores | None = None, future: Scores | None = None
) -> dict[str, LedgerRow]:
    m2 = answers("M2", "a", own)
    others = Others(
        "M2" if past or future else "",
        None if past is None else answers("M1", "p", past),
        None if future is None else answers("future", "f", future),
    )
    rows: list[LedgerRow] = made(
        folder,
        Ref(3, Stage.PAIRS),
        lambda out: select_pairs(
            [prompt(key) for key in own], m2.candidates, m2.judgments, Config(), out, others=others
        ),
    ).rows
    return {row.key: row for row in rows}


def pair(row: LedgerRow) -> tuple[object, ...]:
    return (
        row.outcome, row.chosen_by, row.chosen_key, row.chosen_score,
        row.rejected_by, row.rejected_key, row.rejected_score,
    )  # fmt: skip


OWN: Scores = {"a": [5, 3], "b": [4, 2], "c": [4, 4], "d": [3, 3], "e": [4, None]}
PAST: Scores = {"a": [4, 1], "b": [2, 3], "c": [3, None], "d": [3, 5], "e": [1, 2]}
FUTURE: Scores = {"a": [5, 5], "b": [5, 1], "c": [4, 2], "d": [2, 4], "e": [5, 5]}


def test_a_ledger_by_hand(tmp_path: Path) -> None:
    found = ledger(tmp_path, OWN, PAST, FUTURE)
    assert {key: pair(row) for key, row in found.items()} == {
        # min past 1 < min own 3: rejected of M1. max future 5 is not > max own 5: chosen of M2.
        "a": ("pair", "M2", "a/a0", 5, "M1", "a/p1", 1),
        # min past 2 is not < min own 2: rejected of M2. max future 5 > 4: chosen of the future.
        "b": ("pair", "future", "b/f0", 5, "M2", "b/a1", 2),
        # Own answers tie at 4; the past has a 3, the future no more than 4.
        "c": ("pair", "M2", "c/a0", 4, "M1", "c/p0", 3),
        # min past 3 is not < 3; max future 4 > 3.
        "d": ("pair", "future", "d/f1", 4, "M2", "d/a0", 3),
        # Own: one readable score, 4. min past 1 < 4; max future 5 > 4, its first draw.
        "e": ("pair", "future", "e/f0", 5, "M1", "e/p0", 1),
    }
    # The own scores stay in the ledger, in the order of the draws.
    assert found["e"].scores == (4, None)
    assert found["b"].chosen == "future says b 0"
    assert found["a"].rejected == "M1 says a 1"


def test_without_the_future_the_chosen_answers_are_the_models_own(tmp_path: Path) -> None:
    found = ledger(tmp_path, OWN, PAST)
    assert {key: pair(row) for key, row in found.items()} == {
        "a": ("pair", "M2", "a/a0", 5, "M1", "a/p1", 1),
        "b": ("pair", "M2", "b/a0", 4, "M2", "b/a1", 2),
        "c": ("pair", "M2", "c/a0", 4, "M1", "c/p0", 3),
        "d": ("tie", "", None, None, "", None, None),
        "e": ("pair", "M2", "e/a0", 4, "M1", "e/p0", 1),
    }


def test_without_others_pairs_are_what_they_were(tmp_path: Path) -> None:
    found = ledger(tmp_path, OWN)
    # As in every run so far: the ledger does not name the model.
    assert pair(found["a"]) == ("pair", "", "a/a0", 5, "", "a/a1", 3)
    assert {key: row.outcome for key, row in found.items()} == {
        "a": "pair", "b": "pair", "c": "tie", "d": "tie", "e": "one_scored"
    }  # fmt: skip


def test_an_answer_that_nobody_could_score_is_neither_chosen_nor_rejected(tmp_path: Path) -> None:
    found = ledger(
        tmp_path, {"a": [4, 2], "b": [None, None]}, {"a": [None], "b": [1]}, {"a": [None]}
    )
    assert pair(found["a"]) == ("pair", "M2", "a/a0", 4, "M2", "a/a1", 2)
    # The chosen answer is M2's best: without one there is no pair.
    assert found["b"].outcome == "unscored"


@pytest.mark.parametrize(
    "settings",
    [
        {"rejected_from": "past", "choice": "length_controlled"},
        {"chosen_from": "future", "control": "shuffled"},
    ],
)
def test_what_is_not_defined_together_is_refused(settings: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="rejected_from and chosen_from compare best and worst"):
        PairsSection.model_validate(settings)
