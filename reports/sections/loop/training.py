"""Training curves and checkpoint comparisons, from what training logged beside a model."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from core.errors import DataError
from core.jsonl import read_objects
from core.paired import sign_test
from core.reductions import mean_scores
from core.stages import SFT_BASELINE, Ref, Stage, model_ref
from judges.rubrics import load_rubric
from reports.document import Cell, Figure, Table, TableRow, number
from reports.formats.plotting import COLOURS, INK, LOSE, TIE, WIN, legend, render
from reports.sections.cells import count, facts_of
from reports.sections.drawing import drawn_figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

    from core.reader import RunReader

_MOST_POINTS = 400  # of a curve; more would be drawn on the same pixels
_BLUE, _ORANGE = COLOURS[3], COLOURS[4]
_HALVES = 2  # bins per point of the rubric
_WIDEST_BY_HALVES = 10  # ranges of more points, and unbounded scores, have equal steps
_STEPS = 12
_FEW_STEPS = 40  # up to which every step has a dot


class _Panel(NamedTuple):
    title: str
    lines: tuple[tuple[str, str, str], ...]  # metric, its name in the legend, colour


def _of_both(title: str, metric: str) -> _Panel:
    """Return a panel of a metric of the chosen and of the rejected answers."""
    sides = (("chosen", _BLUE), ("rejected", _ORANGE))
    return _Panel(title, tuple((f"{metric}/{side}", side, colour) for side, colour in sides))


_DPO = (
    _Panel("loss", (("loss", "", _BLUE),)),
    _Panel("reward accuracy", (("rewards/accuracies", "", _BLUE),)),
    _Panel("reward margin", (("rewards/margins", "", _BLUE),)),
    _of_both("log-probability", "logps"),
    _of_both("reward of the answer", "rewards"),
    _of_both("length, tokens", "lengths"),
)


class Curve(NamedTuple):
    """One metric over the steps that have it; values are finite."""

    steps: list[int]
    values: list[float]

    @property
    def ends(self) -> tuple[float, float]:
        """Means of the first and last quarter of the steps, without the noise of single batches."""
        size = max(1, len(self.values) // 4)
        return sum(self.values[:size]) / size, sum(self.values[-size:]) / size

    def thinned(self) -> Curve:
        """Return at most 400 points: means over equally many neighbouring steps."""
        size = math.ceil(len(self.values) / _MOST_POINTS)
        if size <= 1:
            return self
        starts = range(0, len(self.values), size)
        return Curve(
            [self.steps[min(at + size, len(self.steps)) - 1] for at in starts],
            [sum(found) / len(found) for at in starts if (found := self.values[at : at + size])],
        )

    def until(self, step: int | None) -> Curve:
        """Return the part up to and with a step; all of it for None."""
        kept = sum(step is None or found <= step for found in self.steps)
        return Curve(self.steps[:kept], self.values[:kept])


class Checkpoint(NamedTuple):
    """A checkpoint and the verdicts on its answers against the previous one's, by prompt.

    `before` is None for the first, which is compared with nothing.
    """

    step: int
    before: int | None
    better: int = 0
    tie: int = 0
    worse: int = 0
    unread: int = 0

    @property
    def p_value(self) -> float | None:
        """Exact sign test of better against worse; None for the first."""
        return None if self.before is None else sign_test(self.better, self.worse)


def curves(results: RunReader, ref: Ref) -> dict[str, Curve]:
    """Return each metric of a model's training by name; {} if nothing was logged.

    Values that are not finite are left out.
    """
    found: dict[str, Curve] = defaultdict(lambda: Curve([], []))
    for line in _lines(results.store.paths.metrics(ref)):
        for name, value in line.items():
            if name != "step" and isinstance(value, int | float) and math.isfinite(value):
                found[name].steps.append(int(line["step"]))
                found[name].values.append(float(value))
    return dict(found)


def checkpoints(results: RunReader, ref: Ref) -> list[Checkpoint]:
    """Return the compared checkpoints of a DPO stage by step; [] without judged early stopping."""
    verdicts: dict[int, list[str | None]] = defaultdict(list)
    steps = set()
    for line in _lines(results.store.paths.verdicts(ref)):
        if line["kind"] == "answer":
            steps.add(int(line["step"]))
        elif line["kind"] == "verdict":
            verdicts[int(line["step"])].append(line["verdict"]["winner"])
    found = []
    before = None
    for step in sorted(steps):
        kinds = (verdicts[step].count(name) for name in ("B", "tie", "A", None))
        found.append(Checkpoint(step, before, *kinds))
        before = step
    return found


def _lines(path: Path) -> list[dict[str, Any]]:
    return [line for _, line in read_objects(path)] if path.is_file() else []


def of_preferences(results: RunReader, k: int) -> Figure | None:
    """Return the curves of M_k's training, checkpoints marked; None if nothing was logged."""
    ref = model_ref(k)
    marks = [checkpoint.step for checkpoint in checkpoints(results, ref)]
    kept = facts_of(results, ref).get("kept_step")
    note = (
        "Values of single batches. Dashed lines: checkpoints that were compared; solid: the step "
        "that was kept."
    )
    title = f"Training of M{k}"
    found = curves(results, ref)
    return _panels_figure(k, title, _DPO, found, marks=marks, kept=kept, notes=(note,))


