"""Judged early stopping: checkpoints are compared by a judge, and the best is kept.

The paper saves a checkpoint every 200 steps and lets an external judge compare its answers to 253
validation prompts with the previous checkpoint's, in the AlpacaEval format. Here the log-odds of
each win rate are added up, which gives every checkpoint a Bradley-Terry strength relative to M_t,
the model that training starts from; the strongest checkpoint is kept (docs/decisions/006).

Answers and verdicts are logged under the weights they are about and the settings they were made
with, so a log that outlives its checkpoints puts nothing old in force.
"""

from __future__ import annotations

import itertools
import json
import math
import shutil
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from transformers import TrainerCallback

from core import hashing, jsonl
from core.append_log import AppendLog
from core.progress import say, track
from core.records import ANSWERED, Judgment, Verdict
from core.reductions import combine, mean_scores
from core.store import write_atomically
from engines.engine import Decoding, Request, sample_answers
from judges.asking import settle_failures
from judges.backends.local_judge import LocalJudge
from judges.pairwise import AnswerPair, judge_orders, pair_prompt
from judges.pointwise import JudgedAnswer, judge_answers
from training.trainers import trl_loop
from training.trainers.weights import weights_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from transformers import TrainerControl, TrainerState

    from core.config import EarlyStoppingSection, JudgeSection
    from core.records import Row
    from core.sources.thread import Thread
    from engines.engine import Engine
    from judges.asking import Judge, Reply

_Kept = TypeVar("_Kept")

# Win rates of 0 and 1 are clipped: their log-odds are infinite.
_LEAST_WIN_RATE = 0.02
_CHAIN = "compared.json"  # in the work folder: the links of this training
_DECIMALS = 9  # of strengths: win rates of 0.4 and then 0.6 must cancel out


START = 0
"""The step of M_t, the first link of the chain."""


