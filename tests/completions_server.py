"""A small server of the OpenAI completions protocol over a model folder, for tests.

It computes the plain way: one sequence at a time, no batch, log-softmax over everything. So what
an engine makes of its replies can be compared with what an engine computes itself.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from transformers import DynamicCache

from engines.draws import StopStrings
from engines.models import load_model, load_tokenizer, stop_ids
from tests.servers import FakeOpenAI, Fault


class CompletionsServer(FakeOpenAI):
    """Serves /v1/models, /v1/completions and /version as vLLM does. Use it as a context.

    `name` is the model's (None: its folder, as `vllm serve FOLDER` has it); `root` is the folder it
    claims to serve. `plain`: it knows OpenAI's own fields only, no token ids, no prompt_logprobs.
    """

    path = "/v1/completions"

    def __init__(
        self,
        folder: Path,
        *,
        name: str | None = None,
        root: Path | None = None,
        version: str = "0.0.1",
        window: int | None = None,
        plain: bool = False,
        faults: Iterable[Fault | None] = (),
        fault_for: Callable[[dict[str, Any]], Fault | None] = lambda body: None,
        delay_s: float = 0.0,
    ) -> None:
        super().__init__(
            lambda messages: "",
            faults=faults,
            fault_for=fault_for,
            delay_s=delay_s,
            model=name or str(folder.resolve()),
        )
        self._model = load_model(folder, torch.float32)
        self._tokenizer = load_tokenizer(folder)
        self._ends = stop_ids(self._model, self._tokenizer)
        self._computing = threading.Lock()
        self._plain, self._version = plain, version
        self._card = {
            "id": self.model,
            "object": "model",
            "created": 0,
            "owned_by": "test",
            "root": str(root or folder.resolve()),
            "max_model_len": window,
        }

    def get(self, path: str) -> dict[str, Any] | None:
        """List the model, or tell the version."""
        if path == "/v1/models":
            return {"object": "list", "data": [self._card]}
        return {"version": self._version} if path == "/version" else None

    @torch.inference_mode()
    def reply(self, body: dict[str, Any]) -> bytes:
        """Continue a prompt of token ids."""
        prompt: list[int] = body["prompt"]
        with self._computing:
            ids, finish = self._generate(prompt, body)
            text = StopStrings(self._tokenizer, tuple(body.get("stop", ()))).cut(ids)[0]
            choice = {"index": 0, "text": text, "finish_reason": finish}
            if not self._plain:
                choice |= {"token_ids": ids}
                if "prompt_logprobs" in body:
                    choice |= {"prompt_logprobs": self._prompt_logprobs(prompt)}
        usage = {"prompt_tokens": len(prompt), "completion_tokens": len(ids)}
        reply = {"id": "cmpl-1", "object": "text_completion", "created": 0, "model": self.model}
        return json.dumps({**reply, "choices": [choice], "usage": usage}).encode()

    def _generate(self, prompt: list[int], body: dict[str, Any]) -> tuple[list[int], str]:
        """Return the new tokens, the end of turn included, and why they end."""
        strings = StopStrings(self._tokenizer, tuple(body.get("stop", ())))
        random = torch.Generator().manual_seed(body.get("seed", 0))
        new: list[int] = []
        unread, seen = prompt, DynamicCache(config=self._model.config)
        while len(new) < body["max_tokens"]:
            logits = self._model(torch.tensor([unread]), past_key_values=seen).logits[0, -1]
            new.append(_pick(logits, body["temperature"], body.get("top_p", 1.0), random))
            unread = new[-1:]
            if new[-1] in self._ends or strings.reached(new):
                return new, "stop"
        return new, "length"

    def _prompt_logprobs(self, prompt: list[int]) -> list[dict[str, dict[str, Any]] | None]:
        logps = self._model(torch.tensor([prompt])).logits[0].log_softmax(-1)
        listed: list[dict[str, dict[str, Any]] | None] = [None]
        for at, token in enumerate(prompt[1:]):
            value = logps[at, token]
            rank = int((logps[at] > value).sum()) + 1
            listed.append({str(token): {"logprob": float(value), "rank": rank}})
        return listed


def _pick(logits: torch.Tensor, temperature: float, top_p: float, random: torch.Generator) -> int:
    """Return a token of the nucleus; the most probable one at temperature 0."""
    if temperature == 0:
        return int(logits.argmax())
    ordered, ids = (logits / temperature).softmax(-1).sort(descending=True)
    kept = ordered * (ordered.cumsum(-1) - ordered < top_p)
    return int(ids[torch.multinomial(kept, 1, generator=random)])
