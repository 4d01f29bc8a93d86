"""AlpacaEval's files: prompts, reference outputs, and recorded annotations in and out.

Rows are keyed by the instruction's text, never by position, so missing rows do not shift others.
"""

from __future__ import annotations

import json
import math
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from core.benchmarks import Subject
from core.errors import ConfigError, DataError
from core.hashing import sha256_text
from core.records import Annotation, zero_is_a_draw
from core.stages import Stage
from core.store import write_atomically
from evaluation.files.json_rows import number_or_missing, read_rows
from evaluation.generate import load_prompts as load_sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from core.store import Store

BENCHMARK_SIZE = 805
_HUB_REPOSITORY = "tatsu-lab/alpaca_eval"
_HUB_PROMPTS = "alpaca_eval.json"
_HUB_REFERENCE = "alpaca_eval_gpt4_baseline.json"
_KEY_DIGITS = 16
_CACHED_MISSING = -1.0  # a failed annotation in the package's caches


class AlpacaPrompt(NamedTuple):
    """One instruction of the benchmark; `dataset` is the part it comes from ("koala", ...)."""

    key: str
    text: str
    dataset: str


def instruction_key(instruction: str) -> str:
    """Return an instruction's identity: 16 hex digits of the SHA-256 of its text."""
    return sha256_text(instruction)[:_KEY_DIGITS]


@lru_cache(maxsize=1)
def official_index() -> dict[str, int]:
    """Map the key of each of the 805 instructions to its place in the benchmark, from 0.

    df_gamed.csv and instruction_difficulty.csv identify instructions by this index only.
    """
    text = (Path(__file__).parent / "alpaca_eval_order.txt").read_text(encoding="utf-8")
    keys = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {key: index for index, key in enumerate(keys)}


