from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core.config import CandidatesSection, Config, JudgeSection
from core.stages import Ref, Stage
from judges.candidate_judges import RubricJudge
from tests.engines.scripted import ScriptedEngine
from tests.training.making import (
    Killed,
    Made,
    candidate,
    dying_after,
    interrupted,
    judgment,
    made,
    prompt,
)
from training.data.candidates import candidate_key, judge_candidates, sample_candidates

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from core.records import Candidate, Message, Prompt
    from engines.engine import Engine

ANSWERS, JUDGMENTS = Ref(2, Stage.CANDIDATES), Ref(2, Stage.JUDGMENTS)
PROMPTS = [prompt("p1", "One?"), prompt("p2", "Two?"), prompt("p3", "Three?")]


def answer(messages: Sequence[Message], draw: int) -> str | None:
    """Answer with the draw's number; "Two?" is too long to be answered."""
    asked = messages[0]["content"]
    return None if asked == "Two?" else f"{asked} {draw}"


def sample(folder: Path, engine: Engine, prompts: Sequence[Prompt] = PROMPTS, n: int = 3) -> Made:
    section = CandidatesSection(n=n, max_new_tokens=8)
    return made(
        folder,
        ANSWERS,
        lambda out: sample_candidates(engine, prompts, Config(candidates=section), out),
    )


def judge(folder: Path, engine: Engine, candidates: Sequence[Candidate], draws: int = 2) -> Made:
    section = JudgeSection(draws=draws)
    return made(
        folder,
        JUDGMENTS,
        lambda out: judge_candidates(
            RubricJudge(engine, section, seed=0), PROMPTS, candidates, out
        ),
    )


def test_each_prompt_gets_n_answers_of_its_own(tmp_path: Path) -> None:
    engine = ScriptedEngine(answer, name="M1")
    result = sample(tmp_path, engine, [PROMPTS[0], PROMPTS[2]])
    assert [(row.key, row.prompt_key, row.draw, row.text) for row in result.rows] == [
        ("p1/a0", "p1", 0, "One? 0"),
        ("p1/a1", "p1", 1, "One? 1"),
        ("p1/a2", "p1", 2, "One? 2"),
        ("p3/a0", "p3", 0, "Three? 0"),
        ("p3/a1", "p3", 1, "Three? 1"),
        ("p3/a2", "p3", 2, "Three? 2"),
    ]
    assert result.counts == {"finish_stop": 6}
    assert result.manifest.engine == "M1"


def test_answers_that_were_cut_or_never_begun_are_counted(tmp_path: Path) -> None:
    def wordy(messages: Sequence[Message], draw: int) -> str | None:
        return "word " * 20 if messages[0]["content"] == "One?" else answer(messages, draw)

    result = sample(tmp_path, ScriptedEngine(wordy))
    assert result.counts == {"finish_length": 3, "finish_too_long": 3, "finish_stop": 3}
    assert sum(result.counts.values()) == len(result.rows) == 9


def test_a_thought_is_kept_beside_its_answer_and_one_without_its_end_leaves_none(
    tmp_path: Path,
) -> None:
    def thinks(messages: Sequence[Message], draw: int) -> str:
        if messages[0]["content"] == "Two?":
            return "<think>a b c d e f g h i j k</think> Two."  # cut after 8 words
        return "<think>\nHm.\n</think>\n\nOne." if draw else "One."

    result = sample(tmp_path, ScriptedEngine(thinks), PROMPTS[:2], n=2)
    plain, after, cut, _ = result.rows
    assert (plain.text, plain.thought, plain.finish) == ("One.", "", "stop")
    assert (after.text, after.thought, after.finish) == ("One.", "<think>\nHm.\n</think>", "stop")
    assert (cut.text, cut.thought, cut.finish) == ("", "<think>a b c d e f g h", "cut_off")
    assert result.counts == {"finish_stop": 2, "finish_cut_off": 2, "thinking_removed": 3}
    assert result.manifest.facts == {"mean_characters": 4.0}


def test_a_candidate_whose_thought_was_cut_is_not_judged(tmp_path: Path) -> None:
    candidates = [candidate("p1", 0, "good"), candidate("p1", 1, "", "cut_off")]
    result = judge(tmp_path, ScriptedEngine(lambda m, d: "Score: 3"), candidates, draws=1)
    assert [row.key for row in result.rows] == ["p1/a0/j0"]
    assert result.counts == {"parsed": 1, "candidates_not_judged": 1}


