from __future__ import annotations

import math
import random

import numpy as np
import pytest

from core.intervals import mean_interval
from core.paired import compare, holm, mcnemar, net_interval, sign_flip, sign_test, tango


def items(*values: float) -> dict[str, float]:
    return {f"i{place}": value for place, value in enumerate(values)}


def test_mcnemars_exact_test_is_a_fair_coin_on_the_items_that_one_model_alone_got_right() -> None:
    # Only the 4 discordant items count: 4 against 0 is 2 · (1/2)^4 = 0.125.
    a = items(1, 1, 1, 1, 1, 0)
    b = items(0, 0, 0, 0, 1, 0)
    found = compare(a, b, seed=0)
    assert found.test == "mcnemar_exact"
    assert found.p_value == pytest.approx(0.125)
    assert found.mean_a == pytest.approx(5 / 6) and found.mean_b == pytest.approx(1 / 6)
    assert found.difference == pytest.approx(4 / 6)


def test_mcnemar_gives_a_published_value() -> None:
    # Fagerland, Lydersen, Laake 2013 (airway hyper-responsiveness): 7 and 1 discordant pairs, exact
    # conditional p = 2 · (1 + 8)/2^8 = 0.0703.
    assert mcnemar(7, 1).two_sided == pytest.approx(0.0703, abs=5e-5)
    assert mcnemar(1, 7).two_sided == mcnemar(7, 1).two_sided


def test_equal_models_have_a_p_value_of_1() -> None:
    assert compare(items(1, 0, 1), items(1, 0, 1), seed=0).p_value == 1.0
    found = compare(items(0.5, 2.5), items(0.5, 2.5), seed=0)
    assert (found.p_value, found.difference, found.interval) == (1.0, 0.0, None)


def test_items_without_a_difference_leave_room_for_one() -> None:
    # Tango's interval without a discordant pair: ±z²/(n + z²), for 4 ±3.8415/7.8415.
    half = 3.841459 / 7.841459
    found = compare(items(1, 0, 1, 1), items(1, 0, 1, 1), seed=0)
    assert found.interval == pytest.approx((-half, half), abs=1e-6)
    # The same for equal points from 1 to 10, on their scale.
    points = compare(items(7, 7, 8, 2), items(7, 7, 8, 2), scale=(1.0, 10.0), seed=0)
    assert points.interval == pytest.approx((-9 * half, 9 * half), abs=1e-6)
    # In percent items are right or wrong too.
    percent = compare(items(100, 0, 0), items(0, 0, 0), scale=(0.0, 100.0), seed=0)
    assert percent.test == "mcnemar_exact"
    assert percent.interval == pytest.approx(tango(1, 0, 3).scaled(100))


def test_tangos_interval_holds_the_differences_that_its_score_test_does_not_reject() -> None:
    # Tango 1998, section 5: of 44 patients 0 and 1 changed in each direction; and by the formula
    # without discordant pairs. The interval is the same from the other side.
    for gained, lost, n in ((5, 2, 30), (0, 1, 44), (10, 0, 10)):
        low, high = tango(gained, lost, n)
        assert low < (gained - lost) / n <= high
        assert tango(lost, gained, n) == pytest.approx((-high, -low))
        for end in (low, high):
            if abs(end) < 1:
                assert abs(restricted_score(gained, lost, n, end)) == pytest.approx(
                    1.95996, abs=1e-4
                )
    with pytest.raises(ValueError, match="3 gained and 2 lost of 4"):
        tango(3, 2, 4)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 8, 24])
def test_net_wins_are_covered_at_every_n_by_enumeration(n: int) -> None:
    # Tango's own interval covers .90 of two comparisons at a win rate of .9 and .90 of four at .95.
    intervals = {
        (wins, losses): net_interval(wins, losses, n)
        for wins in range(n + 1)
        for losses in range(n + 1 - wins)
    }
    for win in (0.03, 0.1, 0.5, 0.8, 0.9, 0.95):
        lose = (1 - win) / 2
        covered = sum(
            math.comb(n, w) * math.comb(n - w, x) * win**w * lose ** (n - w)
            for (w, x), (low, high) in intervals.items()
            if low - 1e-9 <= win - lose <= high + 1e-9
        )
        assert covered >= 0.93, (win, covered)


def restricted_score(gained: int, lost: int, n: int, difference: float) -> float:
    """Tango's statistic, its likelihood maximised by search over the share that is lost."""

    def likelihood(q: float) -> float:
        same = 1 - 2 * q - difference
        counts = ((q + difference, gained), (q, lost), (same, n - gained - lost))
        return sum(count * math.log(share) for share, count in counts if count)

    low, high = max(0.0, -difference), (1 - difference) / 2
    grid = np.linspace(low, high, 200_003)[1:-1]
    share = max(grid.tolist(), key=likelihood)
    variance = n * (2 * share + difference - difference**2)
    return (gained - lost - n * difference) / math.sqrt(variance)


