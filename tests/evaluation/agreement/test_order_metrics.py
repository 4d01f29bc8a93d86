from __future__ import annotations

import json
import math
import random
from collections import defaultdict
from itertools import combinations, permutations
from pathlib import Path

import pytest

from evaluation.agreement.order_metrics import ScoredReplies, measure


def scored(*replies: tuple[float, float | None], key: str = "p") -> ScoredReplies:
    return ScoredReplies(key, replies)


def ranked(*scores: float | None, key: str = "p") -> ScoredReplies:
    """Scores in the humans' order, best first."""
    return scored(*((float(rank), score) for rank, score in enumerate(scores)), key=key)


def values(*prompts: ScoredReplies) -> dict[str, float | None]:
    return {name: m.value for name, m in measure(prompts, intervals=False).items()}


PERFECT = [ranked(5, 3, key="a"), ranked(5, 4, 1, key="b")]
WORST = [ranked(3, 5, key="a"), ranked(1, 4, 5, key="b")]


def test_a_perfect_judge_has_100_percent_everywhere_and_correlations_of_1() -> None:
    found = values(*PERFECT)
    for name, value in found.items():
        if name.startswith(("pairwise", "exact", "five")):
            assert value == 100.0, name
        elif "/pooled" not in name and name != "tie_rate":
            assert value == pytest.approx(1.0), name
    assert found["tie_rate"] == 0.0


def test_the_worst_judge_has_0_percent_everywhere_and_correlations_of_minus_1() -> None:
    found = values(*WORST)
    for name, value in found.items():
        if name.startswith(("pairwise", "exact", "five")):
            assert value == 0.0, name
        elif name.endswith("per_prompt"):
            assert value == pytest.approx(-1.0), name


def test_one_score_for_all_is_undefined_half_or_nothing_by_the_reading_of_ties() -> None:
    found = values(ranked(4, 4, key="a"), ranked(4, 4, 4, key="b"))
    assert found["pairwise_accuracy/ties_excluded"] is None
    assert found["pairwise_accuracy/ties_half"] == 50.0
    assert found["pairwise_accuracy/ties_wrong"] == 0.0
    assert found["exact_match/ties_excluded"] is None
    # In random order 1 of 2! and 1 of 3! are right: (1/2 + 1/6) / 2.
    assert found["exact_match/ties_half"] == pytest.approx(100 / 3)
    assert found["exact_match/ties_wrong"] == 0.0
    assert found["five_best"] is None
    assert found["kendall_tau/per_prompt"] == 0.0
    assert found["kendall_tau/per_prompt_ties_excluded"] is None
    assert found["spearman/pooled"] is None
    assert found["tie_rate"] == 1.0


def test_every_number_of_a_small_example_by_hand() -> None:
    # a: best first 5, 3, 3: pairs +, +, tie. b: 4, 5: pair −. c: 5, 5: tie.
    found = measure([ranked(5, 3, 3, key="a"), ranked(4, 5, key="b"), ranked(5, 5, key="c")])
    assert found["pairwise_accuracy/ties_excluded"][:2] == pytest.approx((200 / 3, 3))
    assert found["pairwise_accuracy/ties_half"][:2] == pytest.approx((100 * 3 / 5, 5))
    assert found["pairwise_accuracy/ties_wrong"][:2] == pytest.approx((100 * 2 / 5, 5))
    # Only b has no tie, and it is wrong. Half: 1/2, 0, 1/2.
    assert found["exact_match/ties_excluded"][:2] == (0.0, 1)
    assert found["exact_match/ties_half"][:2] == pytest.approx((100 / 3, 3))
    assert found["exact_match/ties_wrong"][:2] == (0.0, 3)
    # Fives: a's best, b's second, c's best and second.
    assert found["five_best"][:2] == (50.0, 4)
    # tau: a (2 − 0)/√(3·2) = 0.8165, b −1, c 0 or left out.
    assert found["kendall_tau/per_prompt"][:2] == pytest.approx(((2 / 6**0.5 - 1) / 3, 3))
    assert found["kendall_tau/per_prompt_ties_excluded"].value == pytest.approx(
        (2 / 6**0.5 - 1) / 2
    )
    # rho: a: ranks (3, 2, 1) and (3, 1.5, 1.5): 1.5/√(2·1.5) = 0.8660; b −1.
    assert found["spearman/per_prompt"].value == pytest.approx((math.sqrt(0.75) - 1) / 3)
    assert found["tie_rate"][:2] == pytest.approx((2 / 5, 5))
    assert found["scored_rate"][:2] == (1.0, 7)


