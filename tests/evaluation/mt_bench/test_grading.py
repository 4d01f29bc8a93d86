from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from core.errors import JudgeFailed
from core.evaluation_config import MtBenchSection
from core.records import Generation, TurnJudgment
from core.stages import Stage, evaluation_ref
from engines.engine import Decoding, decoding_of
from evaluation.mt_bench.benchmark import answer, judge_turns
from evaluation.mt_bench.fastchat_files import read_judgments
from evaluation.mt_bench.questions import load_questions
from judges.asking import Reply
from judges.fastchat_prompts import TEMPERATURES
from tests.engines.scripted import ScriptedEngine
from tests.evaluation.mt_bench.fastchat_answers import read_answers
from tests.training.making import Killed, dying_after, interrupted, made

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from core.records import Message
    from engines.engine import Request, Sampled
    from evaluation.mt_bench.questions import Question
    from judges.asking import Ask
    from tests.training.making import Made

ANSWERS = evaluation_ref("M1/mt_bench", Stage.ANSWERS)
JUDGMENTS = evaluation_ref("M1/mt_bench", Stage.TURN_JUDGMENTS)
EIGHT = MtBenchSection(limit=8)


def says(messages: Sequence[Message], draw: int) -> str | None:
    """Repeat what was asked, so that a test can see which conversation was shown."""
    return f"  on {' | '.join(m['content'][:9] for m in messages)} \n"


def answered(
    folder: Path, engine: ScriptedEngine, section: MtBenchSection = EIGHT, seed: int = 0
) -> Made:
    questions = load_questions(section)
    return made(folder, ANSWERS, lambda out: answer(engine, questions, section, seed=seed, out=out))


class Recording(ScriptedEngine):
    """A scripted engine that keeps the batches it was given."""

    def __init__(self) -> None:
        super().__init__(says)
        self.batches: list[dict[str, Decoding]] = []

    def sample(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Sampled]:
        self.batches.append({r.key: decoding_of(r, decoding) for r in requests})
        yield from super().sample(requests, decoding)


def test_every_turn_of_every_question_is_answered_once(tmp_path: Path) -> None:
    result = answered(tmp_path, ScriptedEngine(says), MtBenchSection())
    assert len(result.rows) == 160
    assert result.counts == {"questions": 80, "finish_stop": 160}
    keys = {(row.key, row.prompt_key, row.turn) for row in result.rows}
    assert keys == {(f"{n}/t{t}", str(n), t) for n in range(81, 161) for t in (1, 2)}


def test_the_second_turn_sees_the_models_own_first_answer(tmp_path: Path) -> None:
    rows = {row.key: row for row in answered(tmp_path, ScriptedEngine(says)).rows}
    question = load_questions(EIGHT)[0]
    first, second = rows["81/t1"], rows["81/t2"]
    assert (first.prompt, second.prompt) == question.turns
    # "Compose an ..." and "Rewrite yo...", with the first answer, stripped, between them.
    assert first.text == "on Compose a"
    assert second.text == "on Compose a | on Compos | Rewrite y"


def test_temperature_follows_the_category_and_first_turns_go_first(tmp_path: Path) -> None:
    engine = Recording()
    answered(tmp_path, engine, seed=5)
    heat = {81: 0.7, 91: 0.7, 101: 0, 111: 0, 121: 0, 131: 0, 141: 0.1, 151: 0.1}
    expected = [
        {f"{n}/t{turn}": Decoding(t, 1.0, EIGHT.max_new_tokens, 5) for n, t in heat.items()}
        for turn in (1, 2)
    ]
    assert engine.batches == expected


def test_the_temperatures_are_fastchats() -> None:
    assert TEMPERATURES == {
        "writing": 0.7, "roleplay": 0.7, "extraction": 0.0, "math": 0.0, "coding": 0.0,
        "reasoning": 0.0, "stem": 0.1, "humanities": 0.1,
    }  # fmt: skip


