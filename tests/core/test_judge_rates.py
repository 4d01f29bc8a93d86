from __future__ import annotations

import numpy as np
import pytest

from core.judge_rates import Labels, corrected_rate, labels_to_halve


def test_the_rate_by_hand() -> None:
    # p = 0.6, q₁ = 40/50 = 0.8, q₀ = 35/50 = 0.7: (0.6 + 0.7 − 1) / (0.8 + 0.7 − 1) = 0.6.
    found = corrected_rate(600, 1000, Labels(40, 50, 35, 50))
    assert found.value == pytest.approx(0.6)
    assert found.interval is not None
    # By the linear approximation: p(1−p)/1000 + 0.36·q₁(1−q₁)/50 + 0.16·q₀(1−q₀)/50, over 0.5:
    # 0.00024 + 0.001152 + 0.000672 = 0.002064; ±1.96·0.0454/0.5 = ±0.178. The test is close.
    assert found.interval.high - found.interval.low == pytest.approx(0.356, abs=0.04)
    # A perfect judge needs no correction, and one that calls everything a win has no losses right.
    assert corrected_rate(3, 10, Labels(9, 9, 9, 9)).value == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (Labels(0, 0, 5, 9), "both wins and losses"),
        (Labels(5, 9, 0, 0), "both wins and losses"),
        (Labels(5, 10, 5, 10), "together no more than by chance"),
        (Labels(3, 10, 6, 10), "30% of people's wins and 60% of their losses"),
    ],
)
def test_what_cannot_be_corrected_is_refused_with_its_reason(labels: Labels, reason: str) -> None:
    found = corrected_rate(5, 10, labels)
    assert found.value is None
    assert found.interval is None
    assert reason in (found.reason or "")


def test_too_few_labels_give_a_value_without_an_interval() -> None:
    found = corrected_rate(50, 100, Labels(3, 5, 3, 5))
    assert found.value == pytest.approx(0.5)
    assert found.interval is None
    assert found.reason == "too few labels to tell the judge from chance: no interval"
    with pytest.raises(ValueError, match="6 of 5"):
        corrected_rate(1, 2, Labels(6, 5, 1, 1))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
@pytest.mark.parametrize(("q0", "q1"), [(0.9, 0.8), (0.7, 0.7)])
def test_the_interval_covers(rate: float, q0: float, q1: float) -> None:
    random = np.random.default_rng(0)
    runs = held = 0
    for _ in range(600):
        people, labelled = random.random(800) < rate, random.random(300) < rate
        says = np.where(people, random.random(800) < q1, random.random(800) >= q0)
        right = np.where(labelled, random.random(300) < q1, random.random(300) < q0)
        labels = Labels(
            int(right[labelled].sum()), int(labelled.sum()),
            int(right[~labelled].sum()), int((~labelled).sum()),
        )  # fmt: skip
        interval = corrected_rate(int(says.sum()), 800, labels).interval
        if interval is not None:
            runs += 1
            held += interval.low <= rate <= interval.high
    assert runs > 500
    # 3 standard deviations of 95 % of 600 are 2.7 points.
    assert 0.92 <= held / runs <= 0.985


def test_labels_to_halve_the_interval() -> None:
    labels = Labels(24, 30, 24, 30)
    wanted = labels_to_halve(5000, 10_000, labels)
    assert wanted is not None
    # With the judge's own sampling error small, four times as many labels and a little more.
    assert 200 < wanted < 300
    now, then = (
        corrected_rate(5000, 10_000, some).interval
        for some in (labels, Labels(*(round(count * wanted / 60) for count in labels)))
    )
    assert now is not None
    assert then is not None
    assert then.high - then.low == pytest.approx((now.high - now.low) / 2, rel=0.05)
    # With 20 items of its own no number of labels halves it.
    assert labels_to_halve(10, 20, Labels(90, 100, 90, 100)) is None
