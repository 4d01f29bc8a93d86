"""The packaged sample of benchmark items: what an evaluation without downloads relies on."""

from __future__ import annotations

import ast
import json
import operator
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from core import jsonl
from core.stages import project_root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FOLDER = project_root() / "data" / "sample" / "benchmarks"

LETTERED = {"text": ["str"], "label": ["str"]}
# The hub's schemas: a field's type, a list as [type], in the order of the fields.
SCHEMAS: dict[str, dict[str, Any]] = {
    "arc_easy.test": {"id": "str", "question": "str", "choices": LETTERED, "answerKey": "str"},
    "arc_challenge.test": {"id": "str", "question": "str", "choices": LETTERED, "answerKey": "str"},
    "openbookqa.test": {
        "id": "str",
        "question_stem": "str",
        "choices": LETTERED,
        "answerKey": "str",
    },
    "hellaswag.validation": {
        "ind": "int",
        "activity_label": "str",
        "ctx_a": "str",
        "ctx_b": "str",
        "ctx": "str",
        "split": "str",
        "split_type": "str",
        "label": "str",
        "endings": ["str"],
        "source_id": "str",
    },
    "piqa.validation": {"goal": "str", "sol1": "str", "sol2": "str", "label": "int"},
    "social_iqa.validation": {
        "context": "str",
        "question": "str",
        "answerA": "str",
        "answerB": "str",
        "answerC": "str",
        "label": "str",
    },
    "mmlu.test": {"question": "str", "subject": "str", "choices": ["str"], "answer": "int"},
    "mmlu.dev": {"question": "str", "subject": "str", "choices": ["str"], "answer": "int"},
    "gsm8k.test": {"question": "str", "answer": "str"},
    "gsm8k.train": {"question": "str", "answer": "str"},
    "nq_open.validation": {"question": "str", "answer": ["str"]},
}
SHOTS = {"mmlu.dev": 15, "gsm8k.train": 8}  # few-shot examples, not scored
SUBJECTS = ("astronomy", "computer_security", "global_facts")
CHOICE = [name for name in SCHEMAS if not name.startswith(("gsm8k", "nq_open"))]
REAL = ("benchmarks", "alpaca_eval", "mt_bench", "self_instruct", "oasst", "llmbar")


def items(name: str) -> list[dict[str, Any]]:
    return [item for _, item in jsonl.read_objects(FOLDER / f"{name}.jsonl")]


def shape(value: Any) -> Any:
    """Return the types in a value, a list as the list of its distinct types."""
    if isinstance(value, dict):
        return {key: shape(part) for key, part in value.items()}
    if isinstance(value, list):
        return sorted({shape(part) for part in value})
    return type(value).__name__


def options(name: str, item: dict[str, Any]) -> tuple[list[str], int]:
    """Return an item's options and the index of the right one."""
    if name.startswith("hellaswag"):
        return item["endings"], int(item["label"])
    if name.startswith("piqa"):
        return [item["sol1"], item["sol2"]], item["label"]
    if name.startswith("social_iqa"):
        return [item["answerA"], item["answerB"], item["answerC"]], int(item["label"]) - 1
    if name.startswith("mmlu"):
        return item["choices"], item["answer"]
    return item["choices"]["text"], item["choices"]["label"].index(item["answerKey"])


def asked(item: dict[str, Any]) -> str:
    """Return what makes an item this item: its question, with the context it is about."""
    fields = ("context", "ctx", "goal", "question_stem", "question")
    return " ".join(" ".join(str(item.get(field, "")) for field in fields).lower().split())


OPERATIONS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def value_of(expression: str) -> float:
    """Calculate with the four operations only; anything else is a ValueError."""

    def walk(node: ast.AST) -> float:
        match node:
            case ast.Expression(body=body):
                return walk(body)
            case ast.Constant(value=int() | float() as number):
                return number
            case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATIONS:
                return OPERATIONS[type(op)](walk(left), walk(right))
        raise ValueError(f"not arithmetic: {expression!r}")

    return walk(ast.parse(expression, mode="eval"))


