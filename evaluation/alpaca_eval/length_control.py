"""Length-controlled win rate: the predicted win rate at equal answer lengths.

A logistic model of the preference with the (standardised, squashed) length difference, the
instruction's difficulty and one coefficient for the model, predicted at length difference 0.
Formulas and fitting are the alpaca-eval package's own (alpaca_eval/metrics/glm_winrate.py; Dubois
et al. 2024, arXiv 2404.04475). Two differences from the package: nothing is written into its
folder, and difficulties are looked up by instruction. The package takes them by row, so after a
missing row every row gets its neighbour's difficulty. Published scores of models with missing rows
have that shift (text_davinci_001, 803 rows: 9.03 by row, 6.48 by instruction); `by_row` reproduces
it for comparisons with the leaderboard.
"""

from __future__ import annotations

import math
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from core.errors import ConfigError, DataError
from core.hashing import sha256_file
from core.records import Score, zero_is_a_draw
from evaluation.alpaca_eval.annotator import package_contained
from evaluation.alpaca_eval.files import BENCHMARK_SIZE, hub_file, official_index

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from core.records import Annotation

Variant = Literal["length_controlled_v1", "length_only"]

_KEY = "length_controlled_win_rate"
_GAMED = "df_gamed.csv"
_COLUMNS = {
    "preference", "index", "std_delta_len", "instruction_difficulty", "not_gamed_baseline",
}  # fmt: skip
_MINIMAL = "length_controlled_minimal"  # the package's name of the formula of "length_only"
_PERCENTILES = (2.5, 97.5)
_DEFINED = 0.9