def test_the_interval_of_graded_differences_is_a_little_wider_than_the_normal_one() -> None:
    rng = random.Random(7)
    a = items(*(rng.gauss(0.3, 1) for _ in range(200)))
    b = dict.fromkeys(a, 0.0)
    found = compare(a, b, seed=0)
    assert found.interval is not None and found.difference is not None
    error = float(np.std(list(a.values()), ddof=1)) / math.sqrt(200)
    assert found.interval.low == pytest.approx(found.difference - 1.96 * error, abs=0.1 * error * 2)
    assert found.interval.high - found.interval.low < 1.1 * 2 * 1.96 * error


def test_two_items_with_the_same_difference_are_not_certain() -> None:
    # 0.5 twice, on a scale of 9: without the assumed gain and loss the width would be 0.
    found = compare(items(1.5, 2.5), items(1, 2), scale=(1.0, 10.0), seed=0)
    assert found.interval is not None
    assert found.interval.low < -2 and found.interval.high > 3


def test_sign_flips_are_counted_out_for_few_clusters() -> None:
    # Differences 1, 2, 3: |±1±2±3| ≥ 6 in 2 of 8 patterns. With 0 it is left out: still 2 of 8.
    found = compare(items(1.5, 2, 3, 1), items(0.5, 0, 0, 1), seed=0)
    assert (found.test, found.p_value) == ("sign_flip_exact", 0.25)
    # Differences 1, 2, -3: sum 0, every pattern reaches it.
    assert compare(items(1.5, 2, 0), items(0.5, 0, 3), seed=0).p_value == 1.0


def test_sampled_sign_flips_agree_with_the_coin_and_are_never_0() -> None:
    # Equal sizes: the sum reaches 14 - 6 = 8 as a fair coin shows 14 or more of 20 on a side.
    sums = np.array([1.0] * 14 + [-1.0] * 6)
    coin = 2 * sum(math.comb(20, k) for k in range(14, 21)) / 2**20  # 0.1153
    found = sign_flip(sums, seed=0)
    assert found.name == "sign_flip_sampled"
    assert found.two_sided == pytest.approx(coin, abs=0.012)
    for seed in range(4):
        assert sign_flip(sums, seed=seed) == sign_flip(sums, seed=seed)
    assert sign_flip(np.ones(100), seed=0).two_sided == pytest.approx(1 / 10_001)


def test_rounding_does_not_push_a_pattern_below_its_own_sum() -> None:
    # In tenths 3, −6, 6: every pattern reaches |3| exactly, but 0.3 − 0.6 + 0.6 is 0.3 in floats
    # and 0.3 + 0.6 − 0.6 is 0.29999999999999993.
    assert sign_flip(np.array([0.3, -0.6, 0.6]), seed=0).two_sided == 1.0


@pytest.mark.parametrize(
    ("wins", "losses", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),  # one toss says nothing
        (5, 0, 2 / 32),
        (8, 2, 2 * (1 + 10 + 45) / 1024),
        (5, 5, 1.0),
    ],
)
def test_the_sign_test_is_a_two_sided_coin(wins: int, losses: int, p: float) -> None:
    assert sign_test(wins, losses) == pytest.approx(p)
    assert sign_test(losses, wins) == pytest.approx(p)


def test_m2_against_m1_in_the_papers_figure_3_is_no_chance_and_m1_against_sft_is() -> None:
    # n = 256: 55.5 % and 11.7 % are 142 wins and 30 losses; 30.5 % and 30.9 % are 78 and 79.
    assert sign_test(142, 30) < 1e-15
    assert sign_test(78, 79) == pytest.approx(1.0)


def test_an_item_that_one_model_lacks_is_counted_and_not_a_zero() -> None:
    found = compare({"x": 3.0, "y": 4.0, "z": 5.0}, {"x": 3.0, "w": 1.0}, seed=0)
    assert (found.n, found.n_only_a, found.n_only_b) == (1, 2, 1)
    assert (found.mean_a, found.mean_b, found.difference) == (3.0, 3.0, 0.0)
    assert found.interval is None  # nothing differs, on a scale that is not known


def test_nothing_shared_is_nothing_to_say() -> None:
    found = compare({"x": 1.0}, {"y": 1.0}, seed=0)
    assert (found.n, found.n_only_a, found.n_only_b) == (0, 1, 1)
    assert found[4:] == (None,) * 6


def test_pairing_sees_what_two_separate_intervals_hide() -> None:
    # Items differ by up to 10 points, the models by 0.3 ± 0.3 on each.
    rng = random.Random(0)
    hardness = [rng.uniform(0, 10) for _ in range(60)]
    a = items(*(h + 0.3 + rng.gauss(0, 0.3) for h in hardness))
    b = items(*hardness)
    found = compare(a, b, seed=0)
    assert found.interval is not None and found.interval.low > 0
    assert found.p_value is not None and found.p_value < 0.001
    alone = [mean_interval(list(model.values()), scale=(-1.0, 11.0)) for model in (a, b)]
    assert alone[0] is not None and alone[1] is not None
    assert alone[0].low < alone[1].high  # they overlap
    assert found.interval.high - found.interval.low < 0.2 * (alone[0].high - alone[0].low)


