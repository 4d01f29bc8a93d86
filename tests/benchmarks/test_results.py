from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.results import merge_results, read_results
from core.errors import DataError


def test_new_rows_replace_those_of_their_name_and_leave_the_others(tmp_path: Path) -> None:
    path = tmp_path / "benchmarks" / "results.json"
    merge_results(path, {"arc0": {"ratio_median": 2.0, "note": "old"}, "mmlu5": {"equal": True}})
    found = merge_results(path, {"arc0": {"ratio_median": 3.0}})
    assert found == {"arc0": {"ratio_median": 3.0}, "mmlu5": {"equal": True}}
    assert json.loads(path.read_text()) == found


def test_without_a_file_there_are_no_results(tmp_path: Path) -> None:
    assert read_results(tmp_path / "results.json") == {}


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_file_that_is_no_object_is_named_and_kept(tmp_path: Path, text: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"results\.json: not .*--out"):
        merge_results(path, {"arc0": {}})
    assert path.read_text() == text
