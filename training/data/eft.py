"""Evaluation fine-tuning (EFT) data: examples of judging (paper, section 3.1.1).

As in the paper, the SFT baseline judges replies that humans ranked, and its judgments are kept if
they rank the replies as the humans did. The packaged sample also has written justifications,
because a 135M-parameter baseline yields few usable judgments.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import TYPE_CHECKING, Literal, NamedTuple

from core.errors import DataError
from core.progress import say
from core.records import JudgeExample
from core.store import Built
from core.thinking import after_thought
from judges.pointwise import judgment_key
from judges.rubrics import load_rubric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.config import Config
    from core.records import Judgment, RankedPrompt, Reply
    from core.store import Partial


_MORE = {
    "constructed": "; more draws (eft.construction.draws), more ranked prompts (ift.max_share "
    "leaves some) or eft.selection.agreement = 'no_inversion' give more",
    "written": "; the source has no more",
}


class ScoredReply(NamedTuple):
    """A ranked reply with one of its readable judgments."""

    reply: Reply
    judgment: Judgment


def rule(config: Config) -> dict[str, str]:
    """Return how judgments are chosen among several draws, for the examples' key.

    Examples of an earlier release, which took each reply's first readable draw, are stale. With one
    draw both are the same.
    """
    several = config.eft.construction.draws > 1
    return {"draws": "first combination that agrees"} if several else {}


def construct(
    prompts: Sequence[RankedPrompt], judgments: Sequence[Judgment], config: Config, out: Partial
) -> Built:
    """Write the judgments that rank a prompt's replies as humans did; count each reason to drop.

    Of several draws, the first combination that agrees is taken. Counts are per reply: kept and
    dropped ones add up to `replies`.
    """
    draws, agreement = config.eft.construction.draws, config.eft.selection.agreement
    by_key = {judgment.key: judgment for judgment in judgments}
    counts: Counter[str] = Counter(replies=sum(len(p.replies) for p in prompts))
    agreeing = []
    for prompt in prompts:
        found = (_readable(reply, by_key, draws) for reply in prompt.replies)
        options = [scored for scored in found if scored]
        counts["dropped_unparsed"] += len(prompt.replies) - len(options)
        if len(options) < 2:  # noqa: PLR2004 - an order needs two
            counts["dropped_fewer_than_two_scored"] += len(options)
        elif (chosen := first_agreeing(options, agreement)) is None:
            counts["dropped_order_disagrees"] += len(options)
        else:
            counts["prompts_agreeing"] += 1
            agreeing += [
                JudgeExample(
                    f"{r.key}/constructed",
                    prompt.prompt,
                    r.text,
                    after_thought(j.reply).text.strip(),
                    j.score or 0.0,
                    "constructed",
                )
                for r, j in chosen
            ]
    return _keep(agreeing, "constructed", counts, config, out)


def _readable(reply: Reply, by_key: dict[str, Judgment], draws: int) -> list[ScoredReply]:
    """Return the first readable judgment with each score, in the order of the draws."""
    found: dict[float, ScoredReply] = {}
    for draw in range(draws):
        judgment = by_key[judgment_key(reply.key, draw)]
        if judgment.score is not None and not judgment.cut:  # a cut-off reply would teach no end
            found.setdefault(judgment.score, ScoredReply(reply, judgment))
    return list(found.values())


class _Scores(NamedTuple):
    """What decides which scores may follow, best rank first.

    `better`: the lowest score of the better ranks; `lowest`: of this rank so far; `highest`: of
    all.
    """

    better: float
    lowest: float
    highest: float


def first_agreeing(
    options: Sequence[Sequence[ScoredReply]], agreement: str
) -> list[ScoredReply] | None:
    """Return one judgment per reply such that their scores rank the replies as humans did.

    Of several combinations, the first in the order of the draws, where the best-ranked reply's
    comes first; None if there is none. "strict": each better rank scores higher. "no_inversion":
    none scores lower and not all are equal. Replies of equal human rank are not compared.

    The search is exact and takes time in the replies times the cube of the different scores: of
    all combinations that allow the same scores to follow, only the first is continued.
    """
    ordered = sorted(options, key=lambda scored: scored[0].reply.rank)
    ranks = [scored[0].reply.rank for scored in ordered]
    if ranks[0] == ranks[-1]:
        return None  # an order needs two ranks
    found: dict[_Scores, tuple[ScoredReply, ...]] = {_Scores(math.inf, math.inf, -math.inf): ()}
    for place, scored in enumerate(ordered):
        worse = place > 0 and ranks[place] > ranks[place - 1]
        longer: dict[_Scores, tuple[ScoredReply, ...]] = {}
        for so_far, chosen in found.items():
            before = so_far._replace(better=so_far.lowest, lowest=math.inf) if worse else so_far
            for item in scored:
                score = item.judgment.score or 0.0
                if score < before.better or (
                    agreement == "no_inversion" and score == before.better
                ):
                    low, high = min(score, before.lowest), max(score, before.highest)
                    longer.setdefault(_Scores(before.better, low, high), (*chosen, item))
        found = longer
    whole = (list(chosen) for scores, chosen in found.items() if scores.lowest < scores.highest)
    return next(whole, None)


def written(prompts: Sequence[RankedPrompt], config: Config, out: Partial) -> Built:
    """Write the examples that have a justification and a score in the source file."""
    counts: Counter[str] = Counter(replies=sum(len(p.replies) for p in prompts))
    examples = []
    form = load_rubric(config.judge.rubric).form
    for prompt in prompts:
        for reply in prompt.replies:
            if reply.score is None or not reply.justification:
                counts["dropped_no_written_score"] += 1
                continue
            target = f"{reply.justification.strip()}\n\n{form.write(reply.score)}"
            key = f"{reply.key}/written"
            examples.append(
                JudgeExample(key, prompt.prompt, reply.text, target, reply.score, "written")
            )
    return _keep(examples, "written", counts, config, out)


def require_written(prompts: Sequence[RankedPrompt], config: Config) -> None:
    """Check, before anything is trained, that M1 will have EFT examples if they are to be written.

    Raises:
        DataError: no reply of the training prompts has a justification and a score, or a score is
            outside the rubric's range.
    """
    wanted = config.eft.selection.source == "written" and config.m1.use_eft
    replies = (reply for prompt in prompts for reply in prompt.replies)
    if wanted and not any(reply.score is not None and reply.justification for reply in replies):
        what = (
            'eft.selection.source is "written", but no reply of the training prompts has a "score" '
            'and a "justification"; add them, set it to "constructed", or train without EFT '
            "(m1.use_eft = false)"
        )
        raise DataError(config.eft.source.path, None, what)
    if wanted:
        _require_range(prompts, config)


def _require_range(prompts: Sequence[RankedPrompt], config: Config) -> None:
    low, high = load_rubric(config.judge.rubric).scale
    for prompt in prompts:
        for reply in prompt.replies:
            if reply.score is not None and not low <= reply.score <= high:
                what = (
                    f"reply {reply.key}: score {reply.score:g} is not in {low:g}..{high:g}, the "
                    f"range of judge.rubric = {config.judge.rubric!r}; see docs/judges.md"
                )
                raise DataError(config.eft.source.path, None, what)


def adopt(examples: Sequence[JudgeExample], out: Partial) -> Built:
    """Use the constructed examples unchanged as the training set."""
    out.add_missing(examples)
    return Built(counts={"kept": len(examples)})


def _keep(
    examples: list[JudgeExample],
    source: Literal["constructed", "written"],
    counts: Counter[str],
    config: Config,
    out: Partial,
) -> Built:
    """Balance, cap and write the examples in a seeded order; warn if M1 gets too few of them."""
    section = config.eft.selection
    random.Random(f"eft-order/{config.seed}").shuffle(examples)
    kept = without_excess(examples) if section.balance_scores else examples
    counts["dropped_most_common_score"] += len(examples) - len(kept)
    limit = section.max_examples
    if limit is not None and len(kept) > limit:
        counts["dropped_over_max_examples"] += len(kept) - limit
        kept = kept[:limit]
    counts["kept"] = len(kept)
    if source == section.source and limit is not None and len(kept) < limit:
        say(
            f"  warning: {len(kept):,} EFT examples, fewer than eft.selection.max_examples = "
            f"{limit:,}{_MORE[source]}"
        )
    out.add_missing(kept)
    for score, count in sorted(Counter(example.score for example in kept).items()):
        counts[f"score_{score:g}"] = count
    return Built(counts=dict(counts))


def without_excess(examples: Sequence[JudgeExample]) -> list[JudgeExample]:
    """Drop examples of the most common score until it is as frequent as the second; keep order."""
    common = Counter(example.score for example in examples).most_common(2)
    if len(common) < 2:  # noqa: PLR2004 - one score only: nothing to balance against
        return list(examples)
    (score, _), (_, allowed) = common
    kept, seen = [], 0
    for example in examples:
        if example.score == score:
            seen += 1
            if seen > allowed:
                continue
        kept.append(example)
    return kept
