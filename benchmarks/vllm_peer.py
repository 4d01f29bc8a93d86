"""Run by .venv-vllm's Python: loads a model in vLLM and samples when told to (vllm_process.py).

The first line of standard input is the work as a JSON object; each further line is answered, once
all draws are made, by a JSON object with the number of tokens. Standard output holds nothing else.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def main() -> None:
    """Serve until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever vLLM and its processes print goes to standard error
    work = json.loads(sys.stdin.readline())
    import vllm

    engine, params, prompts = _load(work)
    print(json.dumps({"version": vllm.__version__}), file=answers, flush=True)
    for _ in sys.stdin:
        outputs = engine.generate(prompts, params, use_tqdm=False)
        tokens = sum(len(said.token_ids) for output in outputs for said in output.outputs)
        print(json.dumps({"tokens": tokens}), file=answers, flush=True)


def _load(work: dict[str, Any]) -> tuple[Any, Any, list[Any]]:
    import vllm

    engine = vllm.LLM(
        model=work["model"],
        dtype=work["dtype"],
        max_model_len=4096,
        max_num_seqs=64,
        kv_cache_memory_bytes=2 * 2**30,
        enforce_eager=work.get("eager", True),
        generation_config="vllm",
        disable_log_stats=True,
    )
    params = vllm.SamplingParams(
        n=work["draws"],
        temperature=work["temperature"],
        top_p=work["top_p"],
        max_tokens=work["new_tokens"],
        ignore_eos=True,
    )
    return engine, params, [{"prompt_token_ids": ids} for ids in work["prompts"]]


if __name__ == "__main__":
    main()