def texts(value: Any) -> Iterator[str]:
    """Yield every string in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from texts(part)


def eight_words(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + 8]) for i in range(len(words) - 7)}


def sequences(value: Any) -> set[tuple[str, ...]]:
    return set().union(*(eight_words(text) for text in texts(value)))


def parsed(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        return json.loads(text)
    return [json.loads(line) for line in text.split("\n") if line.strip()]


def test_the_folder_holds_these_files_and_a_readme() -> None:
    expected = {f"{name}.jsonl" for name in SCHEMAS} | {"README.md"}
    assert {path.name for path in FOLDER.iterdir()} == expected


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_item_has_the_fields_and_types_of_the_hub(name: str) -> None:
    for item in items(name):
        assert shape(item) == SCHEMAS[name]
        assert list(item) == list(SCHEMAS[name])


@pytest.mark.parametrize("name", SCHEMAS)
def test_there_are_enough_items(name: str) -> None:
    if name in SHOTS:
        assert len(items(name)) == SHOTS[name]
    else:
        assert len(items(name)) >= 25


def test_mmlu_has_ten_items_and_five_shots_of_each_subject() -> None:
    assert Counter(item["subject"] for item in items("mmlu.test")) == dict.fromkeys(SUBJECTS, 10)
    assert Counter(item["subject"] for item in items("mmlu.dev")) == dict.fromkeys(SUBJECTS, 5)


@pytest.mark.parametrize("name", CHOICE)
def test_one_of_the_different_options_is_right(name: str) -> None:
    count = {"piqa.validation": 2, "social_iqa.validation": 3}.get(name, 4)
    for item in items(name):
        given, right = options(name, item)
        assert len({option.strip().lower() for option in given}) == len(given) == count
        assert all(option == option.strip() != "" for option in given)
        assert 0 <= right < count


@pytest.mark.parametrize("name", CHOICE)
def test_the_right_answer_stands_at_every_place_about_equally_often(name: str) -> None:
    places = Counter(options(name, item)[1] for item in items(name))
    count = {"piqa.validation": 2, "social_iqa.validation": 3}.get(name, 4)
    assert set(places) == set(range(count))
    # Always naming one place must not pay: 40 %, or just half where there are two.
    assert max(places.values()) <= max(0.4, 1 / count) * len(items(name))


def test_the_longest_option_is_not_a_good_guess() -> None:
    for name in ("arc_easy.test", "arc_challenge.test", "hellaswag.validation", "openbookqa.test"):
        longest = sum(
            len(given[right]) > max(len(o) for i, o in enumerate(given) if i != right)
            for given, right in (options(name, item) for item in items(name))
        )
        assert longest <= len(items(name)) / 2, name


def test_no_question_is_asked_twice() -> None:
    seen = [asked(item) for name in SCHEMAS for item in items(name)]
    assert "" not in seen
    assert [text for text, times in Counter(seen).items() if times > 1] == []


def test_ids_are_unique_and_say_sample() -> None:
    ids = [
        item[field]
        for name in SCHEMAS
        for item in items(name)
        for field in ("id", "source_id")
        if field in item
    ]
    assert len(ids) == len(set(ids)) == 28 * 4
    assert all(key.startswith("sample_") for key in ids)


def test_a_hellaswag_context_is_its_two_parts() -> None:
    rows = items("hellaswag.validation")
    assert all(row["ctx"] == f"{row['ctx_a']} {row['ctx_b']}".strip() for row in rows)
    assert {bool(row["ctx_b"]) for row in rows} == {True, False}  # both kinds of context
    assert [row["ind"] for row in rows] == list(range(len(rows)))


@pytest.mark.parametrize("name", ["gsm8k.test", "gsm8k.train"])
def test_every_calculation_of_gsm8k_holds_and_the_last_gives_the_answer(name: str) -> None:
    for item in items(name):
        work, final = item["answer"].rsplit("\n#### ", maxsplit=1)
        steps = re.findall(r"<<([^<>=]+)=([^<>=]+)>>([\d.]*\d)", work)
        assert 1 < len(steps) == work.count("<<")
        for expression, result, shown in steps:
            assert value_of(expression) == pytest.approx(float(result), abs=1e-9), item["question"]
            assert shown == result
        assert final == steps[-1][1]
        assert final.isdigit()
        # Each line is one step, so a step without its annotation would show.
        assert len(work.split("\n")) == len(steps)


@pytest.mark.parametrize("wrong", ["__import__('os')", "2**9", "a+1", "True+1 if 1 else 2"])
def test_the_calculator_does_nothing_but_arithmetic(wrong: str) -> None:
    with pytest.raises(ValueError, match="not arithmetic"):
        value_of(wrong)


def test_nq_questions_look_like_searches_and_have_usable_answers() -> None:
    for item in items("nq_open.validation"):
        assert item["question"] == item["question"].lower()
        assert not item["question"].endswith("?")
        # lm-eval stops generating at these, so an answer with them could never be matched alone.
        assert any(not set(".,\n") & set(answer) for answer in item["answer"])
        assert len(set(item["answer"])) == len(item["answer"]) >= 1


def test_the_readme_counts_right_and_says_the_numbers_are_sample_numbers() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    for name in SCHEMAS:
        assert f"| `{name}.jsonl` | {len(items(name))} |" in text
    assert "Apache-2.0" in text
    assert "never comparable" in text


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schema_is_the_one_of_the_real_file(name: str, shared: Path) -> None:
    with (shared / "data" / "benchmarks" / f"{name}.jsonl").open(encoding="utf-8") as file:
        real = json.loads(file.readline())
    assert shape(real) == SCHEMAS[name]
    assert list(real) == list(SCHEMAS[name])


def test_no_eight_words_in_a_row_come_from_a_real_data_set(shared: Path) -> None:
    ours = {words for name in SCHEMAS for item in items(name) for words in sequences(item)}
    files = [p for folder in REAL for p in sorted((shared / "data" / folder).glob("*.json*"))]
    plain = [path for path in files if path.suffix in {".json", ".jsonl"}]
    assert len(plain) >= 20
    for path in plain:
        assert sequences(parsed(path)) & ours == set(), path.name


def test_no_eight_words_in_a_row_come_from_the_training_sample() -> None:
    ours = {words for name in SCHEMAS for item in items(name) for words in sequences(item)}
    for path in sorted(FOLDER.parent.glob("*.jsonl")):
        assert sequences(parsed(path)) & ours == set(), path.name
