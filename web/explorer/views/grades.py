"""Pages of MT-Bench: grades of one model or of all, and every answer to one question."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from core.stages import Ref, Stage, evaluation_ref
from web.explorer.cards import answer_card
from web.explorer.index.facts import READ
from web.explorer.pages import (
    NONE,
    Asked,
    Badge,
    Card,
    Detail,
    Line,
    Link,
    Listing,
    Part,
    Words,
    choice,
    excerpt,
    link,
    named,
    on_page,
    points,
    row_link,
)

if TYPE_CHECKING:
    from core.records import Generation, TurnJudgment
    from web.explorer.source import Source

GRADE_SHOWS = {
    "all": "every grade",
    "unparsed": "replies without a grade",
    "disagreement": "answers whose grades disagree",
}
GRADE_ORDERS = {
    "made": "as they were made",
    "longest": "longest reply first",
    "lowest": "lowest grade first",
}


class _Grade(NamedTuple):
    """What the index knows of one grade."""

    model: str
    key: str
    question: str
    subject: str
    outcome: str
    score: float | None
    length: int


def _judgments(model: str) -> Ref:
    return evaluation_ref(f"{model}/mt_bench", Stage.TURN_JUDGMENTS)


def _answers(model: str) -> Ref:
    return evaluation_ref(f"{model}/mt_bench", Stage.ANSWERS)


def mt_bench(source: Source, asked: Asked) -> Listing:
    """Return the grades of one model or of all."""
    models = source.run.models
    wanted = [asked.model] if asked.model in models else models
    grades: list[_Grade] = []
    missing = []
    for model in wanted:
        columns = "key, prompt, subject, outcome, value, length"
        found = source.facts(_judgments(model), columns)
        grades += [_Grade(model, *row) for row in found.rows]
        if found.why is not None:
            missing.append(f"{model}: {found.why}")
    chosen = _chosen(grades, asked)
    lines = []
    for grade in on_page(chosen, asked.page):
        row: TurnJudgment | None = source.row(_judgments(grade.model), grade.key)
        if row is not None:
            lines.append(_graded(grade, row))
    return Listing(
        title="MT-Bench",
        crumbs=(Link("Run", "/"),),
        columns=(
            "the judge's words",
            "question",
            "turn",
            "category",
            "model",
            "grade",
            "characters",
        ),
        lines=tuple(lines),
        total=len(chosen),
        page=asked.page,
        choices=(
            choice("model", "Model", {"": "every model", **{m: m for m in models}}, asked.model),
            choice("show", "Show", GRADE_SHOWS, asked.show),
            choice("order", "Order", GRADE_ORDERS, asked.order),
        ),
        note="; ".join(missing) or None,
    )


def _chosen(grades: list[_Grade], asked: Asked) -> list[_Grade]:
    if asked.show == "unparsed":
        grades = [grade for grade in grades if grade.outcome != READ]
    elif asked.show == "disagreement":
        scores: dict[tuple[str, str], set[float]] = {}
        for grade in grades:
            if grade.score is not None:
                scores.setdefault((grade.model, grade.subject), set()).add(grade.score)
        apart = {subject for subject, found in scores.items() if len(found) > 1}
        grades = [grade for grade in grades if (grade.model, grade.subject) in apart]
    if asked.order == "longest":
        return sorted(grades, key=lambda grade: -grade.length)
    if asked.order == "lowest":
        return sorted(grades, key=lambda grade: (grade.score is None, grade.score or 0.0))
    return grades


def _graded(grade: _Grade, row: TurnJudgment) -> Line:
    cells = (
        str(row.question_id),
        str(row.turn),
        row.category,
        grade.model,
        points(row.score) if row.score is not None else f"none: {named(str(row.unparsed))}",
        f"{grade.length:,}",
    )
    return Line(excerpt(row.reply), link("/mt-bench/question", key=grade.question), cells)


def mt_question(source: Source, key: str) -> Detail | None:
    """Return both turns of a question, every model's answers and grades; None if not asked."""
    answers: dict[str, list[Generation]] = {}
    grades: dict[str, list[TurnJudgment]] = {}
    missing: list[str] = []
    for model in source.run.models:
        found = source.of_prompt(_answers(model), key)
        answers[model] = found.rows
        grades[model] = source.of_prompt(_judgments(model), key).rows
        if found.why is not None:
            missing.append(f"{model}: {found.why}")
    turns = {row.turn for given in answers.values() for row in given}
    turns |= {row.turn for judged in grades.values() for row in judged}
    if not turns:
        return None
    parts = tuple(_turn(turn, answers, grades) for turn in sorted(turns))
    categories = {row.category for rows in grades.values() for row in rows}
    return Detail(
        title=f"MT-Bench question {key}: every answer and grade",
        crumbs=(Link("Run", "/"), Link("MT-Bench", "/mt-bench")),
        facts=(("Category", ", ".join(sorted(categories)) or NONE),),
        parts=parts if not missing else (*parts, Part("Not here", note="; ".join(missing))),
    )


def _turn(
    turn: int, answers: dict[str, list[Generation]], grades: dict[str, list[TurnJudgment]]
) -> Part:
    given = {m: row for m, rows in answers.items() for row in rows if row.turn == turn}
    judged = {m: [row for row in rows if row.turn == turn] for m, rows in grades.items()}
    asked = next((row.prompt for row in given.values()), "")
    cards = [Card("Question", (), (Words("", asked),))] if asked else []
    for model, found in judged.items():
        if model not in given and not found:
            continue
        card = Card(model)
        if model in given:
            card = answer_card(model, given[model], _answers(model))
        badges = [Badge(f"grade {points(row.score)}") for row in found if row.score is not None]
        links = [
            Link(f"Grade {row.draw + 1} as it is", row_link(_judgments(model), row.key))
            for row in found
        ]
        cards.append(
            Card(
                model,
                (*badges, *card.badges),
                (*card.words, *map(_grade_words, found)),
                (*card.links, *links),
            )
        )
    return Part(f"Turn {turn}", tuple(cards))


def _grade_words(row: TurnJudgment) -> Words:
    said = points(row.score) if row.score is not None else f"none: {named(str(row.unparsed))}"
    return Words(f"{row.judge} with {row.judge_prompt}, reply {row.draw + 1}: {said}", row.reply)
