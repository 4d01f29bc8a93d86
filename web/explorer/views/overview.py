"""Views of the run and of an iteration: what there is, what is missing and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.benchmarks import FIRST_FEEDBACK_ITERATION
from core.stages import SPECS, Ref, Stage, evaluation_ref, is_model_name, named_model, stages_of
from web.explorer import pages as ui
from web.explorer.views.judging import judges_of_ranked
from web.explorer.views.loop import crumbs
from web.explorer.views.view import Scores, View, list_address, no_such

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.records import Measurement, Score
    from web.explorer.source import Source

Cells = tuple[str | ui.Link, ...]

_COUNTED = (Stage.PROMPTS, Stage.CANDIDATES, Stage.JUDGMENTS, Stage.PAIRS)
_COLUMNS = ("artifact", "what", "rows", "counts, or why it is missing")


def run(source: Source, views: Sequence[View]) -> ui.Tables:
    """Return what a run has: iterations, benchmarks, models."""
    found = source.run
    return ui.Tables(
        title=f"Run {found.name}",
        crumbs=(),
        facts=(("Folder", found.folder.name), ("Iterations", str(max(found.iterations)))),
        note=found.config_problem,
        tables=(_iterations(source, views), _benchmarks(source, views), _models(source)),
    )


def _iterations(source: Source, views: Sequence[View]) -> ui.Table:
    rows = []
    for k in source.run.iterations:
        counts = [_count(source, views, Ref(k, stage)) for stage in _COUNTED]
        model = source.run.why_missing(named_model(f"M{k}")) or "made"
        rows.append((ui.Link(f"Iteration {k}", ui.link(f"/iteration/{k}")), *counts, model))
    columns = ("", "prompts", "candidates", "judgments", "pairs", "model")
    return ui.Table("Iterations", columns, tuple(rows))


def _count(source: Source, views: Sequence[View], ref: Ref) -> str | ui.Link:
    """Return how many rows a stage has, as a link to them; or why it has none."""
    if ref.iteration < FIRST_FEEDBACK_ITERATION:
        return ui.NONE
    if (why := source.run.why_missing(ref)) is not None:
        return why
    rows, counts = _counts(source, ref)
    label = f"{rows or 0:,}"
    if ref.stage is Stage.PROMPTS and "kept" in counts:
        label = f"{counts['kept']:,} kept of {rows or 0:,}"
    elif ref.stage is Stage.PAIRS:
        label = f"{counts.get('pair', 0):,} from {rows or 0:,} prompts"
    return ui.Link(label, list_address(views, ref))


def _benchmarks(source: Source, views: Sequence[View]) -> ui.Table:
    """Return a line per matchup, model and benchmark, judge, task and iteration."""
    run = source.run
    labels = {
        "matchup": {f"{a}-{b}": f"{a} against {b}" for a, b in run.matchups},
        "model": {name: name for name in run.answering_models},
        "judge": {name: name for name in judges_of_ranked(source) if name in run.answering_models},
    }
    rows = [
        _scores(source, view, scores, name, label)
        for of, found in labels.items()
        for name, label in found.items()
        for view, scores in _scored(views, of)
    ]
    for view, scores in _scored(views, "part"):
        rows += [
            _right_items(source, view, scores, part)
            for part in _parts(source, view, scores.address)
        ]
    rows += [
        _scores(source, view, scores, str(k), str(k))
        for k in run.iterations
        if k >= FIRST_FEEDBACK_ITERATION
        for view, scores in _scored(views, "iteration")
    ]
    return ui.Table("Evaluation", ("benchmark", "scores, or why there are none"), tuple(rows))


def _scored(views: Sequence[View], of: str) -> list[tuple[View, Scores]]:
    return [(v, v.scores) for v in views if v.scores is not None and v.scores.of == of]


def _scores(source: Source, view: View, shown: Scores, name: str, label: str) -> Cells:
    """Return a benchmark's headline scores for a matchup, a model, a judge or an iteration."""
    title = shown.title.format(name=label)
    address = shown.address.format(name=name)
    if shown.of != "iteration":
        line: str | ui.Link = ui.Link(title, view.address(model=name))
    elif source.run.exists(evaluation_ref(address, view.rows_of[0][1])):
        line = ui.Link(title, view.address(int(name)))
    else:
        line = title
    found = source.rows(evaluation_ref(address, Stage.SCORES))
    if found.why is not None:
        return line, found.why
    scores: dict[str, Score] = {row.key: row for row in found.rows}
    headlines = [_score(scores[key]) for key in shown.headlines if key in scores]
    return line, "; ".join(headlines) or f"{len(scores)} numbers"


