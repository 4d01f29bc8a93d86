"""Pairs of judgments: the judge is trained on its own verdicts about them (Meta-Rewarding).

The model compares the judgments of the answer that it disagrees about most, every two in both
orders; their Bradley-Terry strengths, with position bias removed, say which is the best and which
the worst.

Source: Wu et al. 2024 (arXiv 2407.19594), section 2.2, "Judge preference data".
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from core.progress import track
from core.records import JudgePair
from core.store import Built
from judges.health import measure_meta_judge
from judges.meta.battles import battles, position_weights
from judges.meta.bradley_terry import strengths
from judges.meta.comparing import Disputed, comparisons, meta_prompt, most_disputed
from judges.pairwise import judge_orders
from judges.rubrics import load_rubric
from training.data.candidates import judged_answers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from core.config import Config
    from core.records import Candidate, Judgment, Prompt, Verdict
    from core.store import Partial
    from judges.asking import Judge, Reply
    from judges.meta.battles import PositionWeights

_LEAST_GAP = 1e-6  # of strengths: less is rounding


def disputed_answers(
    prompts: Sequence[Prompt], candidates: Iterable[Candidate], judgments: Iterable[Judgment]
) -> dict[str, Disputed]:
    """Return, by the key of their prompts, the answers whose judgments are compared."""
    return most_disputed(judged_answers(prompts, candidates), judgments)


def compare_judgments(
    judge: Judge, disputed: Mapping[str, Disputed], config: Config, out: Partial
) -> Built:
    """Write a verdict for every two judgments of each answer, in both orders."""
    section, reading = config.judge, config.judge.reading
    prompt = meta_prompt(
        config.judge_pairs.prompt, load_rubric(section.rubric), disputed, reading
    )._replace(max_new_tokens=section.max_new_tokens)
    items = comparisons(disputed.values())
    failures: list[Reply] = []  # a local judge never fails
    with track("meta-judgments", 2 * len(items), resumed=len(out.rows)) as advance:
        for verdict in judge_orders(judge, items, prompt, done=out.rows, failures=failures):
            out.add(verdict)
            advance()
    scores = {j.key: j.score or 0.0 for one in disputed.values() for j in one.judgments}
    verdicts = list(out.rows.values())
    measured = measure_meta_judge(verdicts, scores)
    counts = Counter((v.unparsed and f"unparsed_{v.unparsed}") or "parsed" for v in verdicts)
    return Built(
        counts={"answers": len(disputed), **counts},
        facts={one.key: one.value for one in measured},
        engine=judge.identity,
    )


def select_judge_pairs(
    prompts: Sequence[Prompt],
    disputed: Mapping[str, Disputed],
    verdicts: Sequence[Verdict],
    config: Config,
    out: Partial,
) -> Built:
    """Write one row per prompt; the outcomes' counts add up to the number of prompts.

    Outcomes: "pair"; "not_disputed" (no answer has two readable judgments with different scores);
    "no_preference" (no winner, or all are equally strong); "too_long" (the chosen one has more than
    `judge_pairs.max_characters`).
    """
    weights, about = position_weights(verdicts), defaultdict(list)
    for verdict in verdicts:
        about[verdict.prompt_key].append(verdict)
    for prompt in prompts:
        if prompt.key in out.rows:
            continue
        found = disputed.get(prompt.key)
        if found is None:
            out.add(JudgePair(prompt.key, "", "not_disputed"))
        else:
            out.add(judge_pair(found, about[prompt.key], weights, config))
    counts = Counter(row.outcome for row in out.rows.values())
    facts = {"position_weights": None if weights is None else list(weights)}
    return Built(counts=dict(counts), facts=facts)


def judge_pair(
    disputed: Disputed,
    verdicts: Iterable[Verdict],
    weights: PositionWeights | None,
    config: Config,
) -> JudgePair:
    """Return the best against the worst of an answer's judgments; of equals, the first draw."""
    answer, judgments = disputed
    asked = load_rubric(config.judge.rubric).render(answer.prompt, answer.response)
    keys = tuple(judgment.key for judgment in judgments)
    row = JudgePair(answer.prompt_key, asked, "no_preference", answer.key, keys)
    row = replace(row, scores=tuple(judgment.score or 0.0 for judgment in judgments))
    if weights is None:
        return row
    matrix = battles(keys, verdicts, weights)
    strength = strengths(matrix)
    row = replace(row, battles=tuple(map(tuple, matrix)), strengths=tuple(strength))
    best, worst = strength.index(max(strength)), strength.index(min(strength))
    if strength[best] - strength[worst] < _LEAST_GAP:
        return row
    chosen, rejected = judgments[best], judgments[worst]
    limit = config.judge_pairs.max_characters
    if limit is not None and len(chosen.reply) > limit:
        return replace(row, outcome="too_long")
    return replace(
        row,
        outcome="pair",
        chosen_key=chosen.key,
        rejected_key=rejected.key,
        chosen=chosen.reply,
        rejected=rejected.reply,
    )