def test_a_question_too_long_for_the_model_is_not_gone_on_with(tmp_path: Path) -> None:
    engine = ScriptedEngine(lambda m, d: None if m[0]["content"].startswith("Compose") else "yes")
    result = answered(tmp_path, engine)
    rows = {row.key: row for row in result.rows}
    assert (rows["81/t1"].finish, rows["81/t1"].text) == ("too_long", "")
    assert (rows["81/t2"].finish, rows["81/t2"].text) == ("not_asked", "")
    assert result.counts == {
        "questions": 8,
        "finish_not_asked": 1,
        "finish_stop": 14,
        "finish_too_long": 1,
    }
    assert ("81/t2", 0) not in engine.calls
    # Three letters each: the two rows without an answer are no answers of length 0.
    assert result.manifest.facts["mean_characters"] == 3.0


def test_the_second_turn_and_the_judge_see_no_thought(tmp_path: Path) -> None:
    def thinks(messages: Sequence[Message], draw: int) -> str:
        return f"<think>Hm.</think>\n\nafter {len(messages)}: {messages[-2:][0]['content'][:8]}"

    section = MtBenchSection(limit=1)
    result = answered(tmp_path, ScriptedEngine(thinks), section)
    assert [row.text for row in result.rows][1] == "after 3: after 1:"
    assert {row.thought for row in result.rows} == {"<think>Hm.</think>"}
    assert result.counts == {"questions": 1, "finish_stop": 2, "thinking_removed": 2}


def test_a_thought_cut_by_the_token_limit_is_no_answer_to_go_on_from(tmp_path: Path) -> None:
    section = MtBenchSection(limit=1, max_new_tokens=2)
    first, second = answered(tmp_path, ScriptedEngine(lambda m, d: "<think>a b c"), section).rows
    assert (first.text, first.finish, second.finish) == ("", "cut_off", "not_asked")


def test_an_answer_cut_off_is_an_answer(tmp_path: Path) -> None:
    section = MtBenchSection(limit=1, max_new_tokens=2)
    first, second = answered(tmp_path, ScriptedEngine(lambda m, d: "a b c d"), section).rows
    assert (first.text, first.finish, second.finish) == ("a b", "length", "length")


@pytest.mark.parametrize("draws", [0, 1, 5, 9, 15])
def test_killed_answering_goes_on_where_it_stopped(tmp_path: Path, draws: int) -> None:
    whole = answered(tmp_path / "whole", ScriptedEngine(says))
    with pytest.raises(Killed):
        answered(tmp_path / "killed", ScriptedEngine(dying_after(draws, says)))
    engine = ScriptedEngine(says)
    resumed = answered(tmp_path / "killed", engine)
    assert (resumed.content, resumed.counts) == (whole.content, whole.counts)
    assert len(engine.calls) == 16 - draws


class ScriptedJudge:
    """Judges by a function of the request; keeps what it was asked."""

    name = "judge-1"
    identity = "scripted judge"

    def __init__(self, reply: Callable[[Ask], Reply]) -> None:
        self._reply = reply
        self.asked: list[Ask] = []

    def ask(self, asks: Sequence[Ask]) -> Iterator[Reply]:
        for request in reversed(asks):  # in no particular order
            self.asked.append(request)
            yield self._reply(request)


def rates(text: str) -> Callable[[Ask], Reply]:
    return lambda ask: Reply(ask.key, text, "stop", model="judge-1-0613")


def given(questions: Sequence[Question]) -> list[Generation]:
    return [
        Generation(f"{q.key}/t{turn}", q.key, q.turns[turn - 1], f"{q.key}-{turn}", 1, "stop", turn)
        for q in questions
        for turn in (1, 2)
    ]


def judged(
    folder: Path,
    judge: ScriptedJudge,
    answers: Sequence[Generation] | None = None,
    section: MtBenchSection = EIGHT,
    *,
    allowed_failures: float = 0.0,
) -> Made:
    questions = load_questions(section)
    shown = given(questions) if answers is None else answers
    return made(
        folder,
        JUDGMENTS,
        lambda out: judge_turns(
            judge,
            questions,
            shown,
            section,
            model="M1",
            allowed_failures=allowed_failures,
            out=out,
        ),
    )


def test_every_turn_is_graded_at_temperature_0(tmp_path: Path) -> None:
    judge = ScriptedJudge(rates("Fine. Rating: [[7]]"))
    result = judged(tmp_path, judge)
    assert len(result.rows) == len(judge.asked) == 16
    assert {row.score for row in result.rows} == {7.0}
    assert {(row.model, row.judge) for row in result.rows} == {("M1", "judge-1")}
    assert {(a.temperature, a.top_p, a.draw, a.max_new_tokens) for a in judge.asked} == {
        (0.0, 1.0, 0, 2048)
    }
    assert result.counts == {"questions": 8}
    assert result.manifest.facts == {"judge": "judge-1"}


