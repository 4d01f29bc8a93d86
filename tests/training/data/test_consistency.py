from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from core.errors import NothingToTrain
from core.records import OrderAgreement
from core.reductions import mean_consistency
from core.stages import Ref, Stage
from tests.training.making import interrupted, judgment, made, prompt
from training.data.consistency import agreement, compare, confidences

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from core.records import Judgment

CONSISTENCY = Ref(2, Stage.CONSISTENCY)


def scored(*scores: float) -> dict[str, float]:
    return {f"p/a{draw}": score for draw, score in enumerate(scores)}


@pytest.mark.parametrize(
    ("current", "previous", "tau"),
    [
        ((1, 2, 3, 4), (10, 20, 30, 40), 1.0),  # the order counts, not the scores
        ((1, 2, 3, 4), (4, 3, 2, 1), -1.0),
        # Of six pairs five agree and one does not: (5 - 1)/6.
        ((1, 2, 3, 4), (1, 2, 4, 3), 4 / 6),
        # One tie in K: five pairs agree, none disagrees; 6 pairs untied in J, 5 in K: 5/sqrt(30).
        ((1, 2, 3, 4), (1, 2, 3, 3), 5 / math.sqrt(30)),
        # The same two groups by both: all four untied pairs agree, 4/sqrt(4·4).
        ((5, 5, 1, 1), (3, 3, 2, 2), 1.0),
        # Groups that cut across each other: of the two pairs untied in both one agrees.
        ((5, 5, 1, 1), (3, 2, 3, 2), 0.0),
        ((5, 5, 5), (1, 2, 3), None),  # M_{k-1} puts them in no order
        ((1, 2, 3), (5, 5, 5), None),
        ((1,), (1,), None),
    ],
)
def test_tau_with_ties_by_hand(
    current: Sequence[float], previous: Sequence[float], tau: float | None
) -> None:
    found = agreement("p", scored(*current), scored(*previous))
    assert found.answers == len(current)
    assert found.tau == (None if tau is None else pytest.approx(tau, abs=1e-12))
    assert found.consistency == (None if tau is None else pytest.approx((tau + 1) / 2))


def test_an_answer_that_one_judge_could_not_score_leaves_the_others_where_they_are() -> None:
    # a1 has no score by M_{k-1}, a2 none by M_{k-2}: a0, a3 and a4 are in the same order.
    current = {"p/a0": 1.0, "p/a2": 5.0, "p/a3": 2.0, "p/a4": 3.0}
    previous = {"p/a0": 2.0, "p/a1": 9.0, "p/a3": 4.0, "p/a4": 6.0}
    assert agreement("p", current, previous) == OrderAgreement("p", 1.0, 3)


def judged(scores: Mapping[str, Sequence[float | None]]) -> list[Judgment]:
    """Return one judgment of each answer of each prompt; None: it could not be read."""
    return [
        judgment(f"{key}/a{draw}", 0, score)
        for key, each in scores.items()
        for draw, score in enumerate(each)
    ]


CURRENT = {"p": (1, 2, 3, 4), "q": (None, None, None, 2), "r": (5, 4, 3, 1)}
PREVIOUS = {"p": (4, 3, 2, 1), "q": (1, 2, 3, 4), "r": (5, 4, 3, 1)}


def test_each_prompt_has_its_own_tau_though_one_was_skipped(tmp_path: Path) -> None:
    # CREAM's released script shifts the rates of all prompts after a skipped one by one place.
    found = made(
        tmp_path,
        CONSISTENCY,
        lambda out: compare(
            [prompt("p"), prompt("q"), prompt("r")], judged(CURRENT), judged(PREVIOUS), out
        ),
    )
    assert {row.key: (row.tau, row.answers) for row in found.rows} == {
        "p": (-1.0, 4),
        "q": (None, 1),
        "r": (1.0, 4),
    }
    # C = (0 + 1)/2 over the two prompts that both judges put in an order.
    assert found.manifest.facts == {"consistency": 0.5}
    assert found.counts == {"prompts": 3, "ordered_by_both": 2}


def test_draws_are_averaged_before_answers_are_put_in_order(tmp_path: Path) -> None:
    # a0: (1 + 4)/2 = 2.5, a1: 2, though a1 has the higher first draw.
    current = [judgment("p/a0", 0, 1), judgment("p/a0", 1, 4), judgment("p/a1", 0, 2)]
    previous = [judgment("p/a0", 0, 5), judgment("p/a1", 0, 1)]
    found = made(tmp_path, CONSISTENCY, lambda out: compare([prompt("p")], current, previous, out))
    assert found.rows == [OrderAgreement("p", 1.0, 2)]


def test_a_killed_comparison_goes_on_with_the_next_prompt_to_the_same_bytes(tmp_path: Path) -> None:
    prompts = [prompt("p"), prompt("q"), prompt("r")]
    whole = made(
        tmp_path / "whole",
        CONSISTENCY,
        lambda out: compare(prompts, judged(CURRENT), judged(PREVIOUS), out),
    )
    interrupted(tmp_path / "killed", CONSISTENCY, whole.rows[:1])
    again = made(
        tmp_path / "killed",
        CONSISTENCY,
        lambda out: compare(prompts, judged(CURRENT), judged(PREVIOUS), out),
    )
    assert again.content == whole.content
    assert again.manifest.facts == whole.manifest.facts


AGREEMENTS = [
    OrderAgreement("p", -1.0, 4),
    OrderAgreement("q", None, 1),
    OrderAgreement("r", 1.0, 4),
    OrderAgreement("s", 0.5, 4),
]


def test_confidences_are_one_mean_or_each_prompts_own() -> None:
    # C: 0, 1 and 0.75; their mean is 1.75/3.
    mean = 1.75 / 3
    assert mean_consistency(AGREEMENTS) == pytest.approx(mean)
    assert confidences(AGREEMENTS, "mean") == pytest.approx(dict.fromkeys("pqrs", mean))
    own = confidences(AGREEMENTS, "prompt")
    # "q" has no order of its own.
    assert own == pytest.approx({"p": 0.0, "q": mean, "r": 1.0, "s": 0.75})


def test_judges_that_put_nothing_in_an_order_are_an_explained_stop() -> None:
    with pytest.raises(NothingToTrain, match=r"both judges put in an order.*judge\.reading"):
        confidences([OrderAgreement("p", None, 0)], "mean")