def of_seed_models(results: RunReader) -> Figure | None:
    """Return the losses of the SFT baseline and of M1; None if nothing was logged."""
    logged = {
        "SFT (IFT only)": curves(results, SFT_BASELINE),
        "M1 (IFT + EFT)": curves(results, model_ref(1)),
    }
    found = {f"{name}/{key}": c for name, m in logged.items() for key, c in m.items()}
    colours = dict(zip(logged, (_ORANGE, _BLUE), strict=True))
    panels = [
        _Panel(head, tuple((f"{name}/{key}", name, colours[name]) for name in logged))
        for key, head in (("loss", "loss"), ("mean_token_accuracy", "token accuracy"))
    ]
    return _panels_figure(1, "Training of the SFT baseline and of M1", panels, found, height=2.2)


def _panels_figure(
    k: int,
    title: str,
    panels: Sequence[_Panel],
    found: Mapping[str, Curve],
    *,
    marks: Sequence[int] = (),
    kept: int | None = None,
    height: float | None = None,
    notes: tuple[str, ...] = (),
) -> Figure | None:
    """Return the panels that have a curve, with lines at marked steps and the one that was kept."""
    panels = [panel for panel in panels if any(name in found for name, _, _ in panel.lines)]
    if not panels:
        return None
    key, description = f"iteration_{k}_training", _described(found, panels)
    if kept is not None:
        description += f" Step {kept} was kept."
    drawn = render(
        key,
        lambda canvas: _draw_panels(canvas, panels, found, marks, kept),
        title=title,
        description=description,
        height=height or 0.4 + 1.55 * ((len(panels) + 2) // 3),
    )
    return Figure(key, title, drawn.svg, description, notes=notes, pdf=drawn.pdf)


def of_scores(results: RunReader, k: int) -> Figure | None:
    """Return the histogram of the candidates' mean self-given scores; None without any."""
    means = mean_scores(results.rows(Ref(k, Stage.JUDGMENTS)))
    pairs = results.rows(Ref(k, Stage.PAIRS))
    roles = {row.chosen_key: "chosen" for row in pairs} | {
        row.rejected_key: "rejected" for row in pairs
    }
    scored = {key: found.mean for key, found in means.items() if found.mean is not None}
    if not scored:
        return None
    bins, rounded = _bins(scale_of(results, k), [*scored.values()])
    counted = {role: [0] * len(bins) for role in ("chosen", "other", "rejected")}
    for key, mean in scored.items():
        place = min(range(len(bins)), key=lambda at: (abs(bins[at] - mean), -at))
        counted[roles.get(key, "other")][place] += 1
    whole = Counter({at: sum(rows[at] for rows in counted.values()) for at in range(len(bins))})
    wording = ", ".join(f"{number(bins[at], 1)}: {n}" for at, n in sorted(whole.items()) if n)
    average = sum(scored.values()) / len(scored)
    description = (
        f"Candidates by mean score, to the nearest {rounded}: {wording}. "
        f"Mean {number(average)} (n = {len(scored)}, {len(means) - len(scored)} without a score)."
    )
    return drawn_figure(
        f"iteration_{k}_scores",
        f"Mean self-assigned scores of the answers of M{k - 1}",
        lambda axes: _draw_scores(axes, bins, counted),
        description,
        height=2.3,
    )


def scale_of(results: RunReader, k: int) -> tuple[float, float] | None:
    """Return the least and greatest score that an iteration's judge can give.

    None where they have no bounds (a reward model) or the rubric's file is not there any more.
    """
    ref = Ref(k, Stage.JUDGMENTS)
    facts = facts_of(results, ref)
    if "scale" in facts:
        scale = facts["scale"]
        return None if scale is None else (scale[0], scale[1])
    try:
        return load_rubric(results.setting("judge.rubric", ref) or "additive").scale
    except DataError:
        return None


def _bins(scale: tuple[float, float] | None, scores: Sequence[float]) -> tuple[list[float], str]:
    """Return the middles of a histogram's bins, and what scores are rounded to."""
    if scale is not None and scale[1] - scale[0] <= _WIDEST_BY_HALVES:
        low, high = scale
        return [low + at / _HALVES for at in range(int(high - low) * _HALVES + 1)], "half point"
    low, high = scale or (min(scores), max(scores))
    step = (high - low) / _STEPS
    if not step:
        return [low], "value"
    return [low + at * step for at in range(_STEPS + 1)], f"{_STEPS}th of the range"


def _described(found: Mapping[str, Curve], panels: Sequence[_Panel]) -> str:
    wording = []
    for panel in panels:
        for name, label, _ in panel.lines:
            if name in found:
                what = f"{panel.title}, {label}" if label else panel.title
                first, last = found[name].ends
                wording.append(f"{what}: {number(first, 3)} to {number(last, 3)}")
    return f"From the first to the last quarter of the steps: {'; '.join(wording)}."


def _draw_panels(
    canvas: Canvas,
    panels: Sequence[_Panel],
    found: Mapping[str, Curve],
    marks: Sequence[int],
    kept: int | None,
) -> None:
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    named: Axes | None = None
    for place, panel in enumerate(panels, start=1):
        axes = canvas.add_subplot(rows, columns, place)
        for step in marks:
            axes.axvline(step, color=INK, lw=0.7, ls=(0, (3, 3)), alpha=0.5)
        if kept is not None:
            axes.axvline(kept, color=INK, lw=0.9, alpha=0.8)
        for name, label, colour in panel.lines:
            if name in found:
                curve = found[name].thinned()
                dot = "o" if len(curve.steps) <= _FEW_STEPS else ""
                axes.plot(
                    curve.steps, curve.values, color=colour, label=label or None, lw=1.1,
                    marker=dot, markersize=2.6,
                )  # fmt: skip
                named = axes if label else named
        axes.set_title(panel.title, fontsize=8.5)
        axes.locator_params(axis="x", nbins=5, integer=True)
        axes.locator_params(axis="y", nbins=5)
        if place > len(panels) - columns:
            axes.set_xlabel("step")
    if named is not None:
        legend(canvas, named)


def _draw_scores(axes: Axes, bins: Sequence[float], counted: Mapping[str, Sequence[int]]) -> None:
    base = [0] * len(bins)
    width = 0.84 * (bins[1] - bins[0]) if len(bins) > 1 else 0.42
    for (role, heights), colour in zip(counted.items(), (WIN, TIE, LOSE), strict=True):
        axes.bar(bins, heights, bottom=base, width=width, color=colour, label=role)
        base = [low + high for low, high in zip(base, heights, strict=True)]
    whole = [at for at in bins if at == int(at)]
    if len(whole) > 1:
        axes.set_xticks(whole)
    axes.grid(visible=False, axis="x")
    axes.locator_params(axis="y", nbins=5, integer=True)
    axes.set_xlabel("mean score of a candidate")
    axes.set_ylabel("candidates")


def early_stopping(results: RunReader, k: int) -> Table | None:
    """Return each checkpoint's verdicts against the previous one; None if none were compared."""
    ref = model_ref(k)
    found = checkpoints(results, ref)
    if not found:
        return None
    facts = facts_of(results, ref)
    kept, strength = facts.get("kept_step"), facts.get("kept_strength")
    against = [f"Step 0 is M{k - 1}, from which training starts."] if found[0].step == 0 else []
    if strength is not None:
        better = "not better" if strength <= 0 else "better"
        against.append(
            f"The kept step is judged {better} than M{k - 1}: log-odds {strength:.2f} along the "
            "chain."
        )
    return Table(
        f"iteration_{k}_checkpoints",
        f"Checkpoints of M{k}: which one was kept",
        "checkpoint",
        ("compared with", "better", "tie", "worse", "unread", "sign test p", "choice"),
        tuple(_checkpoint(checkpoint, kept) for checkpoint in found),
        notes=(
            "Answers to the validation prompts, judged against the previous checkpoint's. "
            "Win rates of neighbours are chained (a tie is half a win, unreadable verdicts are "
            "excluded); the strongest checkpoint is kept, of equals the last. p is not corrected "
            "for the number of checkpoints.",
            *against,
        ),
    )


def _checkpoint(c: Checkpoint, kept: int | None) -> TableRow:
    label, choice = f"step {c.step}", Cell(text="kept") if c.step == kept else Cell()
    if c.before is None:
        return TableRow(label, (Cell(text="none: the first"), *(Cell(),) * 5, choice))
    counts = tuple(count(number) for number in (c.better, c.tie, c.worse, c.unread))
    p_value = Cell(value=c.p_value, digits=3, n=c.better + c.worse, missing=c.unread)
    return TableRow(label, (Cell(text=f"step {c.before}"), *counts, p_value, choice))