def test_category_and_turn_decide_the_judge_prompt(tmp_path: Path) -> None:
    rows = judged(tmp_path, ScriptedJudge(rates("[[7]]"))).rows
    with_reference = {"math", "reasoning", "coding"}
    for row in rows:
        name = "single-math-v1" if row.category in with_reference else "single-v1"
        assert row.judge_prompt == name + ("-multi-turn" if row.turn == 2 else "")
        assert (f"{row.question_id}-2" in row.user_prompt) == (row.turn == 2)
        assert f"{row.question_id}-1" in row.user_prompt


def test_further_draws_are_further_requests_for_the_same_words(tmp_path: Path) -> None:
    judge = ScriptedJudge(lambda ask: Reply(ask.key, f"[[{5 + ask.draw}]]", "stop"))
    result = judged(tmp_path, judge, section=MtBenchSection(limit=1, draws=3))
    assert [(row.key, row.draw, row.score) for row in result.rows] == [
        (f"81/t{turn}/j{draw}", draw, 5.0 + draw) for turn in (1, 2) for draw in range(3)
    ]
    first = [ask for ask in judge.asked if ask.key.startswith("81/t1")]
    assert len({str(ask.messages) for ask in first}) == 1
    assert len({str(ask.identity("j")) for ask in first}) == 3
    assert {ask.temperature for ask in first} == {0.0}


def test_a_turn_without_an_answer_is_not_judged_and_counted(tmp_path: Path) -> None:
    questions = load_questions(EIGHT)
    answers = {a.key: a for a in given(questions)}
    # 81: turn 1 too long, turn 2 not asked. 91: turn 2 too long. 101: turn 2 is absent.
    # 111: turn 1 is absent although turn 2 is there.
    for key, finish in (("81/t1", "too_long"), ("81/t2", "not_asked"), ("91/t2", "too_long")):
        old = answers[key]
        answers[key] = Generation(key, old.prompt_key, old.prompt, "", 0, finish, old.turn)
    del answers["101/t2"], answers["111/t1"]
    judge = ScriptedJudge(rates("[[7]]"))
    result = judged(tmp_path, judge, list(answers.values()))
    without = {row.key for row in result.rows if row.unparsed == "no_answer"}
    assert without == {"81/t1/j0", "81/t2/j0", "91/t2/j0", "101/t2/j0", "111/t1/j0", "111/t2/j0"}
    assert all(row.score is None for row in result.rows if row.key in without)
    assert len(result.rows) == 16 and len(judge.asked) == 10
    assert result.counts == {"questions": 8, "no_answer": 6}


def test_an_answer_of_no_words_is_judged(tmp_path: Path) -> None:
    answers = [
        Generation("81/t1", "81", "", "", 1, "stop", 1),
        Generation("81/t2", "81", "", "", 1, "stop", 2),
    ]
    result = judged(tmp_path, ScriptedJudge(rates("[[1]]")), answers, MtBenchSection(limit=1))
    assert [row.score for row in result.rows] == [1.0, 1.0]


def test_what_cannot_be_read_has_no_score_and_its_reason(tmp_path: Path) -> None:
    replies = {
        "81/t1/j0": ("The response is non-existent.", "stop", "no_score"),
        "81/t2/j0": ("Rating: [[11]]", "stop", "out_of_range"),
        "91/t1/j0": ("The answer is", "length", "cut_off"),
        "91/t2/j0": ("", "too_long", "prompt_too_long"),
        "101/t1/j0": ("I cannot judge this.", "refused", "refused"),
        "101/t2/j0": ("", "stop", "empty"),
    }

    def reply(ask: Ask) -> Reply:
        text, finish, _ = replies.get(ask.key, ("[[9]]", "stop", ""))
        return Reply(ask.key, text, finish)  # type: ignore[arg-type]

    result = judged(tmp_path, ScriptedJudge(reply))
    rows = {row.key: row for row in result.rows}
    for key, (text, _, reason) in replies.items():
        assert (rows[key].score, rows[key].unparsed, rows[key].reply) == (None, reason, text)
    assert Counter(row.score for row in result.rows) == {9.0: 10, None: 6}
    assert sum(n for name, n in result.counts.items() if name != "questions") == 6


