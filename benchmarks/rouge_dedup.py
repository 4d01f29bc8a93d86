"""Speed of the prompt pool against rouge-score on all pairs, with the same prompts kept.

    python -m benchmarks.rouge_dedup [--shared DIR]

10,000 prompts: questions and instructions that people wrote (`shared`), one in five of them an
edited copy of another, as a model's own prompts often are. Without the real data the prompts are
made of words drawn by Zipf's law, and the note says so.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from core.rouge_l import Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PROMPTS = 10_000
PAIRED = 1_000
THRESHOLD = 0.7
_EDITED = 0.2
_PEER = "rouge-score 0.1.2, RougeScorer(['rougeL']).score on every pair until the first hit"
_BLOCK = 500
_LINES = {
    "oasst/oasst2_ranked_first_turns.jsonl": "question",
    "self_instruct/seed_tasks.jsonl": "instruction",
    "self_instruct/user_oriented_instructions.jsonl": "instruction",
    "benchmarks/gsm8k.test.jsonl": "question",
    "benchmarks/gsm8k.train.jsonl": "question",
    "benchmarks/arc_easy.test.jsonl": "question",
    "benchmarks/arc_challenge.test.jsonl": "question",
    "benchmarks/piqa.validation.jsonl": "goal",
    "benchmarks/nq_open.validation.jsonl": "question",
}


class Kept(NamedTuple):
    """Places of the prompts that were kept, and how many pairs trying each in turn compares."""

    places: list[int]
    pairs: int


def measure(shared: Path | None, repeats: int = 5) -> dict[str, Any]:
    """Return the ratio of rouge-score's seconds on 10,000 prompts to ours, and both medians.

    rouge-score runs on the first 1,000 prompts, twice, and is extrapolated by the number of pairs.
    `equal`: the kept prompts are the same, on the 1,000 by that run and on the 10,000 by
    rouge-score on every pair that shares enough words to be similar at all.
    """
    prompts = prompts_of(shared)
    few = prompts[:PAIRED]
    slow = [_timed(all_pairs, few) for _ in range(2)]
    kept_few = slow[0][1]
    fast = [_timed(pooled, prompts) for _ in range(repeats)]
    kept = fast[0][1]
    scale = kept.pairs / kept_few.pairs
    ours, theirs = [s for s, _ in fast], [s * scale for s, _ in slow]
    equal = kept_few == pooled(few) and kept.places == checked(prompts)
    source = "real prompts, a fifth of them edited copies" if shared else "made-up prompts"
    return {
        "ratio_median": statistics.median(theirs) / statistics.median(ours),
        "ratio_min": min(theirs) / max(ours),
        "ratio_max": max(theirs) / min(ours),
        "ours": statistics.median(ours),
        "theirs": statistics.median(theirs),
        "peer": _PEER,
        "equal": equal,
        "note": (
            f"{PROMPTS:,} {source}, {len(kept.places):,} kept; rouge-score took "
            f"{statistics.median(s for s, _ in slow):.1f} s for the {kept_few.pairs:,} pairs of "
            f"{PAIRED:,} prompts, extrapolated to {kept.pairs:,} pairs"
        ),
    }


def pooled(prompts: Sequence[str]) -> Kept:
    """Keep what is similar to nothing kept before, as the prompt filter does."""
    pool, places, pairs = Pool([], THRESHOLD), list[int](), 0
    for place, text in enumerate(prompts):
        match = next(pool.matches(text), None)
        if match is None:
            pairs += len(places)
            places.append(place)
            pool.add(text)
        else:
            pairs += match.place + 1
    return Kept(places, pairs)


def all_pairs(prompts: Sequence[str]) -> Kept:
    """Do the same as a user of rouge-score would write it."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"])
    places, pairs = list[int](), 0
    for place, text in enumerate(prompts):
        for other in places:
            pairs += 1
            if scorer.score(prompts[other], text)["rougeL"].fmeasure >= THRESHOLD:
                break
        else:
            places.append(place)
    return Kept(places, pairs)


