from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from core.errors import DataError
from core.evaluation_config import MtBenchSection
from evaluation.mt_bench.questions import load_questions, question_sources
from judges.fastchat_prompts import REFERENCED, TEMPERATURES
from tests.training.making import write_jsonl


def question(number: int, category: object = "writing", **changes: Any) -> dict[str, Any]:
    return {"question_id": number, "category": category, "turns": ["one", "two"], **changes}


def reference(number: int) -> dict[str, Any]:
    return {"question_id": number, "choices": [{"index": 0, "turns": ["first", "second"]}]}


def folder(
    path: Path, questions: list[dict[str, Any]], references: list[dict[str, Any]] | None = None
) -> MtBenchSection:
    write_jsonl(path / "question.jsonl", questions)
    write_jsonl(path / "reference_answer_gpt-4.jsonl", references or [])
    return MtBenchSection(questions=str(path))


def test_the_package_holds_ten_questions_of_each_of_eight_categories() -> None:
    found = load_questions(MtBenchSection())
    assert Counter(q.category for q in found) == dict.fromkeys(TEMPERATURES, 10)
    assert [q.question_id for q in found] == list(range(81, 161))
    # 30 references, for math, reasoning and coding (MANIFEST).
    assert sum(q.references is not None for q in found) == 30
    assert {q.category for q in found if q.references} == set(REFERENCED)


def test_the_package_holds_what_fastchat_published(shared: Path) -> None:
    published = MtBenchSection(questions=str(shared / "data" / "mt_bench"))
    assert load_questions(published) == load_questions(MtBenchSection())


def test_fastchats_own_layout_of_the_references_is_read(tmp_path: Path) -> None:
    section = folder(tmp_path, [question(5, "math")])
    (tmp_path / "reference_answer_gpt-4.jsonl").unlink()
    (tmp_path / "reference_answer").mkdir()
    write_jsonl(tmp_path / "reference_answer" / "gpt-4.jsonl", [reference(5)])
    (found,) = load_questions(section)
    assert found.references == ("first", "second")


@pytest.mark.parametrize(
    ("limit", "ids"),
    [
        (1, [81]),
        (8, [81, 91, 101, 111, 121, 131, 141, 151]),
        (10, [81, 82, 91, 92, 101, 111, 121, 131, 141, 151]),
        (80, list(range(81, 161))),
        (500, list(range(81, 161))),
    ],
)
def test_a_limit_goes_round_the_categories(limit: int, ids: list[int]) -> None:
    assert [q.question_id for q in load_questions(MtBenchSection(limit=limit))] == ids


def test_a_limit_does_not_depend_on_the_order_of_the_file(tmp_path: Path) -> None:
    rows = [question(3), question(9, "stem"), question(1), question(4, "stem"), question(2)]
    section = folder(tmp_path, rows).model_copy(update={"limit": 3})
    # Writing 1, stem 4, writing 2.
    assert [q.question_id for q in load_questions(section)] == [1, 2, 4]


def test_references_of_other_categories_are_not_used(tmp_path: Path) -> None:
    (found,) = load_questions(folder(tmp_path, [question(5)], [reference(5)]))
    assert found.references is None


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (question(1, "poetry"), r"question.jsonl:1: category 'poetry' is not one of writing"),
        (question(1, ["writing"]), "category"),
        (question(1, turns=["only one"]), 'no two texts in "turns"'),
        (question(1, turns=["one", 2]), 'no two texts in "turns"'),
        (question(1, turns="ab"), 'no two texts in "turns"'),
        (question(1, question_id="1"), "question_id: expected a whole number, found '1'"),
        (question(1, question_id=True), "question_id: expected a whole number, found True"),
        (question(1, "math"), r"question 1 \(math\) is graded against a reference answer"),
    ],
)
def test_a_malformed_question_is_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_questions(folder(tmp_path, [row]))


def test_a_malformed_reference_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"reference_answer_gpt-4.jsonl:1: no two answers"):
        load_questions(folder(tmp_path, [question(1)], [{"question_id": 1, "choices": []}]))


def test_a_question_twice_and_none_at_all_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r":2: question_id 7 was used before"):
        load_questions(folder(tmp_path, [question(7), question(7)]))
    with pytest.raises(DataError, match="no questions"):
        load_questions(folder(tmp_path, []))
    with pytest.raises(DataError, match="no such file"):
        load_questions(MtBenchSection(questions=str(tmp_path / "nowhere")))


def test_the_sources_change_with_the_files(tmp_path: Path) -> None:
    section = folder(tmp_path, [question(1)])
    before = question_sources(section)
    assert set(before) == {
        "mt_bench:question.jsonl",
        "mt_bench:reference_answer_gpt-4.jsonl",
        "mt_bench:judge_prompts.jsonl",
    }
    with (tmp_path / "question.jsonl").open("a") as file:
        file.write(json.dumps(question(2)) + "\n")
    changed = {name for name, digest in question_sources(section).items() if before[name] != digest}
    assert changed == {"mt_bench:question.jsonl"}
