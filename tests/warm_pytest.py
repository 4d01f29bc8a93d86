"""Runs pytest again and again without importing the large packages each time.

A process that has imported them waits for orders, one JSON line each: {"folder", "arguments",
"output"}. For each it forks; the child imports the project's modules from `folder`, which the
waiting process never does, runs pytest there and writes what it prints to the file `output`. The
answer is a line with pytest's exit code. Of pytest's plugins only those named here are loaded.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

_PLUGINS = ("_hypothesis_pytestplugin", "pytest_timeout")
_LARGE = (
    *_PLUGINS,
    "hypothesis",
    "matplotlib",
    "openai",
    "pandas",
    "scipy.stats",
    "torch",
    "transformers.models.llama.modeling_llama",
    "trl.trainer.dpo_trainer",
    "trl.trainer.sft_trainer",
)
_INTERNAL_ERROR = 3  # pytest's own code for it


class WarmPytest:
    """The waiting process, seen from outside."""

    def __init__(self, environment: dict[str, str]) -> None:
        """Start it; its imports take some seconds, once."""
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**environment, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            text=True,
        )

    def run(self, folder: Path, *arguments: str, output: Path) -> tuple[int, str]:
        """Run pytest in a folder; return its exit code and what it printed, kept in `output`."""
        order = {"folder": str(folder), "arguments": arguments, "output": str(output)}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the waiting process ended: {self._process.wait()}"
        return int(answer), output.read_text(encoding="utf-8", errors="replace")

    def close(self) -> None:
        """End the waiting process."""
        self._process.kill()
        self._process.communicate()


def _run(folder: str, arguments: list[str], output: str) -> int:
    """Fork, run pytest in the child, return its exit code."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = _INTERNAL_ERROR
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        os.chdir(folder)
        sys.path.insert(0, folder)
        import pytest

        plugins = [word for name in _PLUGINS for word in ("-p", name)]
        code = int(pytest.main([*plugins, *arguments]))
    finally:
        sys.stdout.flush()
        os._exit(code)


def _serve() -> None:
    for name in _LARGE:
        importlib.import_module(name)
    for line in sys.stdin:
        order = json.loads(line)
        print(_run(order["folder"], order["arguments"], order["output"]), flush=True)  # noqa: T201


if __name__ == "__main__":
    # Started as a file, so that Python has put this folder first: `tests` is imported by name.
    sys.path.pop(0)
    _serve()
