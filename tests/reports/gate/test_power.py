from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from reports.gate.power import BinaryPower, ClusteredPower, critical_counts, least_drop, noise_of

LEVEL = 0.05


def test_the_least_heads_that_are_rare_enough_by_hand() -> None:
    # One-sided 5 %: 5 of 5 (1/32) is the first; 6 of 6; 7 of 7 (7 of 8 is 9/256 = 0.035, too); of
    # 10 tosses 9 (11/1024 = 0.011) but not 8 (56/1024 = 0.055). Below 5 tosses never: one more.
    found = critical_counts(10, LEVEL)
    assert found.tolist() == [1, 2, 3, 4, 5, 5, 6, 7, 7, 8, 9]


def test_without_noise_the_power_is_that_of_enough_losses() -> None:
    # Ten items, all right, each lost with probability 1/2: significant from 5 losses on.
    model = BinaryPower(10, 0.0, 1.0, 100.0, 0.0, LEVEL)
    by_hand = sum(math.comb(10, k) for k in range(5, 11)) / 2**10
    assert model.power(50.0) == pytest.approx(by_hand)
    assert model.power(0.0) == 0.0
    assert model.power(100.0) == pytest.approx(1.0)


@pytest.mark.parametrize("tolerance", [0.0, 5.0, 8.0])
def test_the_exact_power_is_how_often_the_test_fails_such_candidates(tolerance: float) -> None:
    n, noise, right, drop = 300, 0.06, 0.5, 8.0
    theta = drop / 100 / right
    gained, lost = noise * (1 - theta), noise * (1 - theta) + drop / 100
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(n, [lost, gained, 1 - lost - gained], size=200_000)
    p = binom.sf(drawn[:, 0] - 1, drawn[:, 0] + drawn[:, 1], 0.5)
    failed = (p <= 0.005) & (100 * (drawn[:, 0] - drawn[:, 1]) / n > tolerance)
    model = BinaryPower(n, noise, right, 100.0, tolerance, 0.005)
    assert model.power(drop) == pytest.approx(failed.mean(), abs=0.004)


def test_without_a_drop_the_power_is_the_false_alarm_rate_and_below_the_level() -> None:
    model = BinaryPower(500, 0.1, 0.5, 100.0, 0.0, 0.01)
    assert 0.002 < model.power(0.0) <= 0.01


def test_the_clustered_power_is_how_often_the_test_fails_such_candidates() -> None:
    # 80 clusters of two items whose sums of differences vary by 4: a drop of 0.8 an item.
    rng = np.random.default_rng(0)
    sums = rng.normal(-1.6, 4.0, size=(20_000, 80))
    z = sums.sum(axis=1) / np.sqrt(np.square(sums).sum(axis=1))  # flips: mean 0, this deviation
    model = ClusteredPower(160, 80, 4.0, 6.0, 0.0, 0.005)
    assert model.power(0.8) == pytest.approx((z <= -2.5758).mean(), abs=0.03)


def test_half_of_the_drops_at_the_tolerance_exceed_it() -> None:
    sure = ClusteredPower(1000, 1000, 1.0, 10.0, 2.0, LEVEL)
    assert sure.power(2.0) == pytest.approx(0.5)
    assert sure.power(2.2) > 0.99
    assert sure.power(1.8) < 0.01


def test_few_items_show_no_drop() -> None:
    # Four items: even all four lost is p = 1/16. Four clusters: the same.
    assert least_drop(BinaryPower(4, 0.0, 1.0, 100.0, 0.0, LEVEL)) is None
    clustered = ClusteredPower(4, 4, 0.1, 9.0, 0.0, LEVEL)
    assert clustered.power(9.0) == 0.0
    assert least_drop(clustered) is None
    assert least_drop(clustered._replace(items=5, clusters=5)) is not None  # 1/32


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.2])
def test_more_items_never_need_a_larger_drop(noise: float) -> None:
    sizes = (50, 100, 200, 400, 800, 1600, 14_000)
    exact = [least_drop(BinaryPower(n, noise, 0.6, 100.0, 0.0, LEVEL)) or 100 for n in sizes]
    assert exact == sorted(exact, reverse=True)
    assert exact[-1] < exact[0] / 5
    rough = [least_drop(ClusteredPower(n, n, 40 * noise + 1, 60.0, 0.0, LEVEL)) for n in sizes]
    assert rough == sorted(rough, key=lambda drop: -(drop or 100))


def test_the_least_drop_is_the_first_with_eighty_percent() -> None:
    for model in (
        BinaryPower(500, 0.05, 0.6, 100.0, 0.0, 0.005),
        ClusteredPower(160, 80, 4.0, 6.0, 0.0, 0.005),
    ):
        least = least_drop(model)
        assert least is not None
        assert model.power(least) >= 0.8
        assert model.power(0.995 * least) < 0.8


def test_a_stricter_level_more_noise_and_a_tolerance_need_a_larger_drop() -> None:
    model = BinaryPower(500, 0.05, 0.6, 100.0, 0.0, LEVEL)
    least = least_drop(model) or 0.0
    for harder in (
        model._replace(level=0.001),
        model._replace(noise=0.1),
        model._replace(tolerance=5.0),
    ):
        assert (least_drop(harder) or 0.0) > least + 0.5


def test_what_is_at_the_bottom_cannot_drop() -> None:
    model = BinaryPower(500, 0.0, 0.0, 100.0, 0.0, LEVEL)
    assert model.most == 0.0
    assert least_drop(model) is None


def test_the_noise_of_an_even_comparison_is_half_of_what_is_discordant() -> None:
    assert noise_of(20, 20, 500, 0.5) == pytest.approx(0.04)
    assert noise_of(0, 0, 500, 0.5) == 0.0
    # 40 discordant items differ by √(80/π) = 5.05 on average by chance: 22 to 18 is no difference.
    assert noise_of(18, 22, 500, 0.5) == pytest.approx(0.04)


def test_the_noise_does_not_count_a_drop() -> None:
    # 30 gained, 90 lost: chance explains √(240/π) = 8.74 of the 60, so 51.26 are a real drop of
    # 10.25 points, which left 1 − 0.1025/0.5 of the gained: (30/0.795 + 8.74/2)/500 = 0.0842.
    assert noise_of(30, 90, 500, 0.5) == pytest.approx(0.0842, abs=1e-4)
    assert noise_of(90, 30, 500, 0.5) == pytest.approx(0.0842, abs=1e-4)
    assert noise_of(0, 500, 500, 1.0) == pytest.approx(17.84 / 2 / 500, abs=1e-5)


def test_the_estimated_noise_is_right_with_and_without_a_drop() -> None:
    n, noise, right, rng = 1000, 0.06, 0.4, np.random.default_rng(1)
    for theta in (0.0, 0.1, 0.3):
        gained = noise * (1 - theta)
        lost = gained + theta * right
        drawn = rng.multinomial(n, [gained, lost, 1 - gained - lost], size=2000)
        found = np.mean([noise_of(int(g), int(w), n, right) for g, w, _ in drawn])
        assert found == pytest.approx(noise, rel=0.1)
