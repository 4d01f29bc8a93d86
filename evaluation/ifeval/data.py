"""IFEval's prompts from the hub, a local file or folder, or the packaged sample."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import ConfigError, DataError
from core.hashing import sha256_file, sha256_text
from core.sources.source import packaged
from evaluation.files.json_rows import read_rows
from judges.verifiers.ifeval import IfevalPrompt, read_prompt

if TYPE_CHECKING:
    from collections.abc import Iterable

HUB = "google/IFEval"
FILE = "input_data.jsonl"  # its name in google-research's repository
_SAMPLE = Path(__file__).with_name("sample.jsonl")


def data_file(data: str) -> Path | None:
    """Return the file that `evaluation.ifeval.data` names; None for the hub.

    Raises:
        ConfigError: there is no such file.
    """
    if data == "hub":
        return None
    path = _SAMPLE if data == "sample" else packaged(data, "held_out") or Path(data).expanduser()
    path = path / FILE if path.is_dir() else path
    if not path.is_file():
        message = (
            f"evaluation.ifeval.data = {data!r}: no such file ({path}); expected 'hub', 'sample', "
            f"'verifiable', a JSONL file in the schema of {HUB}, or a folder with {FILE}"
        )
        raise ConfigError(message)
    return path


def source(data: str) -> dict[str, str]:
    """Return name and content hash of the prompts, for an artifact's key; raises as `data_file`."""
    path = data_file(data)
    return {f"hub:{HUB}": sha256_text(HUB)} if path is None else {"prompts": sha256_file(path)}


def load_prompts(data: str, limit: int | None) -> list[IfevalPrompt]:
    """Return the first `limit` prompts, in the data's order.

    Raises:
        ConfigError: there is no such file.
        DataError: a row is not in the hub's schema, or the hub cannot be reached.
    """
    path = data_file(data)
    rows = _hub_rows() if path is None else read_rows(path)
    origin = path or HUB
    found: dict[str, IfevalPrompt] = {}
    for line, row in rows:
        prompt = read_prompt(origin, line, row)
        if prompt.key in found:
            raise DataError(origin, line, f"the key {prompt.key!r} was used before")
        found[prompt.key] = prompt
    return list(found.values())[:limit]


def _hub_rows() -> Iterable[tuple[int, dict[str, Any]]]:
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        return enumerate(load_dataset(HUB, split="train"), start=1)
    except (DatasetsError, HfHubHTTPError, OfflineModeIsEnabled, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        message = (
            f"cannot be loaded from the hub ({reason}); download it once, or set "
            "evaluation.ifeval.data to a JSONL file in the hub's schema or to 'sample'"
        )
        raise DataError(HUB, None, message) from error
