"""Views of judges: the run's own against the external one, and scores against human rankings."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

from core.reductions import mean_scores
from core.stages import Ref, Stage, evaluation_ref
from web.explorer import pages as ui
from web.explorer.views.loop import crumbs, prompt_link
from web.explorer.views.view import no_such, show

if TYPE_CHECKING:
    from core.records import RankedPrompt
    from web.explorer.source import Source

RANKED = Ref(1, Stage.RANKED)
BOTH_SHOW = show(
    all="every answer both were asked about",
    apart="scores apart by a point or more",
    reversed="training pairs the external judge reverses",
    unparsed="answers without a score by one of them",
)
RANKED_SHOW = show(
    all="every prompt",
    wrong="some pair in the wrong order",
    unparsed="some reply without a score",
)
_APART = 1.0  # points of the rubric
_MEANS = "SELECT min(prompt), subject, avg(value) FROM rows WHERE artifact = ? GROUP BY subject"


class _Both(NamedTuple):
    """An answer's mean scores by the two judges."""

    prompt: str
    key: str
    own: float | None
    external: float | None

    @property
    def difference(self) -> float | None:
        if self.own is None or self.external is None:
            return None
        return self.own - self.external


def self_judge(source: Source, query: ui.Query) -> ui.Listing:
    """Return the answers that both judges scored, with the largest difference first."""
    k = query.k
    judged_again = evaluation_ref(f"self_judge/iter{k}", Stage.EXTERNAL_JUDGMENTS)
    external = mean_scores(source.index.select(judged_again))
    number = source.index.number(Ref(k, Stage.JUDGMENTS))
    both = [
        _Both(prompt, key, mean, external[key].mean)
        for prompt, key, mean in source.index.query(_MEANS, (number,))
        if key in external
    ]
    reversed_ = _reversed(source, k, {row.key: row.external for row in both})
    wanted = {
        "apart": lambda row: row.difference is not None and abs(row.difference) >= _APART,
        "reversed": lambda row: row.key in reversed_,
        "unparsed": lambda row: row.difference is None,
    }.get(query.show, lambda _: True)
    chosen = [row for row in both if wanted(row)]
    chosen.sort(key=lambda row: (row.difference is None, -abs(row.difference or 0.0)))
    shown = ui.on_page(chosen, query.page)
    answers = source.of_keys(Ref(k, Stage.CANDIDATES), [row.key for row in shown])
    lines = []
    for row in shown:
        text = ui.excerpt(answers[row.key].text) if row.key in answers else row.key
        cells = tuple(map(ui.number, (row.own, row.external, row.difference)))
        lines.append(ui.Line(text, prompt_link(k, row.prompt, row.key), cells))
    return ui.Listing(
        title=f"Iteration {k}: M{k - 1} as a judge against the external judge",
        crumbs=crumbs(k),
        columns=("answer", f"by M{k - 1}", "by the external judge", "difference"),
        lines=tuple(lines),
        total=len(chosen),
        page=query.page,
        filters=(BOTH_SHOW.select(query),),
    )


def _reversed(source: Source, k: int, external: dict[str, float | None]) -> set[str]:
    """Return the answers of training pairs whose rejected one the external judge scores higher."""
    found: set[str] = set()
    for pair in source.rows(Ref(k, Stage.PAIRS), "outcome = 'pair'").rows:
        chosen, rejected = external.get(pair.chosen_key), external.get(pair.rejected_key)
        if chosen is not None and rejected is not None and rejected > chosen:
            found |= {pair.chosen_key, pair.rejected_key}
    return found


def judges_of_ranked(source: Source) -> dict[str, Ref]:
    """Return the judgments of human-ranked replies that can be shown, by the judge's name."""
    known = {
        **source.refs("agreement", Stage.RANKED_JUDGMENTS),
        "M0 (probe)": Ref(0, Stage.PROBE),
        "M1 (probe)": Ref(1, Stage.PROBE),
        "sft (for EFT)": Ref(1, Stage.EFT_JUDGMENTS),
    }
    return source.available(known)[0]


