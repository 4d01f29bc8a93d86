"""FastChat's files of MT-Bench answers and judgments, read and written.

Schemas as in fschat 0.2.36, fastchat/llm_judge (gen_model_answer.py, common.py); its show_result.py
reads the files written here. Scores are parsed again from the judge's replies, and differences from
the recorded scores are counted.
"""

from __future__ import annotations

import json
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from core.benchmarks import Subject
from core.errors import DataError, disk_errors_named
from core.evaluation_config import MtBenchSection
from core.jsonl import write_lines
from core.records import ANSWERED, TurnJudgment
from core.stages import Stage
from evaluation.benchmark import Recorded
from evaluation.files.json_rows import number, read_rows
from evaluation.mt_bench import scores as mt_bench_scores
from evaluation.mt_bench.questions import load_questions, own_questions, question_number
from judges.fastchat_prompts import TURNS
from judges.replies import HIGHEST_RATING, LOWEST_RATING, parse_rating

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from core.records import Generation
    from core.store import Store
    from evaluation.mt_bench.questions import Question

UNPARSED = -1
"""FastChat's score for a reply without a readable rating."""

NO_ANSWER = "$ERROR$"
"""FastChat's placeholder for a failed answer."""


class RecordedJudgment(NamedTuple):
    """A judgment as parsed here, and the recorded score (None for FastChat's −1)."""

    judgment: TurnJudgment
    recorded: float | None


def report(path: Path, own: Path | None = None) -> dict[str, dict[str, Any]]:
    """Return the scores of every model in a judgment file, parsed from the judge's replies.

    `own`: the file of questions, where they are not MT-Bench's (see `own_questions`).

    Returns, by model (all JSON values): "overall", "low", "high" (95 %), "turn_1", "turn_2",
    "math_coding_reasoning", "rest", "by_category"; "n" judgments with a score, "n_unparsed" without
    (FastChat's −1), "unparsed" the reasons, "n_absent" turns of the questions that were not
    judged, "n_duplicates" judgments of a turn judged before, "duplicates" their names,
    "n_other_answers" those of them that judged another answer (two runs of a model under one name),
    "n_reparse_mismatch" recorded scores that differ from the parsed ones; "judge"; and the spread
    of repeated judgments, "turn_sd", "overall_sd", "overall_by_draw" (see
    `evaluation.mt_bench.scores.Spread`). Duplicates count in the means, as in FastChat.

    Raises:
        DataError: no or malformed lines, a question that is not MT-Bench's, or more than one judge.
        ConfigError: the package that holds the questions is not installed.
    """
    questions = own_questions(own) if own else load_questions(MtBenchSection())
    by_model: dict[str, list[RecordedJudgment]] = defaultdict(list)
    judges = set()
    for found in read_judgments(path, questions):
        by_model[found.judgment.model].append(found)
        judges.add(found.judgment.judge)
    if len(judges) > 1:
        listed = ", ".join(sorted(judges))
        what = f"more than one judge ({listed}): judgments cannot be averaged; split the file"
        raise DataError(path, None, what)
    return {model: _summary(found, questions) for model, found in sorted(by_model.items())}


def read_judgments(path: Path, questions: Sequence[Question]) -> list[RecordedJudgment]:
    """Read single-answer judgments (model_judgment/<judge>_single.jsonl, also gzipped).

    A turn that was judged before gets the next `draw`. The score is parsed from the reply.

    Raises:
        DataError: the file is missing, a line is malformed, or a question is not in `questions`.
    """
    known = {q.question_id: q for q in questions}
    draws: dict[tuple[str, int, int], int] = defaultdict(int)
    found = []
    for line, row in read_rows(path, "judgments"):
        question, turn = question_number(row, path, line), row.get("turn")
        if question not in known:
            what = (
                f"question {question} is not among the {len(known)} questions; judgments of "
                "questions of your own are read by `srlm-eval mt-bench --questions FILE`"
            )
            raise DataError(path, line, what)
        if turn not in TURNS[: len(known[question].turns)]:
            what = f"turn: expected 1..{len(known[question].turns)}, found {turn!r}"
            raise DataError(path, line, what)
        model, reply = _text(row, "model", path, line), _text(row, "judgment", path, line)
        judge, prompt = _judge(row, path, line)
        rating = parse_rating(reply)
        draw = draws[model, question, turn]
        draws[model, question, turn] += 1
        judgment = TurnJudgment(
            key=f"{model}/{question}/t{turn}/j{draw}",
            question_id=question,
            category=known[question].category,
            turn=turn,
            draw=draw,
            model=model,
            judge=judge,
            judge_prompt=prompt,
            user_prompt=_text(row, "user_prompt", path, line),
            reply=reply,
            score=rating.value,
            unparsed=rating.unparsed,
        )
        found.append(RecordedJudgment(judgment, _recorded(row, path, line)))
    return found


def write_judgments(path: Path, judgments: Iterable[TurnJudgment]) -> None:
    """Write judgments in FastChat's schema; those without a score get its −1.

    Every draw is a separate line (show_result averages them). `tstamp` is 0: the time is not
    recorded, and FastChat does not read it.
    """
    _write_rows(path, map(_fastchat, judgments))


