from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import DataError
from evaluation.ifeval.scores import report

GPT4 = "input_response_data_gpt4_20231107_145030.jsonl"
# Zhou et al. 2023, table 3, in per cent; google-research's own run of the recorded responses.
PUBLISHED = {
    "prompt_level_strict_acc": (76.89, 541),
    "inst_level_strict_acc": (83.57, 834),
    "prompt_level_loose_acc": (79.30, 541),
    "inst_level_loose_acc": (85.37, 834),
}
PROMPTS = [
    {
        "key": key,
        "prompt": f"Prompt {key}, without commas.",
        "instruction_id_list": ["punctuation:no_comma"],
        "kwargs": [{}],
    }
    for key in range(10)
]


def test_gpt4s_recorded_responses_have_the_published_accuracies(shared: Path) -> None:
    found = report(shared / "data" / "ifeval" / GPT4, None, None)
    for name, (published, n) in PUBLISHED.items():
        assert found[name]["n"] == n
        # Two items: upstream draws random numbers without a seed.
        assert abs(found[name]["value"] - published) <= 100 * 2 / n + 0.005


def written(folder: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_responses_are_joined_by_position_if_nearly_all_prompts_agree(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path, "input_data.jsonl", PROMPTS)
    rows = [{"prompt": p["prompt"], "response": "fine"} for p in PROMPTS]
    rows[3] = {"prompt": "An older wording.", "response": "one, two"}
    found = report(written(tmp_path, "responses.jsonl", rows), None, None)
    assert found["prompt_level_strict_acc"]["value"] == 90.0
    assert "responses.jsonl:4: the prompt differs" in capsys.readouterr().err


def test_other_responses_are_joined_by_key_or_prompt_and_absent_ones_are_missing(
    tmp_path: Path,
) -> None:
    data = written(tmp_path, "prompts.jsonl", PROMPTS)
    rows: list[dict[str, Any]] = [
        {"key": 4, "response": "fine"},
        {"prompt": PROMPTS[2]["prompt"], "response": "one, two"},
        {"prompt": "Not one of them.", "response": "fine"},
    ]
    found = report(written(tmp_path, "responses.jsonl", rows), str(data), None)
    strict = found["prompt_level_strict_acc"]
    assert (strict["value"], strict["n"], strict["missing"]) == (50.0, 2, 8)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"key": 1, "response": None}], 'expected a text in "response"'),
        ([{"key": 1, "response": "a"}, {"key": 1, "response": "b"}], "a second response"),
        ([{"key": 99, "response": "a"}], "no row has the key or the prompt"),
    ],
)
def test_a_file_that_cannot_be_joined_is_an_error(
    tmp_path: Path, rows: list[dict[str, Any]], message: str
) -> None:
    written(tmp_path, "input_data.jsonl", PROMPTS)
    with pytest.raises(DataError, match=message):
        report(written(tmp_path, "responses.jsonl", rows), None, None)
