"""Reward modelling: the models as judges against human rankings (Table 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from core.stages import Ref, Stage, evaluation_ref
from reports.document import Cell, Item, RowGroup, Table, TableRow
from reports.formats.plotting import shown_name
from reports.published.comparable import PublishedNumbers
from reports.sections.cells import (
    EMPTY,
    PERCENT,
    Column,
    counted,
    label,
    model_table,
    models_of,
    noise_note,
    titles,
)
from reports.sections.items import Judged, excerpt, group, judged_by_subject, points, words_of
from reports.sections.section import of_models, section_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.reader import RunReader
    from core.records import Judgment, RankedPrompt, Score


METRICS = {
    "pairwise_accuracy": Column("pairwise accuracy %", 1),
    "five_best": Column("5-best %", 1),
    "exact_match": Column("exact match %", 1),
    "spearman": Column("Spearman", 3),
    "kendall_tau": Column("Kendall tau", 3),
}
_RATES = {
    "tie_rate": Column("tie rate %", 1, PERCENT),
    "parse_rate": Column("parse rate %", 1, PERCENT),
}
_READINGS = {
    "ties_excluded": "ties excluded",
    "ties_half": "ties count half",
    "ties_wrong": "ties count as wrong",
    "per_prompt_ties_excluded": "prompts with all scores tied excluded",
    "pooled": "pooled over all replies",
}
_BASELINES = {
    "always_4": "a score of 4 for every reply",
    "shuffled": "its scores shuffled",
    "length": "the longer reply is better",
}
WORDS = "in_words"
_EXPECTED = (
    "Scores are expected values over the probabilities of all scores (judge.reading); the parse "
    "rate counts replies whose words hold a score. The next table has the scores in words."
)
_SAME_SOURCE = (
    "The paper's evaluation split of Open Assistant is not public; ours is another of the same "
    "source.",
)


def table(results: RunReader) -> Table | None:
    """Return a row per model; None if agreement is neither configured nor scored."""
    models = models_of(results, "agreement")
    beside = PublishedNumbers(results, "agreement", models)
    rates = {model: results.scores(f"{model}/agreement").get("parse_rate") for model in models}
    unparsed = [
        f"{label(model)}: replies without a score: {counted(rate.detail)} of {rate.n}."
        for model, rate in rates.items()
        if rate is not None and rate.detail
    ]
    return model_table(
        results,
        "agreement",
        models,
        METRICS | _RATES,
        beside.published,
        key="reward_modelling",
        title="Reward modelling: agreement with human rankings",
        origin="Table 4",
        notes=(
            "Pairwise accuracy excludes ties in the judge's scores; for exact match a tie is not "
            "the humans' order; correlations are means over prompts, where tied scores count 0. "
            "The paper does not say how it counts ties; these readings fit its numbers. "
            "Missing: replies (for exact match: prompts) without a readable score.",
            *(_EXPECTED for model in models[:1] if _read_as_distribution(results, model)),
            *unparsed,
            *(
                noise_note(results.scores(f"{m}/agreement").get("judge_noise"), f"{label(m)}'s")
                for m in models
                if results.scores(f"{m}/agreement")
            ),
            *beside.notes,
            *(_SAME_SOURCE if not beside.own else ()),
        ),
    )


def readings(results: RunReader) -> Table | None:
    """Return other ways to count ties, and what no judgment at all would score, per model.

    None if no model has scores.
    """
    models = [m for m in models_of(results, "agreement") if results.scores(f"{m}/agreement")]
    if not models:
        return None
    rows = [
        TableRow(f"{label(model)}: {wording}", _of_detail(results, model, f"{{}}/{reading}"))
        for model in models
        for reading, wording in _READINGS.items()
    ]
    rows += [
        TableRow(f"{label(model)}: scores as its words say them", _of_detail(results, model, WORDS))
        for model in models
        if _read_as_distribution(results, model)
    ]
    rows += _baseline_rows(results, models)
    return Table(
        key="reward_modelling_readings",
        title="Reward modelling: other ways to count ties, and trivial baselines",
        head="model and reading",
        columns=titles(METRICS),
        rows=tuple(rows),
        origin="Table 4",
        notes=("Baselines are scored as in the table above, on the same replies.",),
    )


def _read_as_distribution(results: RunReader, model: str) -> bool:
    """Whether a model's scores are the means of distributions (`judge.reading`)."""
    found = results.scores(f"{model}/agreement").values()
    return any(WORDS in (score.detail or {}) for score in found)


