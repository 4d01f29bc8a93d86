"""The test prompts of the head-to-head comparison."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from core import hashing
from core.errors import ConfigError, DataError
from core.jsonl import read_objects
from core.stages import project_root

if TYPE_CHECKING:
    from typing import Any

SAMPLE_PROMPTS = project_root() / "data" / "sample" / "prompts.trees.jsonl"


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
    return HeldOutPrompt(str(next(names, hashing.short(hashing.sha256_text(text)))), text)
