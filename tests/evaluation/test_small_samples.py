"""Eight items that all say the same: every number has an interval, and none of them no width."""

from __future__ import annotations

import pytest

from core.records import ItemScore, RankedPrompt, Reply, Score, Verdict
from evaluation.agreement.benchmark import scores as agreement
from evaluation.alpaca_eval.scores import discrete_win_rate, win_rate
from evaluation.head_to_head.benchmark import scores as head_to_head
from evaluation.human.statistics import scores as human
from evaluation.ifeval.scores import scores as ifeval
from evaluation.loop_checks.self_judge import scores as self_judge
from evaluation.mt_bench.scores import scores as mt_bench
from evaluation.nlp.tasks import scores as nlp
from tests.evaluation.agreement.test_scores import judged
from tests.evaluation.alpaca import annotation
from tests.evaluation.human.voting import all_votes
from tests.evaluation.mt_bench.test_scores import grade

EIGHT = range(8)
# No means over items; and, without an order or variation, what has no value.
WITHOUT = ("sign_test", "noise", "judge/", "length")


def alpaca_eval() -> list[Score]:
    rows = [annotation(f"p{n}", 1.0) for n in EIGHT]
    return [win_rate(rows), discrete_win_rate(rows)]


def ranked() -> list[Score]:
    replies = [tuple(Reply(f"p{n}/{at}", "text", at) for at in (0, 1)) for n in EIGHT]
    prompts = [RankedPrompt(f"p{n}", "?", replies[n], "eval") for n in EIGHT]
    points = {0: 5.0, 1: 3.0}
    rows = [row for n in EIGHT for at in (0, 1) for row in judged(f"p{n}/{at}", points[at])]
    return agreement(prompts, rows, seed=0)


def compared() -> list[Score]:
    rows = [
        Verdict(f"p{n}/{order}", f"p{n}", "M2", "M1", "tie", None, ("",))
        for n in EIGHT
        for order in ("ab", "ba")
    ]
    return head_to_head(rows, {f"p{n}": (1, 1) for n in EIGHT})


def mmlu() -> list[Score]:
    rows = [
        ItemScore(f"mmlu_{of}/{n}", f"mmlu_{of}", str(n), {"acc": 1.0}, {})
        for n in EIGHT
        for of in ("law", "art")
    ]
    return nlp(rows, "mmlu")


def followed() -> list[Score]:
    names = ("prompt_level_strict_acc", "prompt_level_loose_acc")
    detail = {"prediction": {"1 a:b {}": "strict", "2 c:d {}": "strict"}}
    rows = [ItemScore(f"p{n}", "ifeval", f"p{n}", dict.fromkeys(names, 1.0), detail) for n in EIGHT]
    return ifeval(rows)


def judged_again() -> list[Score]:
    rows = [row for n in EIGHT for at in (0, 1) for row in judged(f"p{n}/{at}", 5.0)]
    return self_judge(rows, rows, scale=(0.0, 5.0), seed=0)


@pytest.mark.parametrize(
    "benchmark",
    [
        alpaca_eval, ranked, compared, mmlu, followed, judged_again,
        lambda: mt_bench([grade(n, t, 10.0) for n in range(81, 89) for t in (1, 2)]),
        lambda: human(all_votes(["AAA", "BBB"] * 4)),
    ],
)  # fmt: skip
def test_equal_items_leave_a_width(benchmark: object) -> None:
    assert callable(benchmark)
    found = [s for s in benchmark() if s.value is not None]
    measured = [s for s in found if not any(word in s.key for word in WITHOUT)]
    assert measured
    for score in measured:
        assert score.low is not None and score.high is not None, score
        assert score.high - score.low > 0.01, score
        assert score.low - 1e-9 <= (score.value or 0) <= score.high + 1e-9, score
