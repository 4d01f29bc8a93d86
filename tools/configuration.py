"""Write docs/configuration.md: every setting with its type, default and meaning.

    python -m tools.configuration            write the page
    python -m tools.configuration --check    fail if the page is out of date

The page is made from the configuration classes in core/, so a setting is described in one place.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from core.config import Config

PAGE = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"

_HEAD = """\
# Configuration

A run is described by one TOML file, for example
[configs/quickstart.toml](../configs/quickstart.toml). Every setting has a default: the paper's
value where the paper states one. An unknown key is an error. `--set table.key=value` overrides a
setting on the command line. `extends = "../quickstart.toml"`, at the top of a file, takes what it
does not set from another file (a path relative to its own folder). "Section" and "Figure" refer to
Yuan et al., arXiv 2401.10020 v3.
"None" means that the setting is left out; it is the default where the table says "unset".

This page is generated from [core/](../core) by `python -m tools.configuration`; do not edit it.
"""

_TYPES = {
    "boolean": "bool",
    "integer": "int",
    "number": "float",
    "string": "str",
    "object": "table",
}
_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}

_MOST = 10**9  # of every count; not worth a word in every row


def page() -> str:
    """Return the text of docs/configuration.md."""
    schema = Config.model_json_schema()
    return _HEAD + "".join(_table(schema, schema, ""))


def _table(root: dict[str, Any], section: dict[str, Any], name: str) -> list[str]:
    """Return the Markdown of one TOML table, followed by the tables below it."""
    fields = {key: _resolved(root, value) for key, value in section["properties"].items()}
    title = f"`[{name}]`" if name else "Top level"
    lines = [f"\n## {title}\n\n{_prose(section['description'])}\n"] if name else [f"\n## {title}\n"]
    rows = [
        f"| `{key}` | {_cell(_type(root, value))} | {_cell(_default(value))} "
        f"| {_cell(value.get('description', ''))} |\n"
        for key, value in fields.items()
        if "properties" not in value
    ]
    if rows:
        lines += ["\n| setting | type | default | meaning |\n|---|---|---|---|\n", *rows]
    for key, value in fields.items():
        if "properties" in value:
            lines += _table(root, value, f"{name}.{key}" if name else key)
    return lines


def _resolved(root: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in value:
        return {**root["$defs"][value["$ref"].rsplit("/", 1)[-1]], **value}
    return value


def _type(root: dict[str, Any], value: dict[str, Any]) -> str:
    value = _resolved(root, value)
    if "anyOf" in value:
        return " or ".join(_type(root, one) for one in value["anyOf"] if one.get("type") != "null")
    if "enum" in value or "const" in value:
        choices = value.get("enum", [value.get("const")])
        return ", ".join(f"`{json.dumps(choice)}`" for choice in choices)
    if value["type"] == "array":
        items = value.get("items")
        return f"list of {_type(root, items)}" if items else "pair"
    bounds = [
        f"{sign} {value[key]:g}" for key, sign in _BOUNDS.items() if value.get(key, _MOST) != _MOST
    ]
    return " ".join([_TYPES[value["type"]], ", ".join(bounds)]).strip()


def _default(value: dict[str, Any]) -> str:
    if "default" not in value:
        return "required"
    default = value["default"]
    return "unset" if default is None else f"`{json.dumps(default)}`"


def _prose(text: str) -> str:
    """Return a class docstring as paragraphs, each on one line."""
    return "\n\n".join(re.sub(r"\s+", " ", part).strip() for part in text.split("\n\n"))


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().replace("|", "\\|")


def main() -> int:
    """Write the page, or check it; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="fail if the page is out of date")
    text = page()
    if not parser.parse_args().check:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
        message = f"{PAGE} is out of date; run python -m tools.configuration"
        sys.stderr.write(message + "\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
