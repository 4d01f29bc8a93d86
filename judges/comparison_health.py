"""Reliability of a judge's comparisons: position bias, length bias and ties."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

from core.records import Measurement
from core.reductions import combine, item_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.records import Verdict


class _Orders(NamedTuple):
    """A comparison with a readable verdict in both orders, each from A's side."""

    ab: Verdict
    ba: Verdict


def measure_comparisons(
    verdicts: Sequence[Verdict], lengths: Mapping[str, tuple[int, int]]
) -> list[Measurement]:
    """Describe the verdicts of `judges.pairwise.judge_orders`, one per order.

    `lengths` maps each prompt's key to the characters of answer A and answer B. Verdicts under a
    key without an order (decided without a judge) are left out.

    Returns, each with the number of items behind it (value None when there are none):
        parse_rate: share of orders with a readable verdict; detail counts the reasons why not.
        flip_rate: share of comparisons, readable in both orders, whose orders name different
            winners; 0 for a judge of content, 1 for one that looks at the position alone. Detail:
            `half_tie` counts those where one order is a tie and the other is not.
        first_shown_rate: among those comparisons' orders that name a winner, the share whose winner
            was shown first; 0.5 without position bias, 1 if the first always wins.
        tie_rate: share of those comparisons that end as a tie, by agreement or for lack of it.
        longer_wins: mean over comparisons with a winner of +1 if it is the longer answer, −1 if the
            shorter, 0 if both are equally long; in [−1, 1], 0 without length bias.
    """
    orders = [v for v in verdicts if v.key.endswith(("/ab", "/ba"))]
    readable = [v for v in orders if v.winner is not None]
    reasons = Counter(str(v.unparsed) for v in orders if v.winner is None)
    pairs = _both_orders(readable)
    flips = [float({p.ab.winner, p.ba.winner} == {"A", "B"}) for p in pairs]
    half = sum((p.ab.winner == "tie") != (p.ba.winner == "tie") for p in pairs)
    joint = [combine(p.ab, p.ba) for p in pairs]
    return [
        Measurement(
            "parse_rate",
            _mean([float(v.winner is not None) for v in orders]),
            len(orders),
            {reason: float(reasons[reason]) for reason in sorted(reasons)},
        ),
        Measurement("flip_rate", _mean(flips), len(flips), {"half_tie": float(half)}),
        _measurement("first_shown_rate", _first_shown(pairs)),
        _measurement("tie_rate", [float(v.winner == "tie") for v in joint]),
        _measurement("longer_wins", [_sign(v, lengths) for v in joint if v.winner != "tie"]),
    ]


def _both_orders(readable: Sequence[Verdict]) -> list[_Orders]:
    found: dict[str, dict[str, Verdict]] = defaultdict(dict)
    for verdict in readable:
        found[item_key(verdict)][verdict.key[-2:]] = verdict
    return [_Orders(o["ab"], o["ba"]) for o in found.values() if len(o) == len(_Orders._fields)]


def _first_shown(pairs: Sequence[_Orders]) -> list[float]:
    in_ab = [float(p.ab.winner == "A") for p in pairs if p.ab.winner != "tie"]
    in_ba = [float(p.ba.winner == "B") for p in pairs if p.ba.winner != "tie"]
    return in_ab + in_ba


def _sign(verdict: Verdict, lengths: Mapping[str, tuple[int, int]]) -> float:
    a, b = lengths[verdict.prompt_key]
    longer_by = a - b if verdict.winner == "A" else b - a
    return float((longer_by > 0) - (longer_by < 0))


def _measurement(key: str, values: Sequence[float]) -> Measurement:
    return Measurement(key, _mean(values), len(values))


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