def test_two_turns_of_a_question_are_one_observation() -> None:
    # Six questions, both turns better by 1. As 12 items p would be 2/2^12; as 6 it is 2/2^6.
    a = {f"{q}/{t}": 7.5 for q in range(6) for t in (1, 2)}
    b = dict.fromkeys(a, 6.5)
    clusters = {item: item.split("/")[0] for item in a}
    found = compare(a, b, clusters=clusters, seed=0)
    assert (found.n, found.n_clusters, found.p_value) == (12, 6, 2 / 64)
    assert compare(a, b, seed=0).p_value == 2 / 4096


def test_rows_said_twice_change_neither_interval_nor_p_value_when_clustered() -> None:
    rng = random.Random(2)
    a = {f"{q}": rng.gauss(0.3, 1) for q in range(40)}
    b = {f"{q}": 0.0 for q in range(40)}
    once = compare(a, b, seed=0)
    a2, b2 = a | {f"{q}+": a[q] for q in a}, b | {f"{q}+": 0.0 for q in b}
    twice = compare(a2, b2, clusters={q: q.rstrip("+") for q in a2}, seed=0)
    assert once.interval is not None and twice.interval is not None
    assert tuple(twice.interval) == pytest.approx(tuple(once.interval))
    assert twice.p_value == once.p_value


def test_clustered_zeros_and_ones_are_not_tested_as_independent() -> None:
    found = compare(items(1, 1), items(0, 0), clusters={"i0": "q", "i1": "q"}, seed=0)
    assert (found.test, found.p_value) == ("sign_flip_exact", 1.0)


def test_one_sided_mcnemar_is_the_tail_on_its_side() -> None:
    # 7 and 1 of 8 discordant (Fagerland et al. 2013): P(≤ 1) = 9/256 one way, P(≥ 1) the other.
    assert mcnemar(1, 7).less == pytest.approx(9 / 256)
    assert mcnemar(7, 1).less == pytest.approx(255 / 256)
    assert mcnemar(7, 1).greater == pytest.approx(9 / 256)
    assert mcnemar(0, 0).less == 1.0


def test_one_sided_sign_flips_count_the_patterns_on_their_side() -> None:
    # Differences −1, −2, −3: only the observed pattern is as low as −6, all 8 as high.
    low = np.array([-1.0, -2.0, -3.0])
    assert sign_flip(low, seed=0).less == 1 / 8
    assert sign_flip(low, seed=0).greater == 1.0
    assert sign_flip(-low, seed=0).less == 1.0
    # Differences 1, 2, −3 sum to 0: the totals are ±6, ±4, ±2, 0, 0; five of eight reach it.
    even = sign_flip(np.array([1.0, 2.0, -3.0]), seed=0)
    assert (even.less, even.greater, even.two_sided) == (5 / 8, 5 / 8, 1.0)


def test_sampled_one_sided_sign_flips_agree_with_the_coin() -> None:
    # 14 of 20 equal differences are positive: P(≥ 14 of 20) = 0.0577.
    sums = np.array([1.0] * 14 + [-1.0] * 6)
    coin = sum(math.comb(20, k) for k in range(14, 21)) / 2**20
    found = sign_flip(sums, seed=0, flips=200_000)
    assert found.greater == pytest.approx(coin, abs=0.002)
    assert found.less == pytest.approx(1 - coin + math.comb(20, 14) / 2**20, abs=0.003)
    assert sign_flip(np.full(100, -1.0), seed=0).less == 1 / 10_001
    assert sign_flip(np.full(100, 1.0), seed=0).less == 1.0


@pytest.mark.parametrize("count", [13, 16, 17])
def test_sampled_sign_flips_give_every_cluster_a_sign_of_its_own(count: int) -> None:
    # Powers of 2 give each pattern a total of its own, in the order of the patterns as binary
    # numbers. All positive but the largest: the totals up to this one are just half of all.
    sums = np.array([2.0**at for at in range(count)])
    sums[-1] *= -1
    found = sign_flip(sums, seed=3, flips=100_000)
    assert found.less == pytest.approx(0.5, abs=0.006)
    # The second largest negative too: a quarter. And the third: an eighth.
    for share, at in ((0.25, -2), (0.125, -3)):
        sums[at] *= -1
        found = sign_flip(sums, seed=3, flips=100_000)
        assert found.less == pytest.approx(share, abs=0.005)


def test_holm_by_hand() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1 is 0.02, 0.03, 0.06, 0.04; the last may not
    # fall below the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []
