"""The NLP benchmarks of the paper's Tables 3 and 9, through lm-eval.

Values are in percent, as in the tables. Names of metrics are lm-eval's; with a filter, its name
follows after a comma ("exact_match,strict-match").
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from statistics import fmean
from typing import TYPE_CHECKING, Any

from core.benchmarks import are_shares
from core.errors import ConfigError
from core.evaluation_config import NlpSection
from core.intervals import average_interval, clustered_stderr, share_score
from core.records import ItemScore, Score
from core.store import Built
from engines.engine import Continuation
from engines.opening import close_engine, open_engine
from evaluation.nlp.data import MMLU, TASKS, load_tasks, source_hashes
from evaluation.run import engine_section

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from core.store import Partial
    from engines.engine import Engine

_NO_FILTER = "none"


def run_task(engine: Engine, task: str, section: NlpSection, *, out: Partial, seed: int) -> Built:
    """Evaluate one task and write a row per item; its key is "<task>/<number of the item>".

    For mmlu the tasks are its subjects (mmlu_anatomy, ...), and `section.limit` applies to each.
    Raises as `load_tasks`.
    """
    items = evaluate_items(engine, task, section, seed=seed)
    out.add_missing(items)
    facts = {
        "shots": TASKS[task].shots if task in TASKS else None,
        "headline": headline(task),
        "lm_eval": version("lm-eval"),
        "data": section.data_dir or "hub",
        "limit": section.limit,
    }
    return Built(counts={"items": len(items)}, facts=facts, engine=engine.fingerprint)


def evaluate_items(engine: Engine, task: str, section: NlpSection, *, seed: int) -> list[ItemScore]:
    """Return one row per item: lm-eval's metrics and the model's output.

    `detail` of a multiple-choice item: choices, their log-probabilities, target and prediction (the
    most probable choice; `prediction_norm` after division by the choice's characters,
    `prediction_bayes` as in LLaMA). Of a generated one: text, target, and the prediction of each
    filter.
    """
    from lm_eval.evaluator import evaluate

    import engines  # noqa: F401 - keeps progress bars of libraries off the terminal
    from evaluation.nlp.lm_adapter import EngineLM

    with _quiet():
        tasks = load_tasks(task, section.data_dir, seed=seed)
        samples = evaluate(
            EngineLM(engine, task),
            {"tasks": tasks},
            limit=section.limit,
            bootstrap_iters=0,
            log_samples=True,
        )["samples"]
    items = [i for name, loaded in tasks.items() for i in _items(name, loaded, samples[name])]
    return _as_in_llama(engine, task, items)


def _as_in_llama(engine: Engine, task: str, items: list[ItemScore]) -> list[ItemScore]:
    """Add the metric of LLaMA's protocol, and so of the paper's table, where lm-eval has another.

    social_iqa: `acc_norm`, the choice most probable per character. openbookqa: `acc_bayes`, the
    choice with the greatest P(choice | question) / P(choice | "Answer:").

    Source: Touvron et al. 2023 (LLaMA), section 3.1, after Brown et al. 2020, section 2.4.
    """
    if task == "social_iqa":
        right = [item.detail["prediction_norm"] == item.detail["target"] for item in items]
        return [
            replace(item, metrics=item.metrics | {"acc_norm": float(is_right)})
            for item, is_right in zip(items, right, strict=True)
        ]
    if task != "openbookqa":
        return items
    choices = [f" {choice}" for item in items for choice in item.detail["choices"]]
    priors = iter(engine.score([Continuation("Answer:", choice) for choice in choices]))
    found = []
    for item in items:
        ratios = [total - next(priors).total for total in item.detail["logprobs"]]
        best = ratios.index(max(ratios))
        metrics = item.metrics | {"acc_bayes": float(best == item.detail["target"])}
        detail = item.detail | {"logprobs_bayes": ratios, "prediction_bayes": best}
        found.append(replace(item, metrics=metrics, detail=detail))
    return found


def _items(name: str, task: Any, samples: Sequence[dict[str, Any]]) -> list[ItemScore]:
    """Merge the samples of one task by item; each filter gives one per item."""
    shown = means(name, task)
    by_item: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for sample in samples:
        by_item[sample["doc_id"]].append(sample)
    items = []
    for number, found in sorted(by_item.items()):
        metrics = {
            metric if sample["filter"] == _NO_FILTER else f"{metric},{sample['filter']}": float(
                sample[metric]
            )
            for sample in found
            for metric in shown
            if metric in sample["metrics"]
        }
        read = _choices if task.OUTPUT_TYPE == "multiple_choice" else _generation
        items.append(ItemScore(f"{name}/{number}", name, str(number), metrics, read(task, found)))
    return items


def means(name: str, task: Any) -> list[str]:
    """Return a task's metrics that are means over its items, which alone are shown.

    Raises:
        ConfigError: it has none (perplexity, BLEU over the whole set, ...).
    """
    found = task.aggregation()
    means = [metric for metric, aggregate in found.items() if aggregate.__name__ == "mean"]
    if not means:
        message = (
            f"{name}: none of its metrics ({', '.join(found)}) is a mean over items, and no other "
            "is supported; take the task out of evaluation.nlp.tasks"
        )
        raise ConfigError(message)
    return means


def _choices(task: Any, found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    sample = found[0]
    choices = task.doc_to_choice(sample["doc"])
    logprobs = [float(responses[0][0]) for responses in sample["resps"]]
    per_character = [total / len(text) for total, text in zip(logprobs, choices, strict=True)]
    return {
        "choices": choices,
        "logprobs": logprobs,
        "target": sample["target"],
        "prediction": logprobs.index(max(logprobs)),
        "prediction_norm": per_character.index(max(per_character)),
    }


def _generation(_: Any, found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "text": found[0]["resps"][0][0],
        "target": found[0]["target"],
        "prediction": {sample["filter"]: sample["filtered_resps"][0] for sample in found},
    }


def headline(task: str) -> str | None:
    """Return the metric of the paper's Table 3; None for other tasks."""
    return TASKS[task].metric if task in TASKS else None


