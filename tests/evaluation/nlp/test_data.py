from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any, NoReturn

import pytest

from core.errors import ConfigError, DataError
from core.hashing import sha256_file
from core.stages import project_root
from evaluation.nlp.data import TASKS, data_files, load_tasks, source_hashes

PIQA = {"goal": "Boil water.", "sol1": "Use a pot.", "sol2": "Use a sieve.", "label": 0}


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every connection fail at once: nothing here may need one."""

    def refuse(*arguments: object) -> NoReturn:
        raise OSError("this test has no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def write(folder: Path, name: str, *rows: dict[str, Any]) -> Path:
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def mmlu_row(subject: str, text: str, answer: int = 0) -> dict[str, Any]:
    choices = ["one", "two", "three", "four"]
    return {"question": text, "subject": subject, "choices": choices, "answer": answer}


def test_the_sample_lies_in_the_project() -> None:
    folder = project_root() / "data" / "sample" / "benchmarks"
    assert data_files("mmlu", "sample") == {
        "test": folder / "mmlu.test.jsonl",
        "dev": folder / "mmlu.dev.jsonl",
    }


def test_without_a_folder_there_are_no_files_and_the_key_is_the_name() -> None:
    assert data_files("piqa", None) == {}
    assert set(source_hashes("piqa", None)) == {"hub:piqa"}


def test_the_key_is_the_files_content(tmp_path: Path) -> None:
    path = write(tmp_path, "piqa.validation", PIQA)
    assert source_hashes("piqa", str(tmp_path)) == {"file:piqa.validation.jsonl": sha256_file(path)}


@pytest.mark.parametrize("task", TASKS)
def test_every_benchmark_can_be_built_from_the_sample_without_a_network(task: str) -> None:
    tasks = load_tasks(task, "sample", seed=0)
    shots = {loaded.config.num_fewshot for loaded in tasks.values()}
    assert shots == {TASKS[task].shots}
    count = sum(len(loaded.eval_docs) for loaded in tasks.values())
    (path, *_) = data_files(task, "sample").values()
    assert count == len(path.read_text().splitlines())


def context(loaded: Any, number: int = 0) -> str:
    """The prompt lm-eval makes of an item."""
    loaded.build_all_requests(limit=number + 1)
    found: str = next(i.args[0] for i in loaded.instances if i.doc_id == number)
    return found


def test_the_prompt_of_piqa_is_lm_evals(tmp_path: Path) -> None:
    write(tmp_path, "piqa.validation", PIQA)
    tasks = load_tasks("piqa", str(tmp_path), seed=0)
    assert list(tasks) == ["piqa"]
    assert context(tasks["piqa"]) == "Question: Boil water.\nAnswer:"


def test_mmlu_has_one_task_per_subject_with_its_own_first_five_examples(tmp_path: Path) -> None:
    # Six development rows of each subject, mixed: five are shown, in order, with their answers.
    dev = [mmlu_row(s, f"{s} {n}", n % 4) for n in range(6) for s in ("anatomy", "virology")]
    write(tmp_path, "mmlu.dev", *dev)
    write(tmp_path, "mmlu.test", mmlu_row("virology", "Last?"), mmlu_row("anatomy", "First?"))
    tasks = load_tasks("mmlu", str(tmp_path), seed=0)
    assert list(tasks) == ["mmlu_anatomy", "mmlu_virology"]
    options = "\nA. one\nB. two\nC. three\nD. four\nAnswer:"
    shots = "".join(f"virology {n}{options} {'ABCD'[n % 4]}\n\n" for n in range(5))
    head = "The following are multiple choice questions (with answers) about virology.\n\n"
    assert context(tasks["mmlu_virology"]) == f"{head}{shots}Last?{options}"


def test_gsm8k_shows_the_eight_examples_of_its_own_definition(tmp_path: Path) -> None:
    write(tmp_path, "gsm8k.test", {"question": "How many?", "answer": "#### 3"})
    text = context(load_tasks("gsm8k_cot", str(tmp_path), seed=0)["gsm8k_cot"])
    assert text.count("Q: ") == 9
    assert text.count("The answer is ") == 8
    assert text.endswith("\n\nQ: How many?\nA:")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for call in (lambda: load_tasks("piqa", str(tmp_path), seed=0),
                 lambda: source_hashes("piqa", str(tmp_path))):  # fmt: skip
        with pytest.raises(DataError, match=r"piqa\.validation\.jsonl: no such file"):
            call()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"evaluation\.nlp\.data_dir = .*nowhere.*no such folder"):
        data_files("piqa", str(tmp_path / "nowhere"))


def test_a_wrong_item_is_named_by_file_line_and_field(tmp_path: Path) -> None:
    write(tmp_path, "piqa.validation", PIQA, PIQA | {"label": 2})
    with pytest.raises(
        DataError, match=r"piqa\.validation\.jsonl:2: label is 2, expected one of 0, 1; the hub's"
    ):
        load_tasks("piqa", str(tmp_path), seed=0)


def test_a_field_with_values_of_different_kinds_is_an_error_of_the_file(tmp_path: Path) -> None:
    write(tmp_path, "piqa.validation", PIQA | {"id": 1}, PIQA | {"id": "two"})
    with pytest.raises(
        DataError, match=r"piqa\.validation\.jsonl: a field has values of different"
    ):
        load_tasks("piqa", str(tmp_path), seed=0)


def test_a_subject_without_enough_examples_is_named(tmp_path: Path) -> None:
    write(tmp_path, "mmlu.dev", *[mmlu_row("anatomy", f"{n}") for n in range(4)])
    write(tmp_path, "mmlu.test", mmlu_row("anatomy", "?"))
    with pytest.raises(DataError, match=r"mmlu\.dev\.jsonl: subject 'anatomy' has 4 examples, 5"):
        load_tasks("mmlu", str(tmp_path), seed=0)


def test_a_subject_that_lm_eval_does_not_know_is_named(tmp_path: Path) -> None:
    write(tmp_path, "mmlu.dev", *[mmlu_row("knitting", f"{n}") for n in range(5)])
    write(tmp_path, "mmlu.test", mmlu_row("knitting", "?"))
    with pytest.raises(ConfigError, match="no task 'mmlu_knitting'"):
        load_tasks("mmlu", str(tmp_path), seed=0)


def test_a_task_without_files_of_its_own_cannot_be_read_from_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'winogrande' cannot be read from files"):
        load_tasks("winogrande", str(tmp_path), seed=0)


def test_a_hub_that_cannot_be_reached_is_an_error_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import datasets.config
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    for task in ("piqa", "mmlu"):
        with pytest.raises(DataError, match=rf"{task}: its data cannot be loaded .*nlp\.data_dir"):
            load_tasks(task, None, seed=0)


@pytest.mark.slow
def test_a_task_that_lm_eval_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="lm-eval has no task 'piqqa'"):
        load_tasks("piqqa", None, seed=0)
