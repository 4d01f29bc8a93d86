from __future__ import annotations

import errno
import json
import math
import re
import shutil
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from transformers import TrainerControl, TrainerState

from core import jsonl
from core.append_log import AppendLog
from core.config import Config, EarlyStoppingSection, JudgeSection
from core.errors import BudgetSpent, JudgeFailed
from core.records import Verdict
from core.sources.thread import Thread
from tests.engines.scripted import ScriptedEngine
from tests.servers import BROKEN, FakeOpenAI
from tests.training.making import Killed, dying_after
from training.models import _external_judge
from training.run import Run
from training.trainers.early_stopping import (
    CheckpointJudge,
    ExternalJudge,
    best_of,
    strengths,
    win_rate,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from core.records import Message
    from engines.engine import Engine
    from tests.engines.scripted import Reply

PROMPTS = [Thread(f"v{i}", f"Question {i}?", (), None) for i in range(3)]
WORTH = re.compile(r"<response>.*worth (\d)", re.DOTALL)
RANKING = "[{{'model': 'model_1', 'rank': {}}}, {{'model': 'model_2', 'rank': {}}}]"


def verdict(winner: Any) -> Verdict:
    return Verdict("k", "k", "step 1", "step 2", winner, None if winner else "ambiguous")


# --- Numbers


@pytest.mark.parametrize(
    ("winners", "rate"),
    [
        (["B", "B", "B"], 1.0),
        (["A", "A"], 0.0),
        (["tie", "tie", "tie"], 0.5),
        (["B", "B", "tie", "A"], 0.625),  # (1 + 1 + 0.5 + 0) / 4
        (["B", None, None, "A"], 0.5),  # the unreadable ones are not counted at all
        (["B", None], 1.0),
        ([None, None], None),
        ([], None),
    ],
)
def test_the_win_rate_is_the_later_checkpoints_share_of_readable_verdicts(
    winners: list[Any], rate: float | None
) -> None:
    assert win_rate([verdict(winner) for winner in winners]) == rate


def test_strengths_add_up_the_log_odds_of_each_comparison() -> None:
    # 3/4 wins: odds 3, ln 3 = 1.0986. A half: odds 1, ln 1 = 0. A quarter: -ln 3.
    chain = strengths([0.75, 0.5, 0.25, 0.25])
    assert chain == pytest.approx([0.0, math.log(3), math.log(3), 0.0, -math.log(3)])
    assert strengths([]) == [0.0]


def test_a_clean_sweep_is_no_proof_of_infinite_superiority() -> None:
    # Clipped to 0.98 and 0.02: odds 49 and 1/49.
    assert strengths([1.0, 0.0]) == pytest.approx([0.0, math.log(49), 0.0])


def test_an_unreadable_comparison_changes_nothing() -> None:
    assert strengths([0.75, None, 0.75]) == pytest.approx(
        [0.0, math.log(3), math.log(3), 2 * math.log(3)]
    )


@pytest.mark.parametrize(
    ("chain", "best"),
    [([0.0, -2.0], 1), ([0.0, 1.0, 0.5], 1), ([0.0, 1.0, 1.0, 0.2], 2), ([0.0, -1.0, -0.5], 2)],
)
def test_the_best_is_the_strongest_checkpoint_and_of_equals_the_last(
    chain: list[float], best: int
) -> None:
    assert best_of(chain) == best


@pytest.mark.parametrize("rate", [0.0, 0.25, 1 / 3, 0.4, 0.45])
def test_a_win_rate_and_its_opposite_cancel_out_in_spite_of_rounding(rate: float) -> None:
    # ln(r / (1 - r)) + ln((1 - r) / r) = 0, which floating point misses by some 1e-16.
    assert best_of(strengths([rate, 1 - rate])) == 2


# --- The judge of checkpoints


def ranker(messages: Sequence[Message], draw: int) -> str:
    """Prefer the answer that is worth more; of equals the one shown first."""
    text = messages[-1]["content"]
    first, second = (int(worth) for worth in re.findall(r'"answer": """.*?worth (\d)', text))
    return RANKING.format(1, 2) if first >= second else RANKING.format(2, 1)


def scorer(messages: Sequence[Message], draw: int) -> str:
    """Score an answer with what it says it is worth."""
    found = WORTH.search(messages[-1]["content"])
    return f"Score: {found[1]}" if found else "No idea."


class Rig(NamedTuple):
    """A run with judged checkpoints, and what its engines were asked."""

    judge: CheckpointJudge
    folder: Path
    asked: list[tuple[str, str, int]]
    """(which engine, request, draw), in order."""

    def save(self, step: int) -> bool:
        """Play the trainer: write a checkpoint and have it judged."""
        return self.judge.judge_checkpoint(checkpoint(self.folder, step), step)

    def verdicts(self, step: int) -> list[Verdict]:
        path = self.folder / "checkpoints.jsonl"
        return [
            jsonl.decode(Verdict, line["verdict"], path, number)
            for number, line in jsonl.read_objects(path)
            if line["kind"] == "verdict" and line["step"] == step
        ]

    def log(self) -> bytes:
        return (self.folder / "checkpoints.jsonl").read_bytes()


def checkpoint(folder: Path, step: int) -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text("{}")
    (path / "model.safetensors").write_text(f"weights of step {step}")
    (path / "optimizer.pt").write_text("not a part of the model")
    return path


class Recording(ScriptedEngine):
    """A scripted engine that writes down each draw that it finished in a common list."""

    def __init__(self, name: str, reply: Reply, asked: list[tuple[str, str, int]]) -> None:
        def listening(messages: Sequence[Message], draw: int) -> str | None:
            text = reply(messages, draw)
            asked.append((name, messages[-1]["content"], draw))
            return text

        super().__init__(listening, name=name)


def rig(
    folder: Path,
    worth: dict[int, int | Callable[[str], int | None]],
    *,
    prompt: str = "alpaca_eval",
    judge: Reply | None = None,
    draws: int = 2,
    patience: int = 1,
    every_steps: int = 1,
    dies_after: int = 10**9,
    thought: str = "",
    made_with: str = "",
    external: ExternalJudge | None = None,
) -> Rig:
    """Return a run whose step `s` gives answers worth `worth[s]` (None: prompt too long).

    Step 0 is M_t; its answers are worth 0 unless they are given.
    """
    folder.mkdir(parents=True, exist_ok=True)
    worth = {0: 0, **worth}
    asked: list[tuple[str, str, int]] = []
    opinion = judge or (ranker if prompt == "alpaca_eval" else scorer)
    step_now = [0]

    def speak(messages: Sequence[Message], draw: int) -> str | None:
        text = messages[-1]["content"]
        if text.startswith("Question"):
            given = worth[step_now[0]]
            value = given(text) if callable(given) else given
            return None if value is None else f"{thought}An answer worth {value}"
        return opinion(messages, draw)

    mortal = dying_after(dies_after, speak)

    def open_policy(path: Path) -> Engine:
        step_now[0] = int(path.name.rpartition("-")[2])
        return Recording(path.name, mortal, asked)

    section = EarlyStoppingSection(
        prompt=prompt,  # type: ignore[arg-type]
        patience=patience,
        every_steps=every_steps,
    )
    built = CheckpointJudge(
        section,
        JudgeSection(draws=draws),
        PROMPTS,
        seed=0,
        log=folder / "checkpoints.jsonl",
        work=folder,
        start=checkpoint(folder, 0),
        external=external,
        made_with=made_with,
        open_judge=lambda: Recording("judge", mortal, asked),
        open_policy=open_policy,
    )
    return Rig(built, folder, asked)


BOTH = pytest.mark.parametrize("prompt", ["alpaca_eval", "pointwise"])


@BOTH
def test_training_stops_when_a_checkpoint_is_worse_and_the_best_is_kept(
    tmp_path: Path, prompt: str
) -> None:
    run = rig(tmp_path, {2: 1, 4: 3, 6: 2}, prompt=prompt)
    # Strengths: all won, ln 49; again, 2 ln 49; all lost, back to ln 49. The best is step
    # 4, one behind the last.
    assert run.save(2) is False
    assert run.save(4) is False
    assert run.save(6) is True
    best = run.judge.best()
    assert best is not None
    assert best.step == 4
    assert (best.folder / "model.safetensors").read_text() == "weights of step 4"
    assert [v.winner for v in run.verdicts(4)] == ["B", "B", "B"]
    assert [v.winner for v in run.verdicts(6)] == ["A", "A", "A"]
    assert {(v.a, v.b) for v in run.verdicts(6)} == {("step 4", "step 6")}


def test_the_best_checkpoint_is_copied_where_there_are_no_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("pathlib.Path.hardlink_to", refuse)
    run = rig(tmp_path, {2: 1})
    run.save(2)
    shutil.rmtree(tmp_path / "checkpoint-2")
    assert (tmp_path / "best" / "model.safetensors").read_text() == "weights of step 2"


@BOTH
def test_the_judge_of_checkpoints_sees_answers_without_thoughts(
    tmp_path: Path, prompt: str
) -> None:
    run = rig(tmp_path, {1: 1, 2: 3}, prompt=prompt, thought="<think>worth 9</think>")
    run.save(1)
    run.save(2)
    assert [v.winner for v in run.verdicts(2)] == ["B", "B", "B"]
    assert not any("worth 9" in text for name, text, _ in run.asked if name == "judge")
    assert run.judge.counts()["thinking_removed"] == 9  # M_t thinks too


@BOTH
def test_patience_waits_for_so_many_checkpoints_after_the_best(tmp_path: Path, prompt: str) -> None:
    run = rig(tmp_path, {1: 4, 2: 3, 3: 2, 4: 1}, prompt=prompt, patience=3)
    assert [run.save(step) for step in (1, 2, 3, 4)] == [False, False, False, True]
    best = run.judge.best()
    assert best is not None
    assert best.step == 1


def test_a_checkpoint_as_strong_as_the_best_replaces_it(tmp_path: Path) -> None:
    # Won by all (ln 49), lost by all (0), then won by all (ln 49): of equals the last.
    run = rig(tmp_path, {1: 3, 2: 2, 3: 3}, patience=2)
    assert [run.save(step) for step in (1, 2, 3)] == [False, False, False]
    best = run.judge.best()
    assert best is not None
    assert best.step == 3


def test_there_is_no_best_before_anything_was_judged(tmp_path: Path) -> None:
    run = rig(tmp_path, {1: 1})
    assert run.judge.best() is None
    assert run.judge.wants_to_stop(None) is False
    assert run.asked == []


def test_each_checkpoint_answers_each_prompt_once_and_is_judged_in_both_orders(
    tmp_path: Path,
) -> None:
    run = rig(tmp_path, {1: 1, 2: 2})
    run.save(1)
    assert [(name, text) for name, text, _ in run.asked[:6]] == [
        (f"checkpoint-{step}", f"Question {number}?") for step in (0, 1) for number in range(3)
    ]
    # Then 3 comparisons of step 1 with M_t, in 2 orders.
    assert Counter(name for name, _, _ in run.asked[6:]) == {"judge": 6}
    run.save(2)
    # Then 3 answers of step 2, and 3 comparisons in 2 orders.
    assert Counter(name for name, _, _ in run.asked[12:]) == {"checkpoint-2": 3, "judge": 6}


def test_pointwise_judging_asks_for_each_draw_of_both_answers(tmp_path: Path) -> None:
    run = rig(tmp_path, {1: 1, 2: 2}, prompt="pointwise", draws=2)
    run.save(1)
    run.save(2)
    # 3 prompts, 3 answers (M_t's too), 2 draws.
    assert Counter(name for name, _, _ in run.asked)["judge"] == 18


def test_a_judge_that_always_prefers_the_first_shown_gives_ties(tmp_path: Path) -> None:
    def biased(messages: Sequence[Message], draw: int) -> str:
        return RANKING.format(1, 2)

    run = rig(tmp_path, {1: 1, 2: 3}, judge=biased)
    assert [run.save(1), run.save(2)] == [False, False]
    assert [v.winner for v in run.verdicts(2)] == ["tie"] * 3


@BOTH
def test_equal_answers_are_a_tie_without_asking_the_judge(tmp_path: Path, prompt: str) -> None:
    run = rig(tmp_path, {0: 2, 1: 2, 2: 2}, prompt=prompt)
    run.save(1)
    run.save(2)
    assert [v.winner for v in run.verdicts(2)] == ["tie"] * 3
    assert "judge" not in {name for name, _, _ in run.asked}


def test_equal_mean_scores_are_a_tie(tmp_path: Path) -> None:
    def flat(messages: Sequence[Message], draw: int) -> str:
        return "Score: 3"

    run = rig(tmp_path, {1: 1, 2: 3}, prompt="pointwise", judge=flat)
    run.save(1)
    run.save(2)
    assert [v.winner for v in run.verdicts(2)] == ["tie"] * 3


@pytest.mark.parametrize(
    ("prompt", "reason"), [("alpaca_eval", "no_score"), ("pointwise", "no_score")]
)
def test_verdicts_that_cannot_be_read_are_kept_as_such_and_stop_nothing(
    tmp_path: Path, prompt: str, reason: str
) -> None:
    def vague(messages: Sequence[Message], draw: int) -> str:
        return "Both are lovely."

    run = rig(tmp_path, {1: 3, 2: 2, 3: 1}, prompt=prompt, judge=vague)
    assert [run.save(step) for step in (1, 2, 3)] == [False, False, False]
    assert [(v.winner, v.unparsed) for v in run.verdicts(3)] == [(None, reason)] * 3


def test_one_unreadable_verdict_is_left_out_of_the_win_rate(tmp_path: Path) -> None:
    def moody(messages: Sequence[Message], draw: int) -> str:
        return "Hm." if "Question 0?" in messages[-1]["content"] else ranker(messages, draw)

    run = rig(tmp_path, {1: 1, 2: 3, 3: 2}, judge=moody)
    assert [run.save(step) for step in (1, 2, 3)] == [False, False, True]
    assert win_rate(run.verdicts(2)) == 1.0
    assert Counter(v.winner for v in run.verdicts(2)) == {"B": 2, None: 1}


@BOTH
def test_a_prompt_too_long_to_answer_gives_no_verdict(tmp_path: Path, prompt: str) -> None:
    # Question 0 has no answer at step 1, Question 1 at no step. Neither is a tie or a win.
    def first(text: str) -> int | None:
        return None if text in ("Question 0?", "Question 1?") else 1

    def second(text: str) -> int | None:
        return None if text == "Question 1?" else 2

    run = rig(tmp_path, {1: first, 2: second}, prompt=prompt)
    run.save(1)
    run.save(2)
    found = {v.key.rpartition("/")[2]: (v.winner, v.unparsed) for v in run.verdicts(2)}
    assert found == {
        "v0": (None, "prompt_too_long"),
        "v1": (None, "prompt_too_long"),
        "v2": ("B", None),
    }


# --- Going on after a kill


@BOTH
def test_a_judged_checkpoint_is_not_judged_again(tmp_path: Path, prompt: str) -> None:
    worth: dict[int, int | Callable[[str], int | None]] = {2: 1, 4: 3, 6: 2}
    first = rig(tmp_path, worth, prompt=prompt)
    for step in worth:
        first.save(step)
    log = first.log()
    again = rig(tmp_path, worth, prompt=prompt)
    assert again.judge.wants_to_stop(tmp_path / "checkpoint-6") is True
    assert again.asked == []
    assert again.log() == log
    best = again.judge.best()
    assert best is not None
    assert best.step == 4


def save_until_killed(run: Rig, steps: Sequence[int]) -> int:
    """Return how many checkpoints were judged to the end before the engine died."""
    for done, step in enumerate(steps):
        try:
            run.save(step)
        except Killed:
            return done
    raise AssertionError("the run was never killed")


def draws_in(worth: dict[int, Any], prompt: str) -> int:
    """Return how often engines are asked.

    Three answers a step and of M_t; by ranking 3 prompts x 2 orders a comparison, by score 3
    answers x 2 draws a model, once although it is compared with both of its neighbours.
    """
    judged = len(worth) if prompt == "alpaca_eval" else len(worth) + 1
    return 3 * (len(worth) + 1) + 6 * judged


@BOTH
@pytest.mark.parametrize(
    "dies_after", [0, 1, 3, 4, 6, 7, 9, 11, 12, 13, 15, 17, 20, 22, 24, 26, 29]
)
def test_a_kill_at_any_draw_changes_nothing_and_repeats_nothing(
    tmp_path: Path, prompt: str, dies_after: int
) -> None:
    worth: dict[int, int | Callable[[str], int | None]] = {2: 1, 4: 3, 6: 2}
    whole = rig(tmp_path / "whole", worth, prompt=prompt)
    stops = [whole.save(step) for step in worth]
    assert len(whole.asked) == draws_in(worth, prompt)

    first = rig(tmp_path / "killed", worth, prompt=prompt, dies_after=dies_after)
    done = save_until_killed(first, list(worth))
    second = rig(tmp_path / "killed", worth, prompt=prompt)
    # The trainer goes on from the checkpoint it had just written.
    steps = list(worth)
    resumed = [second.judge.wants_to_stop(checkpoint(second.folder, steps[done]))]
    resumed += [second.save(step) for step in steps[done + 1 :]]

    assert resumed == stops[done:]
    assert {s: second.verdicts(s) for s in worth} == {s: whole.verdicts(s) for s in worth}
    best = second.judge.best()
    assert best is not None
    assert best.step == 4
    # Together they asked what the run that was never killed did, and nothing twice.
    assert Counter(first.asked) + Counter(second.asked) == Counter(whole.asked)


def test_an_incomplete_last_line_costs_only_its_own_answer(tmp_path: Path) -> None:
    first = rig(tmp_path, {1: 1, 2: 2})
    first.save(1)
    path = tmp_path / "checkpoints.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:6])[:-5])  # three answers of M_t, two of step 1 and a part
    second = rig(tmp_path, {1: 1, 2: 2})
    second.judge.wants_to_stop(tmp_path / "checkpoint-1")
    answers = [(name, text) for name, text, _ in second.asked if name != "judge"]
    assert answers == [("checkpoint-1", "Question 2?")]
    with AppendLog(path) as log:
        assert len(log.lines) == len(lines) == 15  # six answers, six orders, three verdicts


def train_again(folder: Path, *steps: int) -> None:
    """Play a training whose `.work` was removed: the log stays, the weights become others."""
    for name in ("compared.json", "best"):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for step in steps:
        weights = checkpoint(folder, step) / "model.safetensors"
        weights.write_text(f"other weights of step {step}")


@BOTH
def test_verdicts_about_other_weights_are_not_in_force(tmp_path: Path, prompt: str) -> None:
    old = rig(tmp_path, {1: 3, 2: 1}, prompt=prompt)
    assert [old.save(1), old.save(2)] == [False, True]
    train_again(tmp_path, 1, 2)
    new = rig(tmp_path, {1: 1, 2: 3}, prompt=prompt)
    # Step 2 of before is no part of the new chain when step 1 is judged.
    assert new.judge.judge_checkpoint(tmp_path / "checkpoint-1", 1) is False
    assert new.judge.judge_checkpoint(tmp_path / "checkpoint-2", 2) is False
    best = new.judge.best()
    assert best is not None
    assert (best.folder / "model.safetensors").read_text() == "other weights of step 2"
    # M_t's weights are the same, so its answers are not asked for again.
    assert {name for name, *_ in new.asked} == {"checkpoint-1", "checkpoint-2", "judge"}
    new.judge.finish()
    assert [v.winner for v in new.verdicts(2)] == ["B"] * 3  # of the old ones none is left
    assert new.judge.counts()["verdicts_later_better"] == 6


@BOTH
def test_verdicts_made_with_other_settings_are_not_in_force(tmp_path: Path, prompt: str) -> None:
    old = rig(tmp_path, {1: 3, 2: 1}, prompt=prompt, made_with="seed 0")
    for step in (1, 2):
        old.save(step)
    train_again(tmp_path)
    new = rig(tmp_path, {1: 1, 2: 3}, prompt=prompt, made_with="seed 1")
    assert [new.save(1), new.save(2)] == [False, False]
    assert Counter(name for name, *_ in new.asked) == Counter(name for name, *_ in old.asked)
    same = rig(tmp_path, {1: 1, 2: 3}, prompt=prompt, made_with="seed 1")
    assert same.judge.wants_to_stop(tmp_path / "checkpoint-2") is False
    assert same.asked == []


def test_a_step_trained_again_replaces_the_one_before_the_kill(tmp_path: Path) -> None:
    first = rig(tmp_path, {1: 2, 2: 3})
    assert [first.save(1), first.save(2)] == [False, False]
    # Killed before step 2 was complete: the trainer resumes from step 1 and comes to step 2 again.
    (checkpoint(tmp_path, 2) / "model.safetensors").write_text("step 2 as it became")
    second = rig(tmp_path, {1: 2, 2: 1})
    assert second.judge.judge_checkpoint(tmp_path / "checkpoint-2", 2) is True
    best = second.judge.best()
    # Step 1 is judged better, but its weights gave way to the lost step 2's.
    assert best is not None
    assert (best.folder / "model.safetensors").read_text() == "step 2 as it became"
    assert second.judge.finish() == {"kept_strength": 0.0}


def test_no_checkpoint_better_than_the_model_it_started_from_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = rig(tmp_path, {0: 9, 1: 3, 2: 5, 3: 4})
    # Against M_t all lost, -ln 49; then won, 0; then lost. Only checkpoints are kept.
    assert [run.save(step) for step in (1, 2, 3)] == [False, False, True]
    best = run.judge.best()
    assert best is not None
    assert best.step == 2
    assert run.judge.finish() == {"kept_strength": 0.0}
    assert "no checkpoint is judged better" not in capsys.readouterr().err
    worse = rig(tmp_path / "worse", {0: 9, 1: 3})
    worse.save(1)
    assert worse.judge.finish() == {"kept_strength": pytest.approx(-math.log(49))}
    text = " ".join(capsys.readouterr().err.split())
    assert "no checkpoint is judged better than the model that training started from" in text


# --- A judge behind an API


def external(folder: Path, server: FakeOpenAI, **judge: Any) -> ExternalJudge:
    section = {"model": "gpt-4", "base_url": server.base_url, "concurrency": 1, "max_retries": 0}
    config = Config.model_validate(
        {"out_dir": str(folder / "runs"), "evaluation": {"judge": {**section, **judge}}}
    )
    return _external_judge(Run(config))


def served(messages: Any) -> str:
    return ranker(messages, 0)


def test_an_external_judge_is_asked_once_for_each_order_and_recorded(tmp_path: Path) -> None:
    with FakeOpenAI(served) as server:
        judge = external(tmp_path, server)
        run = rig(tmp_path / "one", {1: 1, 2: 3}, external=judge)
        assert [run.save(1), run.save(2)] == [False, False]
        assert len(server.answered) == 12  # 2 comparisons, 3 prompts, 2 orders
        assert {body["model"] for body in server.bodies} == {"gpt-4"}
        assert "judge" not in {name for name, *_ in run.asked}
        # The log and the checkpoints are lost; the recordings are not.
        other = rig(tmp_path / "two", {1: 1, 2: 3}, external=judge)
        assert [other.save(1), other.save(2)] == [False, False]
        assert len(server.bodies) == 12
        assert other.verdicts(2) == run.verdicts(2)


def test_nothing_is_asked_of_an_external_judge_twice_after_failures(tmp_path: Path) -> None:
    with FakeOpenAI(served, faults=[None, None, BROKEN, None]) as server:
        run = rig(tmp_path, {1: 1}, external=external(tmp_path, server))
        with pytest.raises(JudgeFailed, match="1 of 6 judge requests failed"):
            run.save(1)
        again = rig(tmp_path, {1: 1}, external=external(tmp_path, server))
        assert again.judge.wants_to_stop(tmp_path / "checkpoint-1") is False
        asked = [json.dumps(body["messages"]) for body in server.answered]
        assert len(asked) == len(set(asked)) == 6
        assert [v.winner for v in again.verdicts(1)] == ["B"] * 3


def test_failures_that_are_allowed_are_verdicts_that_could_not_be_read(tmp_path: Path) -> None:
    with FakeOpenAI(served, faults=[BROKEN]) as server:
        judge = external(tmp_path, server, allowed_failures=0.2)
        run = rig(tmp_path, {1: 1}, external=judge)
        run.save(1)
        found = Counter((v.winner, v.unparsed) for v in run.verdicts(1))
    assert found == {("B", None): 2, (None, "failed"): 1}


def test_an_external_judge_stops_at_the_budget(tmp_path: Path) -> None:
    with FakeOpenAI(served) as server:
        judge = external(tmp_path, server, budget_usd=0.0, price_usd=(10.0, 30.0))
        run = rig(tmp_path, {1: 1}, external=judge)
        with pytest.raises(BudgetSpent):
            run.save(1)
        assert server.bodies == []


# --- Inside the trainer


def test_only_every_nth_checkpoint_and_the_last_one_are_judged(tmp_path: Path) -> None:
    # Saved at 2, 4, 5; compared every 4 steps: 4, and at the end 5. The one at 2 is for resuming.
    run = rig(tmp_path, {2: 1, 4: 1, 5: 2}, every_steps=4)
    hook = run.judge
    for step in (2, 4, 5):
        checkpoint(tmp_path, step)
        hook.on_save(None, TrainerState(global_step=step), TrainerControl())
    assert {name for name, *_ in run.asked} == {"checkpoint-0", "checkpoint-4", "judge"}
    hook.on_train_end(None, TrainerState(global_step=5), TrainerControl())
    assert {name for name, *_ in run.asked} == {
        *("checkpoint-0", "checkpoint-4", "checkpoint-5", "judge")
    }
    asked = len(run.asked)
    hook.on_train_end(None, TrainerState(global_step=5), TrainerControl())
    assert len(run.asked) == asked
    assert run.judge.counts() == {"validation_prompts": 3, "verdicts_later_better": 6}
    assert not run.judge.wants_to_stop(tmp_path / "checkpoint-2")


def test_the_trainers_hook_judges_what_was_saved_and_stops_the_training(tmp_path: Path) -> None:
    run = rig(tmp_path, {5: 3, 10: 1})
    hook = run.judge
    answers = []
    for step in (5, 10):
        checkpoint(tmp_path, step)
        control = hook.on_save(None, TrainerState(global_step=step), TrainerControl())
        answers.append(control.should_training_stop)
    assert answers == [False, True]


def test_the_best_weights_outlive_the_trainers_own_checkpoint(tmp_path: Path) -> None:
    run = rig(tmp_path, {1: 3, 2: 2})
    run.save(1)
    shutil.rmtree(tmp_path / "checkpoint-1")
    run.save(2)
    best = run.judge.best()
    assert best is not None
    assert best.step == 1
    assert (best.folder / "model.safetensors").read_text() == "weights of step 1"
    # The optimiser's state is no part of a model.
    assert {p.name for p in best.folder.iterdir()} == {"config.json", "model.safetensors", "step"}