def _score(score: Score) -> str:
    missing = f", {score.missing:,} missing" if score.missing else ""
    return f"{ui.spaced(score.key)} {ui.number(score.value)} (n {score.n:,}{missing})"


def _parts(source: Source, view: View, benchmark: str) -> Sequence[str]:
    """Return a benchmark's tasks; [""] for one without tasks that is configured or has results."""
    if "{task}" in view.path:
        return source.run.parts(benchmark)
    config, refs = source.run.config, source.refs(benchmark, Stage.ITEMS).values()
    wanted = config is not None and benchmark in config.evaluation.benchmarks
    return [""] if wanted or any(map(source.run.exists, refs)) else []


def _right_items(source: Source, view: View, shown: Scores, part: str) -> Cells:
    """Return how many items of a benchmark or task each model got right."""
    counted = []
    for model, ref in source.refs(shown.address, Stage.ITEMS, part).items():
        counts = {} if source.why_missing(ref) is not None else source.index.outcomes(ref)
        total = sum(counts.values())
        right = f"{counts.get('right', 0):,} of {total:,}" if total else ui.NONE
        counted.append(f"{model} {right}")
    line = ui.Link(shown.title.format(task=part), view.address(task=part))
    return line, "right by every metric: " + "; ".join(counted) if counted else "no models"


def _models(source: Source) -> ui.Table:
    names = dict.fromkeys([*source.run.answering_models, *(f"M{k}" for k in source.run.iterations)])
    rows: list[Cells] = []
    for name in filter(is_model_name, names):  # imported results are of models no run has made
        ref = named_model(name)
        manifest = source.run.known_manifest(ref)
        if manifest is None:
            rows.append((name, str(source.run.why_missing(ref))))
        else:
            rows.append((ui.Link(name, ui.artifact_link(ref)), manifest.finished_at))
    return ui.Table("Models", ("model", "finished, or why it is missing"), tuple(rows))


def iteration(source: Source, views: Sequence[View], k: int) -> ui.Tables:
    """Return what an iteration has."""
    if k not in source.run.iterations:
        known = ", ".join(map(str, source.run.iterations))
        raise no_such(f"iteration {k}", f"there are {known}")
    made = tuple(_artifact(source, views, Ref(k, stage)) for stage in stages_of(k))
    tables = [ui.Table("Artifacts", _COLUMNS, made)]
    if k >= FIRST_FEEDBACK_ITERATION:
        checks = (
            evaluation_ref(f"self_judge/iter{k}", Stage.EXTERNAL_JUDGMENTS),
            evaluation_ref(f"contamination/iter{k}", Stage.FLAGS),
        )
        checked = tuple(_artifact(source, views, ref) for ref in checks)
        tables += [ui.Table("Checks", _COLUMNS, checked), _health(source, k)]
    return ui.Tables(title=f"Iteration {k}", crumbs=crumbs(k)[:1], tables=tuple(tables))


def _artifact(source: Source, views: Sequence[View], ref: Ref) -> Cells:
    """Return a line about an artifact: its title, its rows, its counts or why it is missing."""
    title = SPECS[ref.stage].title
    if (why := source.run.why_missing(ref)) is not None:
        return str(ref), title, ui.NONE, why
    rows, counts = _counts(source, ref)
    shown = ", ".join(f"{ui.spaced(name)} {count:,}" for name, count in counts.items())
    number = ui.NONE if rows is None else f"{rows:,}"
    return ui.Link(str(ref), list_address(views, ref)), title, number, shown


def _counts(source: Source, ref: Ref) -> tuple[int | None, dict[str, int]]:
    """Return how many rows an artifact has and its counts."""
    manifest = source.run.known_manifest(ref)
    return (None, {}) if manifest is None else (manifest.rows, manifest.counts)


def _health(source: Source, k: int) -> ui.Table:
    found = source.rows(Ref(k, Stage.HEALTH))
    rows: list[Cells] = []
    row: Measurement
    for row in found.rows:
        detail = ", ".join(f"{ui.spaced(n)} {ui.number(v)}" for n, v in (row.detail or {}).items())
        rows.append((ui.spaced(row.key), ui.number(row.value), f"{row.n:,}", detail))
    columns = ("measure", "value", "n", "detail")
    return ui.Table("Health of the judge", columns, tuple(rows), found.why)
