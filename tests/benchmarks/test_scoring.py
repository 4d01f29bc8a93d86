from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from benchmarks.data_files import NotHere
from benchmarks.scoring import ARC_25, ARC_25_DRAWN, HELLASWAG, MMLU
from evaluation.files.json_rows import read_rows


@pytest.fixture
def here(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRLM_SHARED", str(shared))


def test_an_item_without_examples_is_one_context_with_its_choices(here: None) -> None:
    items = HELLASWAG._replace(items=2).instances()
    assert [len(item) for item in items] == [4, 4]
    contexts = [{instance.args[0] for instance in item} for item in items]
    assert [len(context) for context in contexts] == [1, 1]


def _questions(context: str) -> list[str]:
    return [part.split("\nAnswer:")[0] for part in context.split("Question: ")[1:]]


def _of_the_file(shared: Path, count: int) -> list[str]:
    rows = read_rows(shared / "data/benchmarks/arc_challenge.test.jsonl")
    return [row["question"] for _, row in islice(rows, count)]


def test_arcs_items_share_the_first_25_as_examples_and_come_after_them(
    here: None, shared: Path
) -> None:
    items = ARC_25._replace(items=3).instances()
    asked = [_questions(item[0].args[0]) for item in items]
    in_order = _of_the_file(shared, 28)
    assert [questions[:25] for questions in asked] == [in_order[:25]] * 3
    assert [questions[25:] for questions in asked] == [[question] for question in in_order[25:]]


def test_arc_drawn_has_25_others_for_every_item_and_none_is_the_question_itself(
    here: None, shared: Path
) -> None:
    items = ARC_25_DRAWN._replace(items=2).instances()
    first, second = [_questions(item[0].args[0]) for item in items]
    assert [len(first), len(second)] == [26, 26]
    assert [first[25], second[25]] == _of_the_file(shared, 2)
    assert first[25] not in first[:25]
    assert second[25] not in second[:25]
    assert first[:25] != second[:25]


def test_mmlus_subjects_come_one_after_the_other_with_five_examples(here: None) -> None:
    items = MMLU._replace(items=2).instances()
    contexts = [item[0].args[0] for item in items]
    assert ["about anatomy" in context for context in contexts] == [True, True, False, False]
    assert ["about philosophy" in context for context in contexts] == [False, False, True, True]
    # Five answered, the sixth to be answered.
    assert [context.count("Answer:") for context in contexts] == [6] * 4


def test_without_the_files_there_is_nothing_to_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("SRLM_SHARED", str(tmp_path))
    with pytest.raises(NotHere, match=r"no .*benchmarks"):
        HELLASWAG.instances()
