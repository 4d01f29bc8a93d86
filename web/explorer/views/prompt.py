"""The view of one prompt: the call that wrote it, its candidates, their judgments, its pair."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.reductions import mean_scores
from core.stages import Ref, Stage, evaluation_ref
from web.explorer import pages as ui
from web.explorer.views.loop import crumbs
from web.explorer.views.view import no_such

if TYPE_CHECKING:
    from core.records import Candidate, Judgment, LedgerRow, Prompt, PromptCall
    from web.explorer.source import Source


def prompt(source: Source, query: ui.Query) -> ui.Detail:
    """Return everything about one prompt of an iteration."""
    k, key = query.k, query.key
    ref = Ref(k, Stage.PROMPTS)
    every = ui.link(f"/iteration/{k}/prompts")
    row: Prompt | None = source.index.row(ref, key)
    if row is None:
        raise no_such(f"prompt {key!r}", f"all are at {every}")
    outcome = "kept" if row.kept else f"rejected: {ui.spaced(str(row.rejected))}"
    similar = (ui.Text("Too similar to", row.similar_to),) if row.similar_to is not None else ()
    own = ui.Card("", (), (ui.Text("", row.transcript), *similar))
    return ui.Detail(
        title=f"Iteration {k}: prompt {key}",
        crumbs=(*crumbs(k), ui.Link("Prompts", every)),
        facts=(("Outcome", outcome), ("Written by call", _writer(row))),
        links=(ui.row_link(ref, key),),
        parts=(
            ui.Part("The prompt", (own,)),
            _pair(source, k, row),
            _candidates(source, k, row),
            *_overlaps(source, k, row),
            _call(source, k, row),
        ),
    )


def _writer(row: Prompt) -> str:
    return str(row.call) if row.call >= 0 else "none: taken from the source"


def _call(source: Source, k: int, row: Prompt) -> ui.Part:
    heading = "The call that wrote it"
    ref = Ref(k, Stage.PROMPT_CALLS)
    found = source.of_prompt(ref, str(row.call))
    if not found.rows:
        return ui.Part(heading, note=f"{ref}: {found.why or f'no call {row.call}'}")
    call: PromptCall = found.rows[0]
    cut = (ui.CUT,) if call.finish == "length" else ()
    examples = "\n\n".join(f"{at}. {text}" for at, text in enumerate(call.examples, start=1))
    cards = (
        ui.Card(
            "The generator's reply",
            cut,
            (ui.Text("", call.text, fixed=True),),
            (ui.row_link(ref, call.key),),
        ),
        ui.Card("The few-shot examples in its prompt", (), (ui.Text("", examples, fixed=True),)),
    )
    return ui.Part(heading, cards)


def _pair(source: Source, k: int, row: Prompt) -> ui.Part:
    heading = "Preference pair"
    if not row.kept:
        return ui.Part(
            heading, note="None: the prompt was rejected, so no candidates were sampled."
        )
    ref = Ref(k, Stage.PAIRS)
    found = source.of_prompt(ref, row.key)
    if not found.rows:
        return ui.Part(heading, note=f"{ref}: {found.why or 'no row for this prompt'}")
    pair: LedgerRow = found.rows[0]
    if pair.chosen is None or pair.rejected is None:
        scores = ", ".join(map(ui.number, pair.scores))
        badges = (
            ui.Badge(ui.spaced(pair.outcome), "bad"),
            ui.Badge(f"mean scores {scores or ui.NONE}"),
        )
        return ui.Part(heading, (ui.Card("No pair", badges, (), (ui.row_link(ref, row.key),)),))
    cards = (
        _side(
            _by("Chosen", pair.chosen_by), "good", pair.chosen, pair.chosen_score,
            ended=pair.chosen_ended,
        ),
        _side(
            _by("Rejected", pair.rejected_by), "bad", pair.rejected, pair.rejected_score,
            ended=pair.rejected_ended,
        ),
    )  # fmt: skip
    gap = (pair.chosen_score or 0.0) - (pair.rejected_score or 0.0)
    return ui.Part(heading, cards, f"The mean scores are {ui.number(gap)} apart.")


def _by(role: str, model: str) -> str:
    return f"{role}, of {model}" if model else role


def _side(role: str, kind: str, text: str, score: float | None, *, ended: bool) -> ui.Card:
    badges = (ui.Badge(f"mean score {ui.number(score)}", kind), *(() if ended else (ui.CUT,)))
    return ui.Card(role, badges, (ui.Text("Answer", text),))


def _candidates(source: Source, k: int, row: Prompt) -> ui.Part:
    heading = f"Candidates of M{k - 1} with their judgments"
    ref, judged = Ref(k, Stage.CANDIDATES), Ref(k, Stage.JUDGMENTS)
    found = source.of_prompt(ref, row.key)
    if found.why is not None:
        return ui.Part(heading, note=f"{ref}: {found.why}")
    own = source.of_prompt(judged, row.key)
    external = source.of_prompt(
        evaluation_ref(f"self_judge/iter{k}", Stage.EXTERNAL_JUDGMENTS), row.key
    )
    replies = {"The run's judge": own.rows, "The external judge": external.rows}
    pair = next(iter(source.of_prompt(Ref(k, Stage.PAIRS), row.key).rows), None)
    cards = tuple(
        _candidate(ref, candidate, pair, replies)
        for candidate in sorted(found.rows, key=lambda candidate: candidate.draw)
    )
    note = None if own.why is None else f"{judged}: {own.why}"
    return ui.Part(heading, cards, note if cards else "There are none.")


def _candidate(
    ref: Ref, row: Candidate, pair: LedgerRow | None, replies: dict[str, list[Judgment]]
) -> ui.Card:
    badges = [*_role(row.key, pair), *ui.finish_badges(row.finish)]
    texts = [*ui.answer_texts("Answer", row)]
    for judge, judgments in replies.items():
        judged = [judgment for judgment in judgments if judgment.subject_key == row.key]
        if judged:
            mean = mean_scores(judged)[row.key]
            read = f"{mean.parsed} of {mean.draws} read"
            badges.append(ui.Badge(f"{judge}: {ui.number(mean.mean)} ({read})"))
        texts += [ui.judge_text(judge, judgment) for judgment in judged]
    links = (ui.row_link(ref, row.key),)
    return ui.Card(row.key, tuple(badges), tuple(texts), links, anchor=row.key)


def _role(key: str, pair: LedgerRow | None) -> tuple[ui.Badge, ...]:
    if pair is not None and key == pair.chosen_key:
        return (ui.Badge("chosen", "good"),)
    if pair is not None and key == pair.rejected_key:
        return (ui.Badge("rejected", "bad"),)
    return ()


def _overlaps(source: Source, k: int, row: Prompt) -> tuple[ui.Part, ...]:
    flags = source.of_prompt(evaluation_ref(f"contamination/iter{k}", Stage.FLAGS), row.key).rows
    cards = tuple(
        ui.Card(
            f"{flag.benchmark} {flag.item}",
            (ui.Badge(f"{flag.kind} {ui.number(flag.overlap)}", "note"),),
            (ui.Text("The evaluation item", flag.text),),
        )
        for flag in flags
    )
    return (ui.Part("Evaluation items it overlaps with", cards),) if cards else ()
