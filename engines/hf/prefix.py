"""Which sequences begin alike, so that their beginning is computed once."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_T = TypeVar("_T")

# A shorter common beginning is not worth a forward pass of its own.
LEAST_SHARED_TOKENS = 64


def families(
    members: Sequence[_T], tokens: Callable[[_T], list[int]], *, least: int = 2
) -> Iterator[tuple[list[int], list[_T]]]:
    """Yield members with the tokens that all of them begin with; last those that share nothing.

    Args:
        members: what has tokens, in the order in which a family keeps them.
        tokens: the token ids of a member.
        least: a family with fewer members shares nothing.
    """
    alike: dict[tuple[int, ...], list[_T]] = defaultdict(list)
    for member in members:
        alike[tuple(tokens(member)[:LEAST_SHARED_TOKENS])].append(member)
    alone: list[_T] = []
    for family in alike.values():
        shared = common_prefix([tokens(member) for member in family])
        if shared and len(family) >= least:
            yield tokens(family[0])[:shared], family
        else:
            alone += family
    if alone:
        yield [], alone


def common_prefix(sequences: Sequence[list[int]]) -> int:
    """Return how many tokens all begin with (0 if too few); each keeps one of its own."""
    if len(sequences) < 2:  # noqa: PLR2004 - nobody to share with
        return 0
    low, high = min(sequences), max(sequences)
    limit = min(map(len, sequences)) - 1
    length = next((i for i in range(limit) if low[i] != high[i]), limit)
    return length if length >= LEAST_SHARED_TOKENS else 0
