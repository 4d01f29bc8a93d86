"""Judged early stopping: checkpoints are compared by a judge, and the best is kept.

The paper saves a checkpoint every 200 steps and lets an external judge compare its answers to 253
validation prompts with the previous checkpoint's, in the AlpacaEval format. Here the log-odds of
each win rate are added up, which gives every checkpoint a Bradley-Terry strength relative to the
first; the strongest is kept.
"""

from __future__ import annotations

import itertools
import json
import math
import shutil
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from transformers import TrainerCallback

from core import hashing, jsonl
from core.append_log import AppendLog
from core.progress import say, track
from core.records import ANSWERED, Judgment, Verdict, user
from core.reductions import combine, mean_scores
from engines.engine import Decoding, Request, sample_answers
from judges.backends.local_judge import LocalJudge
from judges.pairwise import AnswerPair, judge_orders, pair_prompt
from judges.pointwise import JudgedAnswer, judge_answers
from training.trainers import trl_loop
from training.trainers.weights import weights_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from transformers import TrainerControl, TrainerState

    from core.config import EarlyStoppingSection, JudgeSection
    from core.records import Row
    from engines.engine import Engine
    from judges.asking import Reply
    from training.data.seed import ValidationPrompt

_Kept = TypeVar("_Kept")

# Win rates of 0 and 1 are clipped: their log-odds are infinite.
_LEAST_WIN_RATE = 0.02
_DECIMALS = 9  # of strengths: win rates of 0.4 and then 0.6 must cancel out


class Checkpoint(NamedTuple):
    """A kept checkpoint: its optimiser step and a folder with its weights."""

    step: int
    folder: Path


def win_rate(verdicts: Sequence[Verdict]) -> float | None:
    """Return B's win rate against A, a tie counting half; None without a readable verdict."""
    points = {"A": 0.0, "tie": 0.5, "B": 1.0}
    found = [points[v.winner] for v in verdicts if v.winner is not None]
    return sum(found) / len(found) if found else None


def strengths(win_rates: Sequence[float | None]) -> list[float]:
    """Return each checkpoint's log-odds strength relative to the first (0).

    `win_rates[i]` is checkpoint i+1's against checkpoint i; None (no readable verdict) counts as a
    draw.
    """
    chain = [0.0]
    for rate in win_rates:
        if rate is None:
            chain.append(chain[-1])
            continue
        clipped = min(max(rate, _LEAST_WIN_RATE), 1 - _LEAST_WIN_RATE)
        chain.append(chain[-1] + math.log(clipped / (1 - clipped)))
    return chain


def best_of(chain: Sequence[float]) -> int:
    """Return the index of the strongest checkpoint; of equals, the last."""
    return max(range(len(chain)), key=lambda i: (round(chain[i], _DECIMALS), i))