def fails_on(*keys: str) -> Callable[[Ask], Reply]:
    def reply(ask: Ask) -> Reply:
        if ask.key in keys:
            return Reply(ask.key, "", "failed", failure="503")
        return Reply(ask.key, "[[9]]", "stop")

    return reply


def test_failed_requests_stop_the_judging_and_are_asked_again(tmp_path: Path) -> None:
    with pytest.raises(JudgeFailed, match=r"1 of 16 .*81/t2/j0: 503"):
        judged(tmp_path, ScriptedJudge(fails_on("81/t2/j0")))
    judge = ScriptedJudge(rates("[[9]]"))
    result = judged(tmp_path, judge)
    assert [ask.key for ask in judge.asked] == ["81/t2/j0"]
    assert {row.score for row in result.rows} == {9.0}


def test_accepted_failures_are_rows_without_a_score(tmp_path: Path) -> None:
    # 1 of 16 is 0.0625.
    result = judged(tmp_path, ScriptedJudge(fails_on("81/t2/j0")), allowed_failures=0.0625)
    (row,) = [row for row in result.rows if row.score is None]
    assert (row.key, row.unparsed, row.reply) == ("81/t2/j0", "failed", "")
    assert result.counts == {"questions": 8, "failed": 1}


def test_killed_judging_pays_for_nothing_twice(tmp_path: Path) -> None:
    whole = judged(tmp_path / "whole", ScriptedJudge(rates("[[7]]")))
    interrupted(tmp_path / "killed", JUDGMENTS, whole.rows[3:9])
    judge = ScriptedJudge(rates("[[7]]"))
    resumed = judged(tmp_path / "killed", judge)
    assert resumed.content == whole.content
    assert len(judge.asked) == 10
    assert not {ask.key for ask in judge.asked} & {row.key for row in whole.rows[3:9]}


def test_our_prompts_are_those_gpt_4_was_sent_byte_for_byte(tmp_path: Path, shared: Path) -> None:
    folder = shared / "data" / "mt_bench"
    section = MtBenchSection()
    questions = load_questions(section)
    recorded = read_judgments(folder / "gpt-4_single.gemini-1.5-flash.jsonl", questions)
    by_turn = {(r.judgment.question_id, r.judgment.turn): r.judgment for r in recorded}
    answers = read_answers(folder / "answers.gemini-1.5-flash.jsonl")

    def reply(ask: Ask) -> Reply:  # replay what GPT-4 said
        number, turn, _ = ask.key.split("/")
        return Reply(ask.key, by_turn[int(number), int(turn[1:])].reply, "stop")

    rows: list[TurnJudgment] = judged(tmp_path, ScriptedJudge(reply), answers, section).rows
    assert len(rows) == len(by_turn) == 160
    for row in rows:
        theirs = by_turn[row.question_id, row.turn]
        assert row.user_prompt == theirs.user_prompt
        assert row.judge_prompt == theirs.judge_prompt
        assert row.score == theirs.score


def test_a_real_model_answers_the_same_each_time(tmp_path: Path, tiny: Path) -> None:
    from core.config import EngineSection
    from engines.hf.engine import HFEngine

    engine = HFEngine(tiny, EngineSection(device="cpu", dtype="float32", max_batch_rows=8))
    section = MtBenchSection(limit=8, max_new_tokens=6)
    questions = load_questions(section)

    def run(folder: Path, seed: int) -> Made:
        return made(
            folder, ANSWERS, lambda out: answer(engine, questions, section, seed=seed, out=out)
        )

    first, again, other = run(tmp_path / "a", 1), run(tmp_path / "b", 1), run(tmp_path / "c", 2)
    assert first.content == again.content
    changed = {
        one.key.split("/")[0]
        for one, two in zip(first.rows, other.rows, strict=True)
        if one.text != two.text
    }
    # Only writing and roleplay (0.7), stem and humanities (0.1) are sampled at all.
    assert changed <= {"81", "91", "141", "151"}
    assert {"81", "91"} & changed