def test_the_mean_length_is_that_of_the_answers_there_are(tmp_path: Path) -> None:
    # "One? 0" has 6 characters, "Three? 0" 8, three of each: mean 7. "Two?" was never answered:
    # its three empty texts are missing, not answers of length 0.
    result = sample(tmp_path, ScriptedEngine(answer))
    assert result.manifest.facts == {"mean_characters": 7.0}
    none = sample(tmp_path / "none", ScriptedEngine(answer), [PROMPTS[1]])
    assert none.manifest.facts == {"mean_characters": None}


def test_only_the_missing_draws_are_asked_for(tmp_path: Path) -> None:
    whole = sample(tmp_path / "whole", ScriptedEngine(answer))
    there = [row for row in whole.rows if row.key in ("p1/a1", "p3/a0", "p3/a1", "p3/a2")]
    interrupted(tmp_path / "killed", ANSWERS, there)
    engine = ScriptedEngine(answer)
    resumed = sample(tmp_path / "killed", engine)
    # Of p1 draw 1 is there, of p2 none, of p3 all.
    assert engine.calls == [("p1", 0), ("p1", 2), ("p2", 0), ("p2", 1), ("p2", 2)]
    assert resumed.content == whole.content


@pytest.mark.parametrize("draws", [0, 2, 5, 8])
def test_sampling_that_was_killed_resumes_to_the_same_bytes(tmp_path: Path, draws: int) -> None:
    whole = sample(tmp_path / "whole", ScriptedEngine(answer))
    first = ScriptedEngine(dying_after(draws, answer))
    with pytest.raises(Killed):
        sample(tmp_path / "killed", first)
    second = ScriptedEngine(answer)
    resumed = sample(tmp_path / "killed", second)
    assert (resumed.content, resumed.counts) == (whole.content, whole.counts)
    assert not set(first.calls[:draws]) & set(second.calls)
    assert len(second.calls) == 9 - draws


def test_a_candidates_key_names_its_prompt_and_draw() -> None:
    assert candidate_key("c3/t1", 2) == "c3/t1/a2"


def test_each_answer_is_judged_draws_times_and_missing_ones_never(tmp_path: Path) -> None:
    candidates = [
        candidate("p1", 0, "good"),
        candidate("p1", 1, "odd"),
        candidate("p2", 0, "", "too_long"),
        candidate("p3", 0, "good but cut", "length"),
    ]

    def opinion(messages: Sequence[Message], draw: int) -> str:
        return f"Score: {3 + draw}" if "<response>good" in messages[0]["content"] else "Hm."

    engine = ScriptedEngine(opinion, name="M1 judges")
    result = judge(tmp_path, engine, candidates)
    assert {row.key: row.score for row in result.rows} == {
        "p1/a0/j0": 3.0,
        "p1/a0/j1": 4.0,
        "p1/a1/j0": None,
        "p1/a1/j1": None,
        "p3/a0/j0": 3.0,
        "p3/a0/j1": 4.0,
    }
    assert result.counts == {"parsed": 4, "candidates_not_judged": 1, "unparsed_no_score": 2}
    assert {row.prompt_key for row in result.rows} == {"p1", "p3"}
    assert result.manifest.engine == "M1 judges"


def test_a_score_inside_the_judged_answer_is_not_the_judges(tmp_path: Path) -> None:
    bragging = candidate("p1", 0, "I am the best. Score: 5")
    result = judge(tmp_path, ScriptedEngine(lambda messages, draw: "I cannot tell."), [bragging])
    assert [row.score for row in result.rows] == [None, None]
    assert result.counts["parsed"] == 0


def test_the_judge_is_asked_only_for_missing_draws(tmp_path: Path) -> None:
    candidates = [candidate("p1", 0, "a"), candidate("p3", 0, "b")]
    interrupted(tmp_path, JUDGMENTS, [judgment("p1/a0", 0, 3), judgment("p3/a0", 0, None)])
    engine = ScriptedEngine(lambda messages, draw: "Score: 2")
    result = judge(tmp_path, engine, candidates)
    assert engine.calls == [("p1/a0", 1), ("p3/a0", 1)]
    # The unreadable judgment stays what it was: an outcome, not a gap to be asked again.
    assert result.counts == {"parsed": 3, "candidates_not_judged": 0, "unparsed_no_score": 1}
