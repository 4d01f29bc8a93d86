"""MT-Bench as a benchmark of the suite: two-turn questions, each answer graded by a judge.

Source: Zheng et al. 2023 (arXiv 2306.05685); the protocol (temperature by category, turn 2 after
the model's own turn 1, reference answers for math, reasoning and coding) as in fschat 0.2.36,
fastchat/llm_judge.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from core.benchmarks import BENCHMARKS
from core.progress import track
from core.records import ANSWERED, Generation, TurnJudgment
from core.stages import Stage
from core.store import Built
from core.thinking import removed
from engines.engine import Decoding, Request, sample_answers
from evaluation.benchmark import Benchmark, EvaluationItem
from evaluation.generate import ANSWERS, mean_characters
from evaluation.judge import record_replies
from evaluation.mt_bench.fastchat_files import export
from evaluation.mt_bench.questions import load_questions, question_sources
from evaluation.mt_bench.scores import scores
from judges.asking import Ask
from judges.backends.opening import JUDGED_BY
from judges.backends.recorded import reply_facts
from judges.bounds import JudgeBound, PromptCount, benchmark_bound
from judges.distribution import RATING, Form, read_distribution
from judges.fastchat_prompts import TEMPERATURES, TURNS, grading_prompt
from judges.replies import parse_rating

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from core.benchmarks import Subject
    from core.evaluation_config import MtBenchSection
    from core.progress import Advance
    from core.records import Message, Score
    from core.store import Partial
    from engines.engine import Engine
    from evaluation.mt_bench.questions import Question
    from evaluation.run import EvalRun
    from judges.asking import Judge, Reply


def evaluate(run: EvalRun, subject: Subject) -> list[Score]:
    """MT-Bench of one model (Tables 2 and 10)."""
    (model,), section = subject.models, run.section.mt_bench
    questions = partial(load_questions, section)
    sources = question_sources(section)
    answers = run.rows(
        subject.ref(Stage.ANSWERS),
        [run.model(model)],
        lambda out: answer(
            run.generator(model, subject.ref(Stage.ANSWERS)),
            questions(),
            section,
            seed=run.config.seed,
            out=out,
        ),
        sections=(
            "evaluation.mt_bench.limit",
            "evaluation.mt_bench.max_new_tokens",
            "engine.dtype",
        ),
        sources=ANSWERS | sources,
    )
    judgments = run.rows(
        subject.ref(Stage.TURN_JUDGMENTS),
        [answers, *run.judge_inputs()],
        lambda out: judge_turns(
            run.judge,
            questions(),
            run.read(answers),
            section,
            model=model,
            form=RATING if run.section.judge.reading == "expected" else None,
            allowed_failures=run.section.judge.allowed_failures,
            out=out,
        ),
        sections=(
            *JUDGED_BY,
            "evaluation.mt_bench.draws",
            "evaluation.mt_bench.judge_max_new_tokens",
        ),
        sources=sources | run.judge_sources(),
    )
    return run.scores(subject, [judgments], lambda: scores(run.read(judgments)))


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

    Answers are stripped, as in FastChat, before turn 2 and the judge see them, and so is a thought
    before them; one cut by the token limit is used as it is. A prompt too long for the model gives
    an empty answer ("too_long"), and without an answer to turn 1, turn 2 is "not_asked".
    (FastChat writes "$ERROR$" for both and has it graded.)
    """
    wanted = len(questions) * len(TURNS)
    with track("MT-Bench answers", wanted, resumed=len(out.rows)) as advance:
        decoding = Decoding(0.0, 1.0, section.max_new_tokens, seed)
        for turn in TURNS:
            _answer_turn(engine, questions, turn, decoding, out=out, advance=advance)
    finishes = Counter(f"finish_{row.finish}" for row in out.rows.values())
    return Built(
        counts={
            "questions": len(questions),
            **dict(sorted(finishes.items())),
            **removed(out.rows.values()),
        },
        facts={"mean_characters": mean_characters(out.rows.values())},
        engine=engine.fingerprint,
    )


