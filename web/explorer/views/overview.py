"""The first page: what a run has, what it has not and why; and the same for one iteration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.benchmarks import FIRST_FEEDBACK_ITERATION
from core.stages import (
    SPECS,
    Ref,
    Stage,
    evaluation_ref,
    is_model,
    is_model_name,
    named_model,
    stages_of,
)
from web.explorer.pages import Link, Table, Tables, artifact_link, link, named, points
from web.explorer.views.judging import judges_of_ranked
from web.explorer.views.loop import crumbs

if TYPE_CHECKING:
    from core.records import Measurement, Score
    from web.explorer.source import Source

Cells = tuple[str | Link, ...]

_PAGES = {
    Stage.PROMPTS: "prompts",
    Stage.CANDIDATES: "judgments",
    Stage.JUDGMENTS: "judgments",
    Stage.PAIRS: "pairs",
}
_COLUMNS = ("artifact", "what", "rows", "counts, or why it is missing")


def overview(source: Source) -> Tables:
    """Return what a run has: iterations, benchmarks, models."""
    run = source.run
    facts = [("Folder", run.folder.name), ("Iterations", str(max(run.iterations)))]
    return Tables(
        title=f"Run {run.name}",
        crumbs=(),
        facts=tuple(facts),
        note=run.config_problem,
        tables=(_iterations(source), _benchmarks(source), _models(source)),
    )


def _iterations(source: Source) -> Table:
    rows = []
    for k in source.run.iterations:
        counts = [_count(source, k, stage) for stage in _PAGES]
        model = source.run.why_missing(named_model(f"M{k}")) or "made"
        rows.append((Link(f"Iteration {k}", link(f"/iteration/{k}")), *counts, model))
    columns = ("", "prompts", "candidates", "judgments", "pairs", "model")
    return Table("Iterations", columns, tuple(rows))


def _count(source: Source, k: int, stage: Stage) -> str | Link:
    """Return how many rows a stage has, leading to them; or why it has none."""
    if k < FIRST_FEEDBACK_ITERATION:
        return "–"
    ref = Ref(k, stage)
    if (why := source.run.why_missing(ref)) is not None:
        return why
    manifest = source.run.known_manifest(ref)
    counts = manifest.counts if manifest is not None else {}
    rows = manifest.rows or 0 if manifest is not None else 0
    label = f"{rows:,}"
    if stage is Stage.PROMPTS and "kept" in counts:
        label = f"{counts['kept']:,} kept of {rows:,}"
    elif stage is Stage.PAIRS:
        label = f"{counts.get('pair', 0):,} from {rows:,} prompts"
    return Link(label, link(f"/iteration/{k}/{_PAGES[stage]}"))


def _benchmarks(source: Source) -> Table:
    rows: list[Cells] = []
    for a, b in source.run.matchups:
        rows.append(
            _benchmark(
                source,
                Link(f"Head to head, {a} against {b}", link("/head-to-head", model=f"{a}-{b}")),
                f"head_to_head/{a}-{b}",
                ("win", "tie", "lose"),
            )
        )
    for model in source.run.answering_models:
        alpaca = Link(f"AlpacaEval, {model}", link("/alpaca-eval", model=model))
        wins = ("win_rate", "length_controlled_win_rate")
        rows.append(_benchmark(source, alpaca, f"{model}/alpaca_eval", wins))
        grades = Link(f"MT-Bench, {model}", link("/mt-bench", model=model))
        rows.append(_benchmark(source, grades, f"{model}/mt_bench", ("overall",)))
    for name in judges_of_ranked(source):
        if name in source.run.answering_models:
            human = Link(f"Human rankings, {name}", link("/agreement", model=name))
            wanted = ("pairwise_accuracy", "spearman")
            rows.append(_benchmark(source, human, f"{name}/agreement", wanted))
    rows += [_task(source, task) for task in source.run.parts("nlp")]
    rows += [
        _both_judges(source, k) for k in source.run.iterations if k >= FIRST_FEEDBACK_ITERATION
    ]
    return Table("Evaluation", ("benchmark", "scores, or why there are none"), tuple(rows))


def _both_judges(source: Source, k: int) -> Cells:
    name: str | Link = f"Self-judge beside the external judge, iteration {k}"
    address = f"self_judge/iter{k}"
    if source.run.exists(evaluation_ref(address, Stage.EXTERNAL_JUDGMENTS)):
        name = Link(str(name), link(f"/iteration/{k}/self-judge"))
    return _benchmark(source, name, address, ("mean_difference", "order_agreement"))


def _benchmark(source: Source, name: str | Link, address: str, wanted: tuple[str, ...]) -> Cells:
    ref = evaluation_ref(address, Stage.SCORES)
    found = source.rows(ref)
    if found.why is not None:
        return name, found.why
    scores: dict[str, Score] = {row.key: row for row in found.rows}
    shown = [_said(scores[key]) for key in wanted if key in scores]
    return name, "; ".join(shown) or f"{len(scores)} numbers"


def _said(score: Score) -> str:
    missing = f", {score.missing:,} missing" if score.missing else ""
    return f"{named(score.key)} {points(score.value)} (n {score.n:,}{missing})"


def _task(source: Source, task: str) -> Cells:
    said = []
    for model in source.run.answering_models:
        ref = evaluation_ref(f"{model}/nlp/{task}", Stage.ITEMS)
        counts = {}
        if source.why_missing(ref) is None:
            counts = source.index.outcomes(ref)
        total = sum(counts.values())
        said.append(f"{model} {counts.get('right', 0):,} of {total:,}" if total else f"{model} –")
    name = Link(f"NLP task {task}", link(f"/nlp/{task}"))
    return name, "right by every metric: " + "; ".join(said) if said else "no models"


def _models(source: Source) -> Table:
    names = dict.fromkeys([*source.run.answering_models, *(f"M{k}" for k in source.run.iterations)])
    rows: list[Cells] = []
    for name in filter(is_model_name, names):  # imported results are of models no run has made
        ref = named_model(name)
        why = source.run.why_missing(ref)
        if why is not None:
            rows.append((name, why))
            continue
        manifest = source.run.known_manifest(ref)
        finished = manifest.finished_at if manifest is not None else ""
        rows.append((Link(name, artifact_link(ref)), f"made {finished}"))
    return Table("Models", ("model", "made when, or why not"), tuple(rows))


def iteration(source: Source, k: int) -> Tables | None:
    """Return what an iteration has; None if the run has no such iteration."""
    if k not in source.run.iterations:
        return None
    rows = tuple(_artifact(source, Ref(k, stage)) for stage in stages_of(k))
    tables = [Table("Made in this iteration", _COLUMNS, rows)]
    if k >= FIRST_FEEDBACK_ITERATION:
        checks = (
            evaluation_ref(f"self_judge/iter{k}", Stage.EXTERNAL_JUDGMENTS),
            evaluation_ref(f"contamination/iter{k}", Stage.FLAGS),
        )
        tables.append(
            Table("Checks of it", _COLUMNS, tuple(_artifact(source, ref) for ref in checks))
        )
        tables.append(_health(source, k))
    return Tables(title=f"Iteration {k}", crumbs=crumbs(k)[:1], tables=tuple(tables))


def _artifact(source: Source, ref: Ref) -> Cells:
    """Return a line about an artifact: what it is, its rows, its counts or why it is missing."""
    title = SPECS[ref.stage].title
    if (why := source.run.why_missing(ref)) is not None:
        return str(ref), title, "–", why
    manifest = source.run.known_manifest(ref)
    rows = "–" if manifest is None or manifest.rows is None else f"{manifest.rows:,}"
    counts = manifest.counts if manifest is not None else {}
    said = ", ".join(f"{named(name)} {count:,}" for name, count in counts.items())
    return Link(str(ref), _page_of(ref)), title, rows, said


def _page_of(ref: Ref) -> str:
    if ref.stage is Stage.EXTERNAL_JUDGMENTS:
        return link(f"/iteration/{ref.address.rpartition('iter')[2]}/self-judge")
    if ref.stage in _PAGES and not ref.address and not is_model(ref):
        return link(f"/iteration/{ref.iteration}/{_PAGES[ref.stage]}")
    return artifact_link(ref)


def _health(source: Source, k: int) -> Table:
    ref = Ref(k, Stage.HEALTH)
    found = source.rows(ref)
    rows: list[Cells] = []
    row: Measurement
    for row in found.rows:
        detail = ", ".join(f"{named(n)} {points(v)}" for n, v in (row.detail or {}).items())
        rows.append((named(row.key), points(row.value), f"{row.n:,}", detail))
    return Table("Health of the judge", ("measure", "value", "n", "detail"), tuple(rows), found.why)
