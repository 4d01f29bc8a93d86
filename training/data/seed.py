"""Seed data: IFT examples, human-ranked replies (paper, section 3.1.1) and validation prompts."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

from core.errors import ConfigError, DataError
from core.records import Example, RankedPrompt
from core.sources.reader import read_prompts, read_threads
from core.sources.source import PACKAGED, Source
from core.sources.thread import ranked_replies
from core.store import Built

if TYPE_CHECKING:
    from core.config import Config
    from core.sources.thread import Thread
    from core.store import Partial


def ift_source(config: Config) -> Source:
    """Return where IFT examples come from."""
    s = config.ift
    return Source(s.source, "ift", s.split, s.subset, s.columns, "ift.source")


def eft_source(config: Config) -> Source:
    """Return where ranked replies come from."""
    s = config.eft.source
    return Source(s.path, "eft", s.split, s.subset, s.columns, "eft.source.path")


def validation_source(config: Config) -> Source:
    """Return where the prompts come from that checkpoints answer."""
    return Source(
        config.dpo.early_stopping.validation, "prompts", setting="dpo.early_stopping.validation"
    )


def select_ift(config: Config, out: Partial) -> Built:
    """Write a seeded sample of users' turns with their best-ranked reply.

    Where EFT reads the same source, prompts with too few ranked replies for it come first.

    Raises:
        DataError: the source has no usable example.
    """
    section = config.ift
    usable, counts, seen, for_eft = [], Counter[str](), set[str](), set[str]()
    for thread in read_threads(ift_source(config), language=section.language, skipped=counts):
        best = next((reply for reply in thread.replies if reply.rank == 0), None)
        if best is None:
            counts["dropped_no_rank_0_reply"] += 1
        elif thread.text.strip() in seen:
            counts["dropped_repeated_prompt"] += 1
        else:
            seen.add(thread.text.strip())
            usable.append(Example(thread.key, thread.prompt, best.text, before=thread.before))
            if len(ranked_replies(thread)) >= config.eft.source.min_replies:
                for_eft.add(thread.key)
    if not usable:
        raise DataError(
            section.source, None, f"no first turn in {section.language!r} has a rank-0 reply"
        )
    limit = section.max_examples
    random.Random(f"ift/{config.seed}").shuffle(usable)
    if section.source != "sample" and _is_shared(config):
        limit = min(limit, round(section.max_share * len(usable)))
    if ift_order(config):
        usable.sort(key=lambda example: example.key in for_eft)  # stable: the seeded order stays
    out.add_missing(usable[:limit])
    counts["dropped_over_max_examples"] += max(0, len(usable) - limit)
    return Built(counts=dict(counts))


def ift_order(config: Config) -> dict[str, str]:
    """Return which prompts IFT takes first, for its key; {} where EFT reads another source."""
    if not _is_shared(config) or config.ift.source in PACKAGED:
        return {}  # packaged sets have a file for each
    return {"first": f"fewer than {config.eft.source.min_replies} ranked replies"}


def _is_shared(config: Config) -> bool:
    """Whether IFT and EFT read the same rows."""
    ift, eft = ift_source(config), eft_source(config)
    return (ift.name, ift.split, ift.subset) == (eft.name, eft.split, eft.subset)


def select_ranked(config: Config, ift: list[Example], out: Partial) -> Built:
    """Write prompts with two or more ranked replies, none of them an IFT prompt, split in two.

    Raises:
        DataError: the source has no usable prompt.
    """
    section = config.eft.source
    taken = {example.text.strip() for example in ift}
    usable, counts, seen = [], Counter[str](), set[str]()
    for thread in read_threads(eft_source(config), language=section.language, skipped=counts):
        replies = ranked_replies(thread)
        if len(replies) < section.min_replies:
            counts["dropped_too_few_ranked_replies"] += 1
        elif thread.text.strip() in taken:
            counts["dropped_also_in_ift"] += 1
        elif thread.text.strip() in seen:
            counts["dropped_repeated_prompt"] += 1
        else:
            seen.add(thread.text.strip())
            usable.append((thread, replies))
    if not usable:
        raise DataError(
            section.path,
            None,
            f"no prompt is left that has {section.min_replies} or more ranked replies "
            f"({', '.join(f'{name} {count}' for name, count in counts.items())})",
        )
    random.Random(f"eft/{config.seed}").shuffle(usable)
    if section.max_prompts is not None:
        counts["dropped_over_max_prompts"] += max(0, len(usable) - section.max_prompts)
        usable = usable[: section.max_prompts]
    held_out = round(section.eval_share * len(usable))
    for place, (thread, replies) in enumerate(usable):
        named = thread.split in ("train", "eval")
        split = thread.split if named else "eval" if place < held_out else "train"
        if thread.key not in out.rows:
            out.add(RankedPrompt(thread.key, thread.text, replies, split))  # type: ignore[arg-type]
    counts["eval_prompts"] = sum(row.split == "eval" for row in out.rows.values())
    counts["replies"] = sum(len(row.replies) for row in out.rows.values())
    return Built(counts=dict(counts))


def validation_prompts(config: Config) -> list[Thread]:
    """Return the prompts of the validation split, or of a file without splits.

    Raises:
        ConfigError: there are none.
    """
    stopping, language = config.dpo.early_stopping, config.ift.language
    wanted = read_prompts(validation_source(config), "validation", language=language)
    if not wanted:
        raise ConfigError(
            f"dpo.early_stopping.validation = {stopping.validation!r}: no validation prompt in "
            f"{language!r}; name a file of prompts, or set dpo.early_stopping.enabled = false"
        )
    return wanted[: stopping.max_prompts]
