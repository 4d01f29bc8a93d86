"""The page of one prompt: the call that wrote it, its candidates, their judgments, what it gave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.reductions import mean_scores
from core.stages import Ref, Stage, evaluation_ref
from web.explorer.cards import CUT, judge_words
from web.explorer.pages import Badge, Card, Detail, Link, Part, Words, link, named, points, row_link
from web.explorer.views.loop import crumbs

if TYPE_CHECKING:
    from core.records import Candidate, Judgment, LedgerRow, Prompt, PromptCall
    from web.explorer.source import Source


def prompt(source: Source, k: int, key: str) -> Detail | None:
    """Return everything about one prompt of an iteration; None if there is no such prompt."""
    ref = source.require(Ref(k, Stage.PROMPTS))
    row: Prompt | None = source.index.row(ref, key)
    if row is None:
        return None
    outcome = "kept" if row.kept else f"rejected: {named(str(row.rejected))}"
    return Detail(
        title=f"Iteration {k}: prompt {key}",
        crumbs=(*crumbs(k), Link("Prompts", link(f"/iteration/{k}/prompts"))),
        facts=(("Outcome", outcome), ("Written by call", str(row.call))),
        links=(Link("The row as it is", row_link(ref, key)),),
        parts=(
            Part("The prompt", (Card("", (), _own_words(row)),)),
            _became(source, k, row),
            _candidates(source, k, row),
            *_overlaps(source, k, row),
            _call(source, k, row),
        ),
    )


def _own_words(row: Prompt) -> tuple[Words, ...]:
    similar = (Words("Too similar to", row.similar_to),) if row.similar_to is not None else ()
    return (Words("", row.text), *similar)


def _call(source: Source, k: int, row: Prompt) -> Part:
    heading = "The call that wrote it"
    ref = Ref(k, Stage.PROMPT_CALLS)
    found = source.of_prompt(ref, str(row.call))
    if not found.rows:
        return Part(heading, note=f"{ref}: {found.why or f'no call {row.call}'}")
    call: PromptCall = found.rows[0]
    cut = (CUT,) if call.finish == "length" else ()
    examples = "\n\n".join(f"{at}. {text}" for at, text in enumerate(call.examples, start=1))
    cards = (
        Card(
            "The generator's words",
            cut,
            (Words("", call.text, fixed=True),),
            (Link("The row as it is", row_link(ref, call.key)),),
        ),
        Card("The examples it was shown", (), (Words("", examples, fixed=True),)),
    )
    return Part(heading, cards)


def _became(source: Source, k: int, row: Prompt) -> Part:
    heading = "What became of it"
    if not row.kept:
        return Part(heading, note="It was rejected, so nobody answered it.")
    ref = Ref(k, Stage.PAIRS)
    found = source.of_prompt(ref, row.key)
    if not found.rows:
        return Part(heading, note=f"{ref}: {found.why or 'no row for this prompt'}")
    pair: LedgerRow = found.rows[0]
    more = (Link("The row as it is", row_link(ref, row.key)),)
    if pair.chosen is None or pair.rejected is None:
        scores = ", ".join(map(points, pair.scores))
        badges = (Badge(named(pair.outcome), "bad"), Badge(f"mean scores {scores or '–'}"))
        return Part(heading, (Card("No pair", badges, (), more),))
    cards = (
        _side("Chosen", "good", pair.chosen, pair.chosen_score, ended=pair.chosen_ended),
        _side("Rejected", "bad", pair.rejected, pair.rejected_score, ended=pair.rejected_ended),
    )
    gap = (pair.chosen_score or 0.0) - (pair.rejected_score or 0.0)
    return Part(heading, cards, f"A training pair; its mean scores are {points(gap)} apart.")


def _side(role: str, kind: str, text: str, score: float | None, *, ended: bool) -> Card:
    badges = (Badge(f"mean score {points(score)}", kind), *(() if ended else (CUT,)))
    return Card(role, badges, (Words("Answer", text),))


def _candidates(source: Source, k: int, row: Prompt) -> Part:
    heading = f"Candidates of M{k - 1} and what its judge said"
    ref = Ref(k, Stage.CANDIDATES)
    found = source.of_prompt(ref, row.key)
    if found.why is not None:
        return Part(heading, note=f"{ref}: {found.why}")
    own = source.of_prompt(Ref(k, Stage.JUDGMENTS), row.key)
    external = source.of_prompt(
        evaluation_ref(f"self_judge/iter{k}", Stage.EXTERNAL_JUDGMENTS), row.key
    )
    pair = next(iter(source.of_prompt(Ref(k, Stage.PAIRS), row.key).rows), None)
    cards = tuple(
        _candidate(ref, candidate, pair, own.rows, external.rows)
        for candidate in sorted(found.rows, key=lambda candidate: candidate.draw)
    )
    note = None if own.why is None else f"{Ref(k, Stage.JUDGMENTS)}: {own.why}"
    return Part(heading, cards, note if cards else "There are none.")


def _candidate(
    ref: Ref,
    row: Candidate,
    pair: LedgerRow | None,
    own: list[Judgment],
    external: list[Judgment],
) -> Card:
    ours = [judgment for judgment in own if judgment.subject_key == row.key]
    theirs = [judgment for judgment in external if judgment.subject_key == row.key]
    badges = [*_role(row.key, pair)]
    if row.finish != "stop":
        badges.append(CUT if row.finish == "length" else Badge(named(row.finish), "bad"))
    words = [Words("Answer", row.text)]
    for who, judged in (("The run's judge", ours), ("The external judge", theirs)):
        if judged:
            mean = mean_scores(judged)[row.key]
            read = f"{mean.parsed} of {mean.draws} read"
            badges.append(Badge(f"{who}: {points(mean.mean)} ({read})"))
        words += [judge_words(who, judgment) for judgment in judged]
    more = (Link("The row as it is", row_link(ref, row.key)),)
    return Card(row.key, tuple(badges), tuple(words), more, anchor=row.key)


def _role(key: str, pair: LedgerRow | None) -> tuple[Badge, ...]:
    roles = {}
    if pair is not None:
        roles = {
            pair.rejected_key: Badge("rejected", "bad"),
            pair.chosen_key: Badge("chosen", "good"),
        }
    return (roles[key],) if key in roles else ()


def _overlaps(source: Source, k: int, row: Prompt) -> tuple[Part, ...]:
    flags = source.of_prompt(evaluation_ref(f"contamination/iter{k}", Stage.FLAGS), row.key).rows
    cards = tuple(
        Card(
            f"{flag.benchmark} {flag.item}",
            (Badge(f"{flag.kind} {points(flag.overlap)}", "note"),),
            (Words("The evaluation item", flag.text),),
        )
        for flag in flags
    )
    return (Part("Evaluation items it overlaps with", cards),) if cards else ()
