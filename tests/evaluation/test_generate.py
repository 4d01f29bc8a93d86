from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.errors import ConfigError, DataError
from core.evaluation_config import GenerationSection
from core.records import Generation
from core.stages import Stage, evaluation_ref
from core.store import Built, Partial
from evaluation.generate import HeldOutPrompt, answer, load_prompts, mean_characters
from tests.engines.scripted import ScriptedEngine
from tests.training.making import interrupted, made

REF = evaluation_ref("M1/head_to_head", Stage.ANSWERS)
PROMPTS = [HeldOutPrompt(f"p{n}", f"say {n}") for n in range(3)]


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


def test_prompt_and_instruction_rows_are_read_and_keyed(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    rows = [{"prompt": "one"}, {"instruction": "two", "id": 7}, {"prompt": {"text": "three"}}]
    file.write_text("\n".join(map(json.dumps, rows)))
    found = load_prompts(str(file), None)
    assert [p.text for p in found] == ["one", "two", "three"]
    assert found[1].key == "7"
    assert found[0].key != found[2].key


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"prompt": "one"}, {"prompt": "  "}], r":2: no text"),
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
