"""Length-controlled win rate: the predicted win rate at equal answer lengths.

A logistic model of the preference with the (standardised, squashed) length difference, the
instruction's difficulty and one coefficient for the model, predicted at length difference 0.
Formula, penalty and cross-validation are the alpaca-eval package's (metrics/glm_winrate.py; Dubois
et al. 2024, arXiv 2404.04475). Two things differ:

- The fit is carried to its minimum, in folds that depend on the row's number alone. The package's
  fits and folds change with the build of scikit-learn and the processor, its score by up to 0.15.
- Difficulties are looked up by instruction. The package takes them by row, so after a missing row
  every row gets its neighbour's difficulty. Published scores of models with missing rows have that
  shift (text_davinci_001, 803 rows: 9.03 by row, 6.48 by instruction); `by_row` reproduces it.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from core.errors import ConfigError, DataError
from core.hashing import sha256_file
from core.intervals import share_score
from core.progress import track
from core.records import Score, zero_is_a_draw
from evaluation.alpaca_eval.files import BENCHMARK_SIZE, hub_file, official_index

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from core.records import Annotation

    Floats = NDArray[np.float64]

Variant = Literal["length_controlled_v1", "length_only"]

_KEY = "length_controlled_win_rate"
_LEAST_PROMPTS: dict[Variant, int] = {"length_controlled_v1": 50, "length_only": 200}
_GAMED = "df_gamed.csv"
_COLUMNS = ("index", "preference", "std_delta_len", "instruction_difficulty")
_GAMED_WEIGHT = 0.2 / 2  # half of lambda each: there are two gamed baselines
_C_GRID = np.logspace(-4, 4, 10)
_FOLDS = 5
_PERCENTILES = (2.5, 97.5)
_DEFINED = 0.9
_SEPARATED = 20.0  # a coefficient beyond odds of e^20: without a penalty there is no finite fit
_MOST_STEPS, _MOST_SWEEPS, _CLOSE, _RIDGE = 100, 200, 1e-9, 1e-12
_NO_ANSWER = ("no_answer", "no_reference")


class _Gamed(NamedTuple):
    """The rows of the gamed baselines: place of the instruction, features, wins in [0, 1]."""

    places: NDArray[np.int64]
    features: Floats
    wins: Floats


class _Design(NamedTuple):
    """What is fitted (features: rows × coefficients; wins in [0, 1]; weights), and predicted."""

    features: Floats
    wins: Floats
    weights: Floats
    at_equal_length: Floats

    def part(self, chosen: NDArray[np.bool_]) -> _Design:
        """Return the chosen rows to fit."""
        return self._replace(
            features=self.features[chosen], wins=self.wins[chosen], weights=self.weights[chosen]
        )


class _Table(NamedTuple):
    """The model's rows (wins: NaN without a preference), and the gamed baselines', if any."""

    places: Sequence[int | None]
    differences: Floats
    difficulties: Floats | None
    wins: Floats
    gamed: _Gamed | None

    def design(self, counts: Floats) -> _Design:
        """Return the data to fit; `counts`: how often each prompt was drawn.

        A prompt brings its rows of the gamed baselines along; those of prompts that were not
        annotated stay as they are.
        """
        mean = np.average(self.differences, weights=counts)
        variance = counts @ (self.differences - mean) ** 2 / (counts.sum() - 1)
        one = np.ones(len(counts))
        rest = [one] if self.difficulties is None else [self.difficulties, one]
        rows = np.column_stack([np.tanh(self.differences / math.sqrt(variance)), *rest])
        used = ~np.isnan(self.wins)
        features, wins, weights = rows[used], self.wins[used], counts[used]
        if self.gamed is not None:
            drawn = np.ones(BENCHMARK_SIZE)
            drawn[[place for place in self.places if place is not None]] = counts
            features = np.vstack([self.gamed.features, features])
            wins = np.concatenate([self.gamed.wins, wins])
            weights = np.concatenate([_GAMED_WEIGHT * drawn[self.gamed.places], weights])
        return _Design(features, wins, weights, np.column_stack([0 * one, *rest]))


class _Fit(NamedTuple):
    """Coefficients (length first, model last), and the prompts' predictions at equal length."""

    c: float
    coefficients: Floats
    predicted: Floats


