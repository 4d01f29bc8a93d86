"""A model without an end-of-turn token: every draw has its maximum length on both sides."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from engines.embedded import embedded_folder

if TYPE_CHECKING:
    from pathlib import Path

# A token of the embedded model that marks up program text and that it never says in an answer. It
# stands in for the end of turn, since a tokenizer must have one.
UNSAID = "<gh_stars>"


def endless_folder(target: Path) -> Path:
    """Make `target` the embedded model without its end of turn; return it.

    Raises:
        ModelError: the embedded model is not installed.
    """
    return without_end(embedded_folder(), target, unsaid=UNSAID)


def without_end(source: Path, target: Path, *, unsaid: str) -> Path:
    """Make `target` the model `source`, ended by the token `unsaid` and nothing else; return it.

    The weights are a link, the settings a changed copy.
    """
    target.mkdir(parents=True)
    for path in source.iterdir():
        if path.suffix != ".json" or path.name == "tokenizer.json":
            (target / path.name).symlink_to(path.resolve())
            continue
        settings = json.loads(path.read_text(encoding="utf-8"))
        if "eos_token" in settings:
            settings["eos_token"] = unsaid
        if "eos_token_id" in settings:
            settings["eos_token_id"] = None
        (target / path.name).write_text(json.dumps(settings), encoding="utf-8")
    return target
