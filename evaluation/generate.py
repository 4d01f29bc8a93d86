"""The test prompts of a run, and the models' answers to benchmark prompts."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Protocol

from core.benchmarks import Subject
from core.errors import DataError
from core.progress import track
from core.records import ANSWERED, Generation, user
from core.sources.reader import read_prompts
from core.sources.source import Source, packaged
from core.sources.thread import Thread
from core.stages import Stage
from core.store import Built
from core.thinking import removed
from engines.engine import Decoding, Request, sample_answers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from core.evaluation_config import GenerationSection
    from core.records import Message
    from core.stages import Ref
    from core.store import Partial
    from engines.engine import Engine
    from evaluation.run import EvalRun


ANSWERS = {"answers": "0.2"}
"""Part of the key of answers: an earlier release's held thoughts. The cache gives them again."""


class Keyed(Protocol):
    """A prompt with a key."""

    @property
    def key(self) -> str:
        """The prompt's identity."""

    @property
    def text(self) -> str:
        """The prompt."""


def answer(
    engine: Engine,
    prompts: Sequence[Keyed],
    section: GenerationSection,
    *,
    seed: int,
    title: str,
    out: Partial,
) -> Built:
    """Write one answer per prompt, without the thought before it; empty if there is none."""
    decoding = Decoding(section.temperature, section.top_p, section.max_new_tokens, seed)
    by_key = {prompt.key: prompt for prompt in prompts}
    requests = [Request(p.key, _messages(p)) for p in prompts if p.key not in out.rows]
    with track(title, len(prompts), resumed=len(out.rows)) as advance:
        for s in sample_answers(engine, requests, decoding):
            text = by_key[s.key].text
            out.add(Generation(s.key, s.key, text, s.text, s.tokens, s.finish, thought=s.thought))
            advance(tokens=s.tokens)
    finished = Counter(f"finish_{row.finish}" for row in out.rows.values())
    return Built(
        counts=dict(sorted(finished.items())) | removed(out.rows.values()),
        facts={"mean_characters": mean_characters(out.rows.values())},
        engine=engine.fingerprint,
    )


def _messages(prompt: Keyed) -> list[Message]:
    return prompt.messages if isinstance(prompt, Thread) else user(prompt.text)


def answers_to(
    run: EvalRun,
    model: str,
    benchmark: str,
    load: Callable[[], Sequence[Keyed]],
    sources: dict[str, str],
) -> Ref:
    """Return a model's answers to a benchmark's prompts, made if they are missing."""
    ref = Subject(benchmark, (model,)).ref(Stage.ANSWERS)
    return run.rows(
        ref,
        [run.model(model)],
        lambda out: answer(
            run.generator(model, ref),
            load(),
            run.section.generation,
            seed=run.config.seed,
            title=f"{model} answers, {benchmark}",
            out=out,
        ),
        sections=("evaluation.generation", "engine.dtype", f"evaluation.{benchmark}.limit"),
        sources=ANSWERS | sources,
    )


def mean_characters(answers: Iterable[Generation]) -> float | None:
    """Return the mean length of the answers given, in characters; None if there are none."""
    lengths = [len(row.text) for row in answers if row.finish in ANSWERED]
    return sum(lengths) / len(lengths) if lengths else None


def prompts_source(setting: str) -> Source:
    """Return the source that `evaluation.head_to_head.prompts` names.

    Of a packaged set its held-out prompts.
    """
    role = "held_out" if packaged(setting, "held_out") else "prompts"
    return Source(setting, role, setting="evaluation.head_to_head.prompts")


def load_prompts(setting: str, limit: int | None) -> list[Thread]:
    """Return the first `limit` prompts of a source, in its order.

    Rows have any of the shapes of core/sources; of a split other than "test" they are left out.

    Raises:
        ConfigError: there is no such source.
        DataError: a row has no prompt, or two rows the same key.
    """
    source = prompts_source(setting)
    found = read_prompts(source, "test", language=None)
    if not found:
        raise DataError(source.origin, None, "no prompts for testing (split 'test' or none)")
    for key, count in Counter(prompt.key for prompt in found).items():
        if count > 1:
            raise DataError(source.origin, None, f"the key {key!r} is used twice")
    return found[:limit]
