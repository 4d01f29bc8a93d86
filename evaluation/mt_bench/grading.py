"""MT-Bench: a model answers two-turn questions, a judge grades every turn.

Source: Zheng et al. 2023 (arXiv 2306.05685); the protocol (temperature by category, turn 2 after
the model's own turn 1, reference answers for math, reasoning and coding) as in fschat 0.2.36,
fastchat/llm_judge.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from core.progress import track
from core.records import Generation, TurnJudgment
from core.store import Built
from engines.engine import Decoding, Request
from evaluation.generate import ANSWERED, mean_characters
from evaluation.mt_bench.questions import TEMPERATURES, TURNS
from judges.asking import Ask, settle_failures
from judges.mt_bench_prompts import grading_prompt
from judges.ratings import parse_rating

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from core.evaluation_config import MtBenchSection
    from core.progress import Advance
    from core.records import Message
    from core.store import Partial
    from engines.engine import Engine
    from evaluation.mt_bench.questions import Question
    from judges.asking import Judge, Reply


def turn_key(question: Question, turn: int) -> str:
    """Return the key of an answer: "81/t1"."""
    return f"{question.question_id}/t{turn}"


def answer(
    engine: Engine,
    questions: Sequence[Question],
    section: MtBenchSection,
    *,
    seed: int,
    out: Partial,
) -> Built:
    """Write an answer per question and turn; turn 2 sees the model's own answer to turn 1.

    Answers are stripped, as in FastChat, before turn 2 and the judge see them; one cut by the token
    limit is used as it is. A prompt too long for the model gives an empty answer ("too_long"), and
    without an answer to turn 1, turn 2 is "not_asked". (FastChat writes "$ERROR$" for both and has
    it graded.)
    """
    wanted = len(questions) * len(TURNS)
    with track("MT-Bench answers", wanted, resumed=len(out.rows)) as advance:
        decoding = Decoding(0.0, 1.0, section.max_new_tokens, seed)
        for turn in TURNS:
            _answer_turn(engine, questions, turn, decoding, out=out, advance=advance)
    finishes = Counter(f"finish_{row.finish}" for row in out.rows.values())
    return Built(
        counts={"questions": len(questions), **dict(sorted(finishes.items()))},
        facts={"mean_characters": mean_characters(out.rows.values())},
        engine=engine.fingerprint,
    )


class _PendingJudgment(NamedTuple):
    """A judgment without its reply, and its request; None if the turn has no answer."""

    row: TurnJudgment
    ask: Ask | None


def judge_turns(
    judge: Judge,
    questions: Sequence[Question],
    answers: Iterable[Generation],
    section: MtBenchSection,
    *,
    model: str,
    allowed_failures: float,
    out: Partial,
) -> Built:
    """Write a judgment per question, turn and draw: single-answer grading at temperature 0.

    Further draws repeat the request, also at temperature 0: they measure the judge's own variance
    on identical answers (0.16 to 0.2 points of the overall score for GPT-4 behind its API). A local
    greedy judge is deterministic, so its spread is 0.

    A turn without an answer is not judged; its row says "no_answer". A prompt too long for the
    judge ("prompt_too_long"), a refusal ("refused") and a request that failed permanently
    ("failed") also give rows without a score.

    Raises:
        JudgeFailed: more requests failed than `allowed_failures` (a share) accepts.
    """
    gradings = _gradings(questions, answers, section, model, judge.name)
    for row in (g.row for g in gradings if g.ask is None and g.row.key not in out.rows):
        out.add(row)
    asked = {g.row.key: g.row for g in gradings if g.ask is not None}
    asks = [g.ask for g in gradings if g.ask is not None and g.row.key not in out.rows]
    failures: list[Reply] = []
    answered_by: Counter[str] = Counter()
    with track("MT-Bench judgments", len(asked), resumed=len(asked) - len(asks)) as advance:
        for reply in judge.ask(asks):
            if reply.finish == "failed":
                failures.append(reply)
                continue
            out.add(_judged(asked[reply.key], reply))
            answered_by[reply.model or judge.name] += 1
            advance(tokens=reply.tokens_out)
    settle_failures(failures, len(asked), allowed_share=allowed_failures)
    for reply in failures:
        out.add(replace(asked[reply.key], unparsed="failed"))
    reasons = Counter(row.unparsed for row in out.rows.values() if row.unparsed)
    return Built(
        counts={"questions": len(questions), **dict(sorted(reasons.items()))},
        facts={"judge": judge.name, "answered_by": dict(sorted(answered_by.items()))},
        engine=judge.identity,
    )


def _answer_turn(
    engine: Engine,
    questions: Sequence[Question],
    turn: int,
    decoding: Decoding,
    *,
    out: Partial,
    advance: Advance,
) -> None:
    wanted = {}
    requests = []
    for question in questions:
        key = turn_key(question, turn)
        if key in out.rows:
            continue
        text = question.turns[turn - 1]
        if turn > 1 and out.rows[turn_key(question, 1)].finish not in ANSWERED:
            out.add(Generation(key, question.key, text, "", 0, "not_asked", turn))
            advance()
            continue
        wanted[key] = question
        conversation = _conversation(question, turn, out)
        temperature = TEMPERATURES[question.category]
        requests.append(Request(key, conversation, temperature=temperature))
    for sampled in engine.sample(requests, decoding):
        question = wanted[sampled.key]
        out.add(
            Generation(
                key=sampled.key,
                prompt_key=question.key,
                prompt=question.turns[turn - 1],
                text=sampled.text.strip(),
                tokens=sampled.tokens,
                finish=sampled.finish,
                turn=turn,
            )
        )
        advance(tokens=sampled.tokens)


def _conversation(question: Question, turn: int, out: Partial) -> list[Message]:
    messages: list[Message] = [{"role": "user", "content": question.turns[0]}]
    if turn > 1:
        first = out.rows[turn_key(question, 1)].text
        messages.append({"role": "assistant", "content": first})
        messages.append({"role": "user", "content": question.turns[1]})
    return messages


def _gradings(
    questions: Sequence[Question],
    answers: Iterable[Generation],
    section: MtBenchSection,
    model: str,
    judge: str,
) -> list[_PendingJudgment]:
    given = {(a.prompt_key, a.turn): a.text for a in answers if a.finish in ANSWERED}
    found = []
    for question in questions:
        for turn in TURNS:
            texts = [given[question.key, n] for n in TURNS[:turn] if (question.key, n) in given]
            for draw in range(section.draws):
                key = f"{turn_key(question, turn)}/j{draw}"
                about = (key, question.question_id, question.category, turn, draw, model, judge)
                row = TurnJudgment(*about, "", "", "", None, unparsed="no_answer")
                complete = len(texts) == turn
                found.append(
                    _graded(row, question, texts, section)
                    if complete
                    else _PendingJudgment(row, None)
                )
    return found


def _graded(
    row: TurnJudgment, question: Question, texts: Sequence[str], section: MtBenchSection
) -> _PendingJudgment:
    prompt = grading_prompt(question.turns, texts, question.references)
    ask = Ask(row.key, tuple(prompt.messages), section.judge_max_new_tokens, draw=row.draw)
    user_prompt = prompt.messages[-1]["content"]
    opened = replace(row, judge_prompt=prompt.name, user_prompt=user_prompt, unparsed=None)
    return _PendingJudgment(opened, ask)


def _judged(row: TurnJudgment, reply: Reply) -> TurnJudgment:
    if reply.finish == "too_long":
        return replace(row, unparsed="prompt_too_long")
    if reply.finish == "refused":
        return replace(row, reply=reply.text, unparsed="refused")
    rating = parse_rating(reply.text, cut=reply.finish == "length")
    return replace(row, reply=reply.text, score=rating.value, unparsed=rating.unparsed)
