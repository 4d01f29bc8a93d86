"""AlpacaEval scores: win rates, lengths and breakdowns, for a run and for a recorded file."""

from __future__ import annotations

import csv
import importlib.util
import math
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import stdev
from typing import TYPE_CHECKING, Any

from core.completions import read_completion
from core.intervals import share_score
from core.records import DRAW, Score
from core.stages import Stage
from evaluation.alpaca_eval.files import (
    BENCHMARK_SIZE,
    official_index,
    read_annotations,
    require_one_source,
)
from evaluation.alpaca_eval.length_control import (
    length_control_source,
    length_controlled,
    preference_of,
)
from evaluation.alpaca_eval.tags import LENGTHS, tagging_prompt
from evaluation.benchmark import Recorded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from core.records import Annotation, Tag

UNTAGGED = "untagged"
BOOTSTRAP = 200  # as AlpacaEvalSection.bootstrap

_LEADERBOARD = "leaderboards/data_AlpacaEval_2/weighted_alpaca_eval_gpt4_turbo_leaderboard.csv"
_SAME_WIN_RATE = 1e-4  # recorded preferences have ten digits
_VERDICTS = (("m", "M"), ("A", "B"))  # the tokens of the package's annotators
_COMPLEXITY_BINS = ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10))


def scores(
    annotations: Sequence[Annotation],
    *,
    length_control_data: str | None,
    bootstrap: int = BOOTSTRAP,
    seed: int = 0,
    tags: Iterable[Tag] | None = None,
    recorded: bool = False,
) -> list[Score]:
    """Return win_rate, discrete_win_rate, length_controlled_win_rate, avg_length and its reference.

    Also `verdict_mass`, and with tags the breakdowns by tag. `recorded`: see
    `recorded_length_control`. Raises as `require_one_source` and `length_controlled`.
    """
    require_one_source(annotations, "annotations")
    control = recorded_length_control if recorded else length_controlled
    controlled = control(annotations, length_control_data, bootstrap=bootstrap, seed=seed)
    found = [
        win_rate(annotations),
        discrete_win_rate(annotations),
        controlled,
        *average_lengths(annotations),
        *verdict_mass(annotations),
    ]
    return found if tags is None else [*found, *breakdown(annotations, tags)]


def report(
    path: Path,
    length_control_data: str | None,
    *,
    bootstrap: int = BOOTSTRAP,
    seed: int = 0,
    model: str = "",
    reference: str = "",
) -> dict[str, Any]:
    """Score a recorded annotation file; return a JSON object, absent numbers and names None.

    `n` counts annotations with a preference. `n_missing` counts those without one and, if all the
    file's instructions are the benchmark's, also those of the 805 that it lacks (`n_absent`).
    The length-controlled win rate is `recorded_length_control`'s, with both of its numbers where
    they differ; `length_control_note` says why, or why there is none.

    Raises:
        DataError: the file cannot be read, or mixes annotators or models.
    """
    annotations = read_annotations(path, model=model, reference=reference)
    controlled = recorded_length_control(
        annotations, length_control_data, bootstrap=bootstrap, seed=seed
    )
    wins = win_rate(annotations)
    absent = _absent(annotations)
    length, reference_length = average_lengths(annotations)
    mass = verdict_mass(annotations)
    counts, fit = wins.detail or {}, controlled.detail or {}
    return {
        "file": str(path),
        "annotator": annotations[0].annotator,
        "model": annotations[0].generator_2 or None,
        "reference": annotations[0].generator_1 or None,
        "win_rate": wins.value,
        "standard_error": wins.stderr,
        "win_rate_low": wins.low,
        "win_rate_high": wins.high,
        "discrete_win_rate": discrete_win_rate(annotations).value,
        "n": wins.n,
        "n_missing": wins.missing + absent,
        "n_absent": absent,
        "n_wins": counts.get("wins", 0),
        "n_losses": counts.get("losses", 0),
        "n_draws": counts.get("draws", 0),
        "length_controlled_win_rate": controlled.value,
        "length_control_variant": fit["variant"],
        "length_controlled_standard_error": controlled.stderr,
        "length_controlled_low": controlled.low,
        "length_controlled_high": controlled.high,
        "length_control_resamples": fit["resamples"],
        "length_control_note": controlled.reason or fit.get("note"),
        "length_controlled_win_rate_by_row": fit.get("by_row"),
        "length_controlled_win_rate_by_instruction": fit.get("by_instruction"),
        "avg_length": length.value,
        "avg_length_reference": reference_length.value,
        "verdict_mass": mass[0].value if mass else None,
    }


