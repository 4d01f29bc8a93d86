"""Configuration files: TOML, and one file that extends another."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from core.errors import ConfigError
from core.stages import project_root

if TYPE_CHECKING:
    from pathlib import Path

EXTENDS = "extends"
"""The setting that names the file which a file extends, relative to its own folder."""


def read_settings(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return a file's settings, in place of or beside those of the file that it extends.

    `above`: the files that this one is extended by.

    Raises:
        ConfigError: a file is missing, is not TOML, or extends itself.
    """
    tree = parsed(path)
    if EXTENDS not in tree:
        return tree
    base = tree.pop(EXTENDS)
    if not isinstance(base, str):
        message = f"{path}: {EXTENDS} = {base!r}: expected the path of another configuration file"
        raise ConfigError(message)
    target = path.parent / base
    files = (*above, path)
    if any(target.exists() and target.samefile(file) for file in files):
        chain = " → ".join(map(str, (*files, target)))
        message = f"{path}: {EXTENDS} = {base!r}: the files extend each other: {chain}"
        raise ConfigError(message)
    if not target.is_file():
        message = f"{path}: {EXTENDS} = {base!r}: no such file: {target}"
        raise ConfigError(message)
    return merged(read_settings(target, files), tree)


def parsed(path: Path) -> dict[str, Any]:
    """Return a file's content.

    Raises:
        ConfigError: it is missing, or no TOML.
    """
    if not path.is_file():
        configs = project_root() / "configs"
        shipped = ", ".join(sorted(str(p.relative_to(configs)) for p in configs.rglob("*.toml")))
        message = f"{path}: no such configuration file; configs/ holds {shipped}"
        raise ConfigError(message)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        message = f"{path}: not valid TOML: {error}"
        raise ConfigError(message) from None
    except RecursionError:
        message = f"{path}: not valid TOML: nested too deeply"
        raise ConfigError(message) from None


def merged(tree: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return settings with some of them changed, also inside the tables below; lists are whole."""
    inner = {
        name: merged(tree[name], value)
        for name, value in given.items()
        if isinstance(value, dict) and isinstance(tree.get(name), dict)
    }
    return tree | given | inner
