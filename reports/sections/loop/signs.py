"""Early signs of collapse, each as a sentence with its numbers.

Falling log-probability of the chosen answers and growing answers appear before the benchmarks
change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.paired import Comparison, compare
from core.records import ANSWERED
from core.stages import Stage, evaluation_ref, model_ref
from reports.document import number
from reports.sections.cells import facts_of, seed_of, why_unknown
from reports.sections.loop.data import chosen_minus_rejected, own_judge
from reports.sections.loop.judging import same_judge
from reports.sections.loop.training import curves

if TYPE_CHECKING:
    from core.reader import RunReader
    from core.records import Generation

_LEAST_STEPS = 8  # with fewer, the first and the last quarter are a single batch each
_LEVEL = 0.05
_CHOSEN = "Falling log-probability of chosen answers"
_LENGTH = "Growing answer length"
_TEST_ANSWERS = ("head_to_head", "alpaca_eval")


def chosen_log_probability(results: RunReader, k: int) -> str:
    """Return whether training made the chosen answers less probable, up to the kept step.

    Measured against the reference model, which removes the noise of the batches: the logged reward
    divided by beta.
    """
    ref = model_ref(k)
    if not results.exists(ref):
        return f"{_CHOSEN}: unknown; {ref} is not made yet."
    facts = facts_of(results, ref)
    curve, beta = curves(results, ref).get("rewards/chosen"), facts.get("beta")
    if curve is None or not curve.values or not beta:
        return f"{_CHOSEN}: unknown; the training log of {ref} has no preference pairs."
    curve = curve.until(facts.get("kept_step"))
    first, last = curve.ends
    change = (last - first) / beta
    moved = "fell" if change < 0 else "rose"
    steps = len(curve.values)
    told = (
        f"from the first to the last quarter of {steps} steps it {moved} by "
        f"{number(abs(change), 1)} nats per answer, against the reference"
    )
    if steps < _LEAST_STEPS:
        return f"{_CHOSEN}: unknown, too few steps; {told}."
    p_value = 1.0  # of a monotone trend; where all values are equal there is none
    if len(set(curve.values)) > 1:
        from scipy.stats import kendalltau

        p_value = float(kendalltau(range(steps), curve.values).pvalue)
    seen = "detected" if change < 0 and p_value < _LEVEL else "not detected"
    return f"{_CHOSEN}: {seen}; {told} (Kendall's trend test, p = {number(p_value, 3)})."


def growing_length(results: RunReader, k: int) -> str:
    """Return whether the pairs reward length, and whether the answers of M_k are longer.

    Detected if either difference's 95 % interval lies above 0. Both are paired: chosen and rejected
    answer of a prompt, both models' answers to a test prompt.
    """
    told, found = [], []
    pairs = chosen_minus_rejected(results, k)
    if pairs.difference is not None:
        told.append(f"chosen answers are {_longer(pairs)} than rejected ones")
        found.append(pairs)
    for benchmark in _TEST_ANSWERS:
        refs = (evaluation_ref(f"M{at}/{benchmark}", Stage.ANSWERS) for at in (k, k - 1))
        answers = compare(*(_lengths(results.rows(ref)) for ref in refs), seed=seed_of(results))
        if answers.difference is not None:
            told.append(f"M{k} answers {benchmark} prompts {_longer(answers)} than M{k - 1}")
            found.append(answers)
            break
    if not found:
        return f"{_LENGTH}: unknown; there are no pairs and no answers to test prompts."
    seen = any(one.interval is not None and one.interval.low > 0 for one in found)
    return f"{_LENGTH}: {'detected' if seen else 'not detected'}; {'; '.join(told)}."


def self_judge(results: RunReader, k: int) -> str:
    """Return whether the self-judge scores significantly higher than the external judge."""
    address = f"self_judge/iter{k}"
    score = results.scores(address).get("mean_difference")
    if score is None or score.value is None:
        why = why_unknown(results, address, score)
        return f"Self-judge against the external judge: unknown; {why}."
    name = own_judge(results, k)
    if same_judge(results, k):
        return (
            f"{name} as its own judge: the external judge is {name} too, so inflation cannot be "
            f"seen; asked again it differs by {number(score.value)} points on average "
            f"({score.n} answers)."
        )
    value, low, high, interval = score.value, score.low, score.high, ""
    wording = (
        "neither more generous nor stricter than the external judge beyond chance: a difference "
        f"of {number(value)} points"
    )
    if low is not None and high is not None:
        interval = f"95 % interval {number(low)} to {number(high)}, "
        if low > 0:
            wording = (
                f"more generous than the external judge, beyond chance: by {number(value)} points"
            )
        elif high < 0:
            wording = f"stricter than the external judge, beyond chance: by {number(-value)} points"
    missing = f", {score.missing} without a score by one of them" if score.missing else ""
    return f"{name} as its own judge is {wording} ({interval}{score.n} answers{missing})."


def _lengths(answers: list[Generation]) -> dict[str, float]:
    return {row.key: float(len(row.text)) for row in answers if row.finish in ANSWERED}


def _longer(found: Comparison) -> str:
    difference = found.difference or 0.0
    word = "shorter" if difference < 0 else "longer"
    interval = ""
    if found.interval is not None:
        low, high = (number(end, 1) for end in found.interval)
        interval = f"95 % interval of the difference {low} to {high}, "
    return f"{number(abs(difference), 1)} characters {word} ({interval}n = {found.n})"
