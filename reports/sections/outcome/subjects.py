"""What the first section is about: the models that the loop made, and what they are measured by."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from core.benchmarks import FIRST_FEEDBACK_ITERATION, Subject
from core.stages import Ref, Stage

if TYPE_CHECKING:
    from core.reader import RunReader

START = "M1"  # the model that the feedback iterations begin with


class Measure(NamedTuple):
    """A score of one benchmark."""

    benchmark: str
    key: str


FOLLOWED = Measure("ifeval", "prompt_level_strict_acc")
"""Prompts of which every instruction is followed, checked by code: no judge takes part."""
JUDGING = Measure("agreement", "pairwise_accuracy")
"""Pairs of replies that a model puts in the order of people."""
JUDGING_TRUTH = Measure("truth", "judge_accuracy")
"""Pairs of right and wrong candidates of an iteration that its own judge puts in order."""


def made_models(results: RunReader) -> list[str]:
    """Return the models that the run has made: M0, sft, M1, M2, ...; [] for imported results."""
    numbered = [f"M{k}" for k in results.iterations if k > 0]
    return [name for name in ("M0", "sft", *numbered) if results.is_made(name)]


def last_model(results: RunReader) -> str | None:
    """Return the newest model that was trained on preference pairs; None before M2."""
    made = made_models(results)
    later = [f"M{k}" for k in results.iterations if k >= FIRST_FEEDBACK_ITERATION]
    return next((name for name in reversed(later) if name in made), None)


def judged_iteration(results: RunReader, model: str) -> int | None:
    """Return the iteration whose candidates a model may judge as its own; None for M0 and SFT.

    None too where another model judged that iteration.
    """
    k = int(model[1:]) + 1 if model != "sft" else 0
    judge = results.setting("improvement.judge", Ref(k, Stage.JUDGMENTS)) or "self"
    return k if k >= FIRST_FEEDBACK_ITERATION and judge == "self" else None


def address(measure: Measure, model: str) -> str:
    """Return where a model's score lies below eval/."""
    return Subject(measure.benchmark, (model,)).address