class Link(NamedTuple):
    """A compared model of this training: its step and the hash of its weights."""

    step: int
    weights: str


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
    """Return the log-odds strength of each link of the chain relative to the first (0).

    `win_rates[i]` is link i+1's against link i; None (no readable verdict) counts as a draw.
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
    """Return the index of the strongest checkpoint; of equals, the last.

    Link 0, M_t, is what they are compared with and is not chosen.
    """
    return max(range(1, len(chain)), key=lambda i: (round(chain[i], _DECIMALS), i))


class ExternalJudge(NamedTuple):
    """A judge that is no model of the run, recorded and within a budget.

    `allowed_failures`: the share of requests that may fail for good; more stop the training stage.
    """

    open: Callable[[], AbstractContextManager[Judge]]
    allowed_failures: float


class CheckpointJudge(TrainerCallback):  # type: ignore[misc]
    """Answers validation prompts with each checkpoint and compares it with the previous one.

    The first one is compared with M_t. As the trainer's callback it judges checkpoints when they
    are written.

    Answers and verdicts are appended row by row to `log`, so a killed run repeats nothing. Which
    checkpoints belong to this training is noted among them, in `work`.
    """

    def __init__(
        self,
        section: EarlyStoppingSection,
        judge: JudgeSection,
        prompts: Sequence[Thread],
        *,
        seed: int,
        log: Path,
        work: Path,
        start: Path,
        open_judge: Callable[[], Engine],
        open_policy: Callable[[Path], Engine],
        external: ExternalJudge | None = None,
        made_with: str = "",
    ) -> None:
        """Checkpoints are in `work`; engines are opened only when one must be judged.

        `start` is M_t's folder. `external`: the judge of rankings, instead of `open_judge`'s.
        `made_with` identifies all settings that answers and verdicts depend on.
        """
        self._section, self._judge_section = section, judge
        self._prompts, self._seed, self._file, self._work = prompts, seed, log, work
        self._open_judge, self._open_policy = open_judge, open_policy
        self._start, self._external, self._made_with = start, external, made_with

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
        this = Link(step, hashing.model_digest(folder))
        with AppendLog(self._file) as self._log:
            chain = self._chain_before(this)
            before = chain[-1]
            earlier = self._answers(self._start, before) if before.step == START else None
            answers = self._answers(folder, this)
            self._verdicts(before, this, earlier or self._logged_answers(before), answers)
            chain = [*chain, this]
            strength = strengths([self._win_rate(pair) for pair in itertools.pairwise(chain)])
        best = best_of(strength)
        if chain[best] == this or self.best() is None:
            _copy_model(folder, self._work / "best", step)
        self._keep_chain(chain)
        stop = len(chain) - 1 - best >= self._section.patience
        if stop:
            say(f"  early stopping at step {step}: step {chain[best].step} is judged the best")
        return stop

    def _chain_before(self, this: Link) -> list[Link]:
        """Return M_t and the checkpoints that this training compared before this one.

        Later ones, and others of this step, were trained by a run that was killed before it could
        resume from them. If one of them was the best, it goes: it is no part of this training.
        """
        best = self.best()
        if best is not None and best.step >= this.step:
            best_link = Link(best.step, hashing.model_digest(best.folder))
            if best_link != this:
                shutil.rmtree(best.folder)
        earlier = [link for link in self._chain() if link.step < this.step]
        return earlier or [Link(START, hashing.model_digest(self._start))]

    def _chain(self) -> list[Link]:
        file = self._work / _CHAIN
        return [Link(*link) for link in json.loads(file.read_text())] if file.is_file() else []

    def _keep_chain(self, chain: Sequence[Link]) -> None:
        write_atomically(self._work / _CHAIN, json.dumps(chain))

    def _win_rate(self, pair: tuple[Link, Link]) -> float | None:
        return win_rate(self._kept("verdict", Verdict, self._id(*pair)))

    def finish(self) -> dict[str, float]:
        """Leave only this training's comparisons in the log; return how it compares with M_t.

        `kept_strength`: log-odds of the kept checkpoint against M_t along the chain, below 0 if
        M_t was judged better.
        """
        chain, best = self._chain(), self.best()
        ids = {self._id(link) for link in chain}
        ids |= {self._id(*pair) for pair in itertools.pairwise(chain)}
        with AppendLog(self._file) as self._log:
            strength = strengths([self._win_rate(pair) for pair in itertools.pairwise(chain)])
            lines = [line for line in self._log.lines if line.get("id") in ids]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        write_atomically(self._file, text)
        kept = next(
            s for link, s in zip(chain, strength, strict=True) if best and link.step == best.step
        )
        if round(kept, _DECIMALS) < 0:
            say(
                "  warning: no checkpoint is judged better than the model that training started "
                f"from; the best of them, step {best.step if best else 0}, is kept"
            )
        return {"kept_strength": round(kept, _DECIMALS)}

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

    def _id(self, *links: Link) -> str:
        """Return what lines about a model, or about a comparison, are logged under."""
        return hashing.short(
            hashing.sha256_json([self._made_with, *(one.weights for one in links)])
        )

    def _answers(self, folder: Path, link: Link) -> dict[str, str | None]:
        """Return a model's greedy answer to each validation prompt, None without one."""
        found, step = self._logged_answers(link), link.step
        missing = [p for p in self._prompts if p.key not in found]
        if missing:
            engine = self._open_policy(folder)
            decoding = Decoding(0.0, 1.0, self._section.max_new_tokens, self._seed)
            requests = [Request(p.key, p.messages) for p in missing]
            with track(f"validation answers, step {step}", len(self._prompts)) as advance:
                for sampled in sample_answers(engine, requests, decoding):
                    text = sampled.text if sampled.finish in ANSWERED else None
                    line = {"kind": "answer", "step": step, "prompt_key": sampled.key, "text": text}
                    thinking = {"thought": sampled.thought, "finish": sampled.finish}
                    self._append(line | self._about(link) | (thinking if sampled.thought else {}))
                    found[sampled.key] = text
                    advance(tokens=sampled.tokens)
        return found

    def _verdicts(
        self,
        before: Link,
        this: Link,
        earlier: dict[str, str | None],
        answers: dict[str, str | None],
    ) -> None:
        """Compare `this` (B) with `before` (A); the verdict is None if one could not answer."""
        names = (f"step {before.step}", f"step {this.step}")
        done = {verdict.key for verdict in self._kept("verdict", Verdict, self._id(before, this))}
        ids = {self._id(before), self._id(this)}
        cut = {
            line["prompt_key"]
            for line in self._log.lines
            if line.get("finish") == "cut_off" and line.get("id") in ids
        }
        items, unanswered = [], []
        for prompt in self._prompts:
            key = f"step{this.step}/{prompt.key}"  # the same prompt is compared at every checkpoint
            a, b = earlier[prompt.key], answers[prompt.key]
            if key in done:
                continue
            if a is None or b is None:
                reason = "cut_off" if prompt.key in cut else "prompt_too_long"
                unanswered.append(Verdict(key, prompt.key, *names, None, reason))
            else:
                items.append(AnswerPair(key, prompt.text, *names, a, b, prompt.key))
        title = f"validation verdicts, step {this.step} against {before.step}"
        with track(title, len(self._prompts), resumed=len(done)) as advance:
            for verdict in itertools.chain(unanswered, self._compare(items, before, this)):
                self._keep("verdict", verdict, before, this)
                advance()

    def _compare(self, items: Sequence[AnswerPair], before: Link, this: Link) -> Iterator[Verdict]:
        # Identical answers are a tie without asking the judge.
        for item in items:
            if item.answer_a == item.answer_b:
                yield Verdict(item.key, item.prompt_key, item.a, item.b, "tie")
        items = [item for item in items if item.answer_a != item.answer_b]
        if items and self._section.prompt == "pointwise":
            yield from self._compare_by_score(items, before, this)
        elif items:
            yield from self._compare_in_pairs(items, before, this)

    def _compare_in_pairs(
        self, items: Sequence[AnswerPair], before: Link, this: Link
    ) -> Iterator[Verdict]:
        """Show both answers in both orders; each order's verdict is logged at once.

        Raises:
            JudgeFailed: more of an external judge's requests failed than it allows.
        """
        orders = {v.key: v for v in self._kept("order", Verdict, self._id(before, this))}
        failures: list[Reply] = []
        prompt = pair_prompt(self._section.prompt)
        with self._ranker() as judge:
            for verdict in judge_orders(judge, items, prompt, done=orders, failures=failures):
                self._keep("order", verdict, before, this)
                orders[verdict.key] = verdict
        allowed = self._external.allowed_failures if self._external else 0.0
        settle_failures(failures, 2 * len(items), allowed_share=allowed)
        failed = {reply.key for reply in failures}
        for item in items:
            keys = (f"{item.key}/ab", f"{item.key}/ba")
            if failed & {*keys}:
                yield Verdict(item.key, item.prompt_key, item.a, item.b, None, "failed")
            else:
                yield combine(*(orders[key] for key in keys))

    @contextmanager
    def _ranker(self) -> Iterator[Judge]:
        if self._external is None:
            yield LocalJudge(self._open_judge(), self._section.judge, seed=self._seed)
            return
        with self._external.open() as judge:
            yield judge

    def _compare_by_score(
        self, items: Sequence[AnswerPair], before: Link, this: Link
    ) -> Iterator[Verdict]:
        """Score both answers with the pointwise rubric; the higher mean wins.

        Most scores of the earlier checkpoint were logged when it was the newer one.
        """
        links = {f"step{link.step}": link for link in (before, this)}
        subjects = [
            JudgedAnswer(f"step{link.step}/answer/{item.prompt_key}", item.prompt_key, *rest)
            for item in items
            for link, rest in (
                (before, (item.prompt, item.answer_a)),
                (this, (item.prompt, item.answer_b)),
            )
        ]
        judgments = [
            judgment
            for link in (before, this)
            for judgment in self._kept("judgment", Judgment, self._id(link))
        ]
        done = {judgment.key for judgment in judgments}
        for judgment in judge_answers(
            self._open_judge(), subjects, self._judge_section, seed=self._seed, done=done
        ):
            self._keep("judgment", judgment, links[judgment.subject_key.partition("/")[0]])
            judgments.append(judgment)
        means = mean_scores(judgments)
        for item in items:
            a, b = (means[f"{step}/answer/{item.prompt_key}"].mean for step in links)
            yield _by_score(item, a, b)

    def _about(self, *links: Link) -> dict[str, object]:
        return {"id": self._id(*links), "weights": hashing.short(links[-1].weights)}

    def _keep(self, kind: str, row: Row, *links: Link) -> None:
        line = {"kind": kind, "step": links[-1].step, kind: json.loads(jsonl.encode(row))}
        self._append(line | self._about(*links))

    def _kept(self, kind: str, record: type[_Kept], of: str | None = None) -> list[_Kept]:
        """Return the logged rows of one kind, of one id or of all."""
        return [
            jsonl.decode(record, line[kind], self._file, number)
            for number, line in enumerate(self._log.lines, start=1)
            if line["kind"] == kind and of in (None, line.get("id"))
        ]

    def _append(self, line: dict[str, object]) -> None:
        self._log.append(json.dumps(line, ensure_ascii=False))
        self._log.lines.append(line)

    def _logged_answers(self, link: Link) -> dict[str, str | None]:
        of = ("answer", self._id(link))
        lines = (line for line in self._log.lines if (line["kind"], line.get("id")) == of)
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
