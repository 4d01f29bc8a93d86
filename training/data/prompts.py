"""Self-instruction: the model writes its own training prompts (paper, section 2.2).

Two stages, so that every rejected prompt can be traced to the reply it came from: `ask` stores the
generator's raw replies, `filter_prompts` parses new tasks from them and records why each was
rejected. The rules are Self-Instruct's (Wang et al. 2023, section 2.2 and its released code).
`take` is for runs whose prompts come from a source; with `prompts.source_share` both have a part.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from core.errors import DataError
from core.progress import track
from core.records import Prompt, PromptCall, user
from core.rouge_l import Pool
from core.sources.reader import read_threads
from core.sources.source import Source
from core.store import Built
from core.thinking import removed
from engines.engine import Decoding, Request, sample_answers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from core.config import Config, PromptsSection
    from core.records import Example, Message
    from core.store import Partial
    from engines.engine import Engine

READING = {"tasks": "0.2"}
"""Part of the key of the prompts: those read by an earlier release's rules are stale, and are read
again from the stored replies without asking anew."""

# "Task 9: ...", "9. ...", "**9)** ..." at the start of a line; not "9.5 kg" or "10:30".
_NUMBERED = re.compile(
    r"^[^\S\n]*(?:\*\*)?(?P<word>Task\s*)?(?P<number>\d{1,4})(?:\*\*)?[^\S\n]*[.:)](?!\d)(?:\*\*)?\s*",
    re.M | re.I,
)
# "Sure! Here are three more tasks:" before numbers of the reply's own.
_PREAMBLE = re.compile(
    r"\s*(?:sure|certainly|of course|okay|absolutely|here)\b[^\n]*\btasks?\b[^\n]*:\s*", re.I
)
_KEYWORDS = re.compile(
    r"\b(images?|graphs?|pictures?|files?|maps?|draw|plot|go to)\b", re.IGNORECASE
)
_OPENING = "Come up with a series of new and varied tasks. Each task is one request or question."


class Known(NamedTuple):
    """What new prompts must differ from: the seed data, and the prompts of earlier iterations."""

    seeds: Sequence[Example]
    earlier: Sequence[str]


class Taken(NamedTuple):
    """Prompts taken from a source; how many are left there, and how many were skipped and why."""

    prompts: list[Prompt]
    left: int
    skipped: Counter[str]


class NewTask(NamedTuple):
    """A task parsed from a reply; `complete` is False if the token limit cut it."""

    text: str
    complete: bool


def prompts_source(config: Config) -> Source:
    """Return where prompts are taken from; only for a `prompts.source` that is one."""
    s = config.prompts
    return Source(s.source, "prompts", s.split, s.subset, s.columns, "prompts.source")


def few_shot(
    seeds: Sequence[str], generated: Sequence[str], section: PromptsSection, *, call: int, seed: int
) -> list[str]:
    """Return the few-shot examples of one call, shuffled; each call draws its own, by seed.

    Six from the seed data and two generated earlier (paper); more from the seed data while there
    are too few generated ones.
    """
    draw = random.Random(f"few-shot/{seed}/{call}")
    own = draw.sample(list(generated), min(section.generated_examples, len(generated)))
    wanted = section.seed_examples + section.generated_examples - len(own)
    shown = draw.sample(list(seeds), min(wanted, len(seeds))) + own
    draw.shuffle(shown)
    return shown


def seed_prompts(seeds: Iterable[Example]) -> list[str]:
    """Return the tasks of the seed data: of a conversation its first turn, each text once."""
    return list(dict.fromkeys(example.first_turn for example in seeds))


def task_messages(examples: Sequence[str]) -> list[Message]:
    """Return the request for new tasks: numbered examples, and the numbers of the new ones."""
    texts = (" ".join(text.split()) for text in examples)
    listed = "\n".join(f"Task {number}: {text}" for number, text in enumerate(texts, start=1))
    first, last = len(examples) + 1, len(examples) + 3
    return user(
        f"{_OPENING} Here are {len(examples)} examples:\n\n{listed}\n\n"
        f"Write three more tasks of other kinds, numbered Task {first} to Task {last}. "
        "Write only the tasks, not their answers."
    )


def read_tasks(reply: str, *, first_number: int, cut: bool) -> list[NewTask]:
    """Parse the tasks of a reply: the numbered ones, or the whole reply as one task.

    A task opens at "Task N", or at a number that continues the numbering; other numbers are a list
    inside a task and stay there. Numbers below `first_number` that open a reply are repeated
    examples; the similarity filter rejects them, so that every rejection is counted.
    """
    marks = _openings(reply, first_number)
    pieces = []
    head = reply[: marks[0].start()] if marks else reply
    if not marks or (head.strip() and int(marks[0]["number"]) == first_number + 1):
        # The reply continues after "Task 9:" without repeating the number.
        pieces.append(head)
    ends = [mark.start() for mark in marks[1:]] + [len(reply)]
    if marks:
        pieces += [reply[m.end() : end] for m, end in zip(marks, ends, strict=True)]
    texts = [" ".join(piece.split()).strip("*").strip() for piece in pieces]
    last = len(texts) - 1
    return [NewTask(t, not (cut and at == last)) for at, t in enumerate(texts) if t]


def _openings(reply: str, first_number: int) -> list[re.Match[str]]:
    """Return the marks that open a task: with the word "Task", or the next number.

    The numbering starts at `first_number`, behind an unnumbered first task at the number after it,
    and where a reply begins with a number (or "Here are three tasks:") at that number.
    """
    found = list(_NUMBERED.finditer(reply))
    opened: list[re.Match[str]] = []
    wanted = {first_number, first_number + 1}
    if found and _is_preamble(reply[: found[0].start()]):
        wanted = {int(found[0]["number"])}
    listed: int | None = None  # the last number of a list inside the current task
    for mark in found:
        number = int(mark["number"])
        if mark["word"] or (number in wanted and listed != number - 1):
            opened.append(mark)
            wanted = {number + 1, max(number + 1, first_number)}
            listed = None
        else:
            listed = number
    return opened


def _is_preamble(head: str) -> bool:
    return not head.strip() or _PREAMBLE.fullmatch(head) is not None


def rule_broken(  # noqa: PLR0911 - one return per rule
    text: str, section: PromptsSection
) -> str | None:
    """Return the Self-Instruct rule that a task breaks, None if it breaks none."""
    words = len(text.split())
    first = text[0]
    if words < section.min_words:
        return "too_short"
    if words > section.max_words:
        return "too_long"
    if text.startswith("Write a program"):
        return "starts_with_write_a_program"
    if not first.isascii():
        return "starts_with_non_ascii"
    if not first.isalnum():
        return "starts_with_punctuation"
    if _KEYWORDS.search(text):
        return "unsuitable_keyword"
    return None


class PromptFilter:
    """Parses and filters the prompts of calls, which must come in call order."""

    def __init__(self, known: Known, section: PromptsSection, taken: Sequence[Prompt] = ()) -> None:
        """Compare with what is known and with this iteration's prompts from a source (`taken`)."""
        self._section = section
        self._earlier = list(known.earlier)
        texts = [*seed_prompts(known.seeds), *self._earlier, *(p.transcript for p in taken)]
        self._pool = Pool(texts, section.rouge_threshold)
        self._wanted = section.count - len(taken)
        self.kept: list[str] = []

    @property
    def full(self) -> bool:
        """Whether there are as many prompts as wanted."""
        return len(self.kept) >= self._wanted

    @property
    def generated(self) -> list[str]:
        """Return every generated prompt that may be a few-shot example."""
        return self._earlier + self.kept

    def read(self, call: PromptCall) -> Iterator[Prompt]:
        """Yield each task of one call, kept or with the reason why it was rejected."""
        if call.finish == "too_long":
            yield Prompt(f"c{call.call}/t0", "", "few_shot_prompt_too_long", call.call)
            return
        first, cut = len(call.examples) + 1, call.finish == "length"
        tasks = read_tasks(call.text, first_number=first, cut=cut)
        if not tasks:
            why = "cut_off" if call.finish == "cut_off" else "empty_reply"
            yield Prompt(f"c{call.call}/t0", "", why, call.call)
        for place, task in enumerate(tasks):
            key = f"c{call.call}/t{place}"
            reason, similar = self._decide(task)
            if reason is None:
                self._pool.add(task.text)
                self.kept.append(task.text)
            yield Prompt(key, task.text, reason, call.call, similar)

    def _decide(self, task: NewTask) -> tuple[str | None, str | None]:
        if not task.complete:
            return "cut_off", None
        broken = rule_broken(task.text, self._section)
        if broken:
            return broken, None
        similar = self._pool.similar(task.text)
        if similar is not None:
            return "similar_to_pool", similar
        if self.full:
            return "over_count", None
        return None, None


