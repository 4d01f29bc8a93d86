from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from core.errors import ConfigError, DataError
from core.evaluation_config import GenerationSection
from core.records import Generation, Message
from core.sources.thread import Thread
from core.stages import Stage, evaluation_ref
from core.store import Built, Partial
from evaluation.generate import answer, load_prompts, mean_characters
from tests.engines.scripted import ScriptedEngine
from tests.training.making import interrupted, made

REF = evaluation_ref("M1/head_to_head", Stage.ANSWERS)
PROMPTS = [Thread(f"p{n}", f"say {n}", (), None) for n in range(3)]


def answers(folder: Path, engine: ScriptedEngine) -> list[Generation]:
    def make(out: Partial) -> Built:
        return answer(engine, PROMPTS, GenerationSection(), seed=0, title="M1", out=out)

    return made(folder, REF, make).rows


def test_every_prompt_gets_one_answer(tmp_path: Path) -> None:
    engine = ScriptedEngine(lambda messages, draw: messages[-1]["content"].upper())
    rows = answers(tmp_path, engine)
    assert [(r.key, r.prompt, r.text, r.finish) for r in rows] == [
        ("p0", "say 0", "SAY 0", "stop"),
        ("p1", "say 1", "SAY 1", "stop"),
        ("p2", "say 2", "SAY 2", "stop"),
    ]


def test_a_resumed_stage_generates_only_what_is_missing(tmp_path: Path) -> None:
    interrupted(tmp_path, REF, [Generation("p1", "p1", "say 1", "SAY 1", 2, "stop")])
    engine = ScriptedEngine(lambda messages, draw: messages[-1]["content"].upper())
    assert [row.text for row in answers(tmp_path, engine)] == ["SAY 0", "SAY 1", "SAY 2"]
    assert engine.calls == [("p0", 0), ("p2", 0)]


def test_a_prompt_too_long_is_an_answer_of_no_words_and_has_no_length(tmp_path: Path) -> None:
    engine = ScriptedEngine(lambda m, draw: None if m[-1]["content"] == "say 1" else "four")
    rows = answers(tmp_path, engine)
    assert (rows[1].text, rows[1].finish) == ("", "too_long")
    assert mean_characters(rows) == 4.0
    assert mean_characters([rows[1]]) is None


def test_an_answer_comes_without_the_thought_before_it(tmp_path: Path) -> None:
    engine = ScriptedEngine(lambda m, d: f"<think>{m[-1]['content']}</think>\n\nfour")
    first = answers(tmp_path, engine)[0]
    assert (first.text, first.thought, first.finish) == ("four", "<think>say 0</think>", "stop")


def test_the_sample_is_its_40_test_prompts() -> None:
    prompts = load_prompts("sample", None)
    assert len(prompts) == 40
    assert len({p.key for p in prompts}) == 40
    assert load_prompts("sample", 5) == prompts[:5]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "one"},
        {"instruction": "one"},
        {"prompt": {"text": "one"}},
        {"messages": [{"role": "user", "content": "one"}]},
    ],
)
def test_prompts_of_every_shape_are_read_and_keyed(tmp_path: Path, row: dict[str, object]) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text(json.dumps(row | {"key": "7", "message_tree_id": "7"}))
    (found,) = load_prompts(str(file), None)
    assert (found.key, found.text) == ("7", "one")
    file.write_text(f"{json.dumps(row)}\n" * 2)
    with pytest.raises(DataError, match=r"the key '\w+' is used twice"):
        load_prompts(str(file), None)


def test_a_prompt_with_earlier_turns_is_answered_after_them(tmp_path: Path) -> None:
    before = [{"role": "user", "content": "say 1"}, {"role": "assistant", "content": "1"}]
    file = tmp_path / "p.jsonl"
    file.write_text(
        json.dumps({"key": "p", "messages": [*before, {"role": "user", "content": "2"}]})
    )
    seen = []

    def reply(messages: Sequence[Message], draw: int) -> str:
        seen.append([m["content"] for m in messages])
        return "ok"

    def make(out: Partial) -> Built:
        prompts = load_prompts(str(file), None)
        section = GenerationSection()
        return answer(ScriptedEngine(reply), prompts, section, seed=0, title="M1", out=out)

    rows = made(tmp_path, REF, make).rows
    assert seen == [["say 1"], ["say 1", "1", "2"]]
    # What the external judge compares answers to.
    assert rows[1].prompt == "User: say 1\n\nAssistant: 1\n\nUser: 2"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"prompt": "one"}, {"prompt": "  "}], r":2: prompt is"),
        ([{"prompt": "one", "id": "a"}, {"prompt": "two", "id": "a"}], r":2: the key 'a'"),
        ([{"prompt": "one", "split": "validation"}], r"no prompts for testing"),
    ],
)
def test_unusable_prompt_files_are_named(
    rows: list[dict[str, str]], message: str, tmp_path: Path
) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError, match=message):
        load_prompts(str(file), None)


def test_a_file_that_is_not_there_is_a_setting_to_mend() -> None:
    with pytest.raises(ConfigError, match=r"evaluation\.head_to_head\.prompts"):
        load_prompts("nowhere.jsonl", None)
