from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core.records import Candidate, ItemScore, Judgment, LedgerRow, Prompt
from core.stages import Ref, Stage, evaluation_ref
from evaluation.loop_checks.benchmark import resolve_prompts
from evaluation.loop_checks.truth import METRIC, check_candidates, scores
from judges.verifiers.ifeval import IfevalPrompt
from tests.training.making import made

if TYPE_CHECKING:
    from pathlib import Path

ENDING = IfevalPrompt(
    "p", "Say hello. End with: Bye.", ("startend:end_checker",), ({"end_phrase": "Bye."},)
)


def answer(key: str, *, right: bool) -> ItemScore:
    detail = {"prompt_key": key.partition("/")[0]}
    return ItemScore(key, "truth", key, {METRIC: float(right)}, detail)


def judged(key: str, score: float | None) -> Judgment:
    reason = None if score is not None else "no_score"
    return Judgment(f"{key}/j0", key, key.partition("/")[0], 0, "", score, reason, 1)


def pair(key: str, chosen: str, rejected: str) -> LedgerRow:
    return LedgerRow(key, "?", "pair", (), (), chosen_key=chosen, rejected_key=rejected)


def test_candidates_are_checked_by_the_instructions_of_their_prompt(tmp_path: Path) -> None:
    prompts = [Prompt("a", ENDING.text, None, 0), Prompt("b", "Anything?", None, 1)]
    candidates = [
        Candidate("a/a0", "a", 0, "Hello. Bye.", 3, "stop"),
        Candidate("a/a1", "a", 1, "Hello.", 2, "stop"),
        Candidate("a/a2", "a", 2, "", 0, "too_long"),
        Candidate("b/a0", "b", 0, "Yes.", 1, "stop"),
    ]
    ref = evaluation_ref("truth/iter2", Stage.ITEMS)
    found = made(
        tmp_path,
        ref,
        lambda out: check_candidates(prompts, candidates, {ENDING.text: ENDING}, out),
    )
    assert {row.item: row.metrics.get(METRIC) for row in found.rows} == {
        "a/a0": 1.0, "a/a1": 0.0, "a/a2": None,
    }  # fmt: skip
    assert found.counts == {"items": 3, "not_checkable": 1}
    assert Ref(2, Stage.PROMPTS).place == "iter2"


def test_the_judge_is_right_where_right_answers_score_higher() -> None:
    items = [
        answer("a/0", right=True), answer("a/1", right=False), answer("a/2", right=False),
        answer("b/0", right=True), answer("b/1", right=False),
        answer("c/0", right=True), answer("c/1", right=True),
    ]  # fmt: skip
    judgments = [
        judged("a/0", 4.0), judged("a/1", 2.0), judged("a/2", 4.0),  # one right, one tied
        judged("b/0", 1.0), judged("b/1", 3.0),  # wrong
        judged("c/0", 5.0), judged("c/1", 1.0),  # both right: nothing to tell apart
    ]  # fmt: skip
    ledger = [pair("a", "a/0", "a/1"), pair("b", "b/1", "b/0"), pair("c", "c/0", "c/1")]
    found = {score.key: score for score in scores(items, judgments, ledger)}
    assert found["candidates_right"].value == pytest.approx(400 / 7)
    # (1 + 0.5 + 0) of 3 pairs
    assert found["judge_accuracy"].value == pytest.approx(50.0)
    assert found["judge_accuracy"].n == 3
    assert found["judge_accuracy"].detail == {"ties": 1}
    assert found["chosen_right"].value == pytest.approx(200 / 3)
    assert found["rejected_right"].value == pytest.approx(200 / 3)


def test_without_checkable_prompts_every_number_is_missing_with_its_reason() -> None:
    assert all(score.value is None and score.reason for score in scores([], [], []))


def test_only_prompts_in_ifevals_schema_can_be_checked(tmp_path: Path) -> None:
    plain = tmp_path / "prompts.jsonl"
    plain.write_text('{"prompt": "Why?"}\n', encoding="utf-8")
    assert resolve_prompts("self") is None
    assert resolve_prompts(str(plain)) is None
    packaged = resolve_prompts("verifiable")
    assert packaged is not None
    assert packaged.name == "prompts.jsonl"