def _baseline_rows(results: RunReader, models: list[str]) -> Iterator[TableRow]:
    """Yield each baseline once where it is the same for all models: it does not read scores."""
    for name, wording in _BASELINES.items():
        found = {model: _of_detail(results, model, name) for model in models}
        values = {tuple(cell.value for cell in cells) for cells in found.values()}
        if name != "shuffled" and len(values) == 1:
            yield TableRow(wording, found[models[0]])
            continue
        for model, cells in found.items():
            yield TableRow(f"{label(model)}: {wording}", cells)


def _of_detail(results: RunReader, model: str, name: str) -> tuple[Cell, ...]:
    """Return, per metric, a number in the score's detail; {} in `name` stands for the metric."""
    found = results.scores(f"{model}/agreement")
    return tuple(_detail_cell(found.get(key), name.format(key), key) for key in METRICS)


def _detail_cell(score: Score | None, name: str, key: str) -> Cell:
    detail = (score.detail or {}) if score is not None else {}
    if name not in detail:
        return EMPTY
    value = detail[name]
    if value is None:
        return Cell(reason="undefined for these scores")
    return Cell(value=float(value), digits=METRICS[key].digits)


class _Prompted(NamedTuple):
    key: str
    judged: dict[str, Judged]


def rows(results: RunReader, model: str, most: int) -> RowGroup | None:
    """Return how a model judged the human-ranked replies, by prompt; None if it did not."""
    ref = evaluation_ref(f"{model}/agreement", Stage.RANKED_JUDGMENTS)
    title = f"Agreement with humans, {shown_name(model)} as the judge"
    return rows_of_ranked(results, ref.address, title, ref, most)


def rows_of_ranked(
    results: RunReader, key: str, title: str, ref: Ref, most: int
) -> RowGroup | None:
    """Return a model's judgments of human-ranked replies, by prompt; None if there are none."""
    ranked: dict[str, RankedPrompt] = {r.key: r for r in results.rows(Ref(1, Stage.RANKED))}
    by_prompt: dict[str, list[Judgment]] = {}
    for judgment in results.rows(ref):
        by_prompt.setdefault(judgment.prompt_key, []).append(judgment)
    prompts = [_Prompted(name, judged_by_subject(rows)) for name, rows in by_prompt.items()]
    return group(
        results,
        ref,
        title,
        ("prompt", "replies", "mean scores, best for humans first"),
        lambda prompt: _ranked(prompt, ranked.get(prompt.key)),
        most=most,
        key=key,
        rows=prompts,
    )


def _ranked(prompt: _Prompted, ranked: RankedPrompt | None) -> Item:
    if ranked is None:  # imported judgments come without the replies
        words = [part for judged in prompt.judged.values() for part in words_of(judged)]
        means = ", ".join(points(judged.mean.mean) for judged in prompt.judged.values())
        return Item(prompt.key, (prompt.key, str(len(prompt.judged)), means), tuple(words))
    parts = [("Prompt", ranked.prompt)]
    scores = []
    for reply in sorted(ranked.replies, key=lambda reply: (reply.rank, reply.key)):
        judged = prompt.judged.get(reply.key)
        scores.append(points(judged.mean.mean if judged is not None else None))
        mean = judged.shown if judged is not None else "not judged"
        parts.append((f"Reply ranked {reply.rank + 1} by humans; mean score {mean}", reply.text))
        parts += words_of(judged)
    cells = (excerpt(ranked.prompt), str(len(ranked.replies)), ", ".join(scores))
    return Item(prompt.key, cells, tuple(parts))


SECTION = section_of(
    "agreement", "The models as judges", tables=(table, readings), rows=of_models(rows)
)