def test_without_ties_tau_is_twice_the_accuracy_minus_1() -> None:
    for order in permutations((1.0, 2.0, 3.0, 4.0)):
        found = values(ranked(*order))
        accuracy = found["pairwise_accuracy/ties_excluded"]
        assert accuracy is not None
        assert found["kendall_tau/per_prompt"] == pytest.approx(2 * accuracy / 100 - 1)
        assert found["kendall_tau/pooled"] == pytest.approx(2 * accuracy / 100 - 1)


def test_with_ties_tau_is_twice_the_accuracy_minus_1_times_the_root_of_the_untied_share() -> None:
    # The relation that makes the paper's .817 and .324 fit at a tie rate of 74 %.
    for scores in permutations((1.0, 2.0, 2.0, 2.0, 3.0)):
        found = values(ranked(*scores))
        accuracy, ties = found["pairwise_accuracy/ties_excluded"], found["tie_rate"]
        assert accuracy is not None and ties is not None
        expected = (2 * accuracy / 100 - 1) * math.sqrt(1 - ties)
        assert found["kendall_tau/per_prompt"] == pytest.approx(expected)
    assert (2 * 0.817 - 1) * math.sqrt(1 - 0.739) == pytest.approx(0.324, abs=5e-4)


def test_exact_match_of_143_beside_accuracy_817_needs_ties_to_be_wrong() -> None:
    # An untied order of three that is not exact has at most 2 of its 3 pairs right, so without the
    # tied ones .817 <= e + (1 - e) * 2/3 and e >= .451: here 451 exact and 549 at that best.
    best_wrong = max(
        (values(ranked(*order)) for order in permutations((1.0, 2.0, 3.0)) if order != (3, 2, 1)),
        key=lambda found: found["pairwise_accuracy/ties_excluded"] or 0,
    )
    assert best_wrong["pairwise_accuracy/ties_excluded"] == pytest.approx(200 / 3)
    assert best_wrong["exact_match/ties_excluded"] == 0.0
    least = measure([ranked(3, 2, 1)] * 451 + [ranked(2, 3, 1)] * 549)
    assert least["pairwise_accuracy/ties_excluded"].value == pytest.approx(81.7)
    assert least["exact_match/ties_excluded"].value == pytest.approx(45.1)

    # Table 4's three numbers of M3 at once (docs/decisions/016): right 143 * 3 + 348 * 2 = 1125,
    # wrong 126 * 2 = 252; tau (143 + (348 - 126) * 2/sqrt(6)) / 1000.
    exact, above, below, tied = ranked(5, 4, 3), ranked(4, 4, 3), ranked(3, 4, 4), ranked(4, 4, 4)
    found = measure([exact] * 143 + [above] * 348 + [below] * 126 + [tied] * 383)
    assert found["pairwise_accuracy/ties_excluded"].value == pytest.approx(81.7, abs=0.05)
    assert found["kendall_tau/per_prompt"].value == pytest.approx(0.324, abs=5e-4)
    assert found["exact_match/ties_wrong"].value == pytest.approx(14.3)
    assert found["exact_match/ties_excluded"].value == 100.0
    assert found["tie_rate"].value == pytest.approx(0.541)


def test_exact_match_with_ties_is_what_breaking_them_at_random_gives() -> None:
    # Scores 4, 4, 4, 2; humans rank the first two equally: of 3! orders of the tied, 2 are right.
    prompt = scored((0, 4.0), (0, 4.0), (1, 4.0), (2, 2.0))
    assert values(prompt)["exact_match/ties_half"] == pytest.approx(100 * 2 / 6)
    rng, right = random.Random(0), 0
    for _ in range(3000):
        noisy = [
            (rank, score + rng.random()) for rank, score in prompt.replies if score is not None
        ]
        right += all(a[1] > b[1] for a, b in combinations(noisy, 2) if a[0] < b[0])
    assert right / 3000 == pytest.approx(1 / 3, abs=0.03)


def test_replies_that_humans_rank_equally_are_never_compared() -> None:
    # Two pairs, both right; the judge's order of the two second-ranked replies does not matter.
    found = measure([scored((0, 5.0), (1, 1.0), (1, 3.0))])
    assert found["pairwise_accuracy/ties_excluded"][:2] == (100.0, 2)
    assert found["exact_match/ties_excluded"][:2] == (100.0, 1)
    assert found["five_best"].value == 100.0
    # Nor is it a tie of the judge's if it ranks them equally too.
    assert measure([scored((0, 5.0), (1, 3.0), (1, 3.0))])["tie_rate"].value == 0.0


