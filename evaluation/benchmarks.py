"""The benchmarks of a run as jobs, ordered so that each model is loaded once."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING

from core.benchmarks import FIRST_FEEDBACK_ITERATION
from core.stages import Ref, Stage
from evaluation import against_labels, iteration_checks, open_ended
from evaluation.agreement import scores as agreement
from evaluation.loop_checks import evaluation_items
from evaluation.mt_bench import scores as mt_bench_scores
from evaluation.nlp import data as nlp_data
from evaluation.nlp import tasks as nlp
from evaluation.suite import Job

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.records import Score
    from evaluation.loop_checks.contamination import EvaluationItem
    from evaluation.run import EvalRun

ANSWERS = "answers"  # the part of head-to-head that is one model's


def jobs(run: EvalRun) -> list[Job]:
    """Return what there is to do, ordered so that each model is loaded once."""
    section = run.section
    models = [name for name in section.models if run.is_made(name)]
    found = [job for model in models for job in _of_model(run, model)]
    for a, b in section.head_to_head.matchups:
        if a in models and b in models:
            address, rates = f"head_to_head/{a}-{b}", ("win", "tie", "lose", "sign_test")
            name = f"{a} against {b}"
            found.append(
                Job(name, "head_to_head", address, partial(open_ended.match, run, a, b), rates)
            )

    @cache  # the same for every iteration
    def items() -> list[EvaluationItem]:
        return evaluation_items.items(run.section, run.read(Ref(1, Stage.RANKED)))

    for k in range(FIRST_FEEDBACK_ITERATION, run.iterations + 1):
        found += _of_iteration(run, k, items)
    return [job for job in found if job.benchmark in section.benchmarks]


def _of_model(run: EvalRun, model: str) -> list[Job]:
    found = []
    for task in run.section.nlp.tasks:
        headlines = (nlp.headline(task) or "acc", *(["acc_macro"] if task == nlp_data.MMLU else []))
        make = partial(against_labels.nlp_task, run, model, task)
        found.append(Job(model, "nlp", f"{model}/nlp/{task}", make, headlines, task))
    own: list[tuple[str, Callable[[EvalRun, str], list[Score]], tuple[str, ...], str]] = [
        ("agreement", against_labels.agree, (*agreement.DEFAULTS, "parse_rate"), ""),
        (
            "alpaca_eval",
            open_ended.alpaca,
            ("win_rate", "length_controlled_win_rate", "avg_length"),
            "",
        ),
        ("mt_bench", open_ended.mt, (mt_bench_scores.OVERALL, "turn_1", "turn_2"), ""),
        ("head_to_head", open_ended.answer_now, ("mean_characters",), ANSWERS),
    ]
    for name, make_own, headlines, part in own:
        address = f"{model}/{name}"
        found.append(Job(model, name, address, partial(make_own, run, model), headlines, part))
    return found


def _of_iteration(run: EvalRun, k: int, items: Callable[[], list[EvaluationItem]]) -> list[Job]:
    gamed = ("mean_own", "mean_external", "mean_difference", "spearman", "pairs_confirmed")
    again, overlap = (
        partial(iteration_checks.judge_again, run, k),
        partial(iteration_checks.overlaps, run, k, items),
    )
    return [
        Job(f"iteration {k}", "self_judge", f"self_judge/iter{k}", again, gamed),
        Job(f"iteration {k}", "contamination", f"contamination/iter{k}", overlap, ("flagged",)),
    ]
