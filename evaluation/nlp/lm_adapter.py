"""Adapter that lets lm-eval run its tasks on an engine.

Importing this module imports lm-eval, which takes a second, so import it lazily.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NoReturn

from lm_eval.api.model import LM
from lm_eval.models.utils import normalize_gen_kwargs

from core.errors import ConfigError, ModelError
from core.progress import track
from engines.engine import Continuation, Decoding, Request, sample_answers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lm_eval.api.instance import Instance

    from engines.engine import Engine

# The default of lm-eval's own HFLM.
MAX_GEN_TOKS = 256
# Requests scored at a time, between two steps of the progress bar.
_SCORED_TOGETHER = 2048
_SUPPORTED = {"until", "max_gen_toks", "do_sample", "temperature", "top_p", "top_k"}


class EngineLM(LM):
    """Answers lm-eval's requests through an engine, as its HFLM would: greedy, raw prompts."""

    def __init__(self, engine: Engine, title: str) -> None:
        """Wrap an engine; `title` names the work in the progress bar."""
        super().__init__()
        self._engine, self._title = engine, title

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Return each continuation's log-probability and whether it is the greedy one."""
        asked = [Continuation(*request.args) for request in requests]
        found: list[tuple[float, bool]] = []
        with track(self._title, len(asked)) as advance:
            for start in range(0, len(asked), _SCORED_TOGETHER):
                part = asked[start : start + _SCORED_TOGETHER]
                found += [(result.total, result.greedy) for result in self._engine.score(part)]
                advance(len(part))
        return found

    def loglikelihood_rolling(self, requests: list[Instance]) -> NoReturn:  # noqa: ARG002 - lm-eval's
        """Refuse perplexity tasks.

        Raises:
            ConfigError: always; none of the paper's benchmarks is one.
        """
        message = (
            f"{self._title}: perplexity tasks (loglikelihood_rolling) are not supported; "
            "take the task out of evaluation.nlp.tasks"
        )
        raise ConfigError(message)

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Return greedy continuations, cut before the first stop string, without a thought.

        As lm-eval does where it is told a model's `think_end_token`.
        A context that exceeds the window is truncated from the left.

        Raises:
            ConfigError: a task asks for sampling or for an unsupported decoding option.
            ModelError: the window is smaller than the number of new tokens.
        """
        groups: dict[Decoding, list[int]] = defaultdict(list)
        for at, request in enumerate(requests):
            groups[_decoding(self._title, request.args[1])].append(at)
        texts: dict[int, str] = {}
        with track(self._title, len(requests)) as advance:
            for decoding, places in groups.items():
                asked = [Request(str(at), requests[at].args[0]) for at in places]
                for sampled in sample_answers(self._engine, asked, decoding):
                    if sampled.finish == "too_long":
                        message = (
                            f"{self._title}: the model's context window leaves no room for "
                            f"{decoding.max_new_tokens} new tokens"
                        )
                        raise ModelError(message)
                    texts[int(sampled.key)] = sampled.text
                    advance(tokens=sampled.tokens)
        return [texts[at] for at in range(len(requests))]


def _decoding(task: str, options: dict[str, Any]) -> Decoding:
    plain = normalize_gen_kwargs(options, MAX_GEN_TOKS)
    if plain["do_sample"]:
        message = f"{task}: asks for sampling; only greedy tasks (do_sample: false) are supported"
        raise ConfigError(message)
    if unknown := sorted(set(plain) - _SUPPORTED):
        message = f"{task}: decoding options that are not supported here: {', '.join(unknown)}"
        raise ConfigError(message)
    until: Sequence[str] = plain.get("until") or []
    stop = (until,) if isinstance(until, str) else tuple(s for s in until if s)
    return Decoding(0.0, 1.0, plain["max_gen_toks"], seed=0, stop=stop, truncate=True)
