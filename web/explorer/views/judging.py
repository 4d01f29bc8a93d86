"""Pages about judges: the run's own beside the external one, and models against human rankings."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

from core.reductions import mean_scores
from core.stages import Ref, Stage, evaluation_ref
from web.explorer.cards import judge_words
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
    on_page,
    points,
    row_link,
)
from web.explorer.views.loop import crumbs, prompt_link

if TYPE_CHECKING:
    from core.records import RankedPrompt
    from web.explorer.source import Source

RANKED = Ref(1, Stage.RANKED)
BOTH_SHOWS = {
    "all": "every answer both were asked about",
    "apart": "scores apart by a point or more",
    "reversed": "training pairs the external judge reverses",
    "unparsed": "answers without a score by one of them",
}
RANKED_SHOWS = {
    "all": "every prompt",
    "wrong": "some pair in the wrong order",
    "unparsed": "some reply without a score",
}
_APART = 1.0  # points of the rubric


class _Both(NamedTuple):
    """An answer's mean scores by the two judges."""

    prompt: str
    key: str
    own: float | None
    external: float | None

    @property
    def apart(self) -> float | None:
        if self.own is None or self.external is None:
            return None
        return self.own - self.external


def self_judge(source: Source, k: int, asked: Asked) -> Listing:
    """Return the answers that the run's own judge and the external one saw, most apart first."""
    judged_again = evaluation_ref(f"self_judge/iter{k}", Stage.EXTERNAL_JUDGMENTS)
    external = mean_scores(source.index.select(source.require(judged_again)))
    own = source.index.query(
        "SELECT min(prompt), subject, avg(value) FROM rows WHERE artifact = ? GROUP BY subject",
        (source.index.number(source.require(Ref(k, Stage.JUDGMENTS))),),
    )
    both = [
        _Both(prompt, key, mean, external[key].mean) for prompt, key, mean in own if key in external
    ]
    reversed_ = _reversed(source, k, {row.key: row.external for row in both})
    chosen = [row for row in both if _is_wanted(row, asked.show, reversed_)]
    chosen.sort(key=lambda row: (row.apart is None, -abs(row.apart or 0.0)))
    shown = on_page(chosen, asked.page)
    answers = source.of_keys(Ref(k, Stage.CANDIDATES), [row.key for row in shown])
    lines = []
    for row in shown:
        text = excerpt(answers[row.key].text) if row.key in answers else row.key
        cells = (points(row.own), points(row.external), points(row.apart))
        lines.append(Line(text, prompt_link(k, row.prompt, row.key), cells))
    return Listing(
        title=f"Iteration {k}: M{k - 1} as a judge beside the external judge",
        crumbs=crumbs(k),
        columns=("answer", f"by M{k - 1}", "by the external judge", "difference"),
        lines=tuple(lines),
        total=len(chosen),
        page=asked.page,
        choices=(choice("show", "Show", BOTH_SHOWS, asked.show),),
    )


def _is_wanted(row: _Both, show: str, reversed_: set[str]) -> bool:
    wanted = {
        "apart": row.apart is not None and abs(row.apart) >= _APART,
        "reversed": row.key in reversed_,
        "unparsed": row.apart is None,
    }
    return wanted.get(show, True)


def _reversed(source: Source, k: int, external: dict[str, float | None]) -> set[str]:
    """Return the answers of training pairs whose rejected one the external judge scores higher."""
    found: set[str] = set()
    for pair in source.rows(Ref(k, Stage.PAIRS), "outcome = 'pair'").rows:
        chosen, rejected = external.get(pair.chosen_key), external.get(pair.rejected_key)
        if chosen is not None and rejected is not None and rejected > chosen:
            found |= {pair.chosen_key, pair.rejected_key}
    return found


def judges_of_ranked(source: Source) -> dict[str, Ref]:
    """Return who judged the human-ranked replies, by name, as far as their judgments are there."""
    known = {
        **{m: evaluation_ref(f"{m}/agreement", Stage.RANKED_JUDGMENTS) for m in source.run.models},
        "M0 (probe)": Ref(0, Stage.PROBE),
        "M1 (probe)": Ref(1, Stage.PROBE),
        "sft (for EFT)": Ref(1, Stage.EFT_JUDGMENTS),
    }
    return {name: ref for name, ref in known.items() if source.why_missing(ref) is None}


