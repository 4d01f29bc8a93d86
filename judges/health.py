"""Health of a judge: whether its scores are fit to build pairs from, the biases of its verdicts.

Score inflation (everything 5) and unparsable replies leave too few pairs; the checks run before
hours of training, not after.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

from core.errors import UnhealthyJudge
from core.records import Judgment, Measurement, Verdict
from core.reductions import combine, draws_of, item_key, scores_by_prompt
from core.store import Built, Partial

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.config import HealthSection

# Two or three answers correlate perfectly by chance; ten at 0.8 do not (p = 0.005).
_MIN_FOR_CORRELATION = 10
_CONFIDENCE = 0.95


def write(
    judgments: Sequence[Judgment], texts: Mapping[str, str], out: Partial, *, pointed: bool = True
) -> Built:
    """Write the measurements of a set of judgments; see `measure` and `signal`.

    `texts` maps each subject to its answer. `pointed`: scores are points of a rubric; those of a
    reward model or a verifier have no entropy.
    """
    lengths = {key: len(text) for key, text in texts.items()}
    out.add_missing(measure(judgments, lengths, pointed=pointed))
    out.add_missing(signal(judgments, texts))
    return Built(counts={"judgments": len(judgments)})


def measure(
    judgments: Sequence[Judgment], lengths: Mapping[str, int], *, pointed: bool = True
) -> list[Measurement]:
    """Describe a set of judgments; `lengths` maps each subject to its answer's characters.

    Returns, each with the number of items behind it (value None when there are none):
        parse_rate: share of replies with a readable score; detail counts the reasons why not.
        score_mean, score_entropy_bits: over single scores, rounded to whole points; 0 bits when all
            are equal. Detail of the entropy: the histogram.
        tie_rate: share of prompts with two or more scored answers whose best and worst are equal.
        draw_variance: variance between draws of one answer, averaged over answers with two or more.
        length_correlation: Spearman's rho of mean score and length; in [-1, 1].
    """
    scores = [j.score for j in judgments if j.score is not None]
    whole = [math.floor(score + 0.5) for score in scores] if pointed else []
    histogram = Counter(whole)
    by_prompt = scores_by_prompt(judgments)
    means = {key: mean for found in by_prompt.values() for key, mean in found.items()}
    comparable = [list(found.values()) for found in by_prompt.values() if len(found) > 1]
    return [
        _parse_rate([None if j.said is not None else j.unparsed or "no_score" for j in judgments]),
        _mean("score_mean", scores),
        Measurement(
            "score_entropy_bits",
            entropy_bits(list(histogram.values())) if whole else None,
            len(whole),
            {str(point): float(histogram[point]) for point in sorted(histogram)},
        ),
        _mean("tie_rate", [float(max(found) == min(found)) for found in comparable]),
        _mean("draw_variance", _draw_variances(judgments)),
        _length_correlation(means, lengths),
    ]


def signal(judgments: Sequence[Judgment], texts: Mapping[str, str]) -> list[Measurement]:
    """Describe what preference pairs can be learned from, over prompts with two scored answers.

    Returns, each with the number of prompts behind it (value None when there are none):
        score_gap: mean difference of the best and the worst mean score of a prompt.
        true_signal: share of prompts whose gap is beyond what draws of equal answers would give:
            more than the 95 % point of the range of that many means (Tukey's studentised range,
            with the pooled variance between draws). None where every answer was judged once.
        distinct_answers: mean share of a prompt's answers that differ from each other.
    """
    groups = [found for found in scores_by_prompt(judgments).values() if len(found) > 1]
    gaps = [max(found.values()) - min(found.values()) for found in groups]
    distinct = [len({texts[key].strip() for key in found}) / len(found) for found in groups]
    draws = draws_of(judgments)
    signals = _beyond_draws(
        gaps, [[len(draws[key]) for key in found] for found in groups], judgments
    )
    return [
        _mean("score_gap", gaps),
        _mean("true_signal", signals),
        _mean("distinct_answers", distinct),
    ]


def _beyond_draws(
    gaps: Sequence[float], draws: Sequence[Sequence[int]], judgments: Sequence[Judgment]
) -> list[float]:
    """Return per prompt whether its gap is more than chance; [] if no answer was judged twice."""
    variances = _draw_variances(judgments)
    if not variances:
        return []
    from scipy.stats import studentized_range

    freedom = sum(max(0, n - 1) for each in draws for n in each)
    variance = sum(variances) / len(variances)
    limits = {
        n: float(studentized_range.ppf(_CONFIDENCE, n, max(1, freedom)))
        for n in {len(each) for each in draws}
    }
    return [
        float(gap > limits[len(each)] * math.sqrt(variance * len(each) / sum(each)))
        for gap, each in zip(gaps, draws, strict=True)
    ]


def entropy_bits(counts: Sequence[int]) -> float:
    """Return the Shannon entropy of counts in bits: 0 for one value, log2(n) for n equal ones."""
    total = sum(counts)
    return -sum(c / total * math.log2(c / total) for c in counts if c) + 0.0


def _parse_rate(unparsed: Sequence[str | None]) -> Measurement:
    reasons = Counter(reason for reason in unparsed if reason is not None)
    detail = {reason: float(reasons[reason]) for reason in sorted(reasons)}
    return _mean("parse_rate", [float(reason is None) for reason in unparsed], detail)


def _mean(key: str, values: Sequence[float], detail: dict[str, float] | None = None) -> Measurement:
    mean = sum(values) / len(values) if values else None
    return Measurement(key, mean, len(values), detail)


def _draw_variances(judgments: Sequence[Judgment]) -> list[float]:
    by_subject = defaultdict(list)
    for judgment in judgments:
        if judgment.score is not None:
            by_subject[judgment.subject_key].append(judgment.score)
    out = []
    for found in by_subject.values():
        if len(found) > 1:
            mean = sum(found) / len(found)
            out.append(sum((score - mean) ** 2 for score in found) / (len(found) - 1))
    return out


def _length_correlation(means: Mapping[str, float], lengths: Mapping[str, int]) -> Measurement:
    keys = sorted(means)
    scores, sizes = [means[k] for k in keys], [lengths[k] for k in keys]
    if len(set(scores)) < 2 or len(set(sizes)) < 2:  # noqa: PLR2004 - a constant has no correlation
        return Measurement("length_correlation", None, len(keys))
    from scipy.stats import spearmanr

    return Measurement("length_correlation", float(spearmanr(scores, sizes).statistic), len(keys))


def problems(measured: Sequence[Measurement], limits: HealthSection) -> list[str]:
    """Return one sentence per exceeded limit; empty when the judge is healthy."""
    value, n = {m.key: m.value for m in measured}, {m.key: m.n for m in measured}
    found = []
    parse_rate, entropy = value["parse_rate"], value["score_entropy_bits"]
    ties, length = value["tie_rate"], value["length_correlation"]
    if parse_rate is None or parse_rate < limits.min_parse_rate:
        shown = "no replies" if parse_rate is None else f"{parse_rate:.1%}"
        found.append(
            f"readable judge replies: {shown} (limit {limits.min_parse_rate:.0%}); "
            "train on more EFT examples or raise judge.max_new_tokens"
        )
    if entropy is not None and entropy < limits.min_score_entropy_bits:
        found.append(
            f"score entropy {entropy:.2f} bits (limit {limits.min_score_entropy_bits:g}): nearly "
            "all scores are the same; balance the EFT scores or raise judge.temperature"
        )
    if ties is not None and ties > limits.max_tie_rate:
        found.append(
            f"tied prompts: {ties:.1%} (limit {limits.max_tie_rate:.0%}); "
            "raise judge.draws or candidates.n"
        )
    enough = n["length_correlation"] >= _MIN_FOR_CORRELATION
    if enough and length is not None and abs(length) > limits.max_length_correlation:
        found.append(
            f"correlation of score with length {length:+.2f} "
            f"(limit ±{limits.max_length_correlation:g}): the judge rewards length, not quality"
        )
    return found


def enforce(measured: Sequence[Measurement], limits: HealthSection, where: str) -> list[str]:
    """Return the problems as warnings, or stop the run.

    Raises:
        UnhealthyJudge: a limit is exceeded and `limits.action` is "stop".
    """
    found = problems(measured, limits)
    if found and limits.action == "stop":
        raise UnhealthyJudge(
            f"{where}: the judge is not fit to train on. "
            + " | ".join(found)
            + " | To go on regardless: --set health.action=warn"
        )
    return found


class _Orders(NamedTuple):
    """A comparison with a readable verdict in both orders, each from A's side."""

    ab: Verdict
    ba: Verdict


