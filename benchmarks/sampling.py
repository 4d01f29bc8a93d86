"""Sampling: judging under a rubric (k draws), candidates (n draws), one answer at a time."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from transformers import AutoConfig

from benchmarks.comparison import alternate, compared, missing
from benchmarks.data_files import NotHere, instructions, judge_prompts
from benchmarks.endless import endless_folder
from benchmarks.generate_peer import GeneratePeer
from benchmarks.model_cost import Cost, Shape, sampling_cost
from benchmarks.same_text import Differences, compare_texts
from benchmarks.vllm_process import VllmPeer
from core.config import CandidatesSection, EngineSection, JudgeSection
from engines.engine import Decoding, Request
from engines.hf.engine import HFEngine

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.comparison import Row
    from benchmarks.machine import Machine
    from benchmarks.workloads import Dtype
    from core.records import Message

_WARM_TOKENS = 4


class Load(NamedTuple):
    """A sampling workload: `draws` of exactly `new_tokens` each from every prompt.

    `peer_prompts` and `peer_dtype`: how many prompts transformers' generate is given at a time, and
    its arithmetic; its best of a few (benchmarks/peer_settings.py).
    """

    prompts: list[list[Message]]
    draws: int
    new_tokens: int
    temperature: float
    top_p: float
    peer_prompts: int
    peer_dtype: Dtype = "float32"

    @property
    def tokens(self) -> int:
        """Return how many tokens one repeat makes."""
        return len(self.prompts) * self.draws * self.new_tokens


def judge_load() -> Load:
    """Return 16 rubric prompts, three draws of 100 tokens each, as the loop judges."""
    judge = JudgeSection()
    return Load(judge_prompts(16), judge.draws, 100, judge.temperature, judge.top_p, 4)


def candidates_load() -> Load:
    """Return 8 instructions, four draws of 128 tokens each, as the loop samples candidates."""
    section = CandidatesSection()
    return Load(instructions(8), section.n, 128, section.temperature, section.top_p, 8)


def answer_load() -> Load:
    """Return one instruction answered once: a decoding step of one row reads all weights for it."""
    section = CandidatesSection()
    return Load(instructions(1), 1, 128, section.temperature, section.top_p, 1)


class Ours:
    """The transformers engine with its default batch."""

    def __init__(self, folder: Path, load: Load, dtype: Dtype = "float32") -> None:
        """Load the model."""
        self._section = EngineSection(device="cpu", dtype=dtype)
        self._engine, self._load = HFEngine(folder, self._section), load
        self._shape = Shape.of(AutoConfig.from_pretrained(folder, local_files_only=True))
        self._seed = 0

    def render(self) -> list[list[int]]:
        """Return the prompts' token ids."""
        return [self._engine.render(prompt) for prompt in self._load.prompts]

    def cost(self, prompts: list[list[int]]) -> Cost:
        """Return the least cost of one repeat."""
        rows, load = self._section.max_batch_rows, self._load
        return sampling_cost(self._shape, prompts, load.draws, load.new_tokens, rows)

    def sample(self, new_tokens: int | None = None) -> None:
        """Make all draws, each time with another seed.

        Raises:
            RuntimeError: a draw has not the length that was asked for.
        """
        self._seed += 1
        load, wanted = self._load, new_tokens or self._load.new_tokens
        decoding = Decoding(load.temperature, load.top_p, wanted, self._seed)
        draws = tuple(range(load.draws))
        asked = [Request(str(at), prompt, draws) for at, prompt in enumerate(load.prompts)]
        made = [sampled.tokens for sampled in self._engine.sample(asked, decoding)]
        if made != [wanted] * (len(asked) * load.draws):
            raise RuntimeError(f"draws of {sorted(set(made))} tokens, {wanted} wanted for each")

    def greedy(self) -> list[str]:
        """Return one greedy text per prompt."""
        decoding = Decoding(0.0, 1.0, self._load.new_tokens, seed=0)
        asked = [Request(str(at), prompt) for at, prompt in enumerate(self._load.prompts)]
        texts = {sampled.key: sampled.text for sampled in self._engine.sample(asked, decoding)}
        return [texts[request.key] for request in asked]


