"""The length-controlled win rate against alpaca-eval's own function, on a recorded file."""

from __future__ import annotations

import gzip
import json
import math
import warnings
from typing import TYPE_CHECKING, Any

from benchmarks.comparison import alternate, compared, missing
from benchmarks.data_files import NotHere, shared_file
from evaluation.alpaca_eval.annotator import package_contained
from evaluation.alpaca_eval.files import read_annotations
from evaluation.alpaca_eval.length_control import length_controlled

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.comparison import Row
    from benchmarks.machine import Machine

_FILE = "claude-2.annotations.json.gz"
_PEER = "alpaca-eval 0.6.6, get_length_controlled_winrate"
_TOLERANCE = 0.05  # percentage points: the package stops before the minimum


def length_control(machine: Machine, repeats: int) -> Row:
    """Compare one fit over 805 annotations, without our bootstrap."""
    del machine
    try:
        folder = shared_file("alpaca_eval")
        path = shared_file(f"alpaca_eval/{_FILE}")
    except NotHere as absent:
        return missing(_PEER, str(absent))
    rows, found = read_annotations(path), dict[str, float | None]()

    def fit() -> None:
        found["ours"] = length_controlled(rows, str(folder), bootstrap=0, seed=0).value

    with package_contained(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="sklearn")
        package, frame = _package(folder), _frame(path)

        def fit_by_package() -> None:
            found["theirs"] = package.get_length_controlled_winrate(
                frame,
                save_weights_dir=None,
                is_add_glm_preference_inplace=False,
                is_warn_extreme_changes=False,
            )["length_controlled_winrate"].item()

        fit()
        fit_by_package()
        timings = alternate(fit, fit_by_package, repeats)
    ours, theirs = found["ours"], found["theirs"]
    if ours is None or theirs is None:
        raise ValueError(f"{path}: nothing was fitted")
    return compared(
        timings,
        peer=_PEER,
        equal=math.isclose(ours, theirs, rel_tol=0, abs_tol=_TOLERANCE),
        amount=1,
        unit="fits",
        n=len(rows),
        ours_value=ours,
        theirs_value=theirs,
        note="our 200 bootstrap refits are left out",
    )


def _package(folder: Path) -> Any:
    """Return the package's module, reading its one table from the folder instead of the hub."""
    from alpaca_eval.metrics import glm_winrate

    def local(*, filename: str, **_: Any) -> str:
        return str(folder / filename)

    glm_winrate.hf_hub_download = local
    return glm_winrate


def _frame(path: Path) -> Any:
    import pandas as pd

    with gzip.open(path, "rt", encoding="utf-8") as file:
        return pd.DataFrame(json.load(file))
