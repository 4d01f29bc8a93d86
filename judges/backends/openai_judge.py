"""Any server with the OpenAI chat protocol as the judge: OpenAI itself, vLLM, transformers serve.

Requests run concurrently. Transient errors (429, 5xx, time-outs, broken connections, malformed
replies) are retried; other errors fail one request, or stop everything if no request can succeed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from core.errors import ConfigError
from core.secrets import read_key
from engines.remote.dialects import IMPOSSIBLE, adaptation
from engines.remote.transport import Pace, Problem, Transport, event_loop
from judges.asking import Ask, Reply, ReplyFinish, unique_keys
from judges.backends.openai_protocol import Answer, read_answer, request_body

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from openai import AsyncOpenAI

    from core.evaluation_config import JudgeBackendSection
    from engines.remote.dialects import Adaptations

OPENAI_URL = "https://api.openai.com/v1"
_MIN_FAILURES_TO_GIVE_UP = 8
_OUTCOMES: dict[str, ReplyFinish] = {"too_long": "too_long", "refused": "refused", "cut": "length"}

_log = logging.getLogger(__name__)


def server_of(section: JudgeBackendSection) -> str:
    """Return the server's address: the setting, else OPENAI_BASE_URL, else OpenAI's own.

    Raises:
        ConfigError: the environment's is not an address; it is not shown: it may hold a password.
    """
    found = section.base_url or os.environ.get("OPENAI_BASE_URL", "").strip() or OPENAI_URL
    if not re.fullmatch(r"https?://[^/\s]+(/[!-~]*)?", found):
        message = "the environment variable OPENAI_BASE_URL is not an http:// or https:// address"
        raise ConfigError(message)
    return found


def identity_of(section: JudgeBackendSection) -> str:
    """Return `openai/<host and port>/<model>`, the identity of the judge a section describes.

    Variables of its chat template are part of it.
    """
    parts = urlsplit(server_of(section))
    host = parts.netloc.rpartition("@")[2]  # without a user name and password
    variables = section.chat_template_kwargs
    how = f" {json.dumps(variables, sort_keys=True)}" if variables else ""
    return f"openai/{host}/{section.model}{how}"


class OpenAIJudge:
    """Judges through a chat-completions endpoint; implements `judges.asking.Judge`.

    `adapted` says what is changed in requests since the server refused it.
    """

    def __init__(
        self, section: JudgeBackendSection, *, seed: int = 0, backoff_s: float = 0.5
    ) -> None:
        """Read the key; nothing is sent yet.

        Args:
            section: model, address and limits.
            seed: of the back-off's jitter.
            backoff_s: pause after the first failed attempt; doubles with each further one.

        Raises:
            ConfigError: the server is OpenAI's and the environment holds no key.
        """
        self._section = section
        self.name, self.identity = section.model, identity_of(section)
        server, key = server_of(section), read_key(section.api_key_env)
        host = urlsplit(server).hostname
        if not key and host == urlsplit(OPENAI_URL).hostname:
            message = (
                f"evaluation.judge: {section.model} at {host} needs a "
                f"key: set the environment variable {section.api_key_env}, or base_url to a server "
                "that needs none, or replay=true to use recorded replies"
            )
            raise ConfigError(message)
        self._transport = Transport(
            server,
            key,
            timeout_s=section.timeout_s,
            max_retries=section.max_retries,
            pace=Pace(section.requests_per_minute, backoff_s=backoff_s, seed=seed),
        )
        variables = section.chat_template_kwargs
        self._extra = {"extra_body": {"chat_template_kwargs": variables}} if variables else {}
        self._lock = threading.Lock()  # ask() may run in several threads
        self.adapted: Adaptations = {}

    def ask(self, asks: Sequence[Ask]) -> Iterator[Reply]:
        """Yield one reply per request as they arrive; at most `concurrency` are in flight.

        A reply that is not fetched counts as in flight, so that little is lost when this generator
        is closed or the process killed. After many failures in a row the server is assumed to be
        down, and the remaining requests fail without being sent.

        Raises:
            ConfigError: no request can succeed (key, rights, address, model, credit).
            ValueError: two asks have the same key.
        """
        unique_keys(asks)
        limit = max(_MIN_FAILURES_TO_GIVE_UP, 2 * self._section.concurrency)
        failed_in_a_row = 0
        queue = iter(asks)
        client = self._transport.client()
        with event_loop("judge", [client]) as loop:
            in_flight: set[Future[Reply]] = set()
            while True:
                room = self._section.concurrency - len(in_flight)
                for ask in islice(queue, room if failed_in_a_row < limit else 0):
                    coroutine = self._answer(client, ask)
                    in_flight.add(asyncio.run_coroutine_threadsafe(coroutine, loop))
                if not in_flight:
                    break
                done = wait(in_flight, return_when=FIRST_COMPLETED).done.pop()
                in_flight.discard(done)
                reply = done.result()
                failed_in_a_row = failed_in_a_row + 1 if reply.finish == "failed" else 0
                yield reply
        for ask in queue:
            reason = f"not asked: the {failed_in_a_row} requests before it failed (last: "
            yield Reply(ask.key, "", "failed", failure=f"{reason}{reply.failure})")

    async def _answer(self, client: AsyncOpenAI, ask: Ask) -> Reply:
        """Return the reply after all retries; malformed replies that were billed count too."""
        began = time.monotonic()
        found, retried = await self._transport.send(lambda: self._attempt(client, ask))
        spent = [*retried, found]
        billed = (sum(each.tokens_in for each in spent), sum(each.tokens_out for each in spent))
        seconds = time.monotonic() - began
        if isinstance(found, Answer):
            return Reply(
                ask.key,
                found.text,
                found.finish,
                *billed,
                logprobs=found.logprobs,
                model=found.model,
                seconds=seconds,
                thought=found.thought,
                adapted=found.adapted or {},
            )
        return Reply(ask.key, "", "failed", *billed, failure=found.reason, seconds=seconds)

    async def _attempt(self, client: AsyncOpenAI, ask: Ask) -> Answer | Problem:
        """Send a request, at once again in another form where the server refuses a parameter.

        Raises:
            ConfigError: no request can succeed.
        """
        while True:
            body, adapted = self._request(ask)
            create = partial(
                client.chat.completions.with_raw_response.create, **body, **self._extra
            )
            found = await self._transport.post(create, read_answer)
            if isinstance(found, Answer):
                return found._replace(adapted=adapted)
            if found.kind == "stop":
                raise ConfigError(self._advice(found))
            if finish := _OUTCOMES.get(found.kind):
                return Answer("", finish, found.tokens_in, found.tokens_out, None, "")
            if found.kind != "unsupported" or found.error is None:
                return found
            change = adaptation(found.error, body)
            if change is None or adapted.get(change[0]) == change[1]:
                return found._replace(kind="failed")
            if change[1] == IMPOSSIBLE:
                raise ConfigError(self._no_logprobs(found.reason))
            self._adapt(*change)

    def _request(self, ask: Ask) -> tuple[dict[str, Any], Adaptations]:
        """Return the body of a request, and the adaptations that changed it."""
        name, adapted = self._section.model, self.adapted
        plain = request_body(name, ask, {})
        changed: Adaptations = {
            parameter: instead
            for parameter, instead in adapted.items()
            if request_body(name, ask, {parameter: instead}) != plain
        }
        return request_body(name, ask, adapted), changed

    def _adapt(self, parameter: str, instead: str | int) -> None:
        with self._lock:
            if self.adapted.get(parameter) == instead:
                return  # another request was refused for the same reason
            self.adapted = self.adapted | {parameter: instead}
        _log.warning("%s refuses %s; from here on: %s", self.identity, parameter, instead)

    def _advice(self, found: Problem) -> str:
        """Return what to check, and the server's words."""
        variable = self._section.api_key_env
        checks = {
            401: f"the key in {variable} is missing or wrong",
            402: f"the account of the key in {variable} has no credit left",
            403: f"the key in {variable} has no right to this model",
            404: "check evaluation.judge.model and base_url (which usually ends in /v1)",
            429: f"the account of the key in {variable} has no credit left",
        }
        advice = checks.get(found.status or 0, f"check the account of the key in {variable}")
        return f"evaluation.judge: {self.identity}: {advice} ({found.reason})"

    def _no_logprobs(self, reason: str) -> str:
        return (
            f"evaluation.judge: {self.identity} gives no log-probabilities ({reason}); use another "
            "judge, or prompts that are answered in words (evaluation.head_to_head.prompt = "
            "'alpaca_eval', evaluation.alpaca_eval.annotator = 'alpaca_eval_gpt4')"
        )