def judge_k3(machine: Machine, repeats: int, dtype: Dtype = "float32") -> Row:
    """Compare judging with transformers' generate."""
    return _against_generate(judge_load, machine, repeats, dtype)


def candidates_n4(machine: Machine, repeats: int, dtype: Dtype = "float32") -> Row:
    """Compare candidate sampling with transformers' generate."""
    return _against_generate(candidates_load, machine, repeats, dtype)


def answer_n1(machine: Machine, repeats: int, dtype: Dtype = "float32") -> Row:
    """Compare one answer at a time with transformers' generate."""
    return _against_generate(answer_load, machine, repeats, dtype)


def judge_k3_vllm(machine: Machine, repeats: int) -> Row:
    """Compare judging with vLLM on the CPU."""
    return _against_vllm(judge_load, machine, repeats)


def candidates_n4_vllm(machine: Machine, repeats: int) -> Row:
    """Compare candidate sampling with vLLM on the CPU."""
    return _against_vllm(candidates_load, machine, repeats)


def _against_generate(
    make: Callable[[], Load], machine: Machine, repeats: int, dtype: Dtype
) -> Row:
    name = "transformers generate"
    try:
        load = make()
    except NotHere as absent:
        return missing(name, str(absent))
    if dtype == "bfloat16":
        load = load._replace(peer_dtype=dtype)
    with tempfile.TemporaryDirectory() as temporary:
        folder = endless_folder(Path(temporary) / "model")
        ours, theirs = Ours(folder, load, dtype), GeneratePeer(folder, load)
        same_dtype = GeneratePeer(folder, load._replace(peer_dtype=dtype))
        prompts = ours.render()
        ours.sample(_WARM_TOKENS)
        theirs.sample(prompts, _WARM_TOKENS)
        timings = alternate(ours.sample, lambda: theirs.sample(prompts), repeats)
        texts = ours.greedy(), same_dtype.greedy(prompts)
        same = compare_texts(same_dtype, prompts, *texts, dtype=dtype)
    cost = ours.cost(prompts)
    return compared(
        timings,
        peer=(
            f"{name}, {load.peer_dtype}, {load.peer_prompts} prompts × {load.draws} rows at a time"
        ),
        equal=same.equal,
        amount=load.tokens,
        unit="tokens",
        **_facts(load, prompts, dtype),
        **_greedy_facts(same),
        **cost.shares(min(timings.ours), machine),
    )


def _against_vllm(make: Callable[[], Load], machine: Machine, repeats: int) -> Row:
    name = "vLLM CPU"
    try:
        load = make()
        with tempfile.TemporaryDirectory() as temporary:
            folder = endless_folder(Path(temporary) / "model")
            ours = Ours(folder, load)
            prompts = ours.render()
            with VllmPeer(folder, load, prompts) as theirs:
                ours.sample(_WARM_TOKENS)
                theirs.sample()  # whole: its first run compiles for every batch size it meets
                timings = alternate(ours.sample, theirs.sample, repeats)
    except NotHere as absent:
        return missing(name, str(absent))
    cost = ours.cost(prompts)
    return compared(
        timings,
        peer=theirs.name,
        equal=None,
        amount=load.tokens,
        unit="tokens",
        **_facts(load, prompts, "float32"),
        **cost.shares(min(timings.ours), machine),
        note="its draws have other random numbers; both sides make the same number of tokens",
    )


def _facts(load: Load, prompts: list[list[int]], dtype: Dtype) -> dict[str, Any]:
    return {
        "n": len(prompts),
        "draws": load.draws,
        "new_tokens": load.new_tokens,
        "mean_prompt_tokens": sum(map(len, prompts)) / len(prompts),
        "temperature": load.temperature,
        "top_p": load.top_p,
        "dtype": dtype,
    }


def _greedy_facts(same: Differences) -> dict[str, Any]:
    return {
        "greedy_rows_equal": same.equal_rows,
        "greedy_rows_tied": same.tied_rows,
        "greedy_rows_different": same.different_rows,
        "largest_tie_gap": same.largest_gap,
    }
