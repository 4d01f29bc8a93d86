from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.data_files import NotHere
from benchmarks.scoring import ARC_25, HELLASWAG, MMLU


@pytest.fixture
def here(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRLM_SHARED", str(shared))


def test_an_item_without_examples_is_one_context_with_its_choices(here: None) -> None:
    items = HELLASWAG._replace(items=2).instances()
    assert [len(item) for item in items] == [4, 4]
    contexts = [{instance.args[0] for instance in item} for item in items]
    assert [len(context) for context in contexts] == [1, 1]


def test_arc_with_examples_has_25_and_none_is_the_question_itself(here: None) -> None:
    (item,) = ARC_25._replace(items=1).instances()
    context = item[0].args[0]
    questions = context.split("Question: ")[1:]
    assert len(questions) == 26
    assert questions[-1].removesuffix("\nAnswer:") not in "".join(questions[:-1])


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
