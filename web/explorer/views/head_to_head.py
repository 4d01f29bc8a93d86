"""Pages of the head-to-head comparison: flips of the judge, and every verdict on one prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from core.stages import Ref, Stage, evaluation_ref
from web.explorer.cards import answer_card
from web.explorer.pages import (
    ANSWER_ORDERS,
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
    row_link,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.records import Generation, Verdict
    from web.explorer.source import Source

FLIP_SHOWS = {
    "all": "every comparison",
    "flips": "judge flips: the two orders name different winners",
    "half": "one order says tie, the other does not",
    "unparsed": "an order without a verdict",
    "ties": "ties",
}
_WINNERS = ("A", "B")
_READ = (*_WINNERS, "tie")


class _Compared(NamedTuple):
    """One comparison: how its two orders ended, or (`alone`) how it ended without a judge."""

    a: str
    b: str
    prompt: str
    ab: str | None
    ba: str | None
    alone: str | None
    longest: int

    @property
    def result(self) -> str:
        """The winner's name, "tie", or why there is none; orders that disagree are a tie."""
        orders = [order for order in (self.ab, self.ba, self.alone) if order is not None]
        unread = next((order for order in orders if order not in _READ), None)
        if unread is not None:
            return f"no verdict: {named(unread)}"
        if self.alone is None and len(orders) < len(_WINNERS):
            return "no verdict: one order is missing"
        winner = orders[0] if len(set(orders)) == 1 else "tie"
        return said(winner, self.a, self.b)

    def shows(self, wanted: str) -> bool:
        """Whether a filter of FLIP_SHOWS keeps this comparison."""
        both = {self.ab, self.ba}
        found = {
            "flips": both == set(_WINNERS),
            "half": "tie" in both and len(both) > 1 and both <= set(_READ),
            "unparsed": self.result.startswith("no verdict"),
            "ties": self.result == "tie",
        }
        return found.get(wanted, True)


def said(winner: str | None, a: str, b: str) -> str:
    """Return one order's outcome in words."""
    if winner is None:
        return NONE
    if winner in _WINNERS:
        return f"{a if winner == 'A' else b} wins"
    return winner if winner == "tie" else f"no verdict: {named(winner)}"


def head_to_head(source: Source, asked: Asked) -> Listing:
    """Return the comparisons of one matchup or of all."""
    names = {f"{a}-{b}": (a, b) for a, b in source.run.matchups}
    wanted = [names[asked.model]] if asked.model in names else list(names.values())
    missing = [why for a, b in wanted if (why := _why(source, a, b))]
    found = [row for a, b in wanted for row in _matchup(source, a, b)]
    chosen = [row for row in found if row.shows(asked.show)]
    if asked.order == "longest":
        chosen.sort(key=lambda row: -row.longest)
    shown = on_page(chosen, asked.page)
    texts = _prompts(source, [(row.a, row.prompt) for row in shown])
    lines = [
        Line(
            excerpt(texts.get(row.prompt, row.prompt)),
            link("/head-to-head/prompt", key=row.prompt),
            (
                f"{row.a} against {row.b}",
                row.result,
                said(row.ab, row.a, row.b),
                said(row.ba, row.a, row.b),
                f"{row.longest:,}",
            ),
        )
        for row in shown
    ]
    return Listing(
        title="Head to head",
        crumbs=(Link("Run", "/"),),
        columns=(
            "prompt",
            "models",
            "verdict",
            "first shown first",
            "second shown first",
            "characters",
        ),
        lines=tuple(lines),
        total=len(chosen),
        page=asked.page,
        choices=(
            choice("model", "Models", {"": "every pair", **{n: n for n in names}}, asked.model),
            choice("show", "Show", FLIP_SHOWS, asked.show),
            choice("order", "Order", ANSWER_ORDERS, asked.order),
        ),
        note="; ".join(missing) or None,
    )


def _verdicts(a: str, b: str) -> Ref:
    return evaluation_ref(f"head_to_head/{a}-{b}", Stage.VERDICTS)


def _answers(model: str) -> Ref:
    return evaluation_ref(f"{model}/head_to_head", Stage.ANSWERS)