class _Ranked(NamedTuple):
    """How one judge scored the replies to one prompt, the best for humans first."""

    prompt: RankedPrompt
    scores: tuple[float | None, ...]
    right: int
    compared: int


def _ordered(prompt: RankedPrompt, means: dict[str, float | None]) -> _Ranked:
    """Count the pairs of replies that humans rank apart and a judge scores apart."""
    replies = sorted(prompt.replies, key=lambda reply: (reply.rank, reply.key))
    scores = tuple(means.get(reply.key) for reply in replies)
    apart = [
        better > worse
        for (one, better), (other, worse) in combinations(zip(replies, scores, strict=True), 2)
        if one.rank < other.rank and better is not None and worse is not None and better != worse
    ]
    return _Ranked(prompt, scores, sum(apart), len(apart))


def agreement(source: Source, asked: Asked) -> Listing:
    """Return how a judge scored the replies that humans ranked, prompt by prompt."""
    judges = judges_of_ranked(source)
    name = asked.model if asked.model in judges else next(iter(judges), "")
    lines, total = _agreement_lines(source, judges.get(name), asked)
    no_judge = "No model has judged the human-ranked replies yet."
    options = {judge: judge for judge in judges} or {"": "nobody yet"}
    return Listing(
        title="Scores against human rankings",
        crumbs=(Link("Run", "/"),),
        columns=("prompt", "replies", "mean scores, best for humans first", "pairs in human order"),
        lines=lines,
        total=total,
        page=asked.page,
        choices=(
            choice("model", "Judge", options, name),
            choice("show", "Show", RANKED_SHOWS, asked.show),
        ),
        note=None if judges else no_judge,
    )


def _agreement_lines(source: Source, ref: Ref | None, asked: Asked) -> tuple[tuple[Line, ...], int]:
    if ref is None:
        return (), 0
    sql = "SELECT prompt, subject, avg(value) FROM rows WHERE artifact = ? GROUP BY subject"
    judged = source.index.query(sql, (source.index.number(ref),))
    means = {subject: mean for _, subject, mean in judged}
    prompts = dict.fromkeys(prompt for prompt, _, _ in judged)
    known = source.of_keys(RANKED, list(prompts))
    rows = [_ordered(known[key], means) for key in prompts if key in known]
    wanted = {
        "wrong": lambda row: row.right < row.compared,
        "unparsed": lambda row: None in row.scores,
    }.get(asked.show, lambda _: True)
    chosen = [row for row in rows if wanted(row)]
    lines = [
        Line(
            excerpt(row.prompt.prompt),
            link("/agreement/prompt", key=row.prompt.key),
            (
                str(len(row.scores)),
                ", ".join(map(points, row.scores)),
                f"{row.right} of {row.compared}" if row.compared else NONE,
            ),
        )
        for row in on_page(chosen, asked.page)
    ]
    return tuple(lines), len(chosen)


def ranked_prompt(source: Source, key: str) -> Detail | None:
    """Return a prompt's human-ranked replies with every judge's words; None if there is none."""
    row: RankedPrompt | None = source.index.row(source.require(RANKED), key)
    if row is None:
        return None
    judged = {
        name: source.of_prompt(ref, key).rows for name, ref in judges_of_ranked(source).items()
    }
    cards = []
    for reply in sorted(row.replies, key=lambda reply: (reply.rank, reply.key)):
        words, badges = [Words("Reply", reply.text)], []
        if reply.score is not None:
            words.append(Words(f"Written score {points(reply.score)}", reply.justification or ""))
        for name, judgments in judged.items():
            own = [judgment for judgment in judgments if judgment.subject_key == reply.key]
            if own:
                badges.append(Badge(f"{name}: {points(mean_scores(own)[reply.key].mean)}"))
            words += [judge_words(name, judgment) for judgment in own]
        cards.append(Card(f"Rank {reply.rank + 1} for humans", tuple(badges), tuple(words)))
    return Detail(
        title="Human-ranked replies and the judges' words",
        crumbs=(Link("Run", "/"), Link("Human rankings", "/agreement")),
        facts=(("Split", row.split), ("Judged by", ", ".join(n for n, j in judged.items() if j))),
        links=(Link("The row as it is", row_link(RANKED, key)),),
        parts=(
            Part("Prompt", (Card("", (), (Words("", row.prompt),)),)),
            Part("Replies, best for humans first", tuple(cards)),
        ),
    )
