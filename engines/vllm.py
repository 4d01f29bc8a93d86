"""The vLLM engine: one model folder in vLLM's own process, with continuous batching.

Reproducibility: each draw has its own seed, so it depends neither on the batch nor on the order of
requests; log-probabilities vary in the last digits with the batch shape, as with transformers.
Draws differ from those of transformers because the random generators differ.

Draws of one prompt, and prompts with a common prefix, share prefill through vLLM's prefix cache.
"""

from __future__ import annotations

import itertools
import os
import weakref
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any

from core.errors import ModelError, first_line
from engines.draws import fit_pair, plan_draws, read_draw, think_for
from engines.engine import Logprob
from engines.models import FolderFacts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import Unpack

    from core.config import EngineSection
    from engines.engine import Continuation, Decoding, Request, Sampled
    from engines.models import Opening
    from engines.prompting import Pair

_GIB = 2**30
_CPU_BATCH_TOKENS = 2048
# Requests queued in vLLM per row of its batch, so that it never runs out of work.
_AHEAD = 4
# Tokens whose log-probabilities are asked for after one context: vLLM's limit is 128.
_WORDS_AT_ONCE = 100
# By default vLLM logs at length and reports usage statistics.
_ENVIRONMENT = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
}


class VllmEngine:
    """A language model loaded by vLLM. `close` ends vLLM's process and frees its memory."""

    def __init__(self, folder: Path, section: EngineSection, **opening: Unpack[Opening]) -> None:
        """Start vLLM: takes up to a minute; raises `ModelError` if it cannot serve the folder."""
        self._facts = FolderFacts(folder, section, **opening)
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        import vllm
        from vllm.platforms import current_platform

        on_cpu = current_platform.is_cpu()
        arguments = _engine_arguments(folder, section, self._facts.window, on_cpu=on_cpu)
        arguments["trust_remote_code"] = opening.get("trust_remote_code", False)
        self._engine = _start(folder, arguments)
        self._close = weakref.finalize(self, self._engine.engine_core.shutdown)
        self._prompter = self._facts.prompter
        self._at_once = _AHEAD * section.max_batch_rows
        self._names = map(str, itertools.count())
        self._arrived: dict[str, Any] = {}
        kind = f"{vllm.__version__}/{section.dtype}/{current_platform.device_type}"
        self.fingerprint = f"vllm/{kind}/{self._facts.digest}"

    def close(self) -> None:
        """End vLLM's process; calling it again has no effect."""
        self._close()

    def sample(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Sampled]:
        """Yield draws as they finish; see `Engine.sample`."""
        decoding = think_for(decoding, requests, self._facts.thinking)
        plan = plan_draws(self._prompter, requests, decoding, self._facts.window)
        yield from plan.too_long
        draws = [draw for same in plan.requests for draw in same]
        asked = ((draw.prompt, self._sampling(draw.decoding, draw.seed)) for draw in draws)
        for at, output in self._run(asked):
            (reply,) = output.outputs
            stopped = reply.finish_reason == "stop"
            yield read_draw(draws[at], list(reply.token_ids), self._facts, stopped=stopped)

    def score(self, requests: Sequence[Continuation]) -> list[Logprob]:
        """Return one result per request, in order.

        Continuations of one token share the pass over their context. Longer ones are scored as part
        of the prompt, each with its whole context: vLLM keeps no log-probabilities in its cache.

        Raises:
            ModelError: a continuation alone is longer than the window.
        """
        pairs = [fit_pair(pair, self._facts.window) for pair in self._prompter.pairs(requests)]
        found = {at: Logprob(0.0, 0, greedy=True) for at, p in enumerate(pairs) if not p.target}
        found |= self._score_words(pairs)
        found |= self._score_texts(pairs)
        return [found[at] for at in range(len(pairs))]

    def _score_words(self, pairs: Sequence[Pair]) -> dict[int, Logprob]:
        """Score continuations of one token by the log-probabilities after each context."""
        contexts: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for at, (context, target) in enumerate(pairs):
            if len(target) == 1:
                contexts[tuple(context)].append(at)
        rows = [
            (list(context), places[start : start + _WORDS_AT_ONCE])
            for context, places in contexts.items()
            for start in range(0, len(places), _WORDS_AT_ONCE)
        ]
        asked = (
            (context, self._one_token(logprob_token_ids=[pairs[at].target[0] for at in places]))
            for context, places in rows
        )
        found = {}
        for row, output in self._run(asked):
            (reply,) = output.outputs
            (logprobs,) = reply.logprobs
            for at in rows[row][1]:
                token = pairs[at].target[0]
                found[at] = Logprob(logprobs[token].logprob, 1, token == reply.token_ids[0])
        return found

    def _score_texts(self, pairs: Sequence[Pair]) -> dict[int, Logprob]:
        """Score longer continuations by the log-probabilities of the prompt's last tokens."""
        places = [at for at, pair in enumerate(pairs) if len(pair.target) > 1]
        params = self._one_token(prompt_logprobs=0)
        asked = ((pairs[at].context + pairs[at].target, params) for at in places)
        found = {}
        for row, output in self._run(asked):
            target = pairs[places[row]].target
            ends = output.prompt_logprobs[-len(target) :]
            scored = [end[token] for end, token in zip(ends, target, strict=True)]
            greedy = all(token.rank == 1 for token in scored)
            found[places[row]] = Logprob(sum(t.logprob for t in scored), len(target), greedy)
        return found

    def _run(self, asked: Iterable[tuple[list[int], Any]]) -> Iterator[tuple[int, Any]]:
        """Yield (place, output) as they finish; on closing, unfinished requests are aborted."""
        under_way: dict[str, int] = {}
        queue = deque(enumerate(asked))
        try:
            while queue or under_way:
                while queue and len(under_way) < self._at_once:
                    at, (prompt, params) = queue.popleft()
                    name = next(self._names)
                    self._engine.add_request(name, {"prompt_token_ids": prompt}, params)
                    under_way[name] = at
                for name in [name for name in under_way if name in self._arrived]:
                    yield under_way.pop(name), self._arrived.pop(name)
                if under_way.keys() - self._arrived.keys():
                    self._step()
        finally:
            if self._close.alive:
                self._engine.abort_request(list(under_way))
            for name in under_way:
                self._arrived.pop(name, None)

    def _step(self) -> None:
        """Run one step of vLLM; keep finished outputs, which may belong to another open call."""
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            outputs = self._engine.step()
        except EngineDeadError as error:
            self.close()
            raise ModelError(
                "vLLM's process ended; its error is printed above. Run the same command again: "
                "finished rows are kept"
            ) from error
        self._arrived |= {output.request_id: output for output in outputs if output.finished}

    def _sampling(self, decoding: Decoding, seed: int) -> Any:
        return self._params(
            temperature=decoding.temperature,
            top_p=decoding.top_p,
            max_tokens=decoding.most_tokens,
            seed=seed,
            stop=list(decoding.stop),
            detokenize=bool(decoding.stop),  # vLLM looks for stop strings in the text
        )

    def _one_token(self, **wanted: Any) -> Any:
        return self._params(temperature=0.0, max_tokens=1, detokenize=False, **wanted)

    def _params(self, **wanted: Any) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            stop_token_ids=sorted(self._facts.stop_ids),
            output_kind=RequestOutputKind.FINAL_ONLY,
            **wanted,
        )


