"""Whether the last model is better than M1, as one sentence with the numbers that say so."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from core.paired import LEAST_CLUSTERS
from core.stages import named_model
from reports.document import number
from reports.gate.compare import difference
from reports.sections import improvement
from reports.sections.cells import P_VALUE_DIGITS, label, seed_of
from reports.sections.loop.training import curves
from reports.sections.outcome.subjects import FOLLOWED, START, address, last_model, made_models
from reports.sections.outcome.table import readable

if TYPE_CHECKING:
    from core.reader import RunReader
    from reports.document import Cell
    from reports.scores import Metric

_LEVEL = 0.05
_LEAST_P = 10.0**-P_VALUE_DIGITS


def paragraphs(results: RunReader) -> tuple[str, ...]:
    """Return the sentence, or what there is instead; () for imported results."""
    if not made_models(results):
        return ()
    last = last_model(results)
    if last is None:
        return _told(f"Nothing to compare yet: no model after {START} is made.", known(results))
    before, after = (
        improvement.metric(results, address(FOLLOWED, model), FOLLOWED.key)
        for model in (START, last)
    )
    found = difference(before, after, seed=seed_of(results))
    if before is None or after is None or found[0].value is None:
        why = _why_not(results, last, found[0])
        begin = f"Whether {last} follows more verifiable prompts than {START} is not known"
        return _told(f"{begin}: {why}.", known(results))
    return (_sentence(results, (before, START), (after, last), found),)


def _told(*sentences: str) -> tuple[str, ...]:
    return tuple(sentence for sentence in sentences if sentence)


def _sentence(
    results: RunReader,
    before: tuple[Metric, str],
    after: tuple[Metric, str],
    found: tuple[Cell, Cell],
) -> str:
    """Return what was compared and how sure the difference is."""
    cell, p_value = found
    change, prompts = cell.value or 0.0, p_value.n or 0
    held_out = "held-out " if is_held_out(results) else ""
    answer = "Not shown"
    if prompts < LEAST_CLUSTERS:
        answer = f"Cannot be said from fewer than {LEAST_CLUSTERS} prompts"
    elif p_value.value is not None and p_value.value <= _LEVEL:
        answer = "Yes" if change > 0 else "No, it became worse"
    shares = [number(metric.value or 0.0, 1) for metric, _ in (after, before)]
    tested = [f"difference {number(change, 1)} points"]
    if cell.low is not None and cell.high is not None:
        tested[0] += f" [{number(cell.low, 1)}, {number(cell.high, 1)}]"
    if prompts >= LEAST_CLUSTERS and p_value.value is not None:
        tested.append(_p(p_value.value))
    return (
        f"{answer}: {after[1]} follows {shares[0]} % of {after[0].n} {held_out}verifiable prompts, "
        f"{before[1]} {shares[1]} % ({', '.join(tested)})."
    )


def _p(value: float) -> str:
    """Return a p-value as text; never 0, which no test can give."""
    if value < _LEAST_P:
        return f"p < {number(_LEAST_P, P_VALUE_DIGITS)}"
    return f"p = {number(value, P_VALUE_DIGITS)}"


def is_held_out(results: RunReader) -> bool:
    """Whether the contamination checks of all iterations cover the prompts and flag none."""
    checks = [one for one in results.subjects() if one.benchmark == "contamination"]
    details = [
        (score.detail or {}) if score is not None else {}
        for score in (results.scores(one.address).get("flagged") for one in checks)
    ]
    name = FOLLOWED.benchmark
    return bool(details) and all(
        name in found.get("compared", {}) and not found.get("flagged", {}).get(name)
        for found in details
    )


def _why_not(results: RunReader, last: str, found: Cell) -> str:
    """Return why the two models cannot be compared."""
    for model in (last, START):
        if why := results.why_absent(address(FOLLOWED, model)):
            return why
    return found.reason or "there is no score"


def known(results: RunReader) -> str:
    """Return what the run shows without that comparison: readable replies, margins, other tests."""
    found = []
    models = made_models(results)
    replies = [
        f"{label(model)} {number(cell.value, 1)} % of {cell.n}"
        for model in models
        if (cell := readable(results, model)).value is not None
    ]
    if replies:
        found.append(f"readable judge replies {', '.join(replies)}")
    margins = [
        f"{model} {number(first, 3)} → {number(last, 3)}"
        for model in models
        if (curve := curves(results, named_model(model)).get("rewards/margins"))
        for first, last in (curve.ends,)
    ]
    if margins:
        found.append(f"reward margin in training {', '.join(margins)}")
    answers = Counter(improvement.answers(results))
    if answers:
        counts = ", ".join(f"{answer} {n}" for answer, n in answers.most_common())
        found.append(f"paired tests of one iteration against the one before it: {counts}")
    return f"What there is: {'; '.join(found)}." if found else ""