def length_controlled(
    annotations: Sequence[Annotation],
    data: str | None,
    *,
    bootstrap: int,
    seed: int,
    by_row: bool = False,
) -> Score:
    """Return the length-controlled win rate, in [0, 100], of annotations that have a preference.

    Variant "length_controlled_v1" is the official formula, tanh(length difference / its deviation)
    + difficulty + model, without intercept, L1 penalty, C cross-validated in 5 groups, with two
    gamed baselines at total weight 0.2. It needs the data and instructions that all belong to the
    benchmark; a subset of the 805 is fine. "length_only" otherwise: tanh(length difference / its
    deviation) + model, without a penalty, which would pull models near the reference to 50. It is a
    different number, not an estimate of the official one (claude-2: 36.8 against 28.2; alpaca-7b:
    19.8 against 5.9). As in the package, rows without a preference are left out of the fit, but not
    of deviation and prediction; rows without an answer are left out of all.

    The value is None, with the reason, for fewer than 50 prompts (length_only: 200), if all length
    differences have one sign (0 would be an extrapolation), if cross-validation chose an end of its
    range of C, and if the coefficients of both length and model are 0.

    The interval is of `bootstrap` (0: none) refits on prompts resampled with `seed`. They keep the
    C of the full fit, so its choice is no part of the interval; none if a tenth could not be
    fitted. The standard error is the package's, of the predictions over prompts; None for
    "length_only", which predicts the same for all.

    Detail: `variant`, `resamples` fitted, `c` (None without a penalty), and perhaps a `note`: why
    no fit was needed, or why it is not the official formula's.

    Args:
        annotations: one model's, any number.
        data: "hub", a folder with df_gamed.csv, or None (length_only).
        bootstrap: resamples.
        seed: of the resampling.
        by_row: take difficulties by row, as the package does.

    Raises:
        DataError: the folder has no df_gamed.csv, or that file is not the data set's.
        ConfigError: the hub cannot be reached.
    """
    indices = [official_index().get(row.key) for row in annotations]
    official = data is not None and None not in indices
    variant: Variant = "length_controlled_v1" if official else "length_only"
    detail: dict[str, Any] = {"variant": variant, "resamples": 0, "c": None}
    annotated = [row for row in annotations if row.preference is not None]
    counted = (len(annotated), len(annotations) - len(annotated))
    if reason := _why_not(annotated, variant):
        return Score(_KEY, None, *counted, reason=reason, detail=detail)
    if note := _without_fit(annotated, variant):
        won = math.fsum(preference_of(row) - 1 for row in annotated)
        return share_score(_KEY, won, *counted, detail={**detail, "note": note})
    if not official and data is not None:
        detail["note"] = (
            f"{indices.count(None)} of {len(indices)} instructions are not among AlpacaEval's "
            f"{BENCHMARK_SIZE}, so their difficulty is unknown: lengths alone are used"
        )
    places = [*range(len(annotations))] if by_row else indices
    table = _table(annotations, places, str(data) if official else None)
    fit = _best_fit(table)
    detail["c"] = fit.c if official else None
    if reason := _why_no_fit(fit):
        return Score(_KEY, None, *counted, reason=reason, detail=detail)
    (low, high), detail["resamples"] = _bootstrap(table, fit, bootstrap, seed)
    shown = 100 * fit.predicted
    error = float(shown.std(ddof=1)) / math.sqrt(len(shown)) if official else None
    return Score(_KEY, float(shown.mean()), *counted, low, high, error, detail=detail)


def _difference(row: Annotation) -> int:
    """Return a row's length difference in characters: reference minus model."""
    return len(row.output_1) - len(row.output_2)


