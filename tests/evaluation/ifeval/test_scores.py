from __future__ import annotations

import math

import pytest

from core.benchmarks import BENCHMARKS
from core.records import ItemScore, Score
from evaluation.ifeval.scores import Response, item, scores
from judges.verifiers.ifeval import IfevalPrompt

TWO = IfevalPrompt(
    "7",
    "Name a fruit.",
    ("punctuation:no_comma", "keywords:existence"),
    ({}, {"keywords": ["apple"]}),
)


def made(key: str, *readings: str) -> ItemScore:
    """An item whose instructions were followed in these readings."""
    prediction = {f"{at} kind:name {{}}": found for at, found in enumerate(readings, start=1)}
    metrics = {
        "prompt_level_strict_acc": float(all(r == "strict" for r in readings)),
        "prompt_level_loose_acc": float(all(r != "not followed" for r in readings)),
    }
    return ItemScore(key, "ifeval", key, metrics, {"prediction": prediction})


def by_key(items: list[ItemScore]) -> dict[str, Score]:
    return {score.key: score for score in scores(items)}


def test_an_item_says_which_instructions_are_followed_in_which_reading() -> None:
    found = item(TWO, Response("Sure, an\napple"))
    assert found.detail["prediction"] == {
        "1 punctuation:no_comma {}": "loose",
        '2 keywords:existence {"keywords": ["apple"]}': "strict",
    }
    assert found.metrics == {"prompt_level_strict_acc": 0.0, "prompt_level_loose_acc": 1.0}


def test_the_four_accuracies_by_hand() -> None:
    # Prompts: strict 1 of 3, loose 2 of 3. Instructions: strict 3 of 5, loose 4 of 5.
    found = by_key(
        [
            made("a", "strict", "strict"),
            made("b", "strict", "loose"),
            made("c", "not followed"),
        ]
    )
    assert {key: (score.value, score.n) for key, score in found.items()} == {
        "prompt_level_strict_acc": (pytest.approx(100 / 3), 3),
        "inst_level_strict_acc": (60.0, 5),
        "prompt_level_loose_acc": (pytest.approx(200 / 3), 3),
        "inst_level_loose_acc": (80.0, 5),
    }
    assert found["inst_level_loose_acc"].detail == {"kind": {"followed": 4, "of": 5}}


def test_the_instructions_of_a_prompt_are_one_observation() -> None:
    # Two prompts of two instructions each, one all right and one all wrong. Clustered: deviations
    # of the sums are +100 and −100, so the error is √(2/1 · 20,000)/4 = 50; as four independent
    # instructions it would be √(10,000 / 3)/2 = 28.9.
    found = by_key([made("a", "strict", "strict"), made("b", "not followed", "not followed")])
    assert found["inst_level_strict_acc"].stderr == pytest.approx(50.0)
    assert found["inst_level_strict_acc"].low == found["prompt_level_strict_acc"].low


def test_an_interval_has_a_width_where_everything_is_followed() -> None:
    # Wilson's lower bound for 3 of 3 prompts: 3/(3 + 1.96²) = 0.4385.
    found = by_key([made(key, "strict", "strict", "strict") for key in "abc"])
    score = found["inst_level_strict_acc"]
    z = 1.959963984540054
    assert (score.value, score.high) == (100.0, 100.0)
    assert score.low == pytest.approx(100 * 3 / (3 + z * z))


def test_an_answer_that_was_not_given_is_missing_and_no_failure() -> None:
    found = by_key([made("a", "strict"), item(TWO, Response("", "too_long"))])
    strict = found["prompt_level_strict_acc"]
    assert (strict.value, strict.n, strict.missing) == (100.0, 1, 1)


def test_nothing_to_measure_has_a_reason() -> None:
    for score in scores([item(TWO, Response("", "too_long"))]):
        assert (score.value, score.missing, score.reason) == (None, 1, "no responses")


def test_every_score_is_the_mean_of_its_items() -> None:
    items = [made("a", "strict", "loose"), made("b", "not followed"), made("c", "strict")]
    read = BENCHMARKS["ifeval"].items
    assert read is not None
    for score in scores(items):
        values = read(items)[score.key].values
        assert score.value == pytest.approx(math.fsum(values.values()) / len(values))
