"""What the tables share: which rows they have, a score as a cell, sentences that stand below."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.document import Cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from core.records import Score
    from reports.document import Published
    from reports.results import RunResults

EMPTY = Cell()
P_VALUE_DIGITS = 4
P_VALUE_NOTE = "p: two-sided; 0.0000 is below 0.00005."
SFT = "SFT baseline"


def label(model: str) -> str:
    """Return a model's name as tables print it."""
    return SFT if model == "sft" else model


def is_asked_for(results: RunResults, benchmark: str) -> bool:
    """Whether the configuration wants a benchmark."""
    return results.config is not None and benchmark in results.config.evaluation.benchmarks


def models_of(results: RunResults, benchmark: str) -> tuple[str, ...]:
    """Return the models that a benchmark's table has rows for; () if there is no such table.

    Those of the configuration if it wants the benchmark, measured or not, and any others that have
    scores.
    """
    asked: tuple[str, ...] = ()
    if results.config is not None and is_asked_for(results, benchmark):
        asked = results.config.evaluation.models
    return tuple(
        model
        for model in results.models
        if model in asked or results.scores(f"{model}/{benchmark}")
    )


def cell_of(
    results: RunResults,
    address: str,
    key: str,
    *,
    digits: int = 2,
    published: Published | None = None,
    scale: float = 1.0,
) -> Cell:
    """Return one score of a benchmark as a cell, or why there is none."""
    found = results.scores(address)
    if not found:
        return Cell(reason=results.why_absent(address) or "no scores", published=published)
    if key not in found:
        return Cell(reason="not measured", published=published, rows=address)
    return shown(found[key], address, digits=digits, published=published, scale=scale)


def shown(
    score: Score,
    address: str,
    *,
    digits: int = 2,
    published: Published | None = None,
    scale: float = 1.0,
) -> Cell:
    """Return a score as a cell; `scale` 100 turns a share into percent."""
    if score.value is None:
        return Cell(
            digits=digits,
            n=score.n,
            missing=score.missing,
            reason=score.reason or "nothing to measure",
            published=published,
            rows=address,
        )
    return Cell(
        value=scale * score.value,
        digits=digits,
        low=None if score.low is None else scale * score.low,
        high=None if score.high is None else scale * score.high,
        n=score.n,
        missing=score.missing,
        published=published,
        rows=address,
    )


def failures_since(results: RunResults, places: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Return a sentence for each (name, address) whose numbers are older than a failed attempt."""
    return tuple(
        f"{name}: the last attempt failed ({failure}); the numbers are those of an earlier one."
        for name, address in places
        if results.scores(address) and (failure := results.failure(address)) is not None
    )


def counted(counts: dict[str, int]) -> str:
    """Return reasons and how often each: "refused 2, unparsed 1"."""
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def listed(names: Sequence[str]) -> str:
    """Return names as a sentence lists them: "M1, M2 and M3"."""
    if len(names) < 2:  # noqa: PLR2004 - one name is no list
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