def _engine_arguments(
    folder: Path, section: EngineSection, window: int, *, on_cpu: bool
) -> dict[str, Any]:
    machine: dict[str, Any] = {"gpu_memory_utilization": section.gpu_memory_utilization}
    if on_cpu:
        machine = {
            "kv_cache_memory_bytes": int(section.cpu_cache_gib * _GIB),
            # Compiling costs time at every start, and a run starts one engine per model.
            "enforce_eager": True,
            # With seeded draws, chunked prefill crashes vLLM on a CPU: it rewinds the random
            # generator, which a CPU's cannot do ("CPU Generator does not use offset").
            "enable_chunked_prefill": False,
            "max_num_batched_tokens": max(window, _CPU_BATCH_TOKENS),
        }
    return {
        "model": str(folder),
        "dtype": section.dtype,
        "max_model_len": window,
        "max_num_seqs": section.max_batch_rows,
        "tensor_parallel_size": section.tensor_parallel,
        "enable_prefix_caching": True,
        # Ignore the folder's sampling defaults: requests set every parameter.
        "generation_config": "vllm",
        "load_format": "safetensors",
        "use_tqdm_on_load": False,
        "disable_log_stats": True,
        **machine,
    }


def _start(folder: Path, arguments: dict[str, Any]) -> Any:
    from vllm.engine.arg_utils import EngineArgs
    from vllm.v1.engine.llm_engine import LLMEngine

    try:
        return LLMEngine.from_engine_args(EngineArgs(**arguments), enable_multiprocessing=True)
    except (ValueError, RuntimeError, OSError) as error:
        reason = first_line(error)
        raise ModelError(
            f"{folder}: vLLM cannot serve it ({reason}); set VLLM_LOGGING_LEVEL=INFO for more"
        ) from error