def _why_not(rows: Sequence[Annotation], variant: Variant) -> str | None:
    """Return why these rows allow no fit that means anything; None if they do."""
    if not rows:
        return "no annotation has a preference"
    least = _LEAST_PROMPTS[variant]
    if len(rows) < least:
        what = "the official fit" if variant == "length_controlled_v1" else "a fit on lengths alone"
        return f"{len(rows)} prompts: {what} needs at least {least}"
    differences = [_difference(row) for row in rows]
    if min(differences) > 0 or max(differences) < 0:
        which = "shorter" if min(differences) > 0 else "longer"
        return f"all answers are {which} than the reference's: equal length is out of their range"
    return None


def _without_fit(rows: Sequence[Annotation], variant: Variant) -> str | None:
    """Return why the win rate is the same at equal lengths, so that no fit is needed, else None."""
    if not any(_difference(row) for row in rows):
        return "all answers are as long as the reference's: the win rate as it is"
    if variant == "length_only" and len({preference_of(row) for row in rows}) == 1:
        return "all preferences are equal: the same at every length difference"
    return None


def _why_no_fit(fit: _Fit) -> str | None:
    """Return why a fit is not to be believed; None if it is."""
    length, model = fit.coefficients[0], fit.coefficients[-1]
    if fit.c in (_C_GRID[0], _C_GRID[-1]):
        return f"cross-validation chose an end of its range of C ({fit.c:g}): too few data to fit"
    if length == model == 0:
        return "the fit found no effect of length and none of the model: too few data to fit"
    if abs(fit.coefficients).max() > _SEPARATED:
        return "length separates wins from losses: the fit has no finite coefficients"
    return None


def preference_of(row: Annotation) -> float:
    """Return a row's preference in [1, 2]."""
    if row.preference is None:
        raise ValueError(f"{row.key}: no preference")
    return zero_is_a_draw(row.preference)


def _table(
    annotations: Sequence[Annotation], places: Sequence[int | None], data: str | None
) -> _Table:
    found = [
        (row, place)
        for row, place in zip(annotations, places, strict=True)
        if row.missing not in _NO_ANSWER
    ]
    rows, places = [row for row, _ in found], [place for _, place in found]
    differences = np.array([_difference(row) for row in rows], dtype=np.float64)
    wins = [math.nan if row.preference is None else preference_of(row) - 1 for row in rows]
    if data is None:
        return _Table(places, differences, None, np.array(wins), None)
    gamed = _gamed(data)
    by_index = dict(zip(gamed.places.tolist(), gamed.features[:, 1], strict=True))
    difficulties = np.array([by_index[place] for place in places if place is not None])
    return _Table(places, differences, difficulties, np.array(wins), gamed)


def _best_fit(table: _Table) -> _Fit:
    """Fit with the C of least log loss over 5 folds (row k in fold k mod 5); or without penalty."""
    counts = np.ones(len(table.wins))
    if table.gamed is None:
        return _fit(table, counts, math.inf)
    design = table.design(counts)
    fold, losses = np.arange(len(design.wins)) % _FOLDS, np.zeros(len(_C_GRID))
    for k in range(_FOLDS):
        train, test = design.part(fold != k), design.part(fold == k)
        b = None
        for at, c in enumerate(_C_GRID):
            b = _minimise(train, c, b)
            losses[at] += np.mean(test.weights * _log_loss(test.features @ b, test.wins))
    return _fit(table, counts, float(_C_GRID[losses.argmin()]))


def _fit(table: _Table, counts: Floats, c: float, start: Floats | None = None) -> _Fit:
    design = table.design(counts)
    coefficients = _minimise(design, c, start)
    return _Fit(c, coefficients, _logistic(design.at_equal_length @ coefficients))


