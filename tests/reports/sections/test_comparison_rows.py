from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest

from core.records import Annotation, Generation, Verdict
from core.stages import Stage, evaluation_ref
from reports.sections import groups
from tests.reports.runs import RunBuilder

if TYPE_CHECKING:
    from pathlib import Path

    from reports.document import Item


def completion(first: float, second: float) -> str:
    """A weighted annotator's reply, with the probabilities of "m" and "M"."""
    listed = [{"token": name, "logprob": math.log(p)} for name, p in (("m", first), ("M", second))]
    return json.dumps({"text": "m", "logprobs": {"content": [{"top_logprobs": listed}]}})


def annotated(
    folder: Path, preference: float | None, raw: str = "", why: str | None = None
) -> Item:
    row = Annotation(
        "k",
        "What is it?",
        "reference words",
        "model words",
        "gpt4",
        "M2",
        "w",
        preference,
        why,
        raw,
    )
    ref = evaluation_ref("M2/alpaca_eval", Stage.ANNOTATIONS)
    (item,) = groups(RunBuilder(folder).rows(ref, [row]).open())["M2/alpaca_eval"].items
    return item


def parts(item: Item) -> dict[str, str]:
    return dict(item.parts)


@pytest.mark.parametrize(
    ("preference", "shown", "verdict"),
    [(1.9, "1.90", "win"), (1.5, "1.50", "draw"), (0.0, "0.00", "draw"), (1.0, "1.00", "loss")],
)
def test_a_preference_is_the_model_s(
    tmp_path: Path, preference: float, shown: str, verdict: str
) -> None:
    item = annotated(tmp_path, preference)
    assert item.cells == ("What is it?", shown, verdict)
    assert parts(item)["M2's answer"] == "model words"
    assert parts(item)["The reference's answer (gpt4)"] == "reference words"


def test_a_missing_preference_is_no_loss_and_has_its_reason(tmp_path: Path) -> None:
    item = annotated(tmp_path, None, why="refused")
    assert item.cells[1:] == ("–", "missing: refused")
    assert parts(item)["Why there is no preference"] == "refused"


@pytest.mark.parametrize(
    ("preference", "first"), [(1.2, "reference's"), (1.8, "model's"), (1.35, None)]
)
def test_the_order_shown_follows_from_the_judge_s_probabilities(
    tmp_path: Path, preference: float, first: str | None
) -> None:
    # "M", shown second, has 0.2 of the two: a preference of 1.2 for the second. If the model has
    # 1.8, it was the first. 1.35 fits neither.
    told = parts(annotated(tmp_path, preference, completion(0.72, 0.18)))["Presentation order"]
    assert ("shown first" in told) == (first is not None)
    if first is not None:
        assert told.startswith(f'The {first} answer was shown first, as "m", the other as "M".')


def test_equally_probable_answers_do_not_tell_the_order(tmp_path: Path) -> None:
    told = parts(annotated(tmp_path, 1.5, completion(0.5, 0.5)))["Presentation order"]
    assert "shown first" not in told


def test_equal_answers_were_shown_to_nobody(tmp_path: Path) -> None:
    found = parts(annotated(tmp_path, 1.5))
    assert found["Presentation order"] == "The judge was not called: the answers are equal."
    assert found["The judge's reply"] == "(not asked)"


# What a file of recorded annotations may hold instead of an annotator's JSON.
HOSTILE = (
    "[" * 100_000,
    "not JSON",
    "null",
    "[]",
    "-1e999",
    '{"text": null}',
    '{"text": ["m"], "logprobs": 3}',
    '{"logprobs": {"content": {"0": 1}}}',
    '{"logprobs": {"content": [{"top_logprobs": 7}]}}',
    '{"logprobs": {"content": [{"top_logprobs": [{"token": ["m"], "logprob": 0}]}]}}',
    '{"logprobs": {"content": [{"top_logprobs": [{"token": "m", "logprob": NaN}]}]}}',
    '{"logprobs": {"content": [{"top_logprobs": [{"token": "m", "logprob": 1'
    + "0" * 400
    + "}]}]}}",
)


@pytest.mark.parametrize("raw", HOSTILE)
def test_a_hostile_completion_is_a_row_with_its_text(tmp_path: Path, raw: str) -> None:
    found = parts(annotated(tmp_path, 1.2, raw))
    assert found["The judge's reply"] == raw
    assert "shown first" not in found["Presentation order"]


def test_a_completion_without_text_says_so(tmp_path: Path) -> None:
    assert parts(annotated(tmp_path, 1.2, '{"text": ""}'))["The judge's reply"] == "(nothing)"


def matchup(folder: Path, *orders: Verdict) -> dict[str, Item]:
    built = RunBuilder(folder)
    for model in ("M2", "M1"):
        rows = [Generation(k, k, f"prompt {k}", f"{model} on {k}", 3, "stop") for k in ("p", "q")]
        built.rows(evaluation_ref(f"{model}/head_to_head", Stage.ANSWERS), rows)
    built.rows(evaluation_ref("head_to_head/M2-M1", Stage.VERDICTS), orders)
    found = groups(built.open())["head_to_head/M2-M1"]
    return {item.key: item for item in found.items}


def order(key: str, winner: str | None, words: str = "", why: str | None = None) -> Verdict:
    return Verdict(key, key.partition("/")[0], "M2", "M1", winner, why, (words,))  # type: ignore[arg-type]


def test_orders_that_disagree_are_a_tie_with_both_words(tmp_path: Path) -> None:
    item = matchup(tmp_path, order("p/ab", "A", "first"), order("p/ba", "B", "again first"))["p"]
    assert item.cells == ("prompt p", "tie", "M2 wins", "M1 wins")
    assert item.parts == (
        ("Prompt", "prompt p"),
        ("M2's answer", "M2 on p"),
        ("M1's answer", "M1 on p"),
        ("The judge's reply, M2 shown first (M2 wins)", "first"),
        ("The judge's reply, M1 shown first (M1 wins)", "again first"),
    )


def test_an_order_that_could_not_be_read_leaves_no_verdict(tmp_path: Path) -> None:
    found = matchup(tmp_path, order("p/ab", "A", "x"), order("p/ba", None, "?", "no_winner"))
    assert found["p"].cells[1:] == ("no verdict: no_winner", "M2 wins", "no verdict: no_winner")


def test_a_verdict_nobody_was_asked_for_says_so(tmp_path: Path) -> None:
    same = Verdict("q", "q", "M2", "M1", "tie")
    item = matchup(tmp_path, same)["q"]
    assert item.cells == ("prompt q", "tie", "–", "–")
    assert parts(item)["The judge's reply"].startswith("(the judge was not called")


def test_answers_that_are_not_in_the_run_are_named_as_such(tmp_path: Path) -> None:
    ref = evaluation_ref("head_to_head/M2-M1", Stage.VERDICTS)
    built = RunBuilder(tmp_path).rows(ref, [order("p/ab", "A"), order("p/ba", "A")])
    (item,) = groups(built.open())["head_to_head/M2-M1"].items
    assert item.cells[:2] == ("p", "M2 wins")
    assert parts(item)["M1's answer"] == "(not in this run)"
