"""Rows of benchmarks that compare two answers: AlpacaEval and head-to-head."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from core.reductions import combine_all
from core.stages import Stage, evaluation_ref
from reports.document import Item, number
from reports.formats.plotting import shown_name
from reports.rows.texts import NONE, Part, excerpt, group, points, said

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.records import Annotation, Generation, Verdict
    from reports.document import RowGroup
    from reports.results import RunResults

_DRAW = 1.5
_FIRST, _SECOND = "m", "M"  # the annotator's names for the answer shown first and second
_SAME = 1e-3


def alpaca_eval(results: RunResults, model: str, most: int) -> RowGroup | None:
    """Return a model's AlpacaEval comparisons; None without any."""
    ref = evaluation_ref(f"{model}/alpaca_eval", Stage.ANNOTATIONS)
    if not results.exists(ref):
        return None
    return group(
        f"{model}/alpaca_eval",
        f"AlpacaEval, {shown_name(model)}",
        ("instruction", "preference (1 to 2)", "verdict"),
        results.rows(ref),
        _annotated,
        most=most,
        artifact=ref,
    )


def _annotated(row: Annotation) -> Item:
    parts = [
        ("Instruction", row.instruction),
        (f"{row.generator_2}'s answer", said(row.output_2)),
        (f"The reference's answer ({row.generator_1})", said(row.output_1)),
        ("How they were shown", _presentation(row)),
        ("The judge's words", annotator_words(row.raw_completion)),
    ]
    if row.missing is not None:
        parts.append(("Why there is no preference", row.missing))
    cells = (excerpt(row.instruction), points(row.preference), _preferred(row))
    return Item(row.key, cells, tuple(parts))


def _preferred(row: Annotation) -> str:
    # A preference of 0 is how the package writes a draw.
    value = row.preference or (_DRAW if row.preference == 0 else None)
    if value is None:
        return f"missing: {row.missing}"
    return "draw" if value == _DRAW else "win" if value > _DRAW else "loss"


def _presentation(row: Annotation) -> str:
    """Say which answer the judge saw first, where the recorded words tell.

    The package draws the order from a seed and does not record it, but turns the preference round
    where the order was: comparing it with the judge's own probabilities shows whether it was.
    """
    told = "The order is drawn from a seed; the preference is the model's in either order."
    if not row.raw_completion:
        return "Nobody was asked: " + ("the answers are equal." if not row.missing else row.missing)
    probabilities = dict(_first_token(_parsed(row.raw_completion)))
    first, second = probabilities.get(_FIRST, 0.0), probabilities.get(_SECOND, 0.0)
    if row.preference is None or not first + second:
        return told
    as_shown = 1 + second / (first + second)
    if abs(as_shown - _DRAW) < _SAME:
        return told
    for preference, shown in ((as_shown, "reference's"), (3 - as_shown, "model's")):
        if abs(row.preference - preference) < _SAME:
            return f'The {shown} answer was shown first, as "m", the other as "M". {told}'
    return told


def annotator_words(raw: str) -> str:
    """Return a recorded completion in readable form.

    Weighted annotators decide by the first token's probabilities: those are listed. Others wrote
    words, which are returned as they are.
    """
    if not raw:
        return "(not asked)"
    found = _parsed(raw)
    text = found.get("text") if isinstance(found, dict) else found
    lines = [said(text) if isinstance(text, str) else raw]
    if probabilities := _first_token(found):
        lines += ["", "Probabilities of the first token:"]
        lines += [f"{token!r}: {number(100 * p)} %" for token, p in probabilities]
    return "\n".join(lines)


def _parsed(raw: str) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return raw


def _first_token(completion: Any) -> list[tuple[str, float]]:
    """Return the first token's most probable readings; [] where they were not recorded."""
    try:
        listed = completion["logprobs"]["content"][0]["top_logprobs"]
        return [(str(one["token"]), math.exp(min(0.0, float(one["logprob"])))) for one in listed]
    except (TypeError, KeyError, IndexError, ValueError):
        return []


def head_to_head(results: RunResults, a: str, b: str, most: int) -> RowGroup | None:
    """Return the comparisons of a matchup, both orders joined; None without any."""
    address = f"head_to_head/{a}-{b}"
    ref = evaluation_ref(address, Stage.VERDICTS)
    if not results.exists(ref):
        return None
    orders: dict[str, Verdict] = {row.key: row for row in results.rows(ref)}
    answers = [_answers(results, model) for model in (a, b)]
    return group(
        address,
        f"Head to head, {shown_name(a)} against {shown_name(b)}",
        ("prompt", "verdict", f"{shown_name(a)} shown first", f"{shown_name(b)} shown first"),
        combine_all(orders),
        lambda verdict: _compared(verdict, orders, answers[0], answers[1]),
        most=most,
        artifact=ref,
    )


def _answers(results: RunResults, model: str) -> dict[str, Generation]:
    rows = results.rows(evaluation_ref(f"{model}/head_to_head", Stage.ANSWERS))
    return {row.prompt_key: row for row in rows}


def _compared(
    verdict: Verdict,
    orders: Mapping[str, Verdict],
    ours: Mapping[str, Generation],
    theirs: Mapping[str, Generation],
) -> Item:
    a, b = ours.get(verdict.prompt_key), theirs.get(verdict.prompt_key)
    prompt = next((answer.prompt for answer in (a, b) if answer is not None), verdict.prompt_key)
    left, right = shown_name(verdict.a), shown_name(verdict.b)
    parts = [
        ("Prompt", prompt),
        (f"{left}'s answer", said(a.text) if a is not None else "(not in this run)"),
        (f"{right}'s answer", said(b.text) if b is not None else "(not in this run)"),
    ]
    singles = []
    for order, first in (("ab", left), ("ba", right)):
        single = orders.get(f"{verdict.key}/{order}")
        singles.append(_winner(single) if single is not None else NONE)
        if single is not None:
            parts.append(_ordered_words(single, first))
    if not any(f"{verdict.key}/{order}" in orders for order in ("ab", "ba")):
        parts.append(("The judge's words", "(nobody was asked: equal answers, or one is absent)"))
    return Item(verdict.key, (excerpt(prompt), _winner(verdict), *singles), tuple(parts))


def _ordered_words(verdict: Verdict, first: str) -> Part:
    words = verdict.replies[0] if verdict.replies else ""
    return f"The judge's words, {first} shown first ({_winner(verdict)})", said(words)


def _winner(verdict: Verdict) -> str:
    if verdict.winner is None:
        return f"no verdict: {verdict.unparsed}"
    if verdict.winner == "tie":
        return "tie"
    return f"{shown_name(verdict.a if verdict.winner == 'A' else verdict.b)} wins"
