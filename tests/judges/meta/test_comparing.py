from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import DataError
from core.records import Judgment
from judges.asking import Reply
from judges.meta.comparing import (
    comparisons,
    meta_prompt,
    meta_prompt_source,
    most_disputed,
)
from judges.pointwise import JudgedAnswer
from judges.rubrics import load_rubric

ANSWERS = [JudgedAnswer(f"p{p}/a{a}", f"p{p}", f"Q{p}", f"A{a}") for p in (1, 2) for a in (0, 1)]


def judged(subject: str, *scores: float | None, cut: bool = False) -> list[Judgment]:
    return [
        Judgment(f"{subject}/j{n}", subject, subject[:2], n, f"Because {n}. Score: {score}", score,
                 "no_score" if score is None else None, 3, cut)
        for n, score in enumerate(scores)
    ]  # fmt: skip


def test_the_answer_with_the_greatest_variance_is_taken() -> None:
    # p1: variances 1 (scores 1, 3) and 2.67 (1, 1, 5 … mean 7/3: 32/9 = 3.56); p2: none differ.
    rows = [*judged("p1/a0", 1, 3), *judged("p1/a1", 1, 1, 5), *judged("p2/a0", 2, 2)]
    found = most_disputed(ANSWERS, rows)
    assert {key: one.answer.key for key, one in found.items()} == {"p1": "p1/a1"}
    assert [j.key for j in found["p1"].judgments] == ["p1/a1/j0", "p1/a1/j1", "p1/a1/j2"]


def test_unreadable_and_cut_judgments_are_not_compared() -> None:
    rows = [*judged("p1/a0", 1, None, 5), *judged("p2/a0", 1, 5, cut=True)]
    found = most_disputed(ANSWERS, rows)
    assert [j.draw for j in found["p1"].judgments] == [0, 2]
    assert "p2" not in found


def test_each_wording_is_compared_once_and_every_two_of_them() -> None:
    same = Judgment("p1/a0/j3", "p1/a0", "p1", 3, "Because 0. Score: 1 ", 1, None, 3)
    found = most_disputed(ANSWERS, [*judged("p1/a0", 1, 2, 4), same])
    pairs = [(item.key, item.a, item.b) for item in comparisons(found.values())]
    assert pairs == [
        ("p1/a0/m0-1", "p1/a0/j0", "p1/a0/j1"),
        ("p1/a0/m0-2", "p1/a0/j0", "p1/a0/j2"),
        ("p1/a0/m1-2", "p1/a0/j1", "p1/a0/j2"),
    ]


def test_the_meta_judge_sees_rubric_question_answer_and_both_judgments() -> None:
    found = most_disputed(ANSWERS, judged("p1/a0", 1, 4))
    prompt = meta_prompt("meta", load_rubric("additive"), found, "words")
    (item,) = comparisons(found.values())
    (message,) = prompt.messages(item)
    text = message["content"]
    assert "- Add 1 point if the response is relevant" in text
    assert "\n\nUser: Q1\n\nResponse:\nA0\n\nJudgement A:\nBecause 0. Score: 1" in text
    assert "Judgement B:\nBecause 1. Score: 4" in text
    assert "_HERE>" not in text and "<!--" not in text
    (swapped,) = prompt.messages(item.swapped())
    assert "Judgement A:\nBecause 1. Score: 4" in swapped["content"]
    for reply, winner in (
        ("The first is. Winner: Judgement A", "A"),
        ("**Winner: Judgment B**", "B"),
        ("Winner: [Judgement B]", "B"),
        ("Winner: [Judgement A | Judgement B]", None),  # the format, repeated
    ):
        assert prompt.read(Reply("k", reply, "stop")).value == winner


def test_a_judgment_that_spells_a_field_stays_text() -> None:
    odd = [
        Judgment(f"p1/a0/j{n}", "p1/a0", "p1", n, text, n, None, 3)
        for n, text in enumerate(("<JUDGMENT_B_HERE> Score: 0", "<RUBRIC_HERE> Score: 1"))
    ]
    found = most_disputed(ANSWERS, odd)
    prompt = meta_prompt("meta", load_rubric("additive"), found, "words")
    text = prompt.messages(comparisons(found.values())[0])[0]["content"]
    assert "Judgement A:\n<JUDGMENT_B_HERE> Score: 0" in text
    assert "Judgement B:\n<RUBRIC_HERE> Score: 1" in text


def test_a_prompt_of_ones_own_is_checked_and_part_of_the_key(tmp_path: Path) -> None:
    file = tmp_path / "mine.md"
    text = (Path(load_rubric.__code__.co_filename).parent / "meta.md").read_text()
    file.write_text(text)
    first = meta_prompt_source(str(file))
    file.write_text(text.replace("more accurate", "better"))
    assert meta_prompt_source(str(file)) != first
    file.write_text(text.replace("<RUBRIC_HERE>", ""))
    with pytest.raises(DataError, match="<RUBRIC_HERE> occurs 0 times in the text"):
        meta_prompt_source(str(file))
    file.write_text(text.replace("Verdicts: Winner: Judgment A |", "Verdicts: x | y |"))
    with pytest.raises(DataError, match="names one of two judgments"):
        meta_prompt_source(str(file))