def ask(engine: Engine, known: Known, config: Config, *, k: int, out: Partial) -> Built:
    """Call the generator of iteration k until enough prompts pass, or `max_calls` is reached.

    Calls are made in rounds; within a round all see the same pool, so that the result does not
    depend on which of them finishes first, or on where a killed run was resumed.
    """
    section, seed = config.prompts, config.seed + k
    decoding = Decoding(section.temperature, section.top_p, section.max_new_tokens, seed)
    texts = seed_prompts(known.seeds)
    chosen = PromptFilter(known, section, taken_share(known, config, k=k).prompts)
    asked = 0
    with track("prompts", section.count) as advance:
        while asked < section.max_calls and not chosen.full:
            calls = range(asked, min(asked + section.calls_per_round, section.max_calls))
            shown = {
                f"c{call}": few_shot(texts, chosen.generated, section, call=call, seed=seed)
                for call in calls
            }
            requests = [
                Request(key, task_messages(examples))
                for key, examples in shown.items()
                if key not in out.rows
            ]
            for s in sample_answers(engine, requests, decoding):
                call, examples = int(s.key[1:]), tuple(shown[s.key])
                out.add(PromptCall(s.key, call, examples, s.text, s.tokens, s.finish, s.thought))
            before = len(chosen.kept)
            for call in calls:
                list(chosen.read(out.rows[f"c{call}"]))
            advance(len(chosen.kept) - before)
            asked = calls.stop
    counts = {"calls": asked, "kept": len(chosen.kept)} | removed(out.rows.values())
    return Built(counts=counts, engine=engine.fingerprint)


