"""Find the fastest settings of each peer; the workloads contain the results.

    python -m benchmarks.peer_settings [scoring] [generate] [vllm]

Each setting is tried twice on a part of the workload and the faster time counts. `make bench` takes
the settings that were best on the machine of docs/measurements.md; run this first elsewhere.
"""

from __future__ import annotations

import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from benchmarks import sampling, scoring
from benchmarks.endless import endless_folder
from benchmarks.generate_peer import GeneratePeer
from benchmarks.vllm_process import VllmPeer
from benchmarks.workloads import Dtype
from engines.models import load_tokenizer
from engines.prompting import Prompter

if TYPE_CHECKING:
    from collections.abc import Callable

_BATCHES = (1, 4, 8, 16)
_PROMPTS = (4, 8, 16)
_SCORING = {
    "hellaswag0": scoring.HELLASWAG._replace(items=16),
    "arc0": scoring.ARC._replace(items=16),
    "mmlu5": scoring.MMLU._replace(items=8),
    "arc25": scoring.ARC_25._replace(items=2),
}
_SAMPLING = {"judge_k3": sampling.judge_load, "candidates_n4": sampling.candidates_load}
_NEW_TOKENS = 40


def try_scoring() -> None:
    """Try HFLM's batch sizes."""
    for name, load in _SCORING.items():
        asked = [instance for item in load.instances() for instance in item]
        for batch in _BATCHES:
            peer = scoring.hflm(batch)
            _say(name, f"batch size {batch}", partial(peer.loglikelihood, asked, disable_tqdm=True))


def try_generate() -> None:
    """Try generate's batch sizes and dtypes."""
    for name, make in _SAMPLING.items():
        load = make()._replace(new_tokens=_NEW_TOKENS)
        with tempfile.TemporaryDirectory() as temporary:
            folder = endless_folder(Path(temporary) / "model")
            prompts = _rendered(folder, load)
            for dtype in get_args(Dtype):
                for count in _PROMPTS:
                    tried = load._replace(peer_prompts=count, peer_dtype=dtype)
                    peer = GeneratePeer(folder, tried)
                    _say(name, f"{dtype}, {count} prompts", partial(peer.sample, prompts))


def try_vllm() -> None:
    """Try vLLM's dtypes."""
    for name, make in _SAMPLING.items():
        load = make()._replace(new_tokens=_NEW_TOKENS)
        with tempfile.TemporaryDirectory() as temporary:
            folder = endless_folder(Path(temporary) / "model")
            prompts = _rendered(folder, load)
            for dtype in get_args(Dtype):
                with VllmPeer(folder, load, prompts, dtype=dtype) as peer:
                    _say(name, dtype, peer.sample)


def _rendered(folder: Path, load: sampling.Load) -> list[list[int]]:
    prompter = Prompter(load_tokenizer(folder))
    return [prompter.render(prompt) for prompt in load.prompts]


def _say(name: str, setting: str, work: Callable[[], object]) -> None:
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    sys.stdout.write(f"{name:14} {setting:24} {min(seconds):7.2f} s\n")
    sys.stdout.flush()


def main() -> None:
    """Try the peers that are named, or all."""
    known = {"scoring": try_scoring, "generate": try_generate, "vllm": try_vllm}
    for name in sys.argv[1:] or known:
        known[name]()


if __name__ == "__main__":
    main()