class _Table(NamedTuple):
    """The data to fit: the model's rows (preference in [0, 1]) and the gamed baselines', if any."""

    variant: Variant
    rows: Any
    gamed: Any | None


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
    deviation) + model (the package's length_controlled_minimal) with as many groups as there are
    prompts, at most 5. It is a different number, not an estimate of the official one (claude-2:
    36.8 against 28.2; alpaca-7b: 19.5 against 5.9), and with few prompts its interval is wide.

    The interval comes from refits on bootstrap resamples of the prompts; a prompt brings its rows
    of the gamed baselines along, and those of prompts that were not annotated stay as they are. C
    is kept at the full fit's choice. Choosing it for each resample gave claude-2 the same interval
    in 30 s instead of 5 s (200 refits of 805 prompts, one core). The same seed, the same interval.
    There is none if a tenth of the resamples could not be fitted. The standard error is the
    package's: of the predicted preferences over prompts, without the uncertainty of the fit; None
    for "length_only", which predicts the same for every prompt.

    Detail: `variant`, `resamples` fitted, `c` (the inverse regularisation that cross-validation
    chose, None where nothing was fitted), and perhaps a `note`: why no fit was needed, or why it is
    not the official formula's.

    Args:
        annotations: one model's, any number.
        data: "hub", a folder with df_gamed.csv, or None (length_only).
        bootstrap: resamples, 0 for none.
        seed: of the resampling.
        by_row: take difficulties by row as the package does; only for comparing with published
            scores of files that lack rows.

    Raises:
        DataError: the folder has no df_gamed.csv, or that file is not the data set's.
        ConfigError: the hub cannot be reached.
    """
    annotated = [row for row in annotations if row.preference is not None]
    indices = [official_index().get(row.key) for row in annotated]
    official = data is not None and None not in indices and bool(annotated)
    variant: Variant = "length_controlled_v1" if official else "length_only"
    detail: dict[str, Any] = {"variant": variant, "resamples": 0, "c": None}
    missing = len(annotations) - len(annotated)
    if known := _without_fit(annotated, variant):
        value, reason = known
        if value is not None:
            return Score(_KEY, value, len(annotated), missing, detail={**detail, "note": reason})
        return Score(_KEY, None, len(annotated), missing, reason=reason, detail=detail)
    with package_contained(), _fit_contained():
        gamed = _gamed(str(data)) if official else None
        places = range(len(annotated)) if by_row else indices
        table = _Table(variant, _features(annotated, list(places), gamed), gamed)
        fitted, c = _fit(table, None)
        (low, high), resamples = _bootstrap(table, c, bootstrap, seed)
    detail |= {"resamples": resamples, "c": c}
    if not official and data is not None:
        detail["note"] = (
            f"{indices.count(None)} of {len(indices)} instructions are not among AlpacaEval's "
            f"{BENCHMARK_SIZE}, so their difficulty is unknown: lengths alone are used"
        )
    value, deviation = 100 * float(fitted.mean()), 100 * float(fitted.std(ddof=1))
    error = deviation / math.sqrt(len(fitted)) if official else None
    return Score(_KEY, value, len(annotated), missing, low, high, error, detail=detail)


def _length_differences(annotations: Sequence[Annotation]) -> list[int]:
    """Return each row's length difference in characters: reference minus model."""
    return [len(row.output_1) - len(row.output_2) for row in annotations]


def _without_fit(rows: Sequence[Annotation], variant: Variant) -> tuple[float | None, str] | None:
    """Return value and reason if no fit is possible or needed, else None."""
    if not rows:
        return None, "no annotation has a preference"
    differences = set(_length_differences(rows))
    wins = [preference_of(row) - 1 for row in rows]
    mean = 100 * math.fsum(wins) / len(rows)
    if differences == {0}:
        return mean, "all answers are as long as the reference's: the win rate as it is"
    if len(rows) == 1:
        return None, "one annotation: nothing to fit"
    if len(differences) == 1:
        what = "the effect of length cannot be told from the model's"
        return None, f"all length differences are equal: {what}"
    if variant == "length_only" and len(set(wins)) == 1:
        return mean, "all preferences are equal: the same at every length difference"
    return None


def preference_of(row: Annotation) -> float:
    """Return a row's preference in [1, 2]."""
    if row.preference is None:
        raise ValueError(f"{row.key}: no preference")
    return zero_is_a_draw(row.preference)


def _features(rows: Sequence[Annotation], places: list[int | None], gamed: Any | None) -> Any:
    """Return the package's features of the model's rows (its `_get_featurized_data`, step 2)."""
    import pandas as pd

    frame = pd.DataFrame({"preference": [preference_of(row) - 1 for row in rows], "index": places})
    frame["delta_len"] = [float(d) for d in _length_differences(rows)]
    if gamed is not None:
        difficulty = gamed.drop_duplicates("index").set_index("index")["instruction_difficulty"]
        frame["instruction_difficulty"] = frame["index"].map(difficulty)
    frame["not_gamed_baseline"] = True
    return frame


def _fit(table: _Table, c: float | None) -> tuple[Any, float]:
    """Return the predicted preferences at length difference 0, and the C that was used.

    The length differences must not all be equal.
    """
    import pandas as pd
    from alpaca_eval.metrics import glm_winrate

    name = _MINIMAL if table.variant == "length_only" else table.variant
    info = glm_winrate.GLM_INFO[name]
    deviation = float(table.rows["delta_len"].std())
    rows = table.rows.assign(std_delta_len=[d / deviation for d in table.rows["delta_len"]])
    train = rows if table.gamed is None else pd.concat([table.gamed, rows], ignore_index=True)
    at_equal_length = rows.assign(std_delta_len=0)
    design, wanted = glm_winrate.make_dmatrix_for_model(
        train, at_equal_length, formula=info["formula"]
    )
    weight = None
    if table.gamed is not None:
        own = train["not_gamed_baseline"].astype(bool)
        # Half of lambda each: there are two gamed baselines.
        weight = own.astype(float) + info["regularize_to_baseline_lambda"] * (~own) / 2
    groups = min(info["kwargs"]["n_splits"], len(train)) if c is None else 0
    model = glm_winrate.fit_LogisticRegressionCV(
        design,
        "preference",
        sample_weight=weight,
        n_splits=groups,
        **({} if c is None else {"C": c}),
    )
    return model.predict_proba(wanted)[:, 1], float(model.C_[0]) if c is None else c


def _bootstrap(
    table: _Table, c: float, resamples: int, seed: int
) -> tuple[tuple[float, float] | tuple[None, None], int]:
    """Return the percentile interval (None: too few) and how many resamples could be fitted."""
    import numpy as np

    random = np.random.default_rng(seed)
    found = []
    for _ in range(resamples):
        drawn = random.integers(len(table.rows), size=len(table.rows))
        resample = _resampled(table, drawn)
        if resample.rows["delta_len"].nunique() > 1:
            found.append(100 * float(_fit(resample, c)[0].mean()))
    if not found or len(found) < _DEFINED * resamples:
        return (None, None), len(found)
    low, high = np.percentile(found, _PERCENTILES)
    return (float(low), float(high)), len(found)


def _resampled(table: _Table, drawn: Any) -> _Table:
    """Return the drawn prompts, each with its rows of the gamed baselines."""
    import pandas as pd

    rows = table.rows.iloc[drawn]
    if table.gamed is None:
        return table._replace(rows=rows)
    unseen = table.gamed[~table.gamed["index"].isin(table.rows["index"])]
    theirs = rows[["index"]].merge(table.gamed, on="index")
    return table._replace(rows=rows, gamed=pd.concat([unseen, theirs], ignore_index=True))


def _gamed(data: str) -> Any:
    """Return the features of the gamed baselines: two rows for each instruction's index."""
    import pandas as pd

    path = hub_file(_GAMED) if data == "hub" else Path(data).expanduser() / _GAMED
    if not path.is_file():
        what = "no such file: length control needs it (evaluation.alpaca_eval.length_control_data)"
        raise DataError(path, None, what)
    frame = pd.read_csv(path)
    absent = sorted(_COLUMNS - set(frame.columns))
    if absent or set(frame["index"]) != set(range(BENCHMARK_SIZE)):
        what = f"not AlpacaEval's df_gamed.csv: {absent or 'its index is not 0..804'}"
        raise DataError(path, None, what)
    return frame[sorted(_COLUMNS)]


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


@contextmanager
def _fit_contained() -> Iterator[None]:
    """Contain the side effects of the package's fit on sklearn's settings and on warnings.

    The package requests L1 by an argument that scikit-learn 1.8 deprecated and 1.10 removes.
    """
    import sklearn

    with sklearn.config_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="sklearn")
        yield
