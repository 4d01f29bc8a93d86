"""Conversations of several turns, from a file to the rows that models are trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.config import Config
from core.records import Candidate, Example, Message, Prompt, RankedPrompt
from core.stages import Ref, Stage
from judges.candidate_judges import RubricJudge
from judges.pointwise import JudgedAnswer
from tests.engines.scripted import ScriptedEngine
from tests.training.making import made, write_jsonl
from training.data.candidates import judge_candidates, sample_candidates
from training.data.pairs import select_pairs
from training.data.prompts import Known, seed_prompts, take
from training.data.seed import select_ift, select_ranked
from training.trainers import sft
from training.trainers.encoding import Row

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BEFORE: tuple[Message, ...] = (
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Why is the sky blue?"},
    {"role": "assistant", "content": "Air scatters blue light."},
)
ASKED: Message = {"role": "user", "content": "And at dusk?"}
SEEN = (
    "System: Be brief.\n\nUser: Why is the sky blue?\n\nAssistant: Air scatters blue light.\n\n"
    "User: And at dusk?"
)


def answered(text: str) -> list[Message]:
    return [*BEFORE, ASKED, {"role": "assistant", "content": text}]


def test_ift_examples_are_trained_behind_the_turns_before_them(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "chats.jsonl", [{"id": "c", "messages": answered("It is red.")}])
    config = Config.model_validate({"ift": {"source": str(path)}})
    rows = made(tmp_path, Ref(1, Stage.IFT), lambda out: select_ift(config, out)).rows
    second = Example("c/t1", "And at dusk?", "It is red.", before=BEFORE)
    first = Example("c", BEFORE[1]["content"], BEFORE[2]["content"], before=BEFORE[:1])
    assert sorted(rows, key=lambda row: row.key) == [first, second]
    assert sft.ift_rows([second]) == [Row("And at dusk?", "It is red.", True, BEFORE)]
    # Self-instruction shows what a conversation begins with, once.
    assert seed_prompts(rows) == ["Why is the sky blue?"]


def test_ranked_replies_to_a_later_turn_are_judged_with_the_turns_before_it(tmp_path: Path) -> None:
    rows = [
        {"chosen": answered("It is red."), "rejected": answered("No idea.")},
        {"prompt": "Hi?", "chosen": "Hello.", "rejected": "No."},
        {"prompt": "Seen?", "chosen": "Yes.", "rejected": "No."},
    ]
    path = write_jsonl(tmp_path / "pairs.jsonl", rows)
    config = Config.model_validate({"eft": {"source": {"path": str(path), "eval_share": 0.0}}})
    ift = [Example("other", "Seen?", "Yes.")]
    found: list[RankedPrompt] = made(
        tmp_path, Ref(1, Stage.RANKED), lambda out: select_ranked(config, ift, out)
    ).rows
    assert {row.prompt: [reply.text for reply in row.replies] for row in found} == {
        SEEN: ["It is red.", "No idea."],
        "Hi?": ["Hello.", "No."],
    }


def test_a_prompt_is_answered_judged_and_trained_with_the_turns_before_it(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "asked.jsonl", [{"key": "p", "messages": [*BEFORE, ASKED]}])
    config = Config.model_validate(
        {"prompts": {"source": str(path)}, "candidates": {"n": 2}, "judge": {"draws": 1}}
    )
    taken: list[Prompt] = made(
        tmp_path, Ref(2, Stage.PROMPTS), lambda out: take(Known([], []), config, k=2, out=out)
    ).rows
    prompts = [prompt for prompt in taken if prompt.key == "p/t1"]
    assert prompts == [Prompt("p/t1", "And at dusk?", None, 1, before=BEFORE)]
    asked: list[Sequence[Message]] = []

    def reply(messages: Sequence[Message], draw: int) -> str:
        asked.append(messages)
        if len(messages) == 4:
            return f"It is red {draw}"
        return f"Score: {5 if 'red 0' in messages[-1]['content'] else 1}"

    engine = ScriptedEngine(reply)
    answers = made(
        tmp_path,
        Ref(2, Stage.CANDIDATES),
        lambda out: sample_candidates(engine, prompts, config, out),
    ).rows
    assert asked == [[*BEFORE, ASKED]] * 2
    judged = made(
        tmp_path,
        Ref(2, Stage.JUDGMENTS),
        lambda out: judge_candidates(
            RubricJudge(engine, config.judge, seed=0), prompts, answers, out
        ),
    ).rows
    assert all(SEEN in messages[-1]["content"] for messages in asked[2:])
    (row,) = made(
        tmp_path,
        Ref(2, Stage.PAIRS),
        lambda out: select_pairs(prompts, answers, judged, config, out),
    ).rows
    assert (row.prompt, row.before, row.chosen) == ("And at dusk?", BEFORE, "It is red 0")


def test_a_reward_model_is_shown_the_turns_themselves() -> None:
    prompt = Prompt("p/t1", "And at dusk?", None, 1, before=BEFORE)
    answer = JudgedAnswer.of(prompt, Candidate("p/t1/a0", "p/t1", 0, "Red.", 1, "stop"))
    assert answer.prompt == SEEN
    assert answer.conversation == answered("Red.")
    assert JudgedAnswer("k", "p", "Hi?", "Ho.").conversation == [
        {"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Ho."}
    ]  # fmt: skip


def test_rows_of_single_turns_have_the_bytes_they_had(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "one.jsonl", [{"id": "a", "prompt": "Hi?", "response": "Hello."}])
    config = Config.model_validate({"ift": {"source": str(path)}})
    result = made(tmp_path, Ref(1, Stage.IFT), lambda out: select_ift(config, out))
    # An example as the release before conversations wrote it, field by field.
    assert result.content == (
        b'{"key": "a", "prompt": "Hi?", "response": "Hello.", "ended": true}\n'
    )