def checked(prompts: Sequence[str]) -> list[int]:
    """Return the places kept by rouge-score on every pair that shares enough words.

    Nothing but F ≤ 2 · (words in common, with repetition) / (m + n) is used to leave pairs out.
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"])
    similar: dict[int, list[int]] = {}
    for earlier, later in _sharing_enough(prompts):
        if scorer.score(prompts[earlier], prompts[later])["rougeL"].fmeasure >= THRESHOLD:
            similar.setdefault(later, []).append(earlier)
    kept = set[int]()
    for place in range(len(prompts)):
        if kept.isdisjoint(similar.get(place, ())):
            kept.add(place)
    return sorted(kept)


def _sharing_enough(prompts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield (earlier, later) places of pairs within the bound; a product of sparse matrices."""
    from rouge_score.tokenize import tokenize
    from scipy.sparse import csr_matrix

    columns: dict[tuple[str, int], int] = {}
    rows, places = list[int](), list[int]()
    for row, text in enumerate(prompts):
        seen: Counter[str] = Counter()
        for word in tokenize(text, None):
            seen[word] += 1
            rows.append(row)
            places.append(columns.setdefault((word, seen[word]), len(columns)))
    shape = (len(prompts), len(columns))
    matrix = csr_matrix((np.ones(len(rows), np.int32), (rows, places)), shape)
    sizes, across = np.bincount(rows, minlength=len(prompts)), matrix.T.tocsr()
    for start in range(0, len(prompts), _BLOCK):
        common = (matrix[start : start + _BLOCK] @ across).tocoo()
        later, earlier = common.row + start, common.col
        near = 2 * common.data >= (THRESHOLD - 1e-9) * (sizes[later] + sizes[earlier])
        near &= earlier < later
        yield from zip(earlier[near].tolist(), later[near].tolist(), strict=True)


def prompts_of(shared: Path | None) -> list[str]:
    """Return 10,000 different prompts in random order, including edited copies."""
    rng = random.Random(0)
    texts = _real(shared / "data") if shared else _made_up(rng)
    originals = rng.sample(texts, round(PROMPTS * (1 - _EDITED)))
    prompts = dict.fromkeys(originals)
    while len(prompts) < PROMPTS:
        prompts[_edited(rng.choice(originals), rng)] = None
    return rng.sample(list(prompts), PROMPTS)


def _edited(text: str, rng: random.Random) -> str:
    """Return a text with up to half of its words replaced or left out."""
    words, share = text.split(), rng.uniform(0, 0.5)
    changed = [rng.choice(("", "another", word[::-1])) if rng.random() < share else word
               for word in words]  # fmt: skip
    return " ".join(word for word in changed if word)


def _real(data: Path) -> list[str]:
    texts = [
        json.loads(line)[name]
        for file, name in _LINES.items()
        for line in (data / file).read_text(encoding="utf-8").splitlines()
    ]
    for line in (data / "mt_bench" / "question.jsonl").read_text(encoding="utf-8").splitlines():
        texts += json.loads(line)["turns"]
    alpaca = (data / "alpaca_eval" / "alpaca_eval.json").read_text(encoding="utf-8")
    texts += [item["instruction"] for item in json.loads(alpaca)]
    return list(dict.fromkeys(texts))


def _made_up(rng: random.Random) -> list[str]:
    words = [f"word{n}" for n in range(30_000)]
    shares = [1 / (n + 2) for n in range(len(words))]
    return [
        " ".join(rng.choices(words, shares, k=max(4, round(rng.lognormvariate(2.8, 0.6)))))
        for _ in range(PROMPTS)
    ]


def _timed(keep: Callable[[Sequence[str]], Kept], prompts: Sequence[str]) -> tuple[float, Kept]:
    began = time.perf_counter()
    kept = keep(prompts)
    return time.perf_counter() - began, kept


def main() -> None:
    """Measure and print as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, help="the folder with the real data")
    measured = measure(parser.parse_args().shared)
    sys.stdout.write(json.dumps(measured, indent=1) + "\n")


if __name__ == "__main__":
    main()
