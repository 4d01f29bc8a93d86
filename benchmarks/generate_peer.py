"""transformers' generate as a user would call it, with its best batch size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.sampling import Load


class GeneratePeer:
    """Left-padded batches of prompts sorted by length, n return sequences."""

    def __init__(self, folder: Path, load: Load) -> None:
        """Load the model as from_pretrained does by default."""
        self._load = load
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self._model: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=load.peer_dtype
        ).eval()

    def sample(self, prompts: list[list[int]], new_tokens: int | None = None) -> None:
        """Make every draw.

        Raises:
            RuntimeError: it made another number of tokens than was asked for.
        """
        load, wanted = self._load, new_tokens or self._load.new_tokens
        in_order = sorted(prompts, key=len)
        made = 0
        for start in range(0, len(in_order), load.peer_prompts):
            made += self._generate(
                in_order[start : start + load.peer_prompts],
                wanted,
                do_sample=True,
                temperature=load.temperature,
                top_p=load.top_p,
                top_k=0,
                num_return_sequences=load.draws,
            ).numel()
        if made != (asked := len(prompts) * load.draws * wanted):
            raise RuntimeError(f"generate made {made} tokens, {asked} were wanted")

    def greedy(self, prompts: list[list[int]]) -> list[list[int]]:
        """Return one greedy continuation per prompt, each decoded alone: no padding, no batch."""
        wanted = self._load.new_tokens
        return [self._generate([prompt], wanted, do_sample=False)[0].tolist() for prompt in prompts]

    def decode(self, ids: list[int]) -> str:
        """Return the text of new tokens."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))

    @torch.inference_mode()
    def gap(self, prompt: list[int], said: list[int]) -> float:
        """Return the difference between the two largest next-token logits."""
        logits = self._model(torch.tensor([[*prompt, *said]]), logits_to_keep=1).logits[0, -1]
        first, second = logits.topk(2).values.tolist()
        return float(first - second)

    @torch.inference_mode()
    def _generate(self, prompts: list[list[int]], new_tokens: int, **options: Any) -> torch.Tensor:
        """Return the new tokens, shape (rows, new tokens)."""
        batch = self._tokenizer.pad({"input_ids": prompts}, return_tensors="pt")
        made: torch.Tensor = self._model.generate(
            **batch, min_new_tokens=new_tokens, max_new_tokens=new_tokens, **options
        )
        return made[:, batch["input_ids"].shape[1] :]
