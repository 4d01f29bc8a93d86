"""What the model before says of an iteration's answers: its judgments and its log-probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from core.config import Config
from core.records import ANSWERED, AnswerLogProb
from core.stages import Ref, Stage, model_ref
from core.store import Built, Store
from engines.engine import Logprob
from tests.engines.scripted import ScriptedEngine
from tests.training.making import KEY, Killed, candidate, dying_after, judgment, made, prompt
from training.iterate import compare_judges, learned_preferences
from training.run import Run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from core.records import Message
    from core.store import Partial
    from engines.engine import Continuation

ANSWERS = [candidate(key, draw, "wug " * (1 + draw)) for key in "pq" for draw in range(3)]
ANSWERS.append(candidate("p", 3, "", finish="too_long"))


def write(folder: Path, stage: Stage, rows: Sequence[Any]) -> None:
    def add(out: Partial) -> Built:
        out.add_missing(rows)
        return Built()

    made(folder, Ref(3, stage), add)


def run_with(
    tmp_path: Path, engines: dict[Ref, ScriptedEngine], **settings: Any
) -> tuple[Run, list[Ref]]:
    """Return a run with iteration 3's answers, judged by M2, and the models that it opens."""
    config = Config.model_validate({"out_dir": str(tmp_path), "judge": {"draws": 1}, **settings})
    run, opened = Run(config), list[Ref]()
    for k in range(3):
        if not run.store.exists(model_ref(k)):
            folder = run.store.begin_model(model_ref(k), KEY) / "model"
            folder.mkdir()
            (folder / "model.safetensors").write_text(f"M{k}")
            run.store.commit_model(model_ref(k), KEY, folder, Built())
    if not run.store.exists(Ref(3, Stage.JUDGMENTS)):
        write(config.folder, Stage.PROMPTS, [prompt("p"), prompt("q")])
        write(config.folder, Stage.CANDIDATES, ANSWERS)
        # M2: the longer, the better.
        scores = [judgment(c.key, 0, 1 + c.draw) for c in ANSWERS if c.finish in ANSWERED]
        write(config.folder, Stage.JUDGMENTS, scores)

    def model(ref: Ref, stage: Ref) -> ScriptedEngine:
        opened.append(ref)
        return engines[ref]

    run.engines.model = model  # type: ignore[assignment, method-assign]
    return run, opened


def shortest_is_best(messages: Sequence[Message], draw: int) -> str:
    """Judge the answers of 1, 2 and 3 words with 5, 4 and 3 points."""
    return f"Score: {6 - messages[-1]['content'].count('wug')}"


def per_word(value: float) -> ScriptedEngine:
    def score(asked: Continuation) -> Logprob:
        words = asked.continuation.count("wug")
        return Logprob(value * words, words, greedy=False)

    return ScriptedEngine(lambda *_: "", score=score)


def test_without_a_setting_the_model_before_is_not_asked(tmp_path: Path) -> None:
    run, opened = run_with(tmp_path, {})
    assert compare_judges(run, 3) == learned_preferences(run, 3) == []
    assert opened == []
    assert not run.store.exists(Ref(3, Stage.PREVIOUS_JUDGMENTS))


@pytest.mark.parametrize("used", ["off", "prompt"])
def test_m1_judges_what_m2_answered_and_the_orders_are_compared(tmp_path: Path, used: str) -> None:
    judge = ScriptedEngine(shortest_is_best)
    run, opened = run_with(
        tmp_path,
        {model_ref(1): judge},
        health={"consistency": True},
        pairs={"consistency": used},
    )
    # Pairs depend on it only if they use it.
    assert compare_judges(run, 3) == ([] if used == "off" else [Ref(3, Stage.CONSISTENCY)])
    assert opened == [model_ref(1)]
    assert [row.tau for row in run.read(Ref(3, Stage.CONSISTENCY))] == [-1.0, -1.0]
    assert run.store.manifest(Ref(3, Stage.CONSISTENCY)).facts == {"consistency": 0.0}
    inputs = run.store.manifest(Ref(3, Stage.PREVIOUS_JUDGMENTS)).key.inputs
    assert {"iter1/model", "iter3/candidates"} <= inputs.keys()
    # Everything is there now: nothing is asked again.
    again, opened = run_with(
        tmp_path, {}, health={"consistency": True}, pairs={"consistency": used}
    )
    compare_judges(again, 3)
    assert opened == []


def test_a_killed_judge_goes_on_with_the_next_answer(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"health": {"consistency": True}}
    dying = ScriptedEngine(dying_after(4, shortest_is_best))
    run, _ = run_with(tmp_path, {model_ref(1): dying}, **settings)
    with pytest.raises(Killed):
        compare_judges(run, 3)
    judge = ScriptedEngine(shortest_is_best)
    run, _ = run_with(tmp_path, {model_ref(1): judge}, **settings)
    compare_judges(run, 3)
    assert len(judge.calls) == 2  # six answers, four of them judged before
    whole, _ = run_with(
        tmp_path / "whole", {model_ref(1): ScriptedEngine(shortest_is_best)}, **settings
    )
    compare_judges(whole, 3)
    for stage in (Stage.PREVIOUS_JUDGMENTS, Stage.CONSISTENCY):
        paths = (one.store.paths.artifact(Ref(3, stage)) for one in (run, whole))
        assert len({path.read_bytes() for path in paths}) == 1


def test_both_models_score_the_answers_if_pairs_are_filtered(tmp_path: Path) -> None:
    run, opened = run_with(
        tmp_path,
        {model_ref(2): per_word(-1.0), model_ref(1): per_word(-3.0)},
        pairs={"filter": "implicit_reward"},
    )
    assert learned_preferences(run, 3) == [Ref(3, Stage.IMPLICIT_REWARDS)]
    assert opened == [model_ref(2), model_ref(1)]
    rows: list[AnswerLogProb] = run.read(Ref(3, Stage.IMPLICIT_REWARDS))
    assert len(rows) == 2 * 6
    totals = {row.model: row.total for row in rows if row.candidate_key == "q/a2"}
    assert totals == {"current": -3.0, "previous": -9.0}
    store = Store(run.config.folder)
    inputs = store.manifest(Ref(3, Stage.IMPLICIT_REWARDS)).key.inputs
    assert {"iter1/model", "iter2/model", "iter3/candidates"} <= inputs.keys()