def _why(source: Source, a: str, b: str) -> str | None:
    why = source.why_missing(_verdicts(a, b))
    return f"{a} against {b}: {why}" if why is not None else None


def _matchup(source: Source, a: str, b: str) -> list[_Compared]:
    """Return a matchup's comparisons in the order of its file; [] if they are not there."""
    lengths: dict[str, int] = {}
    for model in (a, b):
        for prompt, length in source.facts(_answers(model), "prompt, length").rows:
            lengths[prompt] = max(length, lengths.get(prompt, 0))
    orders: dict[str, dict[str, str]] = {}
    prompts: dict[str, str] = {}
    columns = "key, subject, prompt, outcome"
    for key, subject, prompt, outcome in source.facts(_verdicts(a, b), columns).rows:
        order = key[-2:] if key != subject else "alone"
        orders.setdefault(subject, {})[order] = outcome
        prompts[subject] = prompt
    return [
        _Compared(
            a,
            b,
            prompts[subject],
            found.get("ab"),
            found.get("ba"),
            found.get("alone"),
            lengths.get(prompts[subject], 0),
        )
        for subject, found in orders.items()
    ]


def _prompts(source: Source, wanted: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return prompts' texts by key, looked up among the answers of the named models."""
    texts: dict[str, str] = {}
    by_model: dict[str, list[str]] = {}
    for model, key in wanted:
        by_model.setdefault(model, []).append(key)
    for model, keys in by_model.items():
        rows = source.of_keys(_answers(model), keys)
        texts |= {row.prompt_key: row.prompt for row in rows.values()}
    return texts


def head_to_head_prompt(source: Source, key: str) -> Detail | None:
    """Return every model's answer to a prompt and every verdict; None if nobody answered it."""
    answers: dict[str, Generation] = {}
    missing = []
    for model in source.run.answering_models:
        found = source.of_prompt(_answers(model), key)
        if found.rows:
            answers[model] = found.rows[0]
        if found.why is not None:
            missing.append(f"{model}: {found.why}")
    verdicts = [(a, b, source.of_prompt(_verdicts(a, b), key).rows) for a, b in source.run.matchups]
    if not answers and not any(rows for _, _, rows in verdicts):
        return None
    text = next((row.prompt for row in answers.values()), key)
    judged = tuple(_verdict_card(a, b, rows) for a, b, rows in verdicts if rows)
    return Detail(
        title="Head to head: one prompt, every answer and verdict",
        crumbs=(Link("Run", "/"), Link("Head to head", "/head-to-head")),
        facts=(("Prompt", key),),
        parts=(
            Part("Prompt", (Card("", (), (Words("", text),)),)),
            Part(
                "Answers",
                tuple(answer_card(model, row, _answers(model)) for model, row in answers.items()),
                "; ".join(missing) or None,
            ),
            Part("Verdicts", judged, None if judged else "Nobody has compared these answers."),
        ),
    )


def _verdict_card(a: str, b: str, rows: list[Verdict]) -> Card:
    outcomes = {row.key[-2:] if row.key[-3:-2] == "/" else "alone": row for row in rows}
    ended = {order: row.winner or row.unparsed or "missing" for order, row in outcomes.items()}
    compared = _Compared(a, b, "", ended.get("ab"), ended.get("ba"), ended.get("alone"), 0)
    badges = [Badge(compared.result)]
    if compared.shows("flips"):
        badges.append(Badge("the judge flips: its two orders name different winners", "bad"))
    words = []
    for order, first in (("ab", a), ("ba", b)):
        if (row := outcomes.get(order)) is not None:
            heading = f"{first} shown first: {said(ended[order], a, b)}"
            words.append(Words(heading, row.replies[0] if row.replies else "", fixed=True))
    if not words:
        badges.append(Badge("nobody was asked: equal answers, or one is absent", "note"))
    links = tuple(
        Link(
            f"The row as it is ({row.key[-2:] if len(rows) > 1 else 'alone'})",
            row_link(_verdicts(a, b), row.key),
        )
        for row in rows
    )
    return Card(f"{a} against {b}", tuple(badges), tuple(words), links)
