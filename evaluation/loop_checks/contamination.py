"""Contamination: training prompts that overlap with evaluation items.

Three kinds of overlap: the same text; a shared n-gram of words; and ROUGE-L as in the
self-instruction filter, which also finds paraphrases. The last two need words with spaces between
them (ROUGE-L: in Latin letters); the first finds a copy in any script.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

from core.intervals import share_score
from core.progress import track
from core.records import Flag
from core.rouge_l import Pool
from core.store import Built

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from core.evaluation_config import ContaminationSection
    from core.records import Score
    from core.store import Partial
    from evaluation.benchmark import EvaluationItem

KINDS = {"kinds": "equal, ngram, rouge"}
"""Part of the key of flags: those found before "equal" was a kind are stale."""
LEAST_WORDS = 4  # shorter texts ("tell me more") match everywhere
_WORD = re.compile(r"[^\W_]+")

Gram = tuple[str, ...]


class Overlap(NamedTuple):
    """Indices of a prompt and an item, and the amount of overlap."""

    prompt: int
    item: int
    amount: float


def find_overlaps(
    prompts: Sequence[tuple[str, str]],
    items: Sequence[EvaluationItem],
    section: ContaminationSection,
    out: Partial,
) -> Built:
    """Write a flag for each prompt (key, text) and item that overlap, by kind.

    "equal": they have the same letters, digits and symbols in the same order. "ngram": they share
    `section.ngram` consecutive words, or the shorter one has fewer words than that (but at least
    four) and the other contains all of it. "rouge": ROUGE-L F reaches the threshold. Counts:
    prompts, items, prompts flagged at all and per benchmark.
    """
    found = {
        "equal": equal_texts([text for _, text in prompts], [i.text for i in items]),
        "ngram": shared_ngrams([text for _, text in prompts], [i.text for i in items], section),
        "rouge": similar_texts([text for _, text in prompts], [i.text for i in items], section),
    }
    for kind, overlaps in found.items():
        for overlap in overlaps:
            (key, text), item = prompts[overlap.prompt], items[overlap.item]
            flag = f"{key}/{kind}/{item.benchmark}/{item.item}"
            if flag not in out.rows:
                out.add(Flag(flag, key, text, *item, kind, overlap.amount))  # type: ignore[arg-type]
    flags = out.rows.values()
    flagged = Counter(where for where, _ in {(flag.benchmark, flag.prompt_key) for flag in flags})
    counts = {
        "prompts": len(prompts),
        "items": len(items),
        "flagged": len({flag.prompt_key for flag in flags}),
    }
    names = dict.fromkeys(item.benchmark for item in items)
    return Built(counts=counts | {f"flagged_{name}": flagged[name] for name in names})


def scores(
    flags: Sequence[Flag], prompts: int, *, compared: Mapping[str, int], left_out: Sequence[str]
) -> list[Score]:
    """Return the % of `prompts` training prompts that are flagged, at all and by each kind.

    `detail` counts flagged prompts per benchmark ("flagged"), and has how many items of which sets
    were `compared` and which sets were not ("left_out"). Wilson intervals.
    """
    named = {"flagged": list(flags)}
    named |= {kind: [f for f in flags if f.kind == kind] for kind in ("equal", "ngram", "rouge")}
    out = []
    for name, found in named.items():
        per_benchmark = Counter(where for where, _ in {(f.benchmark, f.prompt_key) for f in found})
        flagged = len({flag.prompt_key for flag in found})
        detail = {
            "flagged": dict(sorted(per_benchmark.items())),
            "compared": dict(compared),
            "left_out": list(left_out),
        }
        out.append(share_score(name, flagged, prompts, reason="no prompts", detail=detail))
    return out


def words(text: str) -> Gram:
    """Return a text's words: letters and digits of any script, in one case and Unicode form."""
    return tuple(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def equal_texts(prompts: Sequence[str], items: Sequence[str]) -> Iterator[Overlap]:
    """Yield pairs with the same letters, digits and symbols in one case and Unicode form."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, prompt in enumerate(prompts):
        places[_normalised(prompt)].append(place)
    for place, item in enumerate(items):
        if text := _normalised(item):
            yield from (Overlap(prompt, place, 1.0) for prompt in places.get(text, ()))


def _normalised(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(letter for letter in folded if unicodedata.category(letter)[0] in "LMNS")


def shared_ngrams(
    prompts: Sequence[str], items: Sequence[str], section: ContaminationSection
) -> Iterator[Overlap]:
    """Yield pairs that share n words in a row; the amount counts different n-grams.

    Of a text with fewer than n words (but four or more) all of it must be in the other; the amount
    is then 1. The prompts are indexed, since they are the smaller side, and the items stream by.
    """
    n = section.ngram
    tokens = [words(text) for text in prompts]
    sizes = [len(found) for found in tokens]
    items_words = [words(text) for text in items]
    short = {len(found) for found in (*tokens, *items_words) if LEAST_WORDS <= len(found) < n}
    indexes = {size: _index(tokens, size) for size in sorted({n, *short})}
    for place, found in enumerate(items_words):
        amounts: Counter[int] = Counter()
        if len(found) >= n:
            amounts.update(_hits(found, n, indexes[n]))
        for size in short:
            # Whole short item in a prompt, or whole short prompt in the item.
            hits = _hits(found, size, indexes[size])
            amounts.update(p for p in hits if size in (len(found), sizes[p]) and not amounts[p])
        for prompt in sorted(+amounts):
            yield Overlap(prompt, place, float(amounts[prompt]))


def _grams(tokens: Gram, n: int) -> set[Gram]:
    return {tokens[at : at + n] for at in range(len(tokens) - n + 1)}


def _index(texts: Sequence[Gram], n: int) -> dict[Gram, list[int]]:
    index: dict[Gram, list[int]] = defaultdict(list)
    for place, tokens in enumerate(texts):
        for gram in _grams(tokens, n):
            index[gram].append(place)
    return dict(index)


def _hits(tokens: Gram, n: int, index: Mapping[Gram, Sequence[int]]) -> Iterator[int]:
    for gram in _grams(tokens, n):
        yield from index.get(gram, ())


def similar_texts(
    prompts: Sequence[str], items: Sequence[str], section: ContaminationSection
) -> Iterator[Overlap]:
    """Yield pairs whose ROUGE-L F reaches the threshold; the amount is F, by rouge-score."""
    if not prompts:
        return
    pool = Pool(items, section.rouge_threshold)
    with track("ROUGE-L", len(prompts)) as advance:
        for row, prompt in enumerate(prompts):
            for match in pool.matches(prompt):
                yield Overlap(row, match.place, match.f)
            advance(1)
