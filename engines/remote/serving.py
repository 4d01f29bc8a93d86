"""Starting and reliably stopping a server process for a model.

The server runs under a small watcher process, which ends it on request and whenever this process
has ended, even by kill -9: a server that outlives its run would keep the GPU's memory.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import ConfigError, ModelError
from core.secrets import read_key, redacted

if TYPE_CHECKING:
    from core.config import EngineSection

_POLL_S = 0.2
_STOP_S = 30.0
_SHOWN_LINES = 3


class ModelServer:
    """A server process over one model folder, reached at `url`."""

    def __init__(self, folder: Path, section: EngineSection) -> None:
        """Start `section.serve_command` and wait until it answers.

        Raises:
            ConfigError: the program does not exist.
            ModelError: it ended, or did not answer in time; the message shows its last output.
        """
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/v1"
        command = shlex.split(section.serve_command or "")
        for name, value in (("model", folder.resolve()), ("port", port), ("dtype", section.dtype)):
            command = [part.replace(f"{{{name}}}", str(value)) for part in command]
        descriptor, name = tempfile.mkstemp(prefix="srlm-server-", suffix=".log")
        self._log = Path(name)
        self._secrets = [read_key(section.api_key_env)]
        with os.fdopen(descriptor, "wb") as log:
            self._watcher = subprocess.Popen(  # noqa: S603 - the user's own command
                [sys.executable, "-m", "engines.remote.serving", *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches only us; we stop the server
            )
        self.close = weakref.finalize(self, _stop, self._watcher, self._log)
        try:
            self._wait(command[0], section.start_timeout_s)
        except BaseException:
            self.close()
            raise

    def _wait(self, program: str, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not _answers(self.url):
            code = self._watcher.poll()
            if code == _NO_PROGRAM:
                raise ConfigError(f"engine.serve_command: program not found: {program!r}")
            if code is not None or time.monotonic() > deadline:
                what = "ended" if code is not None else f"did not answer within {timeout_s:g} s"
                shown = self._last_output()
                raise ModelError(
                    f"engine.serve_command: the server {what}; its last output: {shown}"
                )
            time.sleep(_POLL_S)

    def _last_output(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n")
        shown = [line.strip() for line in lines if line.strip()]
        return redacted(" | ".join(shown[-_SHOWN_LINES:]), self._secrets) or "none"


def _answers(url: str) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{url}/models", timeout=5) as reply:
            return bool(reply.status == 200)  # noqa: PLR2004 - OK
    except urllib.error.HTTPError as error:
        return error.code in (401, 403)  # up, and wants a key
    except OSError:
        return False


def _stop(watcher: subprocess.Popen[bytes], log: Path) -> None:
    if watcher.stdin is not None:
        watcher.stdin.close()  # the watcher's signal to stop
    watcher.wait()
    log.unlink(missing_ok=True)


_NO_PROGRAM = 127


def watch(command: list[str]) -> int:
    """Run a command until it ends or standard input closes; then end all of its processes."""
    try:
        server = subprocess.Popen(  # noqa: S603 - the user's own command
            command, stdin=subprocess.DEVNULL, start_new_session=True
        )
    except OSError:
        return _NO_PROGRAM
    stdin = sys.stdin.buffer
    os.set_blocking(stdin.fileno(), False)
    while server.poll() is None and stdin.read(1) != b"":
        time.sleep(_POLL_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
    try:
        return server.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        return server.wait()


if __name__ == "__main__":
    sys.exit(watch(sys.argv[1:]))