def measure_comparisons(
    verdicts: Sequence[Verdict], lengths: Mapping[str, tuple[int, int]]
) -> list[Measurement]:
    """Describe the verdicts of `judges.pairwise.judge_orders`, one per order.

    `lengths` maps each prompt's key to the characters of answer A and answer B. Verdicts under a
    key without an order (decided without a judge) are left out.

    Returns, each with the number of items behind it (value None when there are none):
        parse_rate: share of orders with a readable verdict; detail counts the reasons why not.
        verdict_mass: mean probability of the verdict's tokens, of verdicts by first token; n is how
            many replies had log-probabilities. Below a half the reply is no verdict.
        flip_rate: share of comparisons, readable in both orders, whose orders name different
            winners; 0 for a judge of content, 1 for one that looks at the position alone. Detail:
            `half_tie` counts those where one order is a tie and the other is not.
        first_shown_rate: among those comparisons' orders that name a winner, the share whose winner
            was shown first; 0.5 without position bias, 1 if the first always wins.
        tie_rate: share of those comparisons that end as a tie, by agreement or for lack of it.
        longer_wins: mean over comparisons with a winner of +1 if it is the longer answer, −1 if the
            shorter, 0 if both are equally long; in [−1, 1], 0 without length bias.
    """
    orders = [v for v in verdicts if v.key.endswith(("/ab", "/ba"))]
    readable = [v for v in orders if v.winner is not None]
    pairs = _both_orders(readable)
    flips = [float({p.ab.winner, p.ba.winner} == {"A", "B"}) for p in pairs]
    half = sum((p.ab.winner == "tie") != (p.ba.winner == "tie") for p in pairs)
    joint = [combine(p.ab, p.ba) for p in pairs]
    return [
        _parse_rate([v.unparsed for v in orders]),
        _mean("verdict_mass", [v.mass for v in orders if v.mass is not None]),
        _mean("flip_rate", flips, {"half_tie": float(half)}),
        _mean("first_shown_rate", _first_shown(pairs)),
        _mean("tie_rate", [float(v.winner == "tie") for v in joint]),
        _mean("longer_wins", [_sign(v, lengths) for v in joint if v.winner != "tie"]),
    ]


