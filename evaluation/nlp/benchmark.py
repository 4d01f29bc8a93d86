"""The NLP tasks as a benchmark of the suite: lm-eval's tasks over the run's engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.benchmarks import BENCHMARKS
from core.stages import Stage
from evaluation.benchmark import Benchmark, EvaluationItem
from evaluation.files.json_rows import read_rows
from evaluation.nlp.data import MMLU, data_files, source_hashes
from evaluation.nlp.tasks import headline, run_task, scores

if TYPE_CHECKING:
    from core.benchmarks import Subject
    from core.evaluation_config import EvaluationSection
    from core.records import Score
    from core.store import Built, Partial
    from evaluation.run import EvalRun

# What the tables show beside the paper's metric.
_BESIDE = {
    MMLU: ("acc",),
    "gsm8k_cot": ("exact_match,flexible-extract",),
    "openbookqa": ("acc_bayes",),
    "social_iqa": ("acc_norm",),
}
# The fields that hold a task's question, in reading order ("context" is social_iqa's scene).
_QUESTION_FIELDS = ("context", "question", "question_stem", "ctx", "goal")


def evaluate(run: EvalRun, subject: Subject) -> list[Score]:
    """One NLP task of one model (Tables 3 and 9)."""
    (model,), task = subject.models, subject.part
    section, ref = run.section.nlp, subject.ref(Stage.ITEMS)

    def make(out: Partial) -> Built:
        # lm-eval returns items at a task's end; the engine's cache keeps generations before it.
        engine = run.generator(model, ref)
        return run_task(engine, task, section, seed=run.config.seed, out=out)

    items = run.rows(
        ref,
        [run.model(model)],
        make,
        sections=("evaluation.nlp.limit", "evaluation.nlp.data_dir", "engine.dtype"),
        sources=source_hashes(task, section.data_dir),
    )
    return run.scores(subject, [items], lambda: scores(run.read(items), task))


def _texts(run: EvalRun) -> list[EvaluationItem]:
    """Return the questions of the local test items; few-shot examples are not test items."""
    found = []
    for task in run.section.nlp.tasks:
        for split, path in data_files(task, run.section.nlp.data_dir).items():
            if split in ("test", "validation"):
                for line, row in read_rows(path):
                    parts = [
                        row[name] for name in _QUESTION_FIELDS if isinstance(row.get(name), str)
                    ]
                    found.append(EvaluationItem(task, f"{path.stem}:{line}", " ".join(parts)))
    return found


def _columns(subject: Subject) -> tuple[str, ...]:
    return (headline(subject.part) or "acc", *_BESIDE.get(subject.part, ()))


def _check(section: EvaluationSection) -> None:
    for task in section.nlp.tasks:
        for path in data_files(task, section.nlp.data_dir).values():
            next(read_rows(path))


BENCHMARK = Benchmark(
    BENCHMARKS["nlp"],
    evaluate,
    texts=_texts,
    check=_check,
    remote_sets=lambda section: [] if section.nlp.data_dir else list(section.nlp.tasks),
    columns=_columns,
)
