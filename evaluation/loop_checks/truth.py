"""The self-judge against the truth, where a program can check the iteration's prompts.

Prompts in IFEval's schema (`prompts.source`) say which instructions an answer must follow, so that
right and wrong answers are known without any judge: how often M_{k-1} answers rightly, how well it
orders its own answers, and what its preference pairs teach.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from core.benchmarks import BENCHMARKS
from core.intervals import mean_interval, ratio_interval, share_score
from core.records import ANSWERED, ItemScore, Score
from core.reductions import mean_scores
from core.store import Built
from evaluation.ifeval.scores import Response, item

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.records import Candidate, Judgment, LedgerRow, Prompt
    from core.store import Partial
    from judges.verifiers.ifeval import IfevalPrompt

METRIC = BENCHMARKS["ifeval"].headline
_PERCENT = (0.0, 100.0)
_OWN, _OTHERS = "truth", "truth_of_others"


def check_candidates(
    prompts: Sequence[Prompt],
    candidates: Sequence[Candidate],
    known: Mapping[str, IfevalPrompt],
    out: Partial,
    *,
    others: Sequence[Candidate] = (),
) -> Built:
    """Write the checker's decision on every candidate whose prompt is in `known` (by its text).

    `others`: answers of other models that pairs may hold (`pairs.rejected_from`).
    """
    texts = {prompt.key: prompt.text.strip() for prompt in prompts}
    unknown, own = 0, {candidate.key for candidate in candidates}
    for candidate in (*candidates, *others):
        prompt = known.get(texts[candidate.prompt_key])
        if prompt is None:
            unknown += 1
        elif candidate.key not in out.rows:
            missing = None if candidate.finish in ANSWERED else candidate.finish
            checked = item(prompt, Response(candidate.text, missing))
            detail = {**checked.detail, "prompt_key": candidate.prompt_key}
            task = _OWN if candidate.key in own else _OTHERS
            out.add(ItemScore(candidate.key, task, candidate.key, checked.metrics, detail))
    return Built(counts={"items": len(out.rows), "not_checkable": unknown})


def scores(
    items: Sequence[ItemScore], judgments: Sequence[Judgment], ledger: Sequence[LedgerRow]
) -> list[Score]:
    """Compare judgments and pairs with the truth; all in percent.

    candidates_right: answers of M_{k-1} that follow their prompt, those to one prompt one cluster.
    judge_accuracy: pairs of a right and a wrong answer to one prompt of which the right one has the
        higher mean score; equal scores count half, so 50 is chance.
    chosen_right, rejected_right: right answers among the chosen and the rejected of the pairs.
    """
    checked = {row.item: bool(row.metrics[METRIC]) for row in items if METRIC in row.metrics}
    own = [row for row in items if row.task == _OWN]
    right = {row.item: checked[row.item] for row in own if row.item in checked}
    prompt_of = {row.item: str(row.detail["prompt_key"]) for row in own}
    missing = len(own) - len(right)
    values = [100.0 * followed for followed in right.values()]
    labels = [prompt_of[key] for key in right]
    low, high = mean_interval(values, labels, scale=_PERCENT) or (None, None)
    mean = sum(values) / len(values) if values else None
    reason = None if values else "no answer to a prompt that can be checked"
    pairs = [row for row in ledger if row.chosen_key in checked and row.rejected_key in checked]
    return [
        Score("candidates_right", mean, len(values), missing, low, high, reason=reason),
        _judge_accuracy(right, prompt_of, judgments),
        *(
            share_score(
                f"{side}_right",
                sum(checked[str(getattr(row, f"{side}_key"))] for row in pairs),
                len(pairs),
                0,
                reason="no preference pair whose answers can be checked",
            )
            for side in ("chosen", "rejected")
        ),
    ]


def _judge_accuracy(
    right: Mapping[str, bool], prompt_of: Mapping[str, str], judgments: Sequence[Judgment]
) -> Score:
    means = {key: found.mean for key, found in mean_scores(judgments).items()}
    scored: dict[str, list[tuple[bool, float]]] = defaultdict(list)
    for key, followed in right.items():
        if (mean := means.get(key)) is not None:
            scored[prompt_of[key]].append((followed, mean))
    ordered, compared, ties = [], [], 0
    for answers in scored.values():
        gaps = [good - bad for ok, good in answers if ok for wrong, bad in answers if not wrong]
        ties += gaps.count(0.0)
        ordered.append(sum(1.0 if gap > 0 else 0.5 if gap == 0 else 0.0 for gap in gaps))
        compared.append(float(len(gaps)))
    n, unscored = int(sum(compared)), sum(means.get(key) is None for key in right)
    if not n:
        reason = "no prompt has a right and a wrong answer with scores"
        return Score("judge_accuracy", None, 0, unscored, reason=reason)
    interval = ratio_interval(ordered, compared)
    low, high = interval.scaled(100) if interval is not None else (None, None)
    value = 100 * sum(ordered) / n
    return Score("judge_accuracy", value, n, unscored, low, high, detail={"ties": ties})
