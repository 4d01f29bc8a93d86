"""Health checks of a judge's scores: fit to build preference pairs from?

Score inflation (everything 5) and unparsable replies leave too few pairs; the checks run before
hours of training, not after.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from core.errors import UnhealthyJudge
from core.records import Measurement
from core.reductions import mean_scores
from core.store import Built

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.config import HealthSection
    from core.records import Judgment
    from core.store import Partial

# Two or three answers correlate perfectly by chance; ten at 0.8 do not (p = 0.005).
_MIN_FOR_CORRELATION = 10


def write(judgments: Sequence[Judgment], lengths: Mapping[str, int], out: Partial) -> Built:
    """Write the measurements of a set of judgments; see `measure`."""
    out.add_missing(measure(judgments, lengths))
    return Built(counts={"judgments": len(judgments)})


def measure(judgments: Sequence[Judgment], lengths: Mapping[str, int]) -> list[Measurement]:
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
    reasons = Counter(j.unparsed for j in judgments if j.unparsed is not None)
    histogram = Counter(math.floor(score + 0.5) for score in scores)
    means = {k: m.mean for k, m in mean_scores(judgments).items() if m.mean is not None}
    by_prompt = defaultdict(list)
    prompt_of = {j.subject_key: j.prompt_key for j in judgments}
    for key, mean in means.items():
        by_prompt[prompt_of[key]].append(mean)
    comparable = [found for found in by_prompt.values() if len(found) > 1]
    variances = _draw_variances(judgments)
    return [
        Measurement(
            "parse_rate",
            len(scores) / len(judgments) if judgments else None,
            len(judgments),
            {str(reason): float(count) for reason, count in sorted(reasons.items())},
        ),
        Measurement("score_mean", _mean(scores), len(scores)),
        Measurement(
            "score_entropy_bits",
            entropy_bits(list(histogram.values())) if scores else None,
            len(scores),
            {str(point): float(histogram[point]) for point in sorted(histogram)},
        ),
        Measurement(
            "tie_rate",
            _mean([float(max(found) == min(found)) for found in comparable]),
            len(comparable),
        ),
        Measurement("draw_variance", _mean(variances), len(variances)),
        _length_correlation(means, lengths),
    ]


def entropy_bits(counts: Sequence[int]) -> float:
    """Return the Shannon entropy of counts in bits: 0 for one value, log2(n) for n equal ones."""
    total = sum(counts)
    return -sum(c / total * math.log2(c / total) for c in counts if c) + 0.0


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


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
    parse_rate = value["parse_rate"]
    if parse_rate is None or parse_rate < limits.min_parse_rate:
        shown = "no replies" if parse_rate is None else f"{parse_rate:.1%}"
        found.append(
            f"readable judge replies: {shown} (limit {limits.min_parse_rate:.0%}); "
            "train on more EFT examples or raise judge.max_new_tokens"
        )
    entropy = value["score_entropy_bits"]
    if entropy is not None and entropy < limits.min_score_entropy_bits:
        found.append(
            f"score entropy {entropy:.2f} bits (limit {limits.min_score_entropy_bits:g}): nearly "
            "all scores are the same; balance the EFT scores or raise judge.temperature"
        )
    ties = value["tie_rate"]
    if ties is not None and ties > limits.max_tie_rate:
        found.append(
            f"tied prompts: {ties:.1%} (limit {limits.max_tie_rate:.0%}); "
            "raise judge.draws or candidates.n"
        )
    length, answers = value["length_correlation"], n["length_correlation"]
    enough = answers >= _MIN_FOR_CORRELATION
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
