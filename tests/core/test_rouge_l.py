from __future__ import annotations

import json
import random
from collections import Counter
from itertools import product
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rouge_score import scoring
from rouge_score.rouge_scorer import RougeScorer

from core.rouge_l import Match, Pool, rouge_l, rouge_words

SCORER = RougeScorer(["rougeL"], use_stemmer=False)


def by_rouge_score(target: str, prediction: str) -> float:
    return float(SCORER.score(target, prediction)["rougeL"].fmeasure)


# ----- one pair


def test_rouge_l_of_hand_counted_texts() -> None:
    assert rouge_l("the cat sat down", "the cat sat down") == 1.0
    assert rouge_l("the cat sat down", "a dog ran off") == 0.0
    # Two of four words in order: P = R = 1/2, F = 1/2. "The" and punctuation do not matter.
    assert rouge_l("the cat sat down", "The cat: runs off!") == 0.5
    # The same words in reverse share a subsequence of one: F = 1/4.
    assert rouge_l("the cat sat down", "down sat cat the") == 0.25
    # 2 of 2 against 2 of 6 words: P = 1, R = 1/3, F = 1/2.
    assert rouge_l("the cat sat down on it", "the cat") == pytest.approx(0.5)
    # "write a about" of 4 and 5 words: F = 2·3/9.
    assert rouge_l("write a poem about", "write a short story about") == pytest.approx(6 / 9)


def test_a_text_without_a_word_has_nothing_in_common_with_any() -> None:
    assert rouge_l("", "") == rouge_l("…", "the cat") == rouge_l("the cat", "?!") == 0.0


def test_words_are_rouge_scores() -> None:
    assert rouge_words("The CAT's 2nd—café, don't_stop") == (
        "the", "cat", "s", "2nd", "caf", "don", "t", "stop",
    )  # fmt: skip
    assert rouge_words("走る ?!") == ()


def longest_common(a: list[str], b: list[str]) -> int:
    """By the textbook's table."""
    row = [0] * (len(b) + 1)
    for word in a:
        before = row[:]
        for at, other in enumerate(b, start=1):
            row[at] = before[at - 1] + 1 if word == other else max(row[at - 1], before[at])
    return row[-1]


def test_texts_longer_than_a_machine_word_are_aligned_too() -> None:
    # 64 and 128 places are where an addition of bits could lose its carry.
    rng = random.Random(4)
    for size in (63, 64, 65, 127, 128, 129, 400):
        a, b = rng.choices("abcd", k=size), rng.choices("abcde", k=size + 7)
        common = longest_common(a, b)
        f = rouge_l(" ".join(a), " ".join(b))
        assert f == pytest.approx(2 * common / (2 * size + 7), rel=1e-12)
        assert f == by_rouge_score(" ".join(a), " ".join(b))


PHRASE = st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), max_size=12).map(" ".join)


@settings(deadline=None, max_examples=300)
@given(target=PHRASE, prediction=PHRASE)
def test_f_is_rouge_scores_to_the_last_bit_in_both_directions(target: str, prediction: str) -> None:
    expected = by_rouge_score(target, prediction)
    assert rouge_l(target, prediction) == rouge_l(prediction, target) == expected


@pytest.mark.parametrize(("tenths", "below"), [(6, 4), (7, 2), (8, 48)])
def test_pairs_exactly_at_the_threshold_fall_on_rouge_scores_side(tenths: int, below: int) -> None:
    # Of 23 and 37 words with 21 in common F is 42/60 = 0.7, but rouge-score's operations give a
    # double below 0.7: not similar. Of 7 and 13 with 7 in common they give 0.7: similar.
    threshold, decided = tenths / 10, Counter[bool]()
    for m, n in product(range(1, 61), repeat=2):
        common, rest = divmod(tenths * (m + n), 20)
        if rest or common > min(m, n) or m > n:
            continue
        target = " ".join(["same"] * common + ["left"] * (m - common))
        prediction = " ".join(["same"] * common + ["right"] * (n - common))
        reached = scoring.fmeasure(common / n, common / m) >= threshold
        assert (Pool([target], threshold).similar(prediction) is not None) == reached
        decided[reached] += 1
    assert decided[False] == below
    assert decided[True] > 40


# ----- a pool


def test_a_near_duplicate_that_is_no_exact_match_is_similar() -> None:
    # Eight words, seven in common: P = R = F = 7/8 = 0.875, above 0.7.
    seed = "Write a short poem about the autumn sea."
    pool = Pool([seed], 0.7)
    assert pool.similar("Write a short poem about the winter sea.") == seed
    assert pool.similar("WRITE a short poem, about the autumn sea") == seed
    # Five of eight in common: 0.625.
    assert pool.similar("Write a short poem about my old dog.") is None


