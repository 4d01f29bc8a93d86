"""Views of MT-Bench: grades of one model or of all, and every answer to one question."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.stages import Ref, Stage
from web.explorer import pages as ui
from web.explorer.views.view import no_such, order, show

if TYPE_CHECKING:
    from core.records import Generation, TurnJudgment
    from web.explorer.source import Source

SHOW = show(
    all="every grade",
    unparsed="replies without a grade",
    disagreement="answers whose grades disagree",
)
ORDER = order(longest="longest reply first", lowest="lowest grade first")


def grades(source: Source, query: ui.Query) -> ui.Listing:
    """Return the grades of one model or of all."""
    refs = source.refs("mt_bench", Stage.TURN_JUDGMENTS)
    found, note = source.of_models(refs, query)

    def line(model: str, row: TurnJudgment) -> ui.Line:
        grade = ui.score_or_reason(row.score, row.unparsed)
        question = str(row.question_id)
        cells = (question, str(row.turn), row.category, model, grade, f"{len(row.reply):,}")
        address = ui.link("/mt-bench/question", key=question)
        return ui.Line(ui.excerpt(row.reply), address, cells)

    columns = ("question", "turn", "category", "model", "grade", "characters")
    return ui.Listing(
        title="MT-Bench",
        columns=("the judge's reply", *columns),
        lines=tuple(line(model, row) for model, row in found.rows),
        total=found.total,
        page=query.page,
        filters=(
            ui.model_select("Model", "every model", list(refs), query.model),
            SHOW.select(query),
            ORDER.select(query),
        ),
        note=note,
    )


def question(source: Source, query: ui.Query) -> ui.Detail:
    """Return both turns of a question with every model's answers and grades."""
    key = query.key
    answered = source.refs("mt_bench", Stage.ANSWERS)
    judged = source.refs("mt_bench", Stage.TURN_JUDGMENTS)
    found, missing = source.of_each(answered, key)
    grades, _ = source.of_each(judged, key)
    cards: dict[int, list[ui.Card]] = {}
    asked: dict[int, str] = {}
    for model, rows in found.items():
        answers: dict[int, Generation] = {row.turn: row for row in rows}
        asked = {turn: row.prompt for turn, row in answers.items()} | asked
        for turn in sorted(answers.keys() | {row.turn for row in grades[model]}):
            card = ui.Card(model)
            if turn in answers:
                card = ui.answer_card(model, answers[turn], answered[model])
            of_turn = [row for row in grades[model] if row.turn == turn]
            cards.setdefault(turn, []).append(_graded(card, of_turn, judged[model]))
    if not cards:
        raise no_such(f"question {key!r}", "all are at /mt-bench")
    parts = [_turn(turn, asked.get(turn, ""), cards[turn]) for turn in sorted(cards)]
    if missing:
        parts.append(ui.Part("Missing", note=missing))
    categories = {row.category for rows in grades.values() for row in rows}
    return ui.Detail(
        title=f"MT-Bench question {key}: every answer and grade",
        crumbs=(ui.RUN, ui.Link("MT-Bench", "/mt-bench")),
        facts=(("Category", ", ".join(sorted(categories)) or ui.NONE),),
        parts=tuple(parts),
    )


def _turn(turn: int, asked: str, cards: list[ui.Card]) -> ui.Part:
    asking = (ui.Card("Question", (), (ui.Text("", asked),)),) if asked else ()
    return ui.Part(f"Turn {turn}", (*asking, *cards))


def _graded(answer: ui.Card, grades: list[TurnJudgment], ref: Ref) -> ui.Card:
    """Return an answer's card with its grades."""
    badges = [ui.Badge(f"grade {ui.number(row.score)}") for row in grades if row.score is not None]
    texts = [
        ui.Text(
            f"{row.judge} with {row.judge_prompt}, reply {row.draw + 1}: "
            f"{ui.score_or_reason(row.score, row.unparsed)}",
            row.reply,
        )
        for row in grades
    ]
    links = [ui.row_link(ref, row.key, f"All fields of grade {row.draw + 1}") for row in grades]
    return ui.Card(
        answer.heading,
        (*badges, *answer.badges),
        (*answer.texts, *texts),
        (*answer.links, *links),
    )
