from __future__ import annotations

import numpy as np
import pytest

from evaluation.arena_hard.battles import Battle
from evaluation.arena_hard.rates import LEAST_QUESTIONS, Styles, controlled_rates, win_rate
from evaluation.arena_hard.style import Style


def test_a_win_rate_is_the_weighted_share_with_ties_half() -> None:
    # Won 4 of 4, 0.5 of 4 and 1 of 2: 5.5 of 10. The fourth could not be read.
    battles = [
        Battle("a", "m", "c", 4.0, 4.0),
        Battle("b", "m", "c", 0.5, 4.0),
        Battle("c", "m", "c", 1.0, 2.0),
        Battle("d", "m", "c", None, 0.0),
    ]
    score = win_rate(battles)
    assert score.value == pytest.approx(55.0)
    assert (score.n, score.missing) == (3, 1)
    assert score.low is not None
    assert score.high is not None
    assert score.low < 55 < score.high
    assert win_rate(battles[3:]).reason == "no question with two readable verdicts"


def simulated(rng: np.random.Generator, questions: int, chance: float) -> list[Battle]:
    """Battles whose question decides much of both games: a chance of its own, mean `chance`."""
    own = rng.beta(2 * chance, 2 * (1 - chance), questions)
    found = []
    for at, rate in enumerate(own):
        wins = rng.random(2) < rate
        weights = np.where(rng.random(2) < 0.3, 3.0, 1.0)
        found.append(Battle(str(at), "m", "c", float(wins @ weights), float(weights.sum())))
    return found


def upstream(rng: np.random.Generator, battles: list[Battle]) -> tuple[float, float]:
    """Upstream's interval: verdicts written `weight` times as rows, rows drawn, 5 to 95 %."""
    rows = np.concatenate(
        [np.repeat([1.0, 0.0], [int(b.won or 0), int(b.weight - (b.won or 0))]) for b in battles]
    )
    means = [rng.choice(rows, len(rows)).mean() for _ in range(100)]
    low, high = np.percentile(means, [5, 95])
    return 100 * float(low), 100 * float(high)


@pytest.mark.parametrize(("questions", "chance"), [(100, 0.3), (250, 0.5)])
def test_the_interval_covers_and_upstreams_does_not(questions: int, chance: float) -> None:
    rng = np.random.default_rng(0)
    runs, ours, theirs = 300, 0, 0
    for _ in range(runs):
        battles = simulated(rng, questions, chance)
        score = win_rate(battles)
        assert score.low is not None
        assert score.high is not None
        ours += score.low <= 100 * chance <= score.high
        low, high = upstream(rng, battles)
        theirs += low <= 100 * chance <= high
    # 95 % of 300 is 285; 3 standard deviations are 11. Upstream's covers about two thirds.
    assert 0.92 <= ours / runs <= 0.985
    assert theirs / runs < 0.8


def styled(
    rng: np.random.Generator, effect: float, *, longer: float
) -> tuple[list[Battle], Styles]:
    """A model exactly as good as the baseline whose longer answers win by `effect` per length."""
    battles, own, base = [], {}, {}
    for at in range(600):
        question = str(at)
        length = int(np.clip(rng.normal(longer, 60), 20, 400))
        own[question], base[question] = Style(length, 0, 0, 0, 0), Style(100, 0, 0, 0, 0)
        gap = (length - 100) / (length + 100)
        wins = rng.random(2) < 1 / (1 + np.exp(-effect * gap))
        battles.append(Battle(question, "m", "c", float(wins.sum()), 2.0))
    return battles, Styles({"m": own, "base": base}, "base")


def test_a_length_effect_is_taken_out() -> None:
    battles, styles = styled(np.random.default_rng(1), 4.0, longer=200)
    assert (win_rate(battles).value or 0) > 70
    score = controlled_rates(battles, styles)["m"]
    assert score.value == pytest.approx(50, abs=6)
    assert score.low is not None
    assert score.high is not None
    assert score.low < 50 < score.high
    assert score.detail is not None
    assert score.detail["effect_length"] > 0.5
    # Other features never differ: no effect, and none is invented.
    assert score.detail["effect_headers"] == pytest.approx(0, abs=1e-6)


def test_without_a_style_difference_both_rates_are_equal() -> None:
    battles, styles = styled(np.random.default_rng(2), 0.0, longer=100)
    same = Styles({**styles.answers, "m": styles.answers["base"]}, "base")
    score = controlled_rates(battles, same)["m"]
    assert score.value == pytest.approx(win_rate(battles).value, abs=1e-4)


def test_a_rate_that_cannot_be_controlled_is_missing_with_its_reason() -> None:
    battles, styles = styled(np.random.default_rng(3), 1.0, longer=150)
    few = controlled_rates(battles[: LEAST_QUESTIONS - 1], styles)["m"]
    assert few.value is None
    assert few.reason == f"49 questions with verdicts and both answers; {LEAST_QUESTIONS} needed"
    won = [battle._replace(won=battle.weight) for battle in battles]
    assert controlled_rates(won, styles)["m"].reason == (
        "style alone separates wins from losses: no finite fit"
    )