def recorded_results(
    path: Path, length_control_data: str | None, *, model: str = "", reference: str = ""
) -> Recorded:
    """Return the annotations of a recorded file, to be imported; raises as `read_annotations`.

    A model without a name is called by the file's.
    """
    name = path.name.split(".")[0]
    rows = read_annotations(path, model=model or name, reference=reference or "unknown")
    first = rows[0]
    judge = first.annotator
    return Recorded(
        path,
        first.generator_2,
        "alpaca_eval",
        Stage.ANNOTATIONS,
        rows,
        {"reference": first.generator_1, "annotator": judge, "judge": judge},
        partial(scores, rows, length_control_data=length_control_data, recorded=True),
        {} if length_control_data is None else length_control_source(length_control_data),
    )


def recorded_length_control(
    annotations: Sequence[Annotation], data: str | None, *, bootstrap: int, seed: int
) -> Score:
    """Return the length-controlled win rate of a recorded file; raises as `length_controlled`.

    By instruction, which is right. Where rows are absent or in another order, the package's number,
    by row, is another one, and the leaderboard has it: if the leaderboard has the file's win rate
    and n, the file is a published one, and its score is the one by row. `by_row` and
    `by_instruction` are then in the detail, and a note.
    """
    places = [official_index().get(row.key) for row in annotations]
    if data is None or None in places or places == list(range(len(places))):
        return length_controlled(annotations, data, bootstrap=bootstrap, seed=seed)
    published = _on_leaderboard(win_rate(annotations))
    by_row, by_instruction = (
        length_controlled(
            annotations,
            data,
            bootstrap=bootstrap if by_row == published else 0,
            seed=seed,
            by_row=by_row,
        )
        for by_row in (True, False)
    )
    found = by_row if published else by_instruction
    absent = _absent(annotations)
    note = (
        (
            f"{absent} of the {BENCHMARK_SIZE} instructions are absent"
            if absent
            else "Reordered rows"
        )
        + ". The package takes difficulties by row, which shifts them: "
        f"{_shown(by_row.value)} by row, {_shown(by_instruction.value)} by instruction; "
        + ("the published number is the one by row" if published else "by instruction is right")
    )
    both = {"by_row": by_row.value, "by_instruction": by_instruction.value, "note": note}
    return replace(found, detail={**(found.detail or {}), **both})


def _on_leaderboard(wins: Score) -> bool:
    """Whether AlpacaEval 2's leaderboard (the package's copy) has this win rate with this n."""
    spec = importlib.util.find_spec("alpaca_eval")
    if wins.value is None or spec is None or not spec.submodule_search_locations:
        return False
    path = Path(spec.submodule_search_locations[0]) / _LEADERBOARD
    with path.open(encoding="utf-8", newline="") as file:
        return any(
            int(row["n_total"]) == wins.n
            and math.isclose(float(row["win_rate"]), wins.value, abs_tol=_SAME_WIN_RATE)
            for row in csv.DictReader(file)
        )


def _absent(annotations: Sequence[Annotation]) -> int:
    """Return how many of the benchmark's instructions the file lacks; 0 for other prompt sets."""
    official = all(row.key in official_index() for row in annotations)
    return BENCHMARK_SIZE - len(annotations) if official else 0


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def win_rate(annotations: Sequence[Annotation], *, key: str = "win_rate") -> Score:
    """Return 100·mean(preference − 1) over the annotations that have a preference.

    100 is always preferred, 50 chance, 0 never. Annotations
    without a preference are `missing`, by reason in the detail, and lower n. The standard error is
    the sample's over √n, as the package has it (None with fewer than two, 0 where all preferences
    are equal); the interval is Wilson's for the sum of the preferences. Detail: wins (preference
    over 1.5), losses, draws.
    """
    return _mean_score(key, annotations, [preference_of(r) - 1 for r in _annotated(annotations)])


