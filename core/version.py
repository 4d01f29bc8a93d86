"""The version of the code that made an artifact."""

from __future__ import annotations

import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version

from core.stages import project_root


@lru_cache(maxsize=1)
def code_version() -> str:
    """Return the version and, in a checkout, the commit: `0.1.0+g1a2b3c4d5e`, `.dirty` if so."""
    try:
        release = version("srlm")
    except PackageNotFoundError:
        release = "0.0.0"
    commit = _git("rev-parse", "--short=10", "HEAD")
    if commit is None:
        return release
    dirty = ".dirty" if _git("status", "--porcelain", "--untracked-files=no") else ""
    return f"{release}+g{commit}{dirty}"


def _git(*args: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - fixed words, no shell
            ["git", "-C", str(project_root()), *args],  # noqa: S607 - git from PATH
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
