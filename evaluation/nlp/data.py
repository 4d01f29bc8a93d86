"""lm-eval's tasks on data from the hub, a local folder, or the packaged sample.

Prompts, metrics and filters are lm-eval's own; only the source of the items differs.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from core.errors import ConfigError, DataError
from core.hashing import sha256_file, sha256_text
from core.stages import project_root
from evaluation.files.json_rows import read_rows
from evaluation.nlp.schemas import SCHEMAS, Check

if TYPE_CHECKING:
    from collections.abc import Mapping

SAMPLE = "sample"
MMLU = "mmlu"


class NlpTask(NamedTuple):
    """One of the paper's NLP benchmarks.

    `folder` is the task's folder in lm-eval, `splits` are the splits it reads, from files named
    after task and split, `schema` is the data set's name on the hub, `metric` the one in the
    paper's Table 3.
    """

    folder: str
    splits: tuple[str, ...]
    schema: str
    metric: str
    shots: int = 0


# Shots and metrics: inferred from the Llama 2 paper's row, which Table 3 repeats. GSM8K: the
# examples of the prompt end in "The answer is N.", which strict-match reads, as its authors do.
TASKS: dict[str, NlpTask] = {
    "arc_easy": NlpTask("arc", ("test",), "allenai/ai2_arc", "acc_norm"),
    "arc_challenge": NlpTask("arc", ("test",), "allenai/ai2_arc", "acc_norm"),
    "hellaswag": NlpTask("hellaswag", ("validation",), "Rowan/hellaswag", "acc_norm"),
    "social_iqa": NlpTask("siqa", ("validation",), "lighteval/siqa", "acc"),
    "piqa": NlpTask("piqa", ("validation",), "baber/piqa", "acc_norm"),
    "gsm8k_cot": NlpTask("gsm8k", ("test",), "openai/gsm8k", "exact_match,strict-match", shots=8),
    "mmlu": NlpTask("mmlu/default", ("test", "dev"), "cais/mmlu", "acc_macro", shots=5),
    "openbookqa": NlpTask("openbookqa", ("test",), "allenai/openbookqa", "acc_norm"),
    "nq_open": NlpTask(
        "nq_open",
        ("validation",),
        "google-research-datasets/nq_open",
        "exact_match,remove_whitespace",
    ),
}

Rows = list[dict[str, Any]]


def data_files(task: str, data_dir: str | None) -> dict[str, Path]:
    """Return the local files of a task by split; {} if its data come from the hub.

    Raises:
        ConfigError: the folder is missing, or the task cannot be read from files.
    """
    if data_dir is None:
        return {}
    if task not in TASKS:
        message = (
            f"evaluation.nlp.tasks: {task!r} cannot be read from files, only from the hub "
            f"(nlp.data_dir unset); local files are supported for {', '.join(TASKS)}"
        )
        raise ConfigError(message)
    folder = Path(data_dir).expanduser()
    if data_dir == SAMPLE:
        folder = project_root() / "data" / "sample" / "benchmarks"
    if not folder.is_dir():
        raise ConfigError(f"evaluation.nlp.data_dir = {data_dir!r}: no such folder ({folder})")
    name = "gsm8k" if task == "gsm8k_cot" else task
    return {split: folder / f"{name}.{split}.jsonl" for split in TASKS[task].splits}


def source_hashes(task: str, data_dir: str | None) -> dict[str, str]:
    """Return name and content hash of a task's data, for an artifact's key.

    Hub data are identified by the task's name alone; the items themselves are in the artifact.

    Raises:
        ConfigError, DataError: folder or file is missing.
    """
    files = data_files(task, data_dir)
    for path in files.values():
        if not path.is_file():
            raise DataError(path, None, f"no such file; {task} is read from it")
    if not files:
        return {f"hub:{task}": sha256_text(task)}
    return {f"file:{path.name}": sha256_file(path) for path in files.values()}


def load_tasks(task: str, data_dir: str | None, *, seed: int) -> dict[str, Any]:
    """Return lm-eval task objects by name: one, or for mmlu one per subject, in order.

    Raises:
        ConfigError: lm-eval knows no such task, or the folder is missing. DataError: a file is
        missing, an item does not have the hub's schema, or the hub is unreachable.
    """
    files = data_files(task, data_dir)
    overrides: dict[str, Any] = {}
    if task in TASKS and task != "gsm8k_cot":  # that one brings its own eight examples
        overrides["num_fewshot"] = TASKS[task].shots
    if files:
        splits = {split: _read(path, SCHEMAS[TASKS[task].schema]) for split, path in files.items()}
        tasks = _over_rows(task, splits, overrides, files)
    else:
        tasks = _over_hub(task, overrides)
    for loaded in tasks.values():
        if loaded.get_config("num_fewshot") is None:
            loaded.set_config(key="num_fewshot", value=0)
        loaded.set_fewshot_seed(seed=seed)
    return tasks


def _read(path: Path, check: Check) -> Rows:
    from datasets import Dataset

    rows = []
    for line, row in read_rows(path):
        if problem := check(row):
            raise DataError(path, line, f"{problem}; the hub's schema of this data set is expected")
        rows.append(row)
    try:
        Dataset.from_list(rows)
    except (ValueError, TypeError) as error:  # pyarrow's ArrowInvalid and ArrowTypeError
        raise DataError(path, None, f"a field has values of different kinds ({error})") from error
    return rows


def _over_rows(
    task: str, splits: Mapping[str, Rows], overrides: dict[str, Any], files: Mapping[str, Path]
) -> dict[str, Any]:
    if task != MMLU:
        return _build(task, [_spec(task, splits, overrides)])
    test, dev = _by_subject(splits["test"]), _by_subject(splits["dev"])
    shots = TASKS[MMLU].shots
    for subject in test:
        if len(dev[subject]) < shots:
            what = f"subject {subject!r} has {len(dev[subject])} examples, {shots} are needed"
            raise DataError(files["dev"], None, what)
    parts = {subject: {"test": test[subject], "dev": dev[subject]} for subject in sorted(test)}
    return _build(task, [_spec(f"{MMLU}_{s}", part, overrides) for s, part in parts.items()])


def _by_subject(rows: Rows) -> defaultdict[str, Rows]:
    found: defaultdict[str, Rows] = defaultdict(list)
    for row in rows:
        found[row["subject"]].append(row)
    return found


def _spec(task: str, splits: Mapping[str, Rows], overrides: dict[str, Any]) -> dict[str, Any]:
    """Return the overrides that make an lm-eval task read these rows."""
    kinds = {"training_split": "train", "validation_split": "validation", "test_split": "test"}
    present = {kind: split if split in splits else None for kind, split in kinds.items()}

    def load(**_: Any) -> dict[str, Any]:
        from datasets import Dataset

        return {split: Dataset.from_list(rows) for split, rows in splits.items()}

    return {"task": task, "custom_dataset": load, **present, **overrides}


def _build(task: str, specs: list[dict[str, Any]]) -> dict[str, Any]:
    """Build lm-eval's tasks with overrides, through a group as its documentation recommends."""
    manager = _manager(task)
    for spec in specs:
        if spec["task"] not in manager.task_index:
            known = ", ".join(manager.all_subtasks)
            raise ConfigError(f"lm-eval has no task {spec['task']!r}; it has {known}")
    tasks: dict[str, Any] = manager.load({"group": "srlm", "task": specs})["tasks"]
    return {spec["task"]: tasks[spec["task"]] for spec in specs}


def _over_hub(task: str, overrides: dict[str, Any]) -> dict[str, Any]:
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    manager = _manager(task)
    if task not in manager.task_index:
        raise ConfigError(f"evaluation.nlp.tasks: lm-eval has no task {task!r}")
    kind = "group" if task in manager.all_groups else "task"
    spec = {"group": "srlm", "task": [{kind: task, **overrides}]}
    try:
        tasks: dict[str, Any] = manager.load(spec)["tasks"]
    except (DatasetsError, HfHubHTTPError, OfflineModeIsEnabled, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        message = (
            f"its data cannot be loaded from the hub ({reason}); download them once, or set "
            "evaluation.nlp.data_dir to a folder of JSONL files in the hub's schema"
        )
        raise DataError(task, None, message) from error
    return dict(sorted(tasks.items()))


def _manager(task: str) -> Any:
    """Return lm-eval's task index: of one folder if it is known, else of all (11 s)."""
    import lm_eval.tasks

    if task not in TASKS:
        return lm_eval.tasks.TaskManager()
    folder = Path(lm_eval.tasks.__file__).parent / TASKS[task].folder
    return lm_eval.tasks.TaskManager(include_path=str(folder), include_defaults=False)