def measure_meta_judge(
    verdicts: Sequence[Verdict], scores: Mapping[str, float]
) -> list[Measurement]:
    """Describe meta-judgments (judges/meta), one verdict per order; `scores` by judgment's key.

    Returns, each with the number of verdicts behind it (value None when there are none):
        parse_rate: share with a readable winner; detail counts the reasons why not.
        first_shown_rate: share of winners that were shown first; 0.5 without position bias.
        higher_score_rate: share of winners that gave the higher score, of verdicts about different
            scores; 0.5 without score bias. A meta-judge that only prefers high scores has 1.
        flip_rate: share of comparisons, decided in both orders, that name different winners.
    """
    decided = [v for v in verdicts if v.winner in ("A", "B")]
    first = [float((v.winner == "A") == v.key.endswith("/ab")) for v in decided]
    gaps = [(scores[v.a] - scores[v.b]) * (1 if v.winner == "A" else -1) for v in decided]
    flips = [float(p.ab.winner != p.ba.winner) for p in _both_orders(decided)]
    return [
        _parse_rate([v.unparsed for v in verdicts]),
        _mean("first_shown_rate", first),
        _mean("higher_score_rate", [float(gap > 0) for gap in gaps if gap]),
        _mean("flip_rate", flips),
    ]


def _both_orders(readable: Sequence[Verdict]) -> list[_Orders]:
    found: dict[str, dict[str, Verdict]] = defaultdict(dict)
    for verdict in readable:
        found[item_key(verdict)][verdict.key[-2:]] = verdict
    return [_Orders(o["ab"], o["ba"]) for o in found.values() if len(o) == len(_Orders._fields)]


def _first_shown(pairs: Sequence[_Orders]) -> list[float]:
    in_ab = [float(p.ab.winner == "A") for p in pairs if p.ab.winner != "tie"]
    in_ba = [float(p.ba.winner == "B") for p in pairs if p.ba.winner != "tie"]
    return in_ab + in_ba


def _sign(verdict: Verdict, lengths: Mapping[str, tuple[int, int]]) -> float:
    a, b = lengths[verdict.prompt_key]
    longer_by = a - b if verdict.winner == "A" else b - a
    return float((longer_by > 0) - (longer_by < 0))