def write_answers(path: Path, answers: Iterable[Generation], *, model: str) -> None:
    """Write a model's answers in FastChat's schema, by question; see `write_judgments` on time.

    A turn without an answer is "$ERROR$", as after a failed request in FastChat.
    """
    turns: dict[int, dict[int, str]] = defaultdict(dict)
    for answer in answers:
        answered = answer.finish in ANSWERED
        turns[int(answer.prompt_key)][answer.turn] = answer.text if answered else NO_ANSWER
    _write_rows(
        path,
        (
            {
                "question_id": question,
                "answer_id": f"{model}/{question}",
                "model_id": model,
                "choices": [{"index": 0, "turns": [found.get(turn, NO_ANSWER) for turn in TURNS]}],
                "tstamp": 0.0,
            }
            for question, found in sorted(turns.items())
        ),
    )


def recorded_results(path: Path) -> list[Recorded]:
    """Return each model's judgments in a file, to be imported; raises as `read_judgments`."""
    by_model = defaultdict(list)
    for found in read_judgments(path, load_questions(MtBenchSection())):
        by_model[found.judgment.model].append(found.judgment)
    about = ("mt_bench", Stage.TURN_JUDGMENTS)
    return [
        Recorded(
            path,
            model,
            *about,
            rows,
            {"judge": rows[0].judge},
            partial(mt_bench_scores.scores, rows),
        )
        for model, rows in sorted(by_model.items())
    ]


def export(store: Store, models: Sequence[str], folder: Path) -> list[Path]:
    """Write the models' answers and judgments for FastChat's show_result; return the files.

    They are mt_bench/model_answer/<model>.jsonl and mt_bench/model_judgment/<judge>_single.jsonl.
    """
    written, judgments = [], []
    for model in models:
        subject = Subject("mt_bench", (model,))
        answers, judged = subject.ref(Stage.ANSWERS), subject.ref(Stage.TURN_JUDGMENTS)
        if store.exists(answers) and store.exists(judged):
            written.append(folder / "mt_bench" / "model_answer" / f"{model}.jsonl")
            write_answers(written[-1], store.read(answers), model=model)
            judgments += store.read(judged)
    if judgments:
        judge = judgments[0].judge.replace("/", "_")
        written.append(folder / "mt_bench" / "model_judgment" / f"{judge}_single.jsonl")
        write_judgments(written[-1], judgments)
    return written


def _summary(found: Sequence[RecordedJudgment], questions: Sequence[Question]) -> dict[str, Any]:
    judgments = [f.judgment for f in found]
    categories = sorted({q.category for q in questions})
    scores = {s.key: s for s in mt_bench_scores.scores(judgments, categories)}
    overall = scores[mt_bench_scores.OVERALL]
    detail = overall.detail or {}
    again = mt_bench_scores.repeats(judgments)
    distinct = {(j.question_id, j.turn, j.user_prompt) for j in judgments}
    judged = {(j.question_id, j.turn) for j in judgments}
    plain = ("turn_1", "turn_2", mt_bench_scores.HARD, mt_bench_scores.REST)
    return {
        "overall": overall.value,
        "low": overall.low,
        "high": overall.high,
        **{key: scores[key].value for key in plain},
        "by_category": {name: scores[f"category/{name}"].value for name in categories},
        "n": overall.n,
        "n_unparsed": overall.missing,
        "n_absent": sum(len(q.turns) for q in questions) - len(judged),
        "n_duplicates": len(again),
        "duplicates": again,
        "n_other_answers": len(distinct) - len(judged),
        "n_reparse_mismatch": sum(f.judgment.score != f.recorded for f in found),
        **{key: detail[key] for key in detail if key != "judged_again"},
    }


def _write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with disk_errors_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_lines(path, (json.dumps(row, ensure_ascii=False) for row in rows))


def _fastchat(judgment: TurnJudgment) -> dict[str, Any]:
    score = UNPARSED if judgment.score is None else judgment.score
    return {
        "question_id": judgment.question_id,
        "model": judgment.model,
        "judge": [judgment.judge, judgment.judge_prompt],
        "user_prompt": judgment.user_prompt,
        "judgment": judgment.reply,
        "score": int(score) if score == int(score) else score,
        "turn": judgment.turn,
        "tstamp": 0.0,
    }


def _recorded(row: dict[str, Any], path: Path, line: int) -> float | None:
    score = number(path, line, row, "score")
    # FastChat keeps any number in the brackets; outside the scale it is not a grade.
    return score if LOWEST_RATING <= score <= HIGHEST_RATING else None


def _judge(row: dict[str, Any], path: Path, line: int) -> tuple[str, str]:
    match judge := row.get("judge"):
        case [str(name), str(prompt)]:
            return name, prompt
    raise DataError(path, line, f"judge: expected [model, prompt], found {judge!r}")


def _text(row: dict[str, Any], field: str, path: Path, line: int) -> str:
    value = row.get(field)
    if not isinstance(value, str):
        raise DataError(path, line, f"{field}: expected text, found {value!r}")
    return value
