"""Evaluation fine-tuning (EFT) data: examples of judging (paper, section 3.1.1).

As in the paper, the SFT baseline judges replies that humans ranked, and its judgments are kept if
they rank the replies as the humans did. The packaged sample also has written justifications,
because a 135M-parameter baseline yields few usable judgments.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from core.errors import DataError
from core.records import JudgeExample
from core.store import Built
from core.thinking import after_thought
from judges.pointwise import judgment_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.config import Config
    from core.records import Judgment, RankedPrompt, Reply
    from core.store import Partial


class ScoredReply(NamedTuple):
    """A ranked reply with its first readable judgment."""

    reply: Reply
    judgment: Judgment


def construct(
    prompts: Sequence[RankedPrompt], judgments: Sequence[Judgment], config: Config, out: Partial
) -> Built:
    """Write the judgments that rank a prompt's replies as humans did; count each reason to drop.

    Counts are per reply: kept and dropped ones add up to `replies`.
    """
    draws, rule = config.eft.construction.draws, config.eft.selection.agreement
    by_key = {judgment.key: judgment for judgment in judgments}
    counts: Counter[str] = Counter(replies=sum(len(p.replies) for p in prompts))
    agreeing = []
    for prompt in prompts:
        scored = [s for r in prompt.replies if (s := _first_readable(r, by_key, draws)) is not None]
        counts["dropped_unparsed"] += len(prompt.replies) - len(scored)
        if len(scored) < 2:  # noqa: PLR2004 - an order needs two
            counts["dropped_fewer_than_two_scored"] += len(scored)
        elif not agrees(scored, rule):
            counts["dropped_order_disagrees"] += len(scored)
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
                for r, j in scored
            ]
    return _keep(agreeing, counts, config, out)


def _first_readable(reply: Reply, by_key: dict[str, Judgment], draws: int) -> ScoredReply | None:
    for draw in range(draws):
        judgment = by_key[judgment_key(reply.key, draw)]
        if judgment.score is not None and not judgment.cut:  # a cut-off reply would teach no end
            return ScoredReply(reply, judgment)
    return None


def agrees(scored: Sequence[ScoredReply], rule: str) -> bool:
    """Whether scores rank the replies as humans did; replies of equal human rank are not compared.

    "strict": each better rank scores higher. "no_inversion": none scores lower and not all are
    equal.
    """
    best_first = defaultdict(list)
    for item in scored:
        best_first[item.reply.rank].append(item.judgment.score or 0.0)
    groups = [best_first[rank] for rank in sorted(best_first)]
    if len(groups) < 2:  # noqa: PLR2004 - an order needs two ranks
        return False
    if rule == "strict":
        return all(min(better) > max(worse) for better, worse in pairwise(groups))
    spread = max(map(max, groups)) > min(map(min, groups))
    return spread and all(min(better) >= max(worse) for better, worse in pairwise(groups))


def written(prompts: Sequence[RankedPrompt], config: Config, out: Partial) -> Built:
    """Write the examples that have a justification and a score in the source file."""
    counts: Counter[str] = Counter(replies=sum(len(p.replies) for p in prompts))
    examples = []
    for prompt in prompts:
        for reply in prompt.replies:
            if reply.score is None or not reply.justification:
                counts["dropped_no_written_score"] += 1
                continue
            target = f"{reply.justification.strip()}\n\nScore: {reply.score:g}"
            key = f"{reply.key}/written"
            examples.append(
                JudgeExample(key, prompt.prompt, reply.text, target, reply.score, "written")
            )
    return _keep(examples, counts, config, out)


def require_written(prompts: Sequence[RankedPrompt], config: Config) -> None:
    """Check, before anything is trained, that M1 will have EFT examples if they are to be written.

    Raises:
        DataError: no reply of the training prompts has a justification and a score.
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


def adopt(examples: Sequence[JudgeExample], out: Partial) -> Built:
    """Use the constructed examples unchanged as the training set."""
    out.add_missing(examples)
    return Built(counts={"kept": len(examples)})


def _keep(
    examples: list[JudgeExample], counts: Counter[str], config: Config, out: Partial
) -> Built:
    """Balance, cap and write the examples in a seeded order."""
    section = config.eft.selection
    random.Random(f"eft-order/{config.seed}").shuffle(examples)
    kept = without_excess(examples) if section.balance_scores else examples
    counts["dropped_most_common_score"] += len(examples) - len(kept)
    limit = section.max_examples
    if limit is not None and len(kept) > limit:
        counts["dropped_over_max_examples"] += len(kept) - limit
        kept = kept[:limit]
    counts["kept"] = len(kept)
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
