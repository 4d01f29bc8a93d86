"""Early signs of collapse, each as a sentence with its numbers.

Falling log-probability of the chosen answers and growing answers appear before the benchmarks
change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.config import AVERAGED
from core.paired import LEAST_CLUSTERS, Comparison, compare, holm
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
_TOO_FEW = f"cannot be said from fewer than {LEAST_CLUSTERS} prompts"
_CHOSEN = "Falling log-probability of chosen answers"
_LENGTH = "Growing answer length"
_TEST_ANSWERS = ("head_to_head", "alpaca_eval")


def chosen_log_probability(results: RunReader, k: int) -> str:
    """Return whether training made the chosen answers less probable, up to the kept step.

    Measured against the reference model, which removes the noise of the batches: the logged reward
    divided by beta, an average over tokens where the loss takes one. SimPO has no reference.
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
    steps, loss = len(curve.values), facts.get("loss")
    of = "token" if loss in AVERAGED else "answer"
    against = "" if loss == "simpo" else ", against the reference"
    told = (
        f"from the first to the last quarter of {steps} steps it {moved} by "
        f"{number(abs(change), 1)} nats per {of}{against}"
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

    Detected if either difference is above 0 with p < 5 % in the sign-flip test over prompts, by
    Holm where there are two. Both are paired: chosen and rejected answer of a prompt, both models'
    answers to a test prompt. With too few prompts for that test nothing can be said.
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
    enough = [one for one in found if one.n_clusters >= LEAST_CLUSTERS]
    adjusted = holm([one.p_value or 0.0 for one in enough])
    grew = [
        p < _LEVEL and (one.difference or 0) > 0 for one, p in zip(enough, adjusted, strict=True)
    ]
    seen = "detected" if any(grew) else "not detected" if enough else _TOO_FEW
    return f"{_LENGTH}: {seen}; {'; '.join(told)}."


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
    detail = score.detail or {}
    p_value, prompts = detail.get("p_value"), detail.get("prompts", 0)
    numbers = [f"{score.n} answers to {prompts} prompts"]
    if score.low is not None and score.high is not None:
        numbers.insert(0, f"95 % interval {number(score.low)} to {number(score.high)}")
    if p_value is not None:
        numbers.insert(0, f"sign-flip p = {number(p_value, 3)}")
    if score.missing:
        numbers.append(f"{score.missing} without a score by one of them")
    by = f"own − external {number(score.value)} points ({', '.join(numbers)})"
    if p_value is None or prompts < LEAST_CLUSTERS:
        return f"Self-judge against the external judge: {_TOO_FEW}; {by}."
    word = "more generous" if score.value > 0 else "stricter"
    if p_value >= _LEVEL:
        word = "neither more generous nor stricter"
    return f"{name} as its own judge is {word} than the external judge, beyond chance: {by}."


def _lengths(answers: list[Generation]) -> dict[str, float]:
    return {row.key: float(len(row.text)) for row in answers if row.finish in ANSWERED}


def _longer(found: Comparison) -> str:
    difference = found.difference or 0.0
    word = "shorter" if difference < 0 else "longer"
    numbers = f"p = {number(found.p_value or 0.0, 3)}, n = {found.n}"
    if found.interval is not None:
        low, high = (number(end, 1) for end in found.interval)
        numbers = f"95 % interval of the difference {low} to {high}, {numbers}"
    return f"{number(abs(difference), 1)} characters {word} ({numbers})"