def _minimise(data: _Design, c: float, start: Floats | None = None) -> Floats:
    """Return the b that minimises Σ weight · log loss(features @ b) + |b|₁ / c.

    Newton's method; coordinate descent with soft thresholds minimises each step's quadratic.
    """
    features, wins, weights, _ = data
    b = np.zeros(features.shape[1]) if start is None else start

    def objective(b: Floats) -> float:
        return float(weights @ _log_loss(features @ b, wins) + np.abs(b).sum() / c)

    value = objective(b)
    for _ in range(_MOST_STEPS):
        p = _logistic(features @ b)
        slope = features.T @ (weights * (p - wins))
        curve = (features.T * (weights * p * (1 - p))) @ features + _RIDGE * np.eye(len(b))
        step = _descend(b, slope, curve, 1 / c) - b
        while (reached := objective(b + step)) > value and np.abs(step).max() > _CLOSE:
            step = step / 2
        if reached > value:
            break
        b, value = b + step, reached
        if np.abs(step).max() < _CLOSE or np.abs(b).max() > 2 * _SEPARATED:
            break
    return b


def _descend(b: Floats, slope: Floats, curve: Floats, penalty: float) -> Floats:
    """Minimise slope·(x − b) + (x − b)·curve·(x − b)/2 + penalty·|x|₁ by coordinates."""
    x = b.copy()
    for _ in range(_MOST_SWEEPS):
        before = x.copy()
        for j in range(len(x)):
            rest = slope[j] + curve[j] @ (x - b) - curve[j, j] * x[j]
            x[j] = -math.copysign(max(abs(rest) - penalty, 0.0), rest) / curve[j, j]
        if np.abs(x - before).max() < _CLOSE / 10:
            break
    return x


def _logistic(z: Floats) -> Floats:
    return (1 + np.tanh(z / 2)) / 2


def _log_loss(z: Floats, wins: Floats) -> Floats:
    return np.logaddexp(0, z) - wins * z


def _bootstrap(
    table: _Table, fit: _Fit, resamples: int, seed: int
) -> tuple[tuple[float, float] | tuple[None, None], int]:
    """Return the percentile interval (None: too few) and how many resamples could be fitted."""
    random, size, found = np.random.default_rng(seed), len(table.wins), []
    with track("length control, refits", resamples) as advance:
        for _ in range(resamples):
            drawn = random.integers(size, size=size)
            if np.ptp(table.differences[drawn]):
                counts = np.bincount(drawn, minlength=size).astype(np.float64)
                predicted = _fit(table, counts, fit.c, fit.coefficients).predicted
                found.append(100 * float(np.average(predicted, weights=counts)))
            advance()
    if not found or len(found) < _DEFINED * resamples:
        return (None, None), len(found)
    low, high = np.percentile(found, _PERCENTILES)
    return (float(low), float(high)), len(found)


def _gamed(data: str) -> _Gamed:
    path = hub_file(_GAMED) if data == "hub" else Path(data).expanduser() / _GAMED
    if not path.is_file():
        what = "no such file: length control needs it (evaluation.alpaca_eval.length_control_data)"
        raise DataError(path, None, what)
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        wrong: object = sorted(set(_COLUMNS) - set(reader.fieldnames or ()))
        try:
            rows = [] if wrong else [[float(row[c]) for c in _COLUMNS] for row in reader]
        except (TypeError, ValueError) as error:
            rows, wrong = [], f"line {reader.line_num}: {error}"
    if wrong or {row[0] for row in rows} != set(range(BENCHMARK_SIZE)):
        what = f"not AlpacaEval's df_gamed.csv: {wrong or 'its index is not 0..804'}"
        raise DataError(path, None, what)
    places, wins, lengths, difficulties = np.array(rows).T
    features = np.column_stack([np.tanh(lengths), difficulties, np.zeros(len(rows))])
    return _Gamed(places.astype(np.int64), features, wins)


def length_control_source(setting: str) -> dict[str, str]:
    """Return the content hash of local length-control data; nothing for the hub's or none."""
    if setting in ("hub", "none"):
        return {}
    path = Path(setting).expanduser() / _GAMED
    if not path.is_file():
        message = (
            f"evaluation.alpaca_eval.length_control_data = {setting!r}: no df_gamed.csv; give "
            "a folder that holds it, 'hub' or 'none'"
        )
        raise ConfigError(message)
    return {f"length_control:{path.name}": sha256_file(path)}
