"""The engine over servers with the OpenAI protocol: vLLM's, or a compatible one.

Prompts are rendered here, with the tokenizer of the model's folder, and sent as token ids to
/v1/completions, each draw with its own seed: the same prompts and seeds as with `kind = "vllm"`.
Replies are read as token ids where the server returns them (vLLM does), else as text. Scores use
vLLM's `prompt_logprobs`; with a server without it, sampling works and scoring is an error.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import ModelError
from core.hashing import short
from engines.draws import cut_at_stop, fit_pair, plan_draws, read_draw, think_for
from engines.engine import Logprob, Sampled
from engines.models import FolderFacts
from engines.remote.servers import Completion, ServedModel, Servers
from engines.remote.serving import ModelServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Unpack

    from core.config import EngineSection
    from engines.draws import Draw
    from engines.engine import Continuation, Decoding, Finish, Request
    from engines.models import Opening
    from engines.prompting import Pair

# Overrides the server's defaults from the model's generation_config.json.
_NEUTRAL = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}


class OpenAIEngine:
    """A model folder served by one or more servers. `close` stops a server that it started."""

    def __init__(self, folder: Path, section: EngineSection, **opening: Unpack[Opening]) -> None:
        """Read the tokenizer; check what the servers serve, or start one.

        Raises:
            ConfigError: the program of engine.serve_command does not exist.
            ModelError: the folder cannot be used, or a server does not answer or serves another
                model; the message says how to start one.
        """
        self._facts = FolderFacts(folder, section, **opening)
        self._prompter = self._facts.prompter
        self._server = ModelServer(folder, section) if section.serve_command else None
        urls = [self._server.url] if self._server else section.base_urls
        self._servers = Servers(urls, section)
        try:
            self._model, kind = self._identify(folder, section.served_model)
        except BaseException:
            self.close()
            raise
        self.fingerprint = f"openai/{kind}/{section.dtype}/{self._facts.digest}"

    def close(self) -> None:
        """Stop the server that this engine started, if any; calling it again has no effect."""
        if self._server is not None:
            self._server.close()

    def _identify(self, folder: Path, served_model: str | None) -> tuple[str, str]:
        """Return the model's name on the servers, and their kind and version."""
        name = (served_model or "").replace("{weights}", short(self._facts.digest))
        kinds = {}
        for url in self._servers.urls:
            listed = self._servers.models(url)
            found = next((card for card in listed if _is_served(card, folder, name)), None)
            if found is None:
                raise ModelError(_not_served(url, listed, folder, name))
            if found.window is not None:
                self._facts.window = min(self._facts.window, found.window)
            kinds[url] = (found.name, f"{found.owner} {self._servers.version(url)}")
        if len(set(kinds.values())) > 1:
            described = "; ".join(f"{url}: {' by '.join(kind)}" for url, kind in kinds.items())
            raise ModelError(f"engine.base_urls: the servers are not alike: {described}")
        return next(iter(kinds.values()))

    def sample(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Sampled]:
        """Yield draws as they finish; see `Engine.sample`. Raises as `Servers.complete`."""
        decoding = think_for(decoding, requests, self._facts.thinking)
        plan = plan_draws(self._prompter, requests, decoding, self._facts.window)
        yield from plan.too_long
        draws = [draw for same in plan.requests for draw in same]
        asked = [[self._sampling(draw) for draw in same] for same in plan.requests]
        for at, reply in self._servers.complete(asked):
            yield self._read(draws[at], reply)

    def score(self, requests: Sequence[Continuation]) -> list[Logprob]:
        """Return one result per request, in order.

        Raises:
            ModelError: the server returns no prompt_logprobs, or a continuation alone is longer
                than the window.
        """
        pairs = self._prompter.pairs(requests)
        found = [Logprob(0.0, 0, greedy=True)] * len(pairs)
        places = [at for at, pair in enumerate(pairs) if pair.target]
        fitted = [fit_pair(pairs[at], self._facts.window) for at in places]
        for number, reply in self._servers.complete([[self._scoring(pair)] for pair in fitted]):
            found[places[number]] = self._read_score(fitted[number], reply.choice)
        return found

    def _sampling(self, draw: Draw) -> dict[str, Any]:
        return {
            "model": self._model,
            "prompt": draw.prompt,
            "max_tokens": draw.decoding.most_tokens,
            "temperature": draw.decoding.temperature,
            "top_p": draw.decoding.top_p,
            "seed": draw.seed,
            "stop": list(draw.decoding.stop),
            "stop_token_ids": sorted(self._facts.stop_ids),
            "return_token_ids": True,
            **_NEUTRAL,
        }

    def _scoring(self, pair: Pair) -> dict[str, Any]:
        return {
            "model": self._model,
            "prompt": pair.context + pair.target,
            "max_tokens": 1,
            "temperature": 0.0,
            "prompt_logprobs": 0,
        }

    def _read(self, draw: Draw, reply: Completion) -> Sampled:
        """Parse one reply, from its token ids if the server returns them."""
        choice = reply.choice
        stopped = choice.get("finish_reason") == "stop"
        ids = choice.get("token_ids")
        if ids is not None:
            return read_draw(draw, ids, self._facts, stopped=stopped)
        text, cut = cut_at_stop(choice["text"], draw.decoding.stop)
        finish: Finish = "stop" if stopped or cut else "length"
        return Sampled(draw.key, draw.number, draw.opening + text, reply.tokens, finish)

    def _read_score(self, pair: Pair, choice: dict[str, Any]) -> Logprob:
        listed = choice.get("prompt_logprobs")
        if not listed:
            raise ModelError(
                f"{self._servers.urls[0]}: returns no prompt_logprobs, which scoring needs (vLLM's "
                "server does); use engine.kind 'vllm' or 'transformers' for this stage"
            )
        ends = listed[-len(pair.target) :]
        scored = [end[str(token)] for end, token in zip(ends, pair.target, strict=True)]
        total = sum(token["logprob"] for token in scored)
        return Logprob(total, len(scored), all(token["rank"] == 1 for token in scored))


def _is_served(card: ServedModel, folder: Path, name: str) -> bool:
    if name:
        return card.name == name
    return any(Path(at).resolve() == folder.resolve() for at in (card.root, card.name) if at)


def _not_served(url: str, listed: list[ServedModel], folder: Path, name: str) -> str:
    served = ", ".join(card.name for card in listed) or "nothing"
    naming = f" --served-model-name {name}" if name else ""
    return (
        f"{url}: serves {served}, not {name or folder.resolve()}; start a server for it: "
        f"vllm serve {folder.resolve()} --port N{naming}; or set engine.serve_command, and each "
        "model gets its own"
    )
