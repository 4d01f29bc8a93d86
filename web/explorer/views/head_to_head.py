"""Views of the head-to-head comparison: position bias of the judge, every verdict on a prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from core.stages import Ref, Stage, evaluation_ref
from web.explorer import pages as ui
from web.explorer.views.view import ANSWER_ORDER, no_such, show

if TYPE_CHECKING:
    from core.records import Generation, Verdict
    from web.explorer.source import Source

SHOW = show(
    all="every comparison",
    flips="judge flips: the two orders name different winners",
    half="one order says tie, the other does not",
    unparsed="an order without a verdict",
    ties="ties",
)
_WINNERS = ("A", "B")
_READ = (*_WINNERS, "tie")


class _Compared(NamedTuple):
    """One comparison: the outcomes of its two orders, or (`alone`) its outcome without a judge."""

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
            return f"no verdict: {ui.spaced(unread)}"
        if self.alone is None and len(orders) < len(_WINNERS):
            return "no verdict: one order is missing"
        winner = orders[0] if len(set(orders)) == 1 else "tie"
        return outcome(winner, self.a, self.b)

    def shows(self, wanted: str) -> bool:
        """Whether a value of the filter SHOW keeps this comparison."""
        both = {self.ab, self.ba}
        found = {
            "flips": both == set(_WINNERS),
            "half": "tie" in both and len(both) > 1 and both <= set(_READ),
            "unparsed": self.result.startswith("no verdict"),
            "ties": self.result == "tie",
        }
        return found.get(wanted, True)


def outcome(winner: str | None, a: str, b: str) -> str:
    """Return one order's outcome in words."""
    if winner is None:
        return ui.NONE
    if winner in _WINNERS:
        return f"{a if winner == 'A' else b} wins"
    return winner if winner == "tie" else f"no verdict: {ui.spaced(winner)}"


def comparisons(source: Source, query: ui.Query) -> ui.Listing:
    """Return the comparisons of one matchup or of all."""
    names = {f"{a}-{b}": (a, b) for a, b in source.run.matchups}
    wanted = [names[query.model]] if query.model in names else list(names.values())
    _, note = source.available({f"{a} against {b}": _verdicts(a, b) for a, b in wanted})
    chosen = [row for a, b in wanted for row in _matchup(source, a, b) if row.shows(query.show)]
    if query.order == "longest":
        chosen.sort(key=lambda row: -row.longest)
    lines = tuple(_line(source, row) for row in ui.on_page(chosen, query.page))
    columns = ("models", "verdict", "first shown first", "second shown first", "characters")
    return ui.Listing(
        title="Head to head",
        columns=("prompt", *columns),
        lines=lines,
        total=len(chosen),
        page=query.page,
        filters=(
            ui.model_select("Models", "every pair", list(names), query.model),
            SHOW.select(query),
            ANSWER_ORDER.select(query),
        ),
        note=note,
    )


def _line(source: Source, row: _Compared) -> ui.Line:
    answer: Generation | None = source.row(_answers(row.a), row.prompt)
    cells = (
        f"{row.a} against {row.b}",
        row.result,
        outcome(row.ab, row.a, row.b),
        outcome(row.ba, row.a, row.b),
        f"{row.longest:,}",
    )
    text = ui.excerpt(row.prompt if answer is None else answer.prompt)
    return ui.Line(text, ui.link("/head-to-head/prompt", key=row.prompt), cells)


def _verdicts(a: str, b: str) -> Ref:
    return evaluation_ref(f"head_to_head/{a}-{b}", Stage.VERDICTS)


def _answers(model: str) -> Ref:
    return evaluation_ref(f"{model}/head_to_head", Stage.ANSWERS)


def _matchup(source: Source, a: str, b: str) -> list[_Compared]:
    """Return a matchup's comparisons in the order of its file; [] if there are none."""
    lengths: dict[str, int] = {}
    for model in (a, b):
        for prompt, length in source.facts(_answers(model), "prompt, length").rows:
            lengths[prompt] = max(length, lengths.get(prompt, 0))
    orders: dict[str, dict[str, str]] = {}
    prompts: dict[str, str] = {}
    columns = "key, subject, prompt, outcome"
    for key, subject, prompt, ended in source.facts(_verdicts(a, b), columns).rows:
        orders.setdefault(subject, {})[key[-2:] if key != subject else "alone"] = ended
        prompts[subject] = prompt
    return [
        _compared(a, b, prompts[subject], found, lengths.get(prompts[subject], 0))
        for subject, found in orders.items()
    ]


def _compared(a: str, b: str, prompt: str, orders: dict[str, str], longest: int = 0) -> _Compared:
    ended = (orders.get("ab"), orders.get("ba"), orders.get("alone"))
    return _Compared(a, b, prompt, *ended, longest)


def prompt(source: Source, query: ui.Query) -> ui.Detail:
    """Return every model's answer to a prompt and every verdict."""
    key = query.key
    refs = source.refs("head_to_head", Stage.ANSWERS)
    answers: dict[str, Generation]
    answers, missing = source.first_of_each(refs, key)
    verdicts = [(a, b, source.of_prompt(_verdicts(a, b), key).rows) for a, b in source.run.matchups]
    if not answers and not any(rows for _, _, rows in verdicts):
        raise no_such(f"prompt {key!r}", "all are at /head-to-head")
    text = next((row.prompt for row in answers.values()), key)
    cards = tuple(ui.answer_card(model, row, refs[model]) for model, row in answers.items())
    judged = tuple(_verdict_card(a, b, rows) for a, b, rows in verdicts if rows)
    return ui.Detail(
        title="Head to head: one prompt, every answer and verdict",
        crumbs=(ui.RUN, ui.Link("Head to head", "/head-to-head")),
        facts=(("Prompt", key),),
        parts=(
            ui.text_part("Prompt", text),
            ui.Part("Answers", cards, missing),
            ui.Part("Verdicts", judged, None if judged else "These answers are not compared yet."),
        ),
    )


def _verdict_card(a: str, b: str, rows: list[Verdict]) -> ui.Card:
    orders = {row.key[-2:] if row.key[-3:-2] == "/" else "alone": row for row in rows}
    ended = {order: row.winner or row.unparsed or "missing" for order, row in orders.items()}
    compared = _compared(a, b, "", ended)
    badges = [ui.Badge(compared.result)]
    if compared.shows("flips"):
        badges.append(ui.Badge("the judge flips: its two orders name different winners", "bad"))
    texts = []
    for order, first in (("ab", a), ("ba", b)):
        if (row := orders.get(order)) is not None:
            heading = f"{first} shown first: {outcome(ended[order], a, b)}"
            texts.append(ui.Text(heading, row.replies[0] if row.replies else "", fixed=True))
    if not texts:
        badges.append(
            ui.Badge("decided without the judge: equal answers, or one is absent", "note")
        )
    links = tuple(
        ui.row_link(_verdicts(a, b), row.key, f"All fields of this row ({order})")
        for order, row in orders.items()
    )
    return ui.Card(f"{a} against {b}", tuple(badges), tuple(texts), links)
