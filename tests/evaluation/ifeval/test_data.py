from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import ConfigError, DataError
from evaluation.ifeval.data import load_prompts, source

RIGHT = {
    "key": 1000,
    "prompt": "Say hello without commas.",
    "instruction_id_list": ["punctuation:no_comma"],
    "kwargs": [{"num_words": None}],  # the hub fills absent arguments with null
}


def written(folder: Path, *rows: dict[str, Any], name: str = "input_data.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_packaged_sample_has_every_kind_of_instruction() -> None:
    from lm_eval.tasks.ifeval.instructions_registry import INSTRUCTION_DICT

    prompts = load_prompts("sample", None)
    assert len(prompts) == 30
    assert {name for prompt in prompts for name in prompt.instructions} == set(INSTRUCTION_DICT)


def test_the_official_file_has_541_prompts_with_834_instructions(shared: Path) -> None:
    prompts = load_prompts(str(shared / "data" / "ifeval"), None)
    assert (len(prompts), sum(len(p.instructions) for p in prompts)) == (541, 834)


def test_a_folder_or_a_file_may_be_named_and_a_limit_set(tmp_path: Path) -> None:
    path = written(tmp_path, RIGHT, RIGHT | {"key": 1001})
    assert [p.key for p in load_prompts(str(tmp_path), None)] == ["1000", "1001"]
    assert [p.arguments for p in load_prompts(str(path), 1)] == [({},)]


def test_the_key_of_an_artifact_follows_the_prompts_bytes(tmp_path: Path) -> None:
    before = source(str(written(tmp_path, RIGHT)))
    assert source(str(written(tmp_path, RIGHT | {"key": 5}))) != before
    assert source("hub") == source("hub") != before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": None}, 'expected "key"'),
        ({"prompt": " "}, 'and "prompt"'),
        ({"kwargs": []}, "two lists of the same length"),
        ({"instruction_id_list": "punctuation:no_comma"}, "two lists of the same length"),
        ({"instruction_id_list": ["punctuation:none"]}, "cannot be checked with these kwargs"),
        ({"kwargs": [{"colour": "red"}]}, "cannot be checked with these kwargs"),
        (
            {
                "instruction_id_list": ["length_constraints:number_words"],
                "kwargs": [{"relation": "about", "num_words": 3}],
            },
            "cannot be checked with these kwargs",
        ),
    ],
)
def test_a_row_that_cannot_be_checked_is_named(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = written(tmp_path, RIGHT, RIGHT | {"key": 2} | change)
    with pytest.raises(DataError, match=message) as raised:
        load_prompts(str(path), None)
    assert str(raised.value).startswith(f"{path}:2: ")


def test_two_prompts_with_one_key_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'1000' was used before"):
        load_prompts(str(written(tmp_path, RIGHT, RIGHT)), None)


def test_a_missing_file_is_an_error_that_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected 'hub', 'sample', 'verifiable', a JSONL"):
        load_prompts(str(tmp_path / "nowhere.jsonl"), None)


def test_a_hub_that_cannot_be_reached_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"google/IFEval: cannot be loaded from the hub"):
        load_prompts("hub", None)