def scores(items: Sequence[ItemScore], task: str) -> list[Score]:
    """Return every metric of a task in percent, with lm-eval's standard error.

    The interval is Wilson's for a share of items. `detail` has the shots and marks the `headline`.
    A metric with a value outside 0..1 is no share: it is in its own unit, without an interval, and
    `detail` says "unit": "points".
    mmlu has `acc`, over all items (micro: lm-eval's), and `acc_macro`, the mean over subjects (the
    paper's), with `average_interval`; n counts items in both. No standard error where a task or
    subject has fewer than two items.
    """
    if not items:
        return [Score(headline(task) or "acc", None, 0, reason="no items", detail=_about(task))]
    names = dict.fromkeys(name for item in items for name in item.metrics)
    found = []
    for name in names:
        by_task: dict[str, list[float]] = defaultdict(list)
        shares = are_shares(item.metrics[name] for item in items if name in item.metrics)
        for item in items:
            if name in item.metrics:
                by_task[item.task].append((100 if shares else 1) * item.metrics[name])
        groups, about = list(by_task.values()), _about(task, name)
        if not shares:
            values = [value for group in groups for value in group]
            n, stderr = len(values), _pooled_stderr(groups)
            about["unit"] = "points"
            missing = len(items) - n
            found.append(Score(name, fmean(values), n, missing, stderr=stderr, detail=about))
            continue
        found.append(_share(name, groups, len(items), about))
        if task == MMLU:
            found.append(_macro(f"{name}_macro", by_task, len(items)))
    return found


def _about(task: str, name: str | None = None) -> dict[str, Any]:
    shots = TASKS[task].shots if task in TASKS else None
    return {"shots": shots, "headline": name == headline(task)}


def _share(
    name: str, groups: Sequence[Sequence[float]], items: int, detail: dict[str, Any]
) -> Score:
    """Score all items together; the standard error pools the variances inside each group."""
    n = sum(map(len, groups))
    total = math.fsum(value for group in groups for value in group)
    score = share_score(name, total / 100, n, items - n, detail=detail)
    return replace(score, value=total / n, stderr=_pooled_stderr(groups))


def _pooled_stderr(groups: Sequence[Sequence[float]]) -> float | None:
    """Return lm-eval's standard error of a mean over groups; of one group: s/√n."""
    errors = [clustered_stderr(group) for group in groups]
    sizes = [len(group) for group in groups]
    if None in errors:
        return None
    squares = (
        size * (size - 1) * (error or 0.0) ** 2 for size, error in zip(sizes, errors, strict=True)
    )
    return math.sqrt(math.fsum(squares) / (sum(sizes) - len(sizes)) / sum(sizes))


def _macro(name: str, by_task: dict[str, list[float]], items: int) -> Score:
    means = {task: math.fsum(values) / len(values) for task, values in sorted(by_task.items())}
    errors = [clustered_stderr(values) for values in by_task.values()]
    value = math.fsum(means.values()) / len(means)
    stderr = None
    if None not in errors:
        stderr = math.sqrt(math.fsum((error or 0.0) ** 2 for error in errors)) / len(errors)
    n = sum(map(len, by_task.values()))
    shares, sizes = [mean / 100 for mean in means.values()], [len(by_task[task]) for task in means]
    interval = average_interval(shares, sizes, None if stderr is None else stderr / 100)
    low, high = interval.scaled(100) if interval is not None else (None, None)
    detail = {"shots": TASKS[MMLU].shots, "headline": name == headline(MMLU), "subjects": means}
    return Score(name, value, n, items - n, low, high, stderr, detail=detail)


def report(
    model: Path,
    data_dir: str | None,
    tasks: Sequence[str] | None,
    limit: int | None,
    *,
    dtype: str = "float32",
    engine_kind: str = "transformers",
) -> dict[str, dict[str, Any]]:
    """Evaluate a model folder; return {task: {metric: value, metric_stderr: ..., "n": ...}}.

    Values in percent; "headline" names the paper's metric, "stderr" is its standard error.
    `tasks` None: all nine; `limit` None: all items.

    Raises:
        ModelError, ConfigError, DataError: the model, an option or the data cannot be used.
    """
    settings = engine_section(dtype, engine_kind)
    section = NlpSection(tasks=tuple(tasks or TASKS), data_dir=data_dir, limit=limit)
    for task in section.tasks:  # a missing file is found before anything is evaluated
        source_hashes(task, data_dir)
    engine = open_engine(model, settings)
    found = {}
    try:
        for task in section.tasks:
            items = evaluate_items(engine, task, section, seed=0)
            found[task] = _plain(task, scores(items, task))
    finally:
        close_engine(engine)
    return found


def _plain(task: str, found: Sequence[Score]) -> dict[str, Any]:
    plain: dict[str, Any] = {"n": max(score.n for score in found), "headline": headline(task)}
    for score in found:
        plain[score.key] = score.value
        plain[f"{score.key}_stderr"] = score.stderr
        if score.key == headline(task):
            plain["stderr"] = score.stderr
    return plain


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence lm-eval's log below errors."""
    logger = logging.getLogger("lm_eval")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
