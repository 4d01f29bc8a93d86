from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.completions import read_completion

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def listed(*probabilities: tuple[object, object]) -> str:
    """A completion whose first token has these log-probabilities."""
    tokens = [{"token": token, "logprob": value} for token, value in probabilities]
    return json.dumps({"text": "m", "logprobs": {"content": [{"top_logprobs": tokens}]}})


def test_a_weighted_annotator_s_probabilities_stand_below_its_text() -> None:
    found = read_completion(listed(("m", math.log(0.75)), ("M", math.log(0.25))))
    assert str(found) == "m\n\nProbabilities of the first token:\n'm': 75.00 %\n'M': 25.00 %"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ('"[{\\"model\\": \\"m\\"}]"', '[{"model": "m"}]'),
        ('{"text": "plain"}', "plain"),
        ('{"text": "x", "logprobs": {"content": []}}', "x"),
        ('{"text": "x", "logprobs": {"content": [{"top_logprobs": [{"token": "m"}]}]}}', "x"),
        ("not JSON", "not JSON"),
        ("[1, 2]", "[1, 2]"),
    ],
)
def test_other_completions_are_shown_as_they_are(raw: str, shown: str) -> None:
    assert str(read_completion(raw)) == shown


@pytest.mark.parametrize("value", [None, "x", [], {}, 10**400])
def test_probabilities_that_cannot_be_read_are_left_out(value: object) -> None:
    assert read_completion(listed(("m", value))).first_token == ()


def test_a_probability_above_1_is_1_and_one_of_no_chance_is_0() -> None:
    raw = listed(("m", 0.3), ("M", -math.inf))
    assert read_completion(raw).first_token == (("m", 1.0), ("M", 0.0))


@given(JSON, JSON)
def test_any_json_is_read(text: object, content: object) -> None:
    tree = {"text": text, "logprobs": {"content": [{"top_logprobs": content}]}}
    assert str(read_completion(json.dumps(tree))) is not None
    assert str(read_completion(json.dumps(content))) is not None
