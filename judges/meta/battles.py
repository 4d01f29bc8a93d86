"""From meta-judgments to battles: which judgment won against which, position bias removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from core.records import Verdict


class PositionWeights(NamedTuple):
    """What a win counts in each position: the share of all wins that the other position has.

    A judge that prefers what it sees first gives away such wins; those of the second count more.
    """

    first: float
    second: float


def won_first(verdict: Verdict) -> bool | None:
    """Whether the winner was the one shown first; None for a tie or an unreadable verdict.

    Verdicts are seen from A's side; A is shown first under a key that ends in "/ab".
    """
    if verdict.winner not in ("A", "B"):
        return None
    return (verdict.winner == "A") == verdict.key.endswith("/ab")


def position_weights(verdicts: Iterable[Verdict]) -> PositionWeights | None:
    """Return ω₁ and ω₂ over all meta-judgments of an iteration; None if none names a winner."""
    found = [first for verdict in verdicts if (first := won_first(verdict)) is not None]
    if not found:
        return None
    share = sum(found) / len(found)
    return PositionWeights(1 - share, share)


def battles(
    judgments: Sequence[str], verdicts: Iterable[Verdict], weights: PositionWeights
) -> list[list[float]]:
    """Return B: B[m][n] is the weight of the wins of judgment m against n, in both orders.

    `judgments`: their keys, which name rows and columns. Ties and unreadable verdicts add nothing.
    """
    place = {key: at for at, key in enumerate(judgments)}
    matrix = [[0.0] * len(judgments) for _ in judgments]
    for verdict in verdicts:
        first = won_first(verdict)
        if first is None:
            continue
        sides = (verdict.a, verdict.b) if verdict.winner == "A" else (verdict.b, verdict.a)
        winner, loser = (place[key] for key in sides)
        matrix[winner][loser] += weights.first if first else weights.second
    return matrix