class CheckpointJudge(TrainerCallback):  # type: ignore[misc]
    """Answers validation prompts with each checkpoint and compares it with the previous one.

    As the trainer's callback it judges checkpoints when they are written.

    Answers and verdicts are appended row by row to `log`, so a killed run repeats nothing.
    """

    def __init__(
        self,
        section: EarlyStoppingSection,
        judge: JudgeSection,
        prompts: Sequence[ValidationPrompt],
        *,
        seed: int,
        log: Path,
        work: Path,
        open_judge: Callable[[], Engine],
        open_policy: Callable[[Path], Engine],
    ) -> None:
        """Checkpoints are in `work`; engines are opened only when one must be judged."""
        self._section, self._judge_section = section, judge
        self._prompts, self._seed, self._file, self._work = prompts, seed, log, work
        self._open_judge, self._open_policy = open_judge, open_policy

    def on_save(
        self, args: object, state: TrainerState, control: TrainerControl, **_: object
    ) -> TrainerControl:
        """Judge the checkpoint just written; stop training if it is time."""
        if self.wants_to_stop(self._work / f"checkpoint-{state.global_step}"):
            control.should_training_stop = True
        return control

    def on_train_end(self, args: object, state: TrainerState, *_: object, **__: object) -> None:
        """Judge the last checkpoint too if its step is not a multiple of `every_steps`."""
        step = state.global_step
        folder = self._work / f"checkpoint-{step}"
        if folder.is_dir() and not self.is_judged_at(step):
            self.judge_checkpoint(weights_of(folder), step)

    def judge_checkpoint(self, folder: Path, step: int) -> bool:
        """Judge one checkpoint unless it was judged; return whether training should stop."""
        with AppendLog(self._file) as self._log:
            answers = self._answers(folder, step)
            steps = sorted({line["step"] for line in self._log.lines if line["kind"] == "answer"})
            earlier = [s for s in steps if s < step]
            if earlier:
                self._verdicts(earlier[-1], step, answers)
            rates = [win_rate(self._kept("verdict", Verdict, at)) for at in steps[1:]]
        chain = strengths(rates)
        best = best_of(chain)
        if steps[best] == step:
            _copy_model(folder, self._work / "best", step)
        stop = len(steps) - 1 - best >= self._section.patience
        if stop:
            say(f"  early stopping at step {step}: step {steps[best]} is judged the best")
        return stop

    def is_judged_at(self, step: int) -> bool:
        """Whether a checkpoint of this step is compared; the last one always is."""
        return step % self._section.every_steps == 0

    def counts(self) -> dict[str, int]:
        """Return the number of verdicts of each kind, for the manifest."""
        with AppendLog(self._file) as self._log:
            verdicts = self._kept("verdict", Verdict)
            thoughts = sum("thought" in line for line in self._log.lines)
        kinds = {"A": "earlier_better", "B": "later_better", "tie": "tie", None: "unparsed"}
        found = Counter(f"verdicts_{kinds[v.winner]}" for v in verdicts)
        if verdicts and found["verdicts_unparsed"] > len(verdicts) / 2:
            say(
                f"  warning: {found['verdicts_unparsed']} of {len(verdicts)} comparisons of "
                "checkpoints could not be read; dpo.early_stopping.prompt = 'pointwise' may suit "
                "this judge better"
            )
        removed = {"thinking_removed": thoughts} if thoughts else {}
        return {"validation_prompts": len(self._prompts), **found, **removed}

    def wants_to_stop(self, checkpoint: Path | None) -> bool:
        """Finish judging the checkpoint of a killed run; return whether training ends with it."""
        step = trl_loop.step_of(checkpoint)
        if checkpoint is None or not self.is_judged_at(step):
            return False
        return self.judge_checkpoint(weights_of(checkpoint), step)

    def best(self) -> Checkpoint | None:
        """Return the strongest checkpoint judged so far."""
        folder = self._work / "best"
        if not (folder / "step").is_file():
            return None
        return Checkpoint(int((folder / "step").read_text()), folder)

    def _answers(self, folder: Path, step: int) -> dict[str, str | None]:
        """Return the checkpoint's greedy answer to each validation prompt, None without one."""
        found = self._logged_answers(step)
        missing = [p for p in self._prompts if p.key not in found]
        if missing:
            engine = self._open_policy(folder)
            decoding = Decoding(0.0, 1.0, self._section.max_new_tokens, self._seed)
            requests = [Request(p.key, user(p.text)) for p in missing]
            with track(f"validation answers, step {step}", len(self._prompts)) as advance:
                for sampled in sample_answers(engine, requests, decoding):
                    text = sampled.text if sampled.finish in ANSWERED else None
                    line = {"kind": "answer", "step": step, "prompt_key": sampled.key, "text": text}
                    thinking = {"thought": sampled.thought, "finish": sampled.finish}
                    self._append(line | (thinking if sampled.thought else {}))
                    found[sampled.key] = text
                    advance(tokens=sampled.tokens)
        return found

    def _verdicts(self, before: int, step: int, answers: dict[str, str | None]) -> None:
        """Compare `step` (B) with `before` (A); the verdict is None if one could not answer."""
        earlier = self._logged_answers(before)
        names = (f"step {before}", f"step {step}")
        done = {verdict.key for verdict in self._kept("verdict", Verdict, step)}
        cut = {line["prompt_key"] for line in self._log.lines if line.get("finish") == "cut_off"}
        items, unanswered = [], []
        for prompt in self._prompts:
            key = f"step{step}/{prompt.key}"  # the same prompt is compared at every checkpoint
            a, b = earlier[prompt.key], answers[prompt.key]
            if key in done:
                continue
            if a is None or b is None:
                reason = "cut_off" if prompt.key in cut else "prompt_too_long"
                unanswered.append(Verdict(key, prompt.key, *names, None, reason))
            else:
                items.append(AnswerPair(key, prompt.text, *names, a, b, prompt.key))
        title = f"validation verdicts, step {step} against {before}"
        with track(title, len(self._prompts), resumed=len(done)) as advance:
            for verdict in itertools.chain(unanswered, self._compare(items, before, step)):
                self._keep("verdict", step, verdict)
                advance()

    def _compare(self, items: Sequence[AnswerPair], before: int, step: int) -> Iterator[Verdict]:
        # Identical answers are a tie without asking the judge.
        for item in items:
            if item.answer_a == item.answer_b:
                yield Verdict(item.key, item.prompt_key, item.a, item.b, "tie")
        items = [item for item in items if item.answer_a != item.answer_b]
        if items and self._section.prompt == "alpaca_eval":
            yield from self._compare_by_ranking(items, step)
        elif items:
            yield from self._compare_by_score(items, before, step)

    def _compare_by_ranking(self, items: Sequence[AnswerPair], step: int) -> Iterator[Verdict]:
        """Show both answers in both orders; each order's verdict is logged at once."""
        orders = {v.key: v for v in self._kept("order", Verdict, step)}
        judge = LocalJudge(self._open_judge(), self._section.judge, seed=self._seed)
        failures: list[Reply] = []  # a local judge never fails
        prompt = pair_prompt("alpaca_eval")
        for verdict in judge_orders(judge, items, prompt, done=orders, failures=failures):
            self._keep("order", step, verdict)
            orders[verdict.key] = verdict
        for item in items:
            yield combine(orders[f"{item.key}/ab"], orders[f"{item.key}/ba"])

    def _compare_by_score(
        self, items: Sequence[AnswerPair], before: int, step: int
    ) -> Iterator[Verdict]:
        """Score both answers with the pointwise rubric; the higher mean wins.

        Most scores of the earlier checkpoint were logged when it was the newer one.
        """
        subjects = [
            JudgedAnswer(f"step{at}/answer/{item.prompt_key}", item.prompt_key, item.prompt, answer)
            for item in items
            for at, answer in ((before, item.answer_a), (step, item.answer_b))
        ]
        judgments = self._kept("judgment", Judgment)
        done = {judgment.key for judgment in judgments}
        for judgment in judge_answers(
            self._open_judge(), subjects, self._judge_section, seed=self._seed, done=done
        ):
            self._keep("judgment", step, judgment)
            judgments.append(judgment)
        means = mean_scores(judgments)
        for item in items:
            a, b = (means[f"step{at}/answer/{item.prompt_key}"].mean for at in (before, step))
            yield _by_score(item, a, b)

    def _keep(self, kind: str, step: int, row: Row) -> None:
        self._append({"kind": kind, "step": step, kind: json.loads(jsonl.encode(row))})

    def _kept(self, kind: str, record: type[_Kept], step: int | None = None) -> list[_Kept]:
        """Return the logged rows of one kind, of one checkpoint or of all."""
        return [
            jsonl.decode(record, line[kind], self._file, number)
            for number, line in enumerate(self._log.lines, start=1)
            if line["kind"] == kind and step in (None, line["step"])
        ]

    def _append(self, line: dict[str, object]) -> None:
        self._log.append(json.dumps(line, ensure_ascii=False))
        self._log.lines.append(line)

    def _logged_answers(self, step: int) -> dict[str, str | None]:
        lines = (
            line for line in self._log.lines if (line["kind"], line["step"]) == ("answer", step)
        )
        return {line["prompt_key"]: line["text"] for line in lines}


def _by_score(item: AnswerPair, a: float | None, b: float | None) -> Verdict:
    if a is None or b is None:
        return Verdict(item.key, item.prompt_key, item.a, item.b, None, "no_score")
    winner = "tie" if a == b else ("A" if a > b else "B")
    return Verdict(item.key, item.prompt_key, item.a, item.b, winner)  # type: ignore[arg-type]


def _copy_model(source: Path, target: Path, step: int) -> None:
    """Link a checkpoint's weights into `target`, replacing an earlier one atomically."""
    fresh = target.with_name("best.tmp")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    for file in hashing.model_files(source):
        # A hard link, else a copy: it stays when the trainer deletes its checkpoint.
        _link_or_copy(file, fresh / file.name)
    (fresh / "step").write_text(str(step))
    shutil.rmtree(target, ignore_errors=True)
    fresh.replace(target)


def _link_or_copy(file: Path, target: Path) -> None:
    try:
        target.hardlink_to(file)
    except OSError:  # FAT and some network file systems have no hard links
        shutil.copyfile(file, target)