class _Ranked(NamedTuple):
    """One judge's mean scores of the replies to one prompt, the best for humans first.

    `compared`: pairs of replies that humans rank apart and the judge scores apart; `right`: those
    in the same order.
    """

    prompt: RankedPrompt
    scores: tuple[float | None, ...]
    right: int
    compared: int


def _ranked(prompt: RankedPrompt, means: dict[str, float | None]) -> _Ranked:
    replies = sorted(prompt.replies, key=lambda reply: (reply.rank, reply.key))
    scores = tuple(means.get(reply.key) for reply in replies)
    orders = [
        better > worse
        for (one, better), (other, worse) in combinations(zip(replies, scores, strict=True), 2)
        if one.rank < other.rank and better is not None and worse is not None and better != worse
    ]
    return _Ranked(prompt, scores, sum(orders), len(orders))


def agreement(source: Source, query: ui.Query) -> ui.Listing:
    """Return how a judge scored the replies that humans ranked, prompt by prompt."""
    judges = judges_of_ranked(source)
    name = query.model if query.model in judges else next(iter(judges), "")
    rows = _rows_of_judge(source, judges[name]) if judges else []
    wanted = {
        "wrong": lambda row: row.right < row.compared,
        "unparsed": lambda row: None in row.scores,
    }.get(query.show, lambda _: True)
    chosen = [row for row in rows if wanted(row)]
    columns = ("replies", "mean scores, best for humans first", "pairs in human order")
    names = {judge: judge for judge in judges} or {"": "none yet"}
    return ui.Listing(
        title="Scores against human rankings",
        columns=("prompt", *columns),
        lines=tuple(map(_ranked_line, ui.on_page(chosen, query.page))),
        total=len(chosen),
        page=query.page,
        filters=(ui.select("model", "Judge", names, name), RANKED_SHOW.select(query)),
        note=None if judges else "No model has judged the human-ranked replies yet.",
    )


def _rows_of_judge(source: Source, ref: Ref) -> list[_Ranked]:
    judged = source.index.query(_MEANS, (source.index.number(ref),))
    means = {subject: mean for _, subject, mean in judged}
    prompts = dict.fromkeys(prompt for prompt, _, _ in judged)
    known = source.of_keys(RANKED, list(prompts))
    return [_ranked(known[key], means) for key in prompts if key in known]


def _ranked_line(row: _Ranked) -> ui.Line:
    cells = (
        str(len(row.scores)),
        ", ".join(map(ui.number, row.scores)),
        f"{row.right} of {row.compared}" if row.compared else ui.NONE,
    )
    address = ui.link("/agreement/prompt", key=row.prompt.key)
    return ui.Line(ui.excerpt(row.prompt.prompt), address, cells)


def ranked_prompt(source: Source, query: ui.Query) -> ui.Detail:
    """Return a prompt's human-ranked replies with every judge's replies."""
    key = query.key
    row: RankedPrompt | None = source.index.row(RANKED, key)
    if row is None:
        raise no_such(f"prompt {key!r}", "all are at /agreement")
    judged = {
        name: source.of_prompt(ref, key).rows for name, ref in judges_of_ranked(source).items()
    }
    cards = []
    for reply in sorted(row.replies, key=lambda reply: (reply.rank, reply.key)):
        texts, badges = [ui.Text("Reply", reply.text)], []
        if reply.score is not None:
            heading = f"Written score {ui.number(reply.score)}"
            texts.append(ui.Text(heading, reply.justification or ""))
        for name, judgments in judged.items():
            own = [judgment for judgment in judgments if judgment.subject_key == reply.key]
            if own:
                badges.append(ui.Badge(f"{name}: {ui.number(mean_scores(own)[reply.key].mean)}"))
            texts += [ui.judge_text(name, judgment) for judgment in own]
        cards.append(ui.Card(f"Human rank {reply.rank + 1}", tuple(badges), tuple(texts)))
    return ui.Detail(
        title="Human-ranked replies with the judges' replies",
        crumbs=(ui.RUN, ui.Link("Human rankings", "/agreement")),
        facts=(("Split", row.split), ("Judged by", ", ".join(n for n, j in judged.items() if j))),
        links=(ui.row_link(RANKED, key),),
        parts=(
            ui.text_part("Prompt", row.prompt),
            ui.Part("Replies, best for humans first", tuple(cards)),
        ),
    )
