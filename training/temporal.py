"""The answers of the past and of the future for an iteration's pairs (Temporal Self-Rewarding).

Source: arXiv 2508.06026. The past is M1, which the method calls M0: the model before any preference
training. The future is M_{k-1} after DPO on the pairs with the past; M_k is trained on the pairs
with both, from M_{k-1} again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from core.benchmarks import FIRST_FEEDBACK_ITERATION
from core.stages import Ref, Stage, model_ref
from training import models
from training.answers import answer, judge, kept
from training.data import pairs
from training.data.temporal import FUTURE, Answers, Others

if TYPE_CHECKING:
    from training.run import Run


class _Other(NamedTuple):
    """Another model's answers and their judgments, as artifacts."""

    by: str
    answers: Ref
    judged: Ref

    @property
    def refs(self) -> list[Ref]:
        """Return both artifacts."""
        return [self.answers, self.judged]

    def read(self, run: Run) -> Answers:
        """Return the rows of both."""
        return Answers(self.by, run.read(self.answers), run.read(self.judged))


class Feedback(NamedTuple):
    """An iteration of a run, and its prompts."""

    run: Run
    k: int
    new: Ref

    def choose_pairs(self) -> Ref:
        """Make the pairs from the answers of M_{k-1}, and of other models if that is wanted."""
        section, past, future = self.run.config.pairs, None, None
        if section.rejected_from == "past" and self.k > FIRST_FEEDBACK_ITERATION:
            past = self._answered(model_ref(1), "M1", Stage.PAST_ANSWERS, Stage.PAST_JUDGMENTS)
        if section.chosen_from == "future":
            first = self._ledger(Stage.FUTURE_PAIRS, past, None)
            ahead = models.train_future(self.run, self.k, first)
            stages = (Stage.FUTURE_ANSWERS, Stage.FUTURE_JUDGMENTS)
            future = self._answered(ahead, FUTURE, *stages)
        return self._ledger(Stage.PAIRS, past, future)

    def _answered(self, model: Ref, by: str, answering: Stage, judging: Stage) -> _Other:
        """Let another model answer, and the judge of the candidates score its answers."""
        answers, judged = Ref(self.k, answering), Ref(self.k, judging)
        answer(self.run, self.new, model, answers, letter=by[0].lower())
        judge(self.run, self.new, answers, judged)
        return _Other(by, answers, judged)

    def _ledger(self, stage: Stage, past: _Other | None, future: _Other | None) -> Ref:
        run, section = self.run, self.run.config.pairs
        answers, judged = Ref(self.k, Stage.CANDIDATES), Ref(self.k, Stage.JUDGMENTS)
        beside = [ref for other in (past, future) if other is not None for ref in other.refs]
        own = f"M{self.k - 1}" if section.temporal else ""

        def others() -> Others:
            return Others(own, past and past.read(run), future and future.read(run))

        return run.rows(
            Ref(self.k, stage),
            [self.new, answers, judged, *beside],
            lambda out: pairs.select_pairs(
                kept(run, self.new), run.read(answers), run.read(judged), run.config, out,
                others=others(),
            ),
        )  # fmt: skip
