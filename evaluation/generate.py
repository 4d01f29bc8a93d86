"""The test prompts of a run, and the models' answers to benchmark prompts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from core.benchmarks import Subject
from core.errors import ConfigError, DataError
from core.hashing import sha256_text, short
from core.jsonl import read_objects
from core.progress import track
from core.records import ANSWERED, Generation, user
from core.stages import Stage, project_root
from core.store import Built
from core.thinking import removed
from engines.engine import Decoding, Request, sample_answers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from core.evaluation_config import GenerationSection
    from core.stages import Ref
    from core.store import Partial
    from engines.engine import Engine
    from evaluation.run import EvalRun


ANSWERS = {"answers": "0.2"}
"""Part of the key of answers: an earlier release's held thoughts. The cache gives them again."""
SAMPLE_PROMPTS = project_root() / "data" / "sample" / "prompts.trees.jsonl"


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
    requests = [Request(p.key, user(p.text)) for p in prompts if p.key not in out.rows]
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


class HeldOutPrompt(NamedTuple):
    """A prompt that every model answers."""

    key: str
    text: str


def prompts_file(setting: str) -> Path:
    """Return the file a setting names.

    Raises:
        ConfigError: there is no such file.
    """
    path = SAMPLE_PROMPTS if setting == "sample" else Path(setting).expanduser()
    if not path.is_file():
        message = (
            f"evaluation.head_to_head.prompts = {setting!r}: no such file; give a JSONL file of "
            "prompts or 'sample'"
        )
        raise ConfigError(message)
    return path


def load_prompts(setting: str, limit: int | None) -> list[HeldOutPrompt]:
    """Return the first `limit` prompts of a file, in its order.

    A row is a message tree, or an object with "prompt" or "instruction" (text). Rows of a
    split other than "test" are left out. Keys are the rows' own ("key", "id", "message_tree_id") or
    a hash of the text.

    Raises:
        DataError: a row has no prompt, or two rows the same key.
    """
    path = prompts_file(setting)
    found: dict[str, HeldOutPrompt] = {}
    for line, row in read_objects(path):
        if row.get("split") not in (None, "test"):
            continue
        prompt = _prompt(row, path, line)
        if prompt.key in found:
            raise DataError(path, line, f"the key {prompt.key!r} is used twice")
        found[prompt.key] = prompt
    if not found:
        raise DataError(path, None, "no prompts for testing (split 'test' or none)")
    return list(found.values())[:limit]


def _prompt(row: dict[str, Any], path: Path, line: int) -> HeldOutPrompt:
    value = row.get("prompt", row.get("instruction"))
    text = value.get("text") if isinstance(value, dict) else value
    if not isinstance(text, str) or not text.strip():
        raise DataError(path, line, 'no text in "prompt" or "instruction"')
    names = (row[name] for name in ("key", "id", "message_tree_id") if row.get(name) is not None)
    return HeldOutPrompt(str(next(names, short(sha256_text(text)))), text)