def discrete_win_rate(annotations: Sequence[Annotation]) -> Score:
    """Return the win rate with each preference rounded to a win, a draw (exactly 1.5) or a loss.

    Source: alpaca_eval/metrics/winrate.py: (wins + draws / 2) / n.
    """
    half = DRAW - 1
    wins = [preference_of(row) - 1 for row in _annotated(annotations)]
    rounded = [half if win == half else float(win > half) for win in wins]
    return _mean_score("discrete_win_rate", annotations, rounded)


def average_lengths(annotations: Sequence[Annotation]) -> list[Score]:
    """Return the mean characters of the model's answers (avg_length) and of the reference's.

    Over all annotations, also those the judge gave no preference for; None without any. Answers and
    references that are absent ("no_answer", "no_reference") are left out of their own mean.
    """
    model = [len(row.output_2) for row in annotations if row.missing != "no_answer"]
    reference = [len(row.output_1) for row in annotations if row.missing != "no_reference"]
    return [
        _length_score("avg_length", model, len(annotations)),
        _length_score("avg_length_reference", reference, len(annotations)),
    ]


def verdict_mass(annotations: Sequence[Annotation]) -> list[Score]:
    """Return the mean probability of the verdict's tokens in the replies that record it.

    1: the judge said one of the two in every reply; below a half it said something else. [] for an
    annotator whose verdict is a text, or a token after a text.
    """
    listed = [
        dict(found)
        for row in annotations
        if row.raw_completion and (found := read_completion(row.raw_completion).first_token)
    ]
    masses = [[sum(found.get(t, 0.0) for t in pair) for found in listed] for pair in _VERDICTS]
    mass = max(masses, key=math.fsum)
    if not any(mass):
        return []
    n = len(mass)
    return [Score("verdict_mass", math.fsum(mass) / n, n, len(annotations) - n)]


def _annotated(annotations: Sequence[Annotation]) -> list[Annotation]:
    return [row for row in annotations if row.preference is not None]


def _mean_score(key: str, annotations: Sequence[Annotation], wins: Sequence[float]) -> Score:
    n = len(wins)
    reasons = Counter(str(row.missing) for row in annotations if row.preference is None)
    missing = len(annotations) - n
    if not n:
        return Score(key, None, 0, missing, reason="no annotation has a preference")
    error = 100 * stdev(wins) / math.sqrt(n) if n > 1 else None
    half = DRAW - 1
    detail = {
        "wins": sum(win > half for win in wins),
        "losses": sum(win < half for win in wins),
        "draws": sum(win == half for win in wins),
        **{f"missing_{reason}": count for reason, count in sorted(reasons.items())},
    }
    return replace(share_score(key, math.fsum(wins), n, missing, detail=detail), stderr=error)


def _length_score(key: str, lengths: Sequence[int], total: int) -> Score:
    if not lengths:
        return Score(key, None, 0, total, reason="no answers")
    mean = math.fsum(lengths) / len(lengths)
    return Score(key, mean, len(lengths), total - len(lengths))


def breakdown(annotations: Sequence[Annotation], tags: Iterable[Tag]) -> list[Score]:
    """Return the win rate by category, complexity and expected length, each with its n.

    Keys are "win_rate/category/…", "win_rate/complexity/1-2" and "win_rate/length/…", in the order
    of the prompt; groups without annotations are left out. Annotations without a parsed tag form
    the group "untagged", so that the groups of each kind add up to all annotations.
    """
    by_key = {tag.key: tag for tag in tags}
    kinds: list[tuple[str, Sequence[str], Callable[[Tag], str | None]]] = [
        ("category", tagging_prompt().categories, lambda tag: tag.category),
        ("complexity", [f"{low}-{high}" for low, high in _COMPLEXITY_BINS], _bin),
        ("length", LENGTHS, lambda tag: tag.length),
    ]
    scores = []
    for kind, groups, group_of in kinds:
        members: dict[str, list[Annotation]] = {group: [] for group in (*groups, UNTAGGED)}
        for annotation in annotations:
            found = by_key.get(annotation.key)
            members[(found and group_of(found)) or UNTAGGED].append(annotation)
        scores += [
            win_rate(rows, key=f"win_rate/{kind}/{group}")
            for group, rows in members.items()
            if rows
        ]
    return scores


def _bin(tag: Tag) -> str | None:
    if tag.complexity is None:
        return None
    return next(f"{low}-{high}" for low, high in _COMPLEXITY_BINS if low <= tag.complexity <= high)