def take(known: Known, config: Config, *, k: int, out: Partial) -> Built:
    """Write a seeded sample of the prompts of `prompts.source`, none of them seen before.

    Fewer than `prompts.count` are written where there are no more.

    Raises:
        DataError: none is left.
    """
    taken = sample_source(known, config, config.prompts.count, k=k)
    if not taken.prompts:
        what = f"no prompt is left for iteration {k} ({taken.skipped or 'the source has none'})"
        raise DataError(config.prompts.source, None, what)
    out.add_missing(taken.prompts)
    counts = {"kept": len(taken.prompts), "left": taken.left, **taken.skipped}
    return Built(counts=counts)


def taken_share(known: Known, config: Config, *, k: int) -> Taken:
    """Return the part of an iteration's prompts that a source gives beside self-instruction.

    Their calls are -1 and their keys say where they are from, so that none is one of a call's.
    """
    section = config.prompts
    wanted = round(section.source_share * section.count) if section.takes else 0
    if not wanted:
        return Taken([], 0, Counter())
    taken = sample_source(known, config, wanted, k=k)
    return taken._replace(
        prompts=[replace(p, key=f"source/{p.key}", call=-1) for p in taken.prompts]
    )


def sample_source(known: Known, config: Config, count: int, *, k: int) -> Taken:
    """Return a seeded sample of `prompts.source` for iteration k.

    Prompts of the seed data and of earlier iterations are left out, and so are other splits than
    "train". There may be none left.
    """
    skipped = Counter[str]()
    threads = read_threads(prompts_source(config), language=config.ift.language, skipped=skipped)
    seen = {text.strip() for text in (*(example.text for example in known.seeds), *known.earlier)}
    fresh: dict[str, Prompt] = {}
    for place, thread in enumerate(threads):
        text = thread.text.strip()
        if thread.split not in (None, "train"):
            skipped["skipped_other_split"] += 1
        elif text in seen:
            skipped["skipped_seen_before"] += 1
        else:
            seen.add(text)
            fresh[thread.key] = Prompt(thread.key, thread.prompt, None, place, before=thread.before)
    chosen = random.Random(f"prompts/{config.seed}/{k}").sample(
        list(fresh.values()), min(count, len(fresh))
    )
    return Taken(chosen, len(fresh) - len(chosen), skipped)


def filter_prompts(
    calls: Sequence[PromptCall], known: Known, config: Config, *, k: int, out: Partial
) -> Built:
    """Write every task found, kept or rejected with a reason; counts add up to the rows.

    Those that a source gives beside (`prompts.source_share`) are written first.
    """
    taken = taken_share(known, config, k=k)
    chosen = PromptFilter(known, config.prompts, taken.prompts)
    out.add_missing(taken.prompts)
    for call in sorted(calls, key=lambda c: c.call):
        out.add_missing(chosen.read(call))
    counts = Counter("kept" if p.kept else f"rejected_{p.rejected}" for p in out.rows.values())
    from_source = {"taken": len(taken.prompts), "left": taken.left} if taken.prompts else {}
    return Built(counts=dict(counts) | from_source | dict(taken.skipped))
