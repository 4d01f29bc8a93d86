"""Models answer benchmark prompts."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Protocol

from core.benchmarks import Subject
from core.progress import track
from core.records import Generation, user
from core.stages import Stage
from core.store import Built
from engines.engine import Decoding, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from core.evaluation_config import GenerationSection
    from core.stages import Ref
    from core.store import Partial
    from engines.engine import Engine
    from evaluation.run import EvalRun


ANSWERED = ("stop", "length")  # finish reasons of a non-empty answer


class Keyed(Protocol):
    """A prompt with a key."""

    @property
    def key(self) -> str:
        """The prompt's identity."""
        ...

    @property
    def text(self) -> str:
        """The prompt."""
        ...


def answer(
    engine: Engine,
    prompts: Sequence[Keyed],
    section: GenerationSection,
    *,
    seed: int,
    title: str,
    out: Partial,
) -> Built:
    """Write one answer per prompt; empty if the prompt is too long for the model."""
    decoding = Decoding(section.temperature, section.top_p, section.max_new_tokens, seed)
    by_key = {prompt.key: prompt for prompt in prompts}
    requests = [Request(p.key, user(p.text)) for p in prompts if p.key not in out.rows]
    with track(title, len(prompts), resumed=len(out.rows)) as advance:
        for sampled in engine.sample(requests, decoding):
            text = by_key[sampled.key].text
            key, finish = sampled.key, sampled.finish
            out.add(Generation(key, key, text, sampled.text, sampled.tokens, finish))
            advance(tokens=sampled.tokens)
    finished = Counter(f"finish_{row.finish}" for row in out.rows.values())
    return Built(
        counts=dict(sorted(finished.items())),
        facts={"mean_characters": mean_characters(out.rows.values())},
        engine=engine.fingerprint,
    )


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
        sources=sources,
    )


def mean_characters(answers: Iterable[Generation]) -> float | None:
    """Return the mean length of the answers given, in characters; None if there are none."""
    lengths = [len(row.text) for row in answers if row.finish in ANSWERED]
    return sum(lengths) / len(lengths) if lengths else None
