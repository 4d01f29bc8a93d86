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
from training.candidate_judge import candidate_judge
from training.data import candidates, pairs
from training.data.temporal import FUTURE, Answers, Others

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.records import Prompt
    from core.store import Built, Partial
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
    """An iteration of a run: its prompts as an artifact, and those of them that were kept."""

    run: Run
    k: int
    new: Ref
    prompts: Callable[[], list[Prompt]]

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
        run, config = self.run, self.run.config
        answers, judged = Ref(self.k, answering), Ref(self.k, judging)
        judge = candidate_judge(run, self.k)
        run.rows(
            answers,
            [self.new, model],
            lambda out: candidates.sample_candidates(
                run.engines.model(model, answers), self.prompts(), config, out, letter=by[0].lower()
            ),
        )

        def make(out: Partial) -> Built:
            with judge.open(judged) as opened:
                return candidates.judge_candidates(opened, self.prompts(), run.read(answers), out)

        inputs = [self.new, answers, *judge.inputs]
        run.rows(judged, inputs, make, sources=judge.sources, sections=judge.sections)
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
                self.prompts(), run.read(answers), run.read(judged), run.config, out,
                others=others(),
            ),
        )  # fmt: skip