def load_prompts(setting: str, limit: int | None) -> list[AlpacaPrompt]:
    """Return the benchmark's prompts in its order; with a limit, that many, evenly spaced.

    Evenly, because the file is sorted by source.

    Args:
        setting: "hub" (downloaded), "sample" (the packaged test prompts), or a JSON or JSONL file
            in the hub's schema: objects with "instruction" (or "prompt") and perhaps "dataset".
        limit: how many, None for all.

    Raises:
        DataError: a row has no instruction, or one is repeated.
        ConfigError: the hub cannot be reached.
    """
    if setting == "sample":
        texts = [prompt.text for prompt in load_sample(setting, None)]
        found = [AlpacaPrompt(instruction_key(text), text, "sample") for text in texts]
    else:
        path = hub_file(_HUB_PROMPTS) if setting == "hub" else Path(setting).expanduser()
        found = [
            AlpacaPrompt(instruction_key(text), text, str(row.get("dataset", "")))
            for text, row in _by_instruction(path)
        ]
    if limit is None or limit >= len(found):
        return found
    return [found[k * len(found) // limit] for k in range(limit)]


def load_reference(setting: str) -> dict[str, str]:
    """Return the reference's output by instruction.

    Args:
        setting: "hub" (GPT-4 Turbo's outputs, downloaded), or a JSON or JSONL file of objects with
            "instruction" and "output".

    Raises:
        DataError: a row lacks one of the two, or an instruction is repeated.
        ConfigError: the hub cannot be reached.
    """
    path = hub_file(_HUB_REFERENCE) if setting == "hub" else Path(setting).expanduser()
    found = {}
    for number, (text, row) in enumerate(_by_instruction(path), start=1):
        output = row.get("output")
        if not isinstance(output, str):
            raise DataError(path, number, "output is not text: expected a reference answer")
        found[text] = output
    return found


def hub_file(name: str) -> Path:
    """Return a file of the AlpacaEval data set, downloaded to the hub's own cache.

    Raises:
        ConfigError: it cannot be downloaded.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(hf_hub_download(_HUB_REPOSITORY, name, repo_type="dataset"))
    except (OSError, HfHubHTTPError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        message = (
            f"cannot download {name} of the data set {_HUB_REPOSITORY} ({reason}); give a local "
            "copy with evaluation.alpaca_eval.prompts, .reference or .length_control_data"
        )
        raise ConfigError(message) from None


def read_annotations(path: Path, *, model: str = "", reference: str = "") -> list[Annotation]:
    """Read a recorded annotation file of the alpaca-eval package: JSON or JSONL, .gz or not.

    A preference of 0 (the package's old form of a draw) becomes 1.5; null (or -1, as in the
    package's caches) is a missing annotation. `model` and `reference` are the names where the file
    has none ("generator_2" and "generator_1" absent or null); "": unknown.

    Raises:
        DataError: a field is absent or of the wrong type, a preference is out of range, an
            instruction is repeated, or the file mixes models or annotators.
    """
    rows: dict[str, Annotation] = {}
    places: dict[str, int] = {}
    for number, raw in read_rows(path, "annotations"):
        names = {"generator_1": reference, "generator_2": model}
        given = {key: value for key, value in raw.items() if key not in names or value is not None}
        row = _annotation(path, number, names | given)
        if row.key in rows:
            what = f"duplicate of row {places[row.key]}: {row.instruction[:60]!r}"
            raise DataError(path, number, what)
        rows[row.key], places[row.key] = row, number
    found = list(rows.values())
    require_one_source(found, str(path))
    return found


def require_one_source(annotations: Sequence[Annotation], where: str) -> None:
    """Check that annotations are of one model against one reference by one annotator.

    Raises:
        DataError: several annotators (judges) or models are mixed.
    """
    for field in ("annotator", "generator_1", "generator_2"):
        names = sorted({str(getattr(row, field)) for row in annotations})
        if len(names) > 1:
            what = (
                f"{len(names)} different values of {field} ({', '.join(names[:3])}): results of "
                "different judges or models are not averaged; split the file"
            )
            raise DataError(where, None, what)


def export(store: Store, models: Sequence[str], folder: Path) -> list[Path]:
    """Write the models' annotations, alpaca_eval/<model>/annotations.json; return the files."""
    written = []
    for model in models:
        annotated = Subject("alpaca_eval", (model,)).ref(Stage.ANNOTATIONS)
        if store.exists(annotated):
            written.append(folder / "alpaca_eval" / model / "annotations.json")
            write_annotations(written[-1], store.read(annotated))
    return written


def write_annotations(path: Path, annotations: Sequence[Annotation]) -> None:
    """Write annotations in the package's schema (a JSON list), so that its own tools read them.

    Rows without a preference have null and an additional field "missing", the reason.
    """
    rows = [_recorded(annotation) for annotation in annotations]
    write_atomically(path, json.dumps(rows, ensure_ascii=False, indent=1) + "\n")


def _recorded(row: Annotation) -> dict[str, Any]:
    fields = ("instruction", "output_1", "generator_1", "output_2", "generator_2", "annotator")
    found: dict[str, Any] = {field: getattr(row, field) for field in fields}
    found |= {name: found[name] or None for name in ("generator_1", "generator_2")}
    found["preference"] = row.preference
    found["raw_completion"] = json.loads(row.raw_completion) if row.raw_completion else None
    if row.missing is not None:
        found["missing"] = row.missing
    return found


def _annotation(path: Path, number: int, raw: dict[str, Any]) -> Annotation:
    texts = {}
    for field in ("instruction", "output_1", "output_2", "generator_1", "generator_2", "annotator"):
        value = raw.get(field)
        if not isinstance(value, str):
            shown = "absent" if field not in raw else type(value).__name__
            raise DataError(path, number, f"{field} is {shown}, expected text")
        texts[field] = value
    preference = _preference(path, number, raw)
    completion = raw.get("raw_completion")
    return Annotation(
        key=instruction_key(texts["instruction"]),
        preference=preference,
        missing=None if preference is not None else str(raw.get("missing") or "not_annotated"),
        raw_completion="" if completion is None else json.dumps(completion, ensure_ascii=False),
        **texts,
    )


def _preference(path: Path, number: int, raw: dict[str, Any]) -> float | None:
    value = number_or_missing(path, number, raw, "preference")
    if value is None or value == _CACHED_MISSING:
        return None
    value = zero_is_a_draw(value)
    if not 1 <= value <= 2:  # noqa: PLR2004 - the schema's range
        raise DataError(path, number, f"preference {value:g} is not in 1..2 (or 0, a draw)")
    return value if math.isfinite(value) else None


def _by_instruction(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    seen: dict[str, int] = {}
    for number, row in read_rows(path, "annotations"):
        text = row.get("instruction", row.get("prompt"))
        if not isinstance(text, str) or not text.strip():
            raise DataError(path, number, "no instruction: expected that text, or a prompt")
        if text in seen:
            what = f"duplicate of row {seen[text]}: {text[:60]!r}"
            raise DataError(path, number, what)
        seen[text] = number
        yield text, row
