from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core.config import JudgeSection
from core.stages import Ref, Stage
from judges.pointwise import judge_ranked, of_split
from tests.engines.scripted import ScriptedEngine
from tests.training.data.test_eft import ranked
from tests.training.making import Killed, Made, dying_after, made

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from core.records import Message, RankedPrompt
    from core.store import Built, Partial
    from engines.engine import Engine

JUDGED = Ref(1, Stage.EFT_JUDGMENTS)


def test_a_split_is_taken_in_the_order_of_its_keys() -> None:
    prompts = [
        ranked("c", 0, 1),
        ranked("a", 0, 1, split="eval"),
        ranked("b", 0, 1),
        ranked("d", 0, 1),
    ]
    assert [p.key for p in of_split(prompts, "train")] == ["b", "c", "d"]
    assert [p.key for p in of_split(prompts, "train", 2)] == ["b", "c"]
    assert [p.key for p in of_split(prompts, "eval")] == ["a"]


def opinion(messages: Sequence[Message], draw: int) -> str | None:
    """Reply 0 is good, reply 1 is too long to judge, reply 2 leaves the judge without a number."""
    shown = messages[0]["content"]
    if "reply 1" in shown:
        return None
    return "Hard to say." if "reply 2" in shown else f"Draw {draw}.\nScore: 4"


def judge_with(folder: Path, engine: Engine, prompts: Sequence[RankedPrompt]) -> Made:
    section = JudgeSection(draws=5)  # how often a benchmark draws is its own matter

    def make(out: Partial) -> Built:
        return judge_ranked(engine, prompts, section, draws=2, seed=0, title="judging", out=out)

    return made(folder, JUDGED, make)


def test_each_reply_is_judged_as_often_as_asked_and_outcomes_are_counted(tmp_path: Path) -> None:
    engine = ScriptedEngine(opinion, name="the judge")
    result = judge_with(tmp_path, engine, [ranked("p", 0, 1, 2), ranked("q", 0, 1)])
    # 5 replies, 2 draws each: p/r0 and q/r0 readable, p/r1 and q/r1 too long, p/r2 without a score.
    assert len(result.rows) == 10
    assert result.counts == {"parsed": 4, "unparsed_prompt_too_long": 4, "unparsed_no_score": 2}
    assert {row.subject_key: row.prompt_key for row in result.rows}["q/r1"] == "q"
    assert result.manifest.engine == "the judge"


def test_judging_shows_the_rubric_with_the_prompt_and_the_reply(tmp_path: Path) -> None:
    seen: list[str] = []

    def listen(messages: Sequence[Message], draw: int) -> str:
        seen.append(messages[0]["content"])
        return "Score: 1"

    judge_with(tmp_path, ScriptedEngine(listen), [ranked("p", 0)])
    assert "User: Question p?\n\n<response>reply 0</response>" in seen[0]


@pytest.mark.parametrize("draws", [0, 1, 3, 7])
def test_judging_that_was_killed_asks_only_for_what_is_missing(tmp_path: Path, draws: int) -> None:
    prompts = [ranked("p", 0, 1, 2), ranked("q", 0, 1)]
    whole = judge_with(tmp_path / "whole", ScriptedEngine(opinion), prompts)
    first = ScriptedEngine(dying_after(draws, opinion))
    with pytest.raises(Killed):
        judge_with(tmp_path / "killed", first, prompts)
    second = ScriptedEngine(opinion)
    resumed = judge_with(tmp_path / "killed", second, prompts)
    assert (resumed.content, resumed.counts) == (whole.content, whole.counts)
    assert len(second.calls) == 10 - draws
    assert not set(first.calls[:draws]) & set(second.calls)
