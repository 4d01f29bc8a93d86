from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from core.config import EngineSection
from core.records import AnswerLogProb
from core.stages import Ref, Stage
from engines.engine import Logprob
from engines.models import load_model, load_tokenizer
from engines.opening import open_engine
from tests.engines.scripted import ScriptedEngine
from tests.training.making import Made, candidate, made, prompt
from training.data.implicit_rewards import rewards, score_answers

if TYPE_CHECKING:
    from pathlib import Path

    from engines.engine import Continuation

SCORED = Ref(2, Stage.IMPLICIT_REWARDS)
ANSWERS = [
    candidate("p", 0, "yes"),
    candidate("p", 1, "no, never"),
    candidate("p", 2, ""),
    candidate("p", 3, "", finish="too_long"),
]


class Killed(Exception):
    pass


def engine(per_word: float, *, left: int = 100) -> ScriptedEngine:
    """An engine that gives each word the same log-probability, and dies after `left` answers."""
    count = [left]

    def score(asked: Continuation) -> Logprob:
        if not count[0]:
            raise Killed
        count[0] -= 1
        words = len(asked.continuation.split())
        return Logprob(per_word * words, words, greedy=False)

    return ScriptedEngine(lambda *_: "", score=score, name=f"{per_word}")


def scored(folder: Path, current: ScriptedEngine, previous: ScriptedEngine) -> Made:
    return made(
        folder,
        SCORED,
        lambda out: score_answers(
            {"current": lambda: current, "previous": lambda: previous}, [prompt("p")], ANSWERS, out
        ),
    )


def test_the_reward_is_what_became_more_probable_since_the_model_before(tmp_path: Path) -> None:
    found = scored(tmp_path, engine(-1.0), engine(-3.0))
    # One word: -1 + 3; two words: -2 + 6; an empty answer has no tokens; none is none.
    assert rewards(found.rows) == {"p/a0": 2.0, "p/a1": 4.0, "p/a2": 0.0}
    assert found.counts == {"answers": 3}
    assert found.manifest.engine == "-1.0"


def test_an_answer_that_one_model_has_not_scored_has_no_reward() -> None:
    assert rewards([AnswerLogProb("a/current", "a", "current", -1.0, 1)]) == {}


def test_a_killed_scoring_goes_on_with_the_model_that_it_had_come_to(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        scored(tmp_path, engine(-1.0), engine(-3.0, left=1))
    # The first model has nothing left to score: it would die at once.
    again = scored(tmp_path, engine(-1.0, left=0), engine(-3.0))
    whole = scored(tmp_path / "whole", engine(-1.0), engine(-3.0))
    assert again.content == whole.content


def test_real_models_score_the_answer_after_its_prompt(tiny: Path, tmp_path: Path) -> None:
    section = EngineSection(device="cpu", dtype="float32")
    real = open_engine(tiny, section)
    found = made(
        tmp_path,
        SCORED,
        lambda out: score_answers(
            {"current": lambda: real, "previous": lambda: real}, [prompt("p")], ANSWERS[:2], out
        ),
    )
    assert rewards(found.rows) == {"p/a0": 0.0, "p/a1": 0.0}
    tokenizer, model = load_tokenizer(tiny), load_model(tiny, torch.float32)
    head = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt("p").text}], add_generation_prompt=True, tokenize=False
    )
    before = tokenizer(head, add_special_tokens=False).input_ids
    answer = tokenizer("yes", add_special_tokens=False).input_ids
    with torch.inference_mode():
        logps = model(torch.tensor([before + answer])).logits[0].log_softmax(-1)
    expected = sum(float(logps[len(before) + at - 1, token]) for at, token in enumerate(answer))
    (row,) = (r for r in found.rows if r.key == "p/a0/current")
    assert row.total == pytest.approx(expected, abs=1e-3)
    assert row.length == len(answer)
