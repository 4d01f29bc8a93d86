"""No verdict is read out of a thought, or out of a reply that was cut before its last verdict."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from evaluation.files.reply_files import report
from judges.replies import Parsed, parse_pair, parse_ranking, parse_rating, parse_score
from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def score(reply: str, *, cut: bool = False) -> Parsed[float]:
    return parse_score(reply, low=0.0, high=5.0, cut=cut)


FIRST = "[{'model': 'model_1', 'rank': 1}, {'model': 'model_2', 'rank': 2}]"
SECOND = "[{'model': 'model_1', 'rank': 2}, {'model': 'model_2', 'rank': 1}]"
# A parser, a verdict, what it is read as, and another verdict.
FORMS = [
    (score, "Score: 4", 4.0, "Score: 2"),
    (parse_rating, "[[7]]", 7.0, "[[3]]"),
    (parse_rating, "Rating: [7]", 7.0, "[[3]]"),
    (parse_pair, "[[A]]", "A", "[[B]]"),
    (parse_ranking, FIRST, 1, SECOND),
]
each_form = pytest.mark.parametrize(("parse", "verdict", "value", "other"), FORMS)


@each_form
@pytest.mark.parametrize("opening", ["<think>\n", "", "<thinking>", "[THINK]"])
def test_the_verdict_after_a_thought_is_read_and_the_one_inside_is_not(
    parse: Callable[..., Parsed[object]], verdict: str, value: object, other: str, opening: str
) -> None:
    closing = {"<thinking>": "</thinking>", "[THINK]": "[/THINK]"}.get(opening, "</think>")
    thought = f"{opening}{other}? No.\n{closing}"
    assert parse(f"{thought}\n\n{verdict}\n") == Parsed(value, None)
    assert parse(f"{thought}\n\nI cannot say.") == Parsed(None, "no_score")
    assert parse(f"{thought}\n\n") == Parsed(None, "empty")
    assert parse(f"{thought}\n\n", cut=True) == Parsed(None, "cut_off")


@each_form
def test_a_thought_that_does_not_end_holds_no_verdict(
    parse: Callable[..., Parsed[object]],
    verdict: str,
    value: object,
    other: str,
) -> None:
    for reply in (
        f"<think>{verdict} seems plausible, but",
        f"<think>{other}</think>{verdict}\n<think>or not",
        f"I shall think first. <think>{verdict}, but",
        f"<|channel|>analysis<|message|>{verdict}, but",
    ):
        assert parse(reply, cut=True) == Parsed(None, "cut_off")
        assert parse(reply) == Parsed(None, "empty")


@pytest.mark.parametrize(
    ("parse", "reply"),
    [
        (score, "Score: 1 point\n\n2. Is it complete?\nScore: 0 points\n\n3. Does it"),
        (score, "Score: 1/5\nScore: 2/5\nAs for the third criterion"),
        (parse_rating, "Relevance: [[8]]. Depth: [[5]]. Detail"),
        (parse_rating, "Relevance: [8]. Depth: [5]. Detail"),
        (parse_pair, "For relevance [[A]], for depth [[B]], for"),
    ],
)
def test_a_cut_reply_with_different_verdicts_was_cut_before_its_last(
    parse: Callable[..., Parsed[object]], reply: str
) -> None:
    assert parse(reply, cut=True) == Parsed(None, "cut_off")
    assert parse(reply).value is not None


@pytest.mark.parametrize(
    ("parse", "reply", "value"),
    [
        (score, "Score: 3\n\nFinal score: 3.0\n\nThe answer", 3.0),
        (parse_rating, "[[8]], so: Rating: [[8.0]]. The", 8.0),
        (parse_pair, "[[A]]. My verdict is [[A]] because", "A"),
    ],
)
def test_a_cut_reply_that_says_one_thing_twice_is_read(
    parse: Callable[..., Parsed[object]], reply: str, value: object
) -> None:
    assert parse(reply, cut=True) == Parsed(value, None)


@pytest.mark.parametrize(
    ("file", "form", "found"),
    [
        ("thinking_replies", "additive", [(None, "cut_off"), (None, "no_score")]),
        ("thinking_additive", "additive", [(None, "cut_off"), (None, "empty"), (4.0, None)]),
        ("thinking_rating", "rating", [(None, "cut_off")]),
        ("thinking_ranking", "ranking", [(1, None)]),
        ("additive_criterion_scores_cut", "additive", [(None, "cut_off")] * 3),
        # The same replies, not known to be cut: the last score counts, "Final Score: " is none.
        ("additive_criterion_scores", "additive", [(0.0, None), (2.0, None), (None, "no_score")]),
    ],
)
def test_replies_that_were_once_misread(
    file: str, form: str, found: list[tuple[object, str | None]], shared: Path
) -> None:
    rows = report(shared / "cases" / f"{file}.jsonl", form)
    assert [(row["score"], row["reason"]) for row in rows] == found


# 100 kB of each head and repeated piece. What takes time quadratic in the length takes minutes.
_PIECES = [
    "1", "1 ", "1.", "*", "_", " ", "\t", "\n", "\r\n", "[", "]", "[[", "[[1", "[[1]]", "[[A]] ",
    "/", "-", ".", ", ", ";", ": ", "'", "<", "<think>", "</think>", "<|channel|>final ", "score",
    "Score:", "Score: 1 ", "Score: 1 to ", "'model': ", "'model':'a','rank':", "for example:",
    "category", "category: ", "complexity:1", "a ", "Task ", "1\n", "**1",
]  # fmt: skip
_HEADS = ["", "Score: 1", "[[1", "category: x"]
_PARSE_ALL = """
    import json, sys
    from core.thinking import after_thought, answer_of, opening_of
    from evaluation.alpaca_eval.tags import read_tag
    from judges.asking import Reply
    from judges.replies import parse_pair, parse_ranking, parse_rating, parse_score
    from training.data.prompts import read_tasks

    heads, pieces = json.load(sys.stdin)
    for text in (f"{head}{p * (100_000 // len(p))}x" for head in heads for p in pieces):
        parse_score(text, low=0.0, high=5.0, cut=True)
        parse_rating(text, cut=True)
        parse_pair(text, cut=True)
        parse_ranking(text, cut=True)
        after_thought(text), answer_of(text), opening_of(text)
        read_tag(Reply("k", text, "stop"))
        read_tasks(text, first_number=9, cut=True)
"""


@pytest.mark.slow
def test_a_long_reply_takes_time_in_proportion_to_its_length() -> None:
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_PARSE_ALL)],
        input=json.dumps([_HEADS, _PIECES]),
        text=True,
        check=True,
        cwd=ROOT,
        timeout=600,
    )
