"""Pages of AlpacaEval: outcomes of one model or of all, and every answer to one instruction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.completions import read_completion
from core.stages import Ref, Stage, evaluation_ref
from web.explorer.cards import answer_card
from web.explorer.index.facts import outcome_of
from web.explorer.pages import (
    ANSWER_ORDERS,
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
    from core.records import Annotation, Generation, Tag
    from web.explorer.source import Source

_TAGS = evaluation_ref("tags/alpaca_eval", Stage.TAGS)


def _annotations(model: str) -> Ref:
    return evaluation_ref(f"{model}/alpaca_eval", Stage.ANNOTATIONS)


def _answers(model: str) -> Ref:
    return evaluation_ref(f"{model}/alpaca_eval", Stage.ANSWERS)


def alpaca_eval(source: Source, asked: Asked) -> Listing:
    """Return the annotations of one model or of all, by outcome or by length."""
    models = source.run.models
    wanted = [asked.model] if asked.model in models else models
    found: list[tuple[str, str, str, float | None, int]] = []
    missing = []
    for model in wanted:
        rows = source.facts(_annotations(model), "key, outcome, value, length")
        found += [(model, *row) for row in rows.rows]
        if rows.why is not None:
            missing.append(f"{model}: {rows.why}")
    counts = dict.fromkeys(("win", "draw", "loss"), 0)
    for _, _, outcome, _, _ in found:
        counts[outcome] = counts.get(outcome, 0) + 1
    chosen = [row for row in found if asked.outcome in ("", row[2])]
    if asked.order == "longest":
        chosen.sort(key=lambda row: -row[4])
    lines = []
    for model, key, outcome, value, length in on_page(chosen, asked.page):
        row: Annotation | None = source.row(_annotations(model), key)
        text = excerpt(row.instruction) if row is not None else key
        cells = (model, named(outcome), points(value), f"{length:,}")
        lines.append(Line(text, link("/alpaca-eval/prompt", key=key), cells))
    options = {"": f"all ({len(found):,})"} | {n: f"{named(n)} ({c:,})" for n, c in counts.items()}
    return Listing(
        title="AlpacaEval",
        crumbs=(Link("Run", "/"),),
        columns=("instruction", "model", "outcome", "preference (1 to 2)", "characters"),
        lines=tuple(lines),
        total=len(chosen),
        page=asked.page,
        choices=(
            choice("model", "Model", {"": "every model", **{m: m for m in models}}, asked.model),
            choice("outcome", "Outcome", options, asked.outcome),
            choice("order", "Order", ANSWER_ORDERS, asked.order),
        ),
        note="; ".join(missing) or None,
    )


def instruction(source: Source, key: str) -> Detail | None:
    """Return the reference's and every model's answer to an instruction with the judge's words."""
    annotations: dict[str, Annotation] = {}
    answers: dict[str, Generation] = {}
    missing = []
    for model in source.run.models:
        found = source.rows(_annotations(model), "key = ?", (key,))
        if found.rows:
            annotations[model] = found.rows[0]
        if found.why is not None:
            missing.append(f"{model}: {found.why}")
        answers |= {m: r for m in (model,) for r in source.of_prompt(_answers(m), key).rows}
    if not annotations and not answers:
        return None
    texts = [row.instruction for row in annotations.values()]
    texts += [row.prompt for row in answers.values()]
    tag: Tag | None = source.row(_TAGS, key)
    facts = [("Instruction", key)]
    if tag is not None:
        facts.append(("Tagged", f"{tag.category}, complexity {tag.complexity}, {tag.length}"))
    cards = [*_references(annotations)]
    cards += [_annotated(m, annotations[m]) for m in source.run.models if m in annotations]
    cards += [
        answer_card(m, row, _answers(m)) for m, row in answers.items() if m not in annotations
    ]
    return Detail(
        title="AlpacaEval: one instruction, every answer and verdict",
        crumbs=(Link("Run", "/"), Link("AlpacaEval", "/alpaca-eval")),
        facts=tuple(facts),
        parts=(
            Part("Instruction", (Card("", (), (Words("", texts[0]),)),)),
            Part("Answers and what the judge said", tuple(cards), "; ".join(missing) or None),
        ),
    )


def _references(annotations: dict[str, Annotation]) -> list[Card]:
    """Return the reference's answer, once per reference."""
    found = {(row.generator_1, row.output_1) for row in annotations.values()}
    return [
        Card(f"The reference ({name})", (Badge(f"{len(text):,} characters"),), (Words("", text),))
        for name, text in sorted(found)
    ]


def _annotated(model: str, row: Annotation) -> Card:
    outcome = outcome_of(row.preference, row.missing)
    kind = {"win": "good", "loss": "bad", "draw": ""}.get(outcome, "note")
    badges = (
        Badge(f"{named(outcome)} against {row.generator_1}", kind),
        Badge(f"preference {points(row.preference)}"),
        Badge(f"{len(row.output_2):,} characters"),
    )
    words = (
        Words("Answer", row.output_2),
        Words(f"The judge's words ({row.annotator})", _completion(row.raw_completion), True),
    )
    return Card(
        model, badges, words, (Link("The row as it is", row_link(_annotations(model), row.key)),)
    )


def _completion(raw: str) -> str:
    return str(read_completion(raw)) if raw else "(not asked)"