def judge_turns(
    judge: Judge,
    questions: Sequence[Question],
    answers: Iterable[Generation],
    section: MtBenchSection,
    *,
    model: str,
    form: Form | None = None,
    allowed_failures: float,
    out: Partial,
) -> Built:
    """Write a judgment per question, turn and draw: single-answer grading at temperature 0.

    Further draws repeat the request, also at temperature 0: they measure the judge's own variance
    on identical answers (0.16 to 0.2 points of the overall score for GPT-4 behind its API). A local
    greedy judge is deterministic, so its spread is 0.

    `form`: the rating is the mean over the probabilities of all ratings, None: what the words say.
    A turn without an answer is not judged; its row says "no_answer". A prompt too long for the
    judge ("prompt_too_long"), a refusal ("refused") and a request that failed permanently
    ("failed") also give rows without a score. Raises as `record_replies`.
    """
    opened, asks = _gradings(questions, answers, section, model=model, judge=judge.name, form=form)

    def judged(reply: Reply) -> TurnJudgment:
        return _judged(opened[reply.key], reply, form)

    wanted = [ask for key, ask in asks.items() if key not in out.rows]
    title = "MT-Bench judgments"
    record_replies(
        judge, wanted, judged, out, title=title, total=len(asks), allowed_failures=allowed_failures
    )
    out.add_missing(row for key, row in opened.items() if key not in asks)
    reasons = Counter(row.unparsed for row in out.rows.values() if row.unparsed)
    return Built(
        counts={"questions": len(questions), **dict(sorted(reasons.items()))},
        facts=reply_facts(judge, list(asks.values())),
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
    for sampled in sample_answers(engine, requests, decoding):
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
                thought=sampled.thought,
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
    *,
    model: str,
    judge: str,
    form: Form | None,
) -> tuple[dict[str, TurnJudgment], dict[str, Ask]]:
    """Return by key every judgment without its reply, and the requests of those with an answer."""
    given = {(a.prompt_key, a.turn): a.text for a in answers if a.finish in ANSWERED}
    opened, asks = {}, {}
    for question in questions:
        for turn in TURNS:
            texts = [given[question.key, n] for n in TURNS[:turn] if (question.key, n) in given]
            for draw in range(section.draws):
                key = f"{turn_key(question, turn)}/j{draw}"
                about = (key, question.question_id, question.category, turn, draw, model, judge)
                opened[key] = TurnJudgment(*about, "", "", "", None, unparsed="no_answer")
                if len(texts) < turn:
                    continue
                prompt = grading_prompt(question.turns, texts, question.references)
                messages = tuple(prompt.messages)
                limit = section.judge_max_new_tokens
                asks[key] = Ask(key, messages, limit, draw=draw, form=form)
                shown = (prompt.name, messages[-1]["content"])
                opened[key] = TurnJudgment(*about, *shown, "", None, None)
    return opened, asks


def _judged(row: TurnJudgment, reply: Reply, form: Form | None) -> TurnJudgment:
    if reply.finish == "too_long":
        return replace(row, unparsed="prompt_too_long")
    if reply.finish in ("refused", "failed"):
        return replace(row, reply=reply.text, unparsed=reply.finish)
    if form is not None:
        found = read_distribution(reply, form)
        mean = None if found.value is None else found.value.mean
        return replace(row, reply=reply.text, score=mean, unparsed=found.unparsed)
    rating = parse_rating(reply.text, cut=reply.finish == "length")
    return replace(row, reply=reply.text, score=rating.value, unparsed=rating.unparsed)


def _texts(run: EvalRun) -> list[EvaluationItem]:
    whole = run.section.mt_bench.model_copy(update={"limit": None})
    return [
        EvaluationItem("mt_bench", f"{question.question_id}/t{turn}", text)
        for question in load_questions(whole)
        for turn, text in enumerate(question.turns, start=1)
    ]


def _bound(run: EvalRun, _: Subject) -> JudgeBound:
    texts = [" ".join(question.turns) for question in load_questions(run.section.mt_bench)]
    return benchmark_bound(run.config, "mt_bench", PromptCount.of(texts))


BENCHMARK = Benchmark(
    BENCHMARKS["mt_bench"],
    evaluate,
    texts=_texts,
    bound=_bound,
    check=lambda section: load_questions(section.mt_bench),
    columns=lambda _: ("overall", "turn_1", "turn_2"),
    export=export,
)
