"""Reward modelling as a benchmark of the suite: a model judges ranked replies (Table 4).

`scores` compares it with the humans' rankings and with trivial baselines.

See order_metrics.py for ties and for the pooling of correlations.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING

from core.benchmarks import BENCHMARKS
from core.intervals import mean_interval
from core.records import Score
from core.reductions import draws_of, judge_noise, mean_scores
from core.stages import HOW_JUDGED, Ref, Stage
from evaluation.agreement.order_metrics import PERFECT, Metric, ScoredReplies, measure
from evaluation.benchmark import Benchmark, EvaluationItem
from judges.pointwise import judge_ranked, of_split
from judges.rubrics import load_rubric

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.benchmarks import Subject
    from core.records import Judgment, RankedPrompt
    from evaluation.run import EvalRun

IN_WORDS = "in_words"
ALWAYS = 4.0  # the most common score (paper, section 3.1.1)
SHUFFLES = 200
DEFAULTS = {
    "pairwise_accuracy": "pairwise_accuracy/ties_excluded",
    "five_best": "five_best",
    "exact_match": "exact_match/ties_wrong",
    "spearman": "spearman/per_prompt",
    "kendall_tau": "kendall_tau/per_prompt",
}
_UNDEFINED = {
    "pairwise_accuracy": "no two differently ranked replies have different scores",
    "five_best": "no reply has the perfect score",
    "exact_match": "no instruction has all its replies scored",
    "spearman": "no instruction has two differently ranked replies with a score",
    "kendall_tau": "no instruction has two differently ranked replies with a score",
    "tie_rate": "no two differently ranked replies have a score",
    "parse_rate": "no judgments",
}
RANKED = Ref(1, Stage.RANKED)


def evaluate(run: EvalRun, subject: Subject) -> list[Score]:
    """A model as a judge against the human rankings (Table 4)."""
    (model,) = subject.models
    section, ref = run.section.agreement, subject.ref(Stage.RANKED_JUDGMENTS)

    def prompts() -> list[RankedPrompt]:
        return of_split(run.read(RANKED), "eval", section.limit)

    judgments = run.rows(
        ref,
        [RANKED, run.model(model)],
        lambda out: judge_ranked(
            run.engine(model, ref),
            prompts(),
            run.config.judge,
            draws=section.draws,
            seed=run.config.seed,
            title=f"{model} judges the EFT evaluation split",
            out=out,
        ),
        sections=(*HOW_JUDGED, "evaluation.agreement", "engine.dtype"),
    )
    return run.scores(
        subject,
        [judgments, RANKED],
        lambda: scores(
            prompts(),
            run.read(judgments),
            seed=run.config.seed,
            perfect=load_rubric(run.config.judge.rubric).high,
        ),
    )


def baselines(
    prompts: Sequence[ScoredReplies],
    lengths: Mapping[str, Sequence[int]] | None,
    *,
    seed: int,
    perfect: float = PERFECT,
) -> dict[str, dict[str, float | None]]:
    """Return the metrics of trivial baselines on the same replies.

    always_4: a constant score. shuffled: the judge's own scores permuted among all scored replies,
    mean over 200 seeded permutations. length: characters as the score (longer is better); only if
    `lengths` (per prompt key, in the order of the replies) is given.
    """
    constant = [prompt.with_scores([ALWAYS] * len(prompt.replies)) for prompt in prompts]
    found = {
        "always_4": _values(constant, perfect),
        "shuffled": _shuffled(prompts, seed=seed, perfect=perfect),
    }
    if lengths is not None:
        longer = [prompt.with_scores(lengths[prompt.prompt_key]) for prompt in prompts]
        # Lengths are not on the rubric's scale, so none is a perfect score.
        found["length"] = _values(longer, math.inf)
    return found


def scores(
    ranked: Sequence[RankedPrompt],
    judgments: Sequence[Judgment],
    *,
    seed: int,
    perfect: float = PERFECT,
) -> list[Score]:
    """Return Table 4 for one judge: the five metrics, tie rate, parse rate, and the judge's noise.

    A reply's parsed draws are averaged; a reply without one is missing, not 0. `detail` of each
    metric holds its other variants and the baselines. Where scores are expected values
    (`judge.reading`) it holds the metric of the scores in words too, and `parse_rate` is theirs.
    """
    prompts = _scored(ranked, judgments)
    lengths = {prompt.key: [len(reply.text) for reply in prompt.replies] for prompt in ranked}
    found = measure(prompts, perfect=perfect)
    chance = baselines(prompts, lengths, seed=seed, perfect=perfect)
    if any(judgment.chances is not None for judgment in judgments):
        words = [replace(judgment, score=judgment.said) for judgment in judgments]
        chance[IN_WORDS] = _values(_scored(ranked, words), perfect)
    gaps = [sum(s is None for _, s in prompt.replies) for prompt in prompts if prompt.comparable]
    unscored, incomplete = sum(gaps), sum(gap > 0 for gap in gaps)
    out = []
    for name, key in DEFAULTS.items():
        others = {k: m.value for k, m in found.items() if k.startswith(f"{name}/") and k != key}
        beside = {who: values[key] for who, values in chance.items()}
        missing = incomplete if name == "exact_match" else unscored
        out.append(_score(name, found[key], missing, {**others, **beside}))
    out.append(_score("tie_rate", found["tie_rate"], unscored, None))
    noise = judge_noise("judge_noise", draws_of(judgments).values())
    return [*out, _parse_rate(judgments), noise]


def _scored(ranked: Sequence[RankedPrompt], judgments: Sequence[Judgment]) -> list[ScoredReplies]:
    means = {key: found.mean for key, found in mean_scores(judgments).items()}
    return [
        ScoredReplies(
            prompt.key,
            tuple((float(reply.rank), means.get(reply.key)) for reply in prompt.replies),
        )
        for prompt in ranked
    ]


def _parse_rate(judgments: Sequence[Judgment]) -> Score:
    readable = [float(j.said is not None) for j in judgments]
    reasons = Counter(j.unparsed or "no_score" for j in judgments if j.said is None)
    interval = mean_interval(readable, [j.prompt_key for j in judgments], scale=(0.0, 1.0))
    rate = Metric(fmean(readable) if readable else None, len(readable), interval)
    return _score("parse_rate", rate, 0, dict(sorted(reasons.items())))


def _score(name: str, metric: Metric, missing: int, detail: Mapping[str, object] | None) -> Score:
    low, high = metric.interval or (None, None)
    reason = _UNDEFINED[name] if metric.value is None else None
    kept = dict(detail) if detail is not None else None
    return Score(name, metric.value, metric.n, missing, low, high, reason=reason, detail=kept)


def _shuffled(
    prompts: Sequence[ScoredReplies], *, seed: int, perfect: float
) -> dict[str, float | None]:
    rng = random.Random(f"shuffled/{seed}")
    kept = [prompt for prompt in prompts if prompt.comparable]
    pool = [score for p in kept for _, score in p.replies if score is not None]
    found: dict[str, list[float]] = {}
    for _ in range(SHUFFLES):
        rng.shuffle(pool)
        shuffled = iter(pool)
        again = [
            p.with_scores([None if score is None else next(shuffled) for _, score in p.replies])
            for p in kept
        ]
        for name, value in _values(again, perfect).items():
            found.setdefault(name, []).extend([] if value is None else [value])
    return {name: fmean(values) if values else None for name, values in found.items()}


def _values(prompts: Sequence[ScoredReplies], perfect: float) -> dict[str, float | None]:
    found = measure(prompts, perfect=perfect, intervals=False)
    return {name: metric.value for name, metric in found.items()}


def _texts(run: EvalRun) -> list[EvaluationItem]:
    ranked: list[RankedPrompt] = run.read(RANKED) if run.store.exists(RANKED) else []
    return [EvaluationItem("agreement", p.key, p.prompt) for p in ranked if p.split == "eval"]


BENCHMARK = Benchmark(BENCHMARKS["agreement"], evaluate, texts=_texts)
