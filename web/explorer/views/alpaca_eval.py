"""Views of AlpacaEval: outcomes of one model or of all, and every answer to one instruction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.completions import read_completion
from core.stages import Ref, Stage, evaluation_ref
from web.explorer import pages as ui
from web.explorer.index.facts import outcome_of
from web.explorer.views.view import ANSWER_ORDER, no_such

if TYPE_CHECKING:
    from core.records import Annotation, Generation, Tag
    from web.explorer.source import Source

_TAGS = evaluation_ref("tags/alpaca_eval", Stage.TAGS)


def outcomes(source: Source, query: ui.Query) -> ui.Listing:
    """Return the annotations of one model or of all, by outcome or by length."""
    refs = source.refs("alpaca_eval", Stage.ANNOTATIONS)
    found, note = source.of_models(refs, query)

    def line(model: str, row: Annotation) -> ui.Line:
        outcome = ui.spaced(outcome_of(row.preference, row.missing))
        longest = max(len(row.output_1), len(row.output_2))
        cells = (model, outcome, ui.number(row.preference), f"{longest:,}")
        address = ui.link("/alpaca-eval/prompt", key=row.key)
        return ui.Line(ui.excerpt(row.instruction), address, cells)

    counts = dict.fromkeys(("win", "draw", "loss"), 0) | found.counts
    return ui.Listing(
        title="AlpacaEval",
        columns=("instruction", "model", "outcome", "preference (1 to 2)", "characters"),
        lines=tuple(line(model, row) for model, row in found.rows),
        total=found.total,
        page=query.page,
        filters=(
            ui.model_select("Model", "every model", list(refs), query.model),
            ui.outcome_select("Outcome", counts, query.outcome),
            ANSWER_ORDER.select(query),
        ),
        note=note,
    )


def instruction(source: Source, query: ui.Query) -> ui.Detail:
    """Return the reference's and every model's answer to an instruction with the judge's reply."""
    key = query.key
    annotated = source.refs("alpaca_eval", Stage.ANNOTATIONS)
    answered = source.refs("alpaca_eval", Stage.ANSWERS)
    judged: dict[str, Annotation]
    answers: dict[str, Generation]
    judged, missing = source.first_of_each(annotated, key)
    answers, _ = source.first_of_each(answered, key)
    texts = [row.instruction for row in judged.values()]
    texts += [row.prompt for row in answers.values()]
    if not texts:
        raise no_such(f"prompt {key!r}", "all are at /alpaca-eval")
    facts = [("Instruction", key)]
    tag: Tag | None = source.row(_TAGS, key)
    if tag is not None:
        facts.append(("Tagged", f"{tag.category}, complexity {tag.complexity}, {tag.length}"))
    cards = [*_references(judged)]
    cards += [_annotated(model, row, annotated[model]) for model, row in judged.items()]
    cards += [ui.answer_card(m, row, answered[m]) for m, row in answers.items() if m not in judged]
    return ui.Detail(
        title="AlpacaEval: one instruction, every answer and verdict",
        crumbs=(ui.RUN, ui.Link("AlpacaEval", "/alpaca-eval")),
        facts=tuple(facts),
        parts=(
            ui.text_part("Instruction", texts[0]),
            ui.Part("Answers with the judge's replies", tuple(cards), missing),
        ),
    )


def _references(judged: dict[str, Annotation]) -> list[ui.Card]:
    """Return the reference's answer, once per reference."""
    found = {(row.generator_1, row.output_1) for row in judged.values()}
    return [
        ui.Card(
            f"The reference ({name})",
            (ui.Badge(f"{len(text):,} characters"),),
            (ui.Text("", text),),
        )
        for name, text in sorted(found)
    ]


def _annotated(model: str, row: Annotation, ref: Ref) -> ui.Card:
    outcome = outcome_of(row.preference, row.missing)
    completion = str(read_completion(row.raw_completion)) if row.raw_completion else "(not asked)"
    kind = {"win": "good", "loss": "bad", "draw": ""}.get(outcome, "note")
    badges = (
        ui.Badge(f"{ui.spaced(outcome)} against {row.generator_1}", kind),
        ui.Badge(f"preference {ui.number(row.preference)}"),
        ui.Badge(f"{len(row.output_2):,} characters"),
    )
    reply = ui.Text(f"The judge's reply ({row.annotator})", completion, True)
    texts = (ui.Text("Answer", row.output_2), reply)
    return ui.Card(model, badges, texts, (ui.row_link(ref, row.key),))
