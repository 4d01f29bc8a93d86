"""Parsing the judge replies of a file: `srlm-eval parse-judgments`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.errors import DataError
from evaluation.files.json_rows import read_rows
from judges.replies import parse_arena, parse_pair, parse_ranking, parse_rating, parse_score
from judges.rubrics import load_rubric

if TYPE_CHECKING:
    from pathlib import Path

FORMS = ("additive", "li", "rating", "ranking", "pair", "arena")


def report(path: Path, form: str) -> list[dict[str, Any]]:
    """Return {"line", "score", "reason"} for each row's `response`; one of the two is None.

    `form` is the reply format: "additive" and "li", "Score: x" in the rubric's range; the path of a
    rubric (.md), its form and range; "rating", MT-Bench's "[[x]]"; "ranking", AlpacaEval's (score 1
    or 2: the preferred output); "pair", "[[A]]", "[[B]]" or "[[C]]" (score "A", "B" or "tie");
    "arena", Arena-Hard's "[[A>>B]]" to "[[B>>A]]". A reply that was cut by the token limit is
    marked with `"cut": true` or `"finish": "length"`.

    Raises:
        DataError: a row has no `response`, or it is not text; the rubric cannot be used.
    """
    found = []
    for line, row in read_rows(path):
        text = row.get("response")
        if not isinstance(text, str):
            raise DataError(path, line, f'"response" is {text!r}, expected the judge\'s reply')
        cut = bool(row.get("cut")) or row.get("finish") == "length"
        score, reason = _read(text, form, cut=cut)
        found.append({"line": line, "score": score, "reason": reason})
    return found


def _read(text: str, form: str, *, cut: bool) -> tuple[float | str | None, str | None]:
    """Return what was read and why nothing was: every parser's reply is that pair."""
    match form:
        case "rating":
            return parse_rating(text, cut=cut)
        case "ranking":
            return parse_ranking(text, cut=cut)
        case "pair":
            return parse_pair(text, cut=cut)
        case "arena":
            return parse_arena(text, cut=cut)
    rubric = load_rubric(form)
    return parse_score(text, low=rubric.low, high=rubric.high, cut=cut, form=rubric.form)