def test_a_missing_score_is_not_a_zero() -> None:
    # As a 0 the unscored best reply would lose both pairs.
    found = measure([ranked(None, 4, 3)])
    assert found["pairwise_accuracy/ties_excluded"][:2] == (100.0, 1)
    assert found["exact_match/ties_excluded"][:2] == (None, 0)  # the whole order is not known
    assert found["scored_rate"].value == pytest.approx(2 / 3)
    # The best of the humans has no score, so the five is not the best one.
    assert values(ranked(None, 5, 3))["five_best"] == 0.0


@pytest.mark.parametrize(
    "prompts",
    [
        [],
        [ranked(5)],  # one reply
        [scored((0, 5.0), (0, 4.0))],  # no human order
        [ranked(None, None)],
        [ranked(5, None)],
    ],
)
def test_nothing_to_compare_is_nothing_to_say(prompts: list[ScoredReplies]) -> None:
    found = measure(prompts)
    for name, metric in found.items():
        if name not in ("five_best", "scored_rate"):
            assert metric.value is None and metric.interval is None, name


def test_a_single_reply_says_nothing_of_which_five_is_best() -> None:
    # It would be "ranked first" of one.
    assert values(ranked(5), ranked(4, 5))["five_best"] == 0.0


def test_random_scores_are_at_chance() -> None:
    rng = random.Random(1)
    prompts = [ranked(rng.random(), rng.random(), rng.random(), key=str(n)) for n in range(3000)]
    found = values(*prompts)
    assert found["pairwise_accuracy/ties_excluded"] == pytest.approx(50, abs=2)
    assert found["exact_match/ties_excluded"] == pytest.approx(100 / 6, abs=2)
    assert found["kendall_tau/per_prompt"] == pytest.approx(0, abs=0.04)
    assert found["spearman/pooled"] == pytest.approx(0, abs=0.04)


def test_intervals_count_an_instruction_and_not_its_pairs() -> None:
    rng = random.Random(3)
    once = [ranked(rng.random(), rng.random(), key=str(n)) for n in range(100)]
    # Each reply said three times over: nine times the pairs, no more instructions.
    thrice = [ScoredReplies(p.prompt_key, p.replies * 3) for p in once]
    narrow, wide = (measure(p)["pairwise_accuracy/ties_excluded"].interval for p in (thrice, once))
    assert narrow is not None and wide is not None
    assert tuple(narrow) == pytest.approx(tuple(wide))
    assert wide.high - wide.low == pytest.approx(4 * 5.0, rel=0.15)


def test_length_against_real_human_ranks_counted_a_second_way(shared: Path) -> None:
    path = shared / "data" / "oasst" / "oasst2_ranked_first_turns.jsonl"
    groups = defaultdict(list)
    for line in path.read_text().splitlines():
        row = json.loads(line)
        groups[row["question"]].append((row["rank"], float(len(row["answer"]))))
    found = measure([ScoredReplies(key, tuple(rows)) for key, rows in groups.items()])
    right = wrong = tied = 0
    for rows in groups.values():
        for (rank_a, length_a), (rank_b, length_b) in combinations(sorted(rows), 2):
            if rank_a < rank_b:
                right += length_a > length_b
                wrong += length_a < length_b
                tied += length_a == length_b
    assert found["tie_rate"].n == right + wrong + tied == 1090
    assert tied == 6
    accuracy = found["pairwise_accuracy/ties_excluded"]
    assert accuracy[:2] == pytest.approx((100 * right / (right + wrong), 1084))
    assert accuracy.value == pytest.approx(71.956, abs=0.001)  # people like long answers
    assert found["exact_match/ties_wrong"].n == 548
    assert found["scored_rate"].n == 1287
    # A judge with six scores ties often: here the length in fifths of a thousand characters.
    coarse = {key: [(r, min(n // 200, 5)) for r, n in rows] for key, rows in groups.items()}
    whole = dropped = exact = 0
    for rows in coarse.values():
        pairs = [(a, b) for a, b in combinations(sorted(rows), 2) if a[0] < b[0]]
        if pairs:
            whole += 1
            dropped += any(a[1] == b[1] for a, b in pairs)
            exact += all(a[1] > b[1] for a, b in pairs)
    six = measure([ScoredReplies(key, tuple(rows)) for key, rows in coarse.items()])
    assert six["exact_match/ties_wrong"][:2] == pytest.approx((100 * exact / whole, whole))
    kept = whole - dropped
    assert six["exact_match/ties_excluded"][:2] == pytest.approx((100 * exact / kept, kept))
    assert (exact, whole, dropped) == (234, 548, 235)  # 42.7 %, and 74.8 % without the ties
