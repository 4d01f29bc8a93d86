"""IFEval's four accuracies: by prompt and by instruction, strict and loose.

Names are lm-eval's. A prompt counts if all of its instructions are followed; its instructions are
one cluster, since one response decides about all of them.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple

from core.benchmarks import BENCHMARKS, Items
from core.intervals import clustered_stderr, wilson
from core.records import ItemScore, Score
from evaluation.ifeval.checker import check

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evaluation.ifeval.data import IfevalPrompt


_NOTHING = Items({}, (0.0, 100.0))


class Response(NamedTuple):
    """A response to a prompt; `missing` says why there is none."""

    text: str
    missing: str | None = None


def item(prompt: IfevalPrompt, response: Response) -> ItemScore:
    """Check one response. Without a response there are no metrics, and `detail` has the reason.

    `detail["prediction"]` has a value per instruction: "strict", "loose" (followed in the loose
    reading only) or "not followed".
    """
    detail: dict[str, Any] = {"prompt": prompt.text, "text": response.text}
    if response.missing is not None:
        detail["missing"] = response.missing
        return ItemScore(prompt.key, "ifeval", prompt.key, {}, detail)
    followed = check(prompt.text, prompt.instructions, prompt.arguments, response.text)
    readings = zip(followed.strict, followed.loose, strict=True)
    found = [
        "strict" if strict else "loose" if loose else "not followed" for strict, loose in readings
    ]
    labels = [
        f"{number} {name} {json.dumps(given)}"
        for number, (name, given) in enumerate(
            zip(prompt.instructions, prompt.arguments, strict=True), start=1
        )
    ]
    detail["prediction"] = dict(zip(labels, found, strict=True))
    metrics = {
        "prompt_level_strict_acc": float(all(followed.strict)),
        "prompt_level_loose_acc": float(all(followed.loose)),
    }
    return ItemScore(prompt.key, "ifeval", prompt.key, metrics, detail)


def scores(items: Sequence[ItemScore]) -> list[Score]:
    """Return the four accuracies in percent; `detail` counts followed instructions by kind.

    The standard error is clustered by prompt. The interval is Wilson's for the number of
    independent observations with that error (where every value is equal: the prompts), so that it
    has a width at every n.
    """
    facts = BENCHMARKS["ifeval"]
    measured = facts.items(items) if facts.items is not None else {}
    missing = sum(not one.metrics for one in items)
    found = []
    for name in facts.headlines:
        values, _, clusters = measured.get(name, _NOTHING)
        if values:
            observations = [clusters[key] if clusters else key for key in values]
            kinds = _by_kind(items, loose="loose" in name) if clusters else None
            found.append(_score(name, [*values.values()], observations, missing, kinds))
        else:
            found.append(Score(name, None, 0, missing, reason="no responses"))
    return found


def _score(
    name: str,
    values: list[float],
    observations: list[str],
    missing: int,
    detail: dict[str, Any] | None,
) -> Score:
    error = clustered_stderr(values, observations)
    mean = math.fsum(values) / len(values)
    size = len(set(observations))
    if error:
        size = max(1, min(len(values), round(mean * (100 - mean) / error**2)))
    interval = wilson(mean / 100 * size, size)
    return Score(
        name,
        mean,
        len(values),
        missing,
        low=100 * interval.low if interval else None,
        high=100 * interval.high if interval else None,
        stderr=error,
        detail=detail,
    )


def _by_kind(items: Sequence[ItemScore], *, loose: bool) -> dict[str, Any]:
    """Return, by kind of instruction, how many are followed of how many."""
    found: dict[str, list[int]] = {}
    for one in items:
        for label, reading in one.detail.get("prediction", {}).items():
            counts = found.setdefault(label.split()[1].partition(":")[0], [0, 0])
            counts[0] += reading == "strict" or (loose and reading == "loose")
            counts[1] += 1
    return {kind: {"followed": followed, "of": n} for kind, (followed, n) in sorted(found.items())}
