"""ROUGE-L similarity search over many texts, exact as in rouge-score, by a prefix filter.

A common subsequence is no longer than the words in common, counted with repetition. F of texts of
m and n words can therefore reach a threshold t only if they share at least t(m + n)/2 words, and a
text of n words shares at least tn/(2 - t) of them with any text similar to it. So it shares one of
its rarest ones, where "rarest" leaves out fewer than that: the few texts that hold one of those
are aligned, all others are not even looked at.

Sources: ROUGE-L as in rouge-score 0.1.2 (rouge_scorer.py, scoring.py); the choice of rare words is
the prefix filter of Chaudhuri et al. 2006 and Bayardo et al. 2007; the length of a common
subsequence by bits is Hyyrö 2004.
"""

from __future__ import annotations

import math
from array import array
from collections import defaultdict
from sys import intern
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

_ROUNDING = 1e-9  # the bound must not be sharper than rouge-score's own arithmetic

Words = tuple[str, ...]


class Match(NamedTuple):
    """A text of the pool that is similar to the one asked about: its place and F."""

    place: int
    f: float


class Pool:
    """Texts in the order they were added, ready to be compared with new ones.

    Memory per word is a reference and four bytes; a text is never compared with most others.
    """

    def __init__(self, texts: Iterable[str], threshold: float) -> None:
        """Index the first texts; those whose F reaches `threshold` in (0, 1] are similar.

        Raises:
            ValueError: the threshold is outside; at 0 everything would be similar.
        """
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold {threshold} is not in (0, 1]")
        self._threshold = threshold
        self._bound = threshold - _ROUNDING
        self._texts: list[str] = []
        self._words: list[Words] = []
        self._sizes = array("i")
        # Where a word's k-th occurrence stands: the sizes of these sets are multiset overlaps.
        self._places: dict[tuple[str, int], array[int]] = defaultdict(lambda: array("i"))
        for text in texts:
            self.add(text)

    def add(self, text: str) -> None:
        """Add a text behind all others."""
        words = rouge_words(text)
        place = len(self._texts)
        self._texts.append(text)
        self._words.append(words)
        self._sizes.append(len(words))
        for occurrence in _occurrences(words):
            self._places[occurrence].append(place)

    def similar(self, text: str) -> str | None:
        """Return the first text, in the order of adding, that is similar to `text`, or None.

        A text without a word is similar to nothing.
        """
        match = next(self.matches(text), None)
        return None if match is None else self._texts[match.place]

    def matches(self, text: str) -> Iterator[Match]:
        """Yield every text whose ROUGE-L F with `text` reaches the threshold, in order."""
        words = rouge_words(text)
        bits = _bits(words)
        for place in self._near(words):
            theirs = self._words[place]
            f = _f(_common(theirs, bits, len(words)), len(theirs), len(words))
            if f >= self._threshold:
                yield Match(place, f)

    def _near(self, words: Words) -> list[int]:
        """Return the places of texts that could be similar, in order; none that is, is left out."""
        size = len(words)
        # The least that any similar text shares: what the shortest such text would have to.
        least = max(1, math.ceil(self._bound * size / (2 - self._bound)))
        held = [self._places[o] for o in _occurrences(words) if o in self._places]
        rare = sorted(held, key=len)[: max(0, len(held) - least + 1)]
        if not rare:
            return []
        shared = np.bincount(np.concatenate([_view(places) for places in rare]))
        found = np.flatnonzero(shared)
        sizes = _view(self._sizes)[found]
        # Each of the common words that were not looked up may be shared as well.
        most = np.minimum(shared[found] + len(held) - len(rare), np.minimum(sizes, size))
        near: list[int] = found[2 * most >= self._bound * (sizes + size)].tolist()
        return near


def rouge_l(target: str, prediction: str) -> float:
    """Return ROUGE-L F in [0, 1] as rouge-score does, to the bit; 0 for a text without words.

    Both directions are equal: its formula is symmetric also in floating point.
    """
    theirs, words = rouge_words(target), rouge_words(prediction)
    return _f(_common(theirs, _bits(words), len(words)), len(theirs), len(words))


def rouge_words(text: str) -> Words:
    """Return rouge-score's tokens: lower case, ASCII letters and digits only, no stemming."""
    from rouge_score.tokenize import tokenize

    return tuple(map(intern, tokenize(text, None)))


def _occurrences(words: Words) -> list[tuple[str, int]]:
    """Return each word with how often it has been there before, so that all are different."""
    seen: dict[str, int] = {}
    out = []
    for word in words:
        seen[word] = count = seen.get(word, -1) + 1
        out.append((word, count))
    return out


def _view(numbers: array[int]) -> NDArray[np.int32]:
    # A view must not outlive the call: an array cannot grow while it is looked at.
    return np.frombuffer(numbers, np.int32)


def _bits(words: Words) -> dict[str, int]:
    """Return for each word the places where it stands, as bits."""
    bits: dict[str, int] = {}
    for place, word in enumerate(words):
        bits[word] = bits.get(word, 0) | 1 << place
    return bits


def _common(theirs: Sequence[str], bits: Mapping[str, int], size: int) -> int:
    """Return the length of the longest common subsequence of `theirs` and the `size` bit places.

    A row of the usual table grows by 0 or 1 from place to place; the state has a 0 bit wherever it
    grows, and one addition moves all of them as the next word demands.
    """
    state = whole = (1 << size) - 1
    for word in theirs:
        if here := bits.get(word):
            moved = state & here
            state = (state + moved) | (state - moved)
    return size - (state & whole).bit_count()


def _f(common: int, target: int, prediction: int) -> float:
    """Return F of a common subsequence: rouge-score's operations in its order."""
    if not common:
        return 0.0
    precision, recall = common / prediction, common / target
    return 2 * precision * recall / (precision + recall)