@pytest.mark.parametrize(
    ("threshold", "similar"), [(0.49, True), (0.5, True), (0.51, False), (1.0, False)]
)
def test_a_text_at_the_threshold_is_similar(threshold: float, similar: bool) -> None:
    # F is exactly 1/2 in both cases; in the second it is also the most that texts of two and six
    # words can reach, so nothing may be skipped for its length alone.
    for other in ("the cat runs off", "the cat"):
        text = "the cat sat down" if other == "the cat runs off" else "the cat sat down on it"
        found = Pool([other], threshold).similar(text)
        assert found == (other if similar else None)


def test_texts_without_a_word_are_similar_to_nothing() -> None:
    pool = Pool(["…", "the cat"], 0.1)
    assert pool.similar("?!") is None
    assert pool.similar("the cat") == "the cat"
    assert Pool([], 0.1).similar("the cat") is None


def test_the_first_of_several_similar_texts_is_named_in_the_order_of_adding() -> None:
    pool = Pool(["a b c d", "a b c e"], 0.7)
    pool.add("a b c f")
    # The third is equal, F = 1, but the first two reach 3/4 and came before it.
    assert pool.similar("a b c f") == "a b c d"
    assert list(pool.matches("a b c f")) == [Match(0, 0.75), Match(1, 0.75), Match(2, 1.0)]


def test_a_text_counts_from_the_moment_it_is_added() -> None:
    pool = Pool([], 0.7)
    assert pool.similar("a b c d") is None
    pool.add("a b c d")
    assert pool.similar("a b c d") == "a b c d"


def test_words_are_counted_with_repetition() -> None:
    # "a" once in common of 4 and 1: F = 2/5. Four times in common: 1.
    pool = Pool(["a", "a a a a"], 0.7)
    assert pool.similar("a a a a") == "a a a a"


@pytest.mark.parametrize("threshold", [0.0, -0.1, 1.01, float("nan")])
def test_a_threshold_that_all_or_no_texts_reach_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match=r"is not in \(0, 1\]"):
        Pool([], threshold)


THRESHOLDS = st.sampled_from([0.01, 0.25, 1 / 3, 0.4, 0.5, 0.6, 2 / 3, 0.7, 0.75, 0.8, 1.0])


@settings(deadline=None, max_examples=200)
@given(texts=st.lists(PHRASE, max_size=8), text=PHRASE, threshold=THRESHOLDS)
@example(texts=["a b c d e a b x y z"], text="a b c d e a b q r s", threshold=0.7)
@example(texts=["a b c"], text="a b c d e", threshold=0.75)
@example(texts=["a b", "b a b a"], text="a a b b", threshold=0.5)
def test_the_texts_found_are_those_of_trying_every_one(
    texts: list[str], text: str, threshold: float
) -> None:
    pool = Pool(texts[:3], threshold)
    for later in texts[3:]:
        pool.add(later)
    scored = [Match(place, by_rouge_score(other, text)) for place, other in enumerate(texts)]
    expected = [match for match in scored if match.f >= threshold]
    assert list(pool.matches(text)) == expected
    assert pool.similar(text) == (texts[expected[0].place] if expected else None)


def test_the_decision_on_edited_sentences_is_rouge_scores_own() -> None:
    # Near duplicates of the default threshold's kind: some words of a sentence are replaced.
    rng = random.Random(11)
    decided = Counter[bool]()
    for _ in range(100):
        words = ["explain", *(f"word{rng.randrange(3000)}" for _ in range(8))]
        changed = rng.sample(range(9), rng.randint(0, 5))
        text = " ".join(f"new{i}" if i in changed else w for i, w in enumerate(words))
        expected = by_rouge_score(" ".join(words), text) >= 0.7
        assert (Pool([" ".join(words)], 0.7).similar(text) is not None) == expected
        # Nine words, n of them replaced: F = (9 - n) / 9, at least 0.7 for n up to 2.
        assert expected == (len(changed) <= 2)
        decided[expected] += 1
    assert min(decided[True], decided[False]) > 0


def test_the_kept_prompts_are_those_of_rouge_score_on_real_ones(shared: Path) -> None:
    # Real seed tasks, each also with a few words left out, in a random order.
    rng = random.Random(2)
    lines = (shared / "data" / "self_instruct" / "seed_tasks.jsonl").read_text().splitlines()
    seeds: list[str] = [json.loads(line)["instruction"] for line in lines]
    short = [" ".join(w for w in text.split() if rng.random() > 0.3) for text in seeds]
    texts = rng.sample(seeds + short, 150)
    pool, kept, expected = Pool([], 0.7), list[str](), list[str]()
    for text in texts:
        if pool.similar(text) is None:
            pool.add(text)
            kept.append(text)
        if all(by_rouge_score(other, text) < 0.7 for other in expected):
            expected.append(text)
    assert kept == expected
    assert 75 < len(kept) < len(texts)  # some were similar, some not
