"""What AlpacaEval's settings name: content hashes for artifact keys, names for tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from core.errors import ConfigError
from core.hashing import sha256_file, sha256_text
from evaluation.prompts import SAMPLE_PROMPTS

if TYPE_CHECKING:
    from core.evaluation_config import AlpacaEvalSection

HUB_REFERENCE = "gpt4_1106_preview"


def file_source(field: Literal["prompts", "reference"], setting: str) -> dict[str, str]:
    """Return name and content hash of what `evaluation.alpaca_eval.<field>` names.

    The hub's data set is identified by its name alone: what was read is in the artifact itself.

    Raises:
        ConfigError: there is no such file.
    """
    if setting == "hub":
        return {f"hub:alpaca_eval {field}": sha256_text(field)}
    path = SAMPLE_PROMPTS if setting == "sample" else Path(setting).expanduser()
    if not path.is_file():
        message = f"evaluation.alpaca_eval.{field} = {setting!r}: no such file"
        raise ConfigError(message)
    return {f"{field}:{path.name}": sha256_file(path)}


def reference_name(section: AlpacaEvalSection) -> str:
    """Return what tables call the reference."""
    known = {"hub": HUB_REFERENCE}
    return known.get(section.reference, Path(section.reference).name.split(".")[0])


def length_control_source(setting: str) -> dict[str, str]:
    """Return the content hash of local length-control data; nothing for the hub's or none."""
    path = Path(setting).expanduser() / "df_gamed.csv"
    if setting in ("hub", "none"):
        return {}
    if not path.is_file():
        message = (
            f"evaluation.alpaca_eval.length_control_data = {setting!r}: no df_gamed.csv; give "
            "a folder that holds it, 'hub' or 'none'"
        )
        raise ConfigError(message)
    return {f"length_control:{path.name}": sha256_file(path)}
