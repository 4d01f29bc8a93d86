"""Any server with the OpenAI chat protocol as the judge: OpenAI itself, vLLM, transformers serve.

Requests run side by side on an event loop of their own. What can pass (429, 5xx, time-outs, broken
connections, malformed replies) is tried again; what cannot stops everything or fails one request.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, cast
from urllib.parse import urlsplit

from core.errors import ConfigError
from judges.asking import Reply, unique_keys
from judges.backends.openai_protocol import (
    Answer,
    Malformed,
    read_answer,
    request_body,
    retry_after_s,
    trouble,
    unsupported,
)
from judges.backends.pacing import Pace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future

    from openai import APIStatusError, AsyncOpenAI

    from core.evaluation_config import JudgeBackendSection
    from judges.asking import Ask, ReplyFinish

OPENAI_URL = "https://api.openai.com/v1"
_LONGEST_RETRY_AFTER_S = 600.0
_LEAST_FAILURES_TO_GIVE_UP = 8
_WIND_DOWN_S = 10.0
_SHOWN_CHARACTERS = 300

_log = logging.getLogger(__name__)


class _Problem(NamedTuple):
    """Why an attempt gave no answer; `final` if another one cannot either."""

    reason: str
    final: bool = False
    wait_s: float | None = None
    tokens_in: int = 0
    tokens_out: int = 0


class _AskDifferently(NamedTuple):
    """The server rejects a parameter that one can do without."""

    parameter: str


def server_of(section: JudgeBackendSection) -> str:
    """Return the server's address: the setting, else OPENAI_BASE_URL, else OpenAI's own."""
    return section.base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI_URL


def identity_of(section: JudgeBackendSection) -> str:
    """Return the identity of the judge that a section describes, without opening it."""
    parts = urlsplit(server_of(section))
    host = parts.netloc.rpartition("@")[2]  # a user's name and password are nobody's business
    return f"openai/{host}/{section.model}"


class OpenAIJudge:
    """Judges through a chat-completions endpoint; implements `judges.asking.Judge`.

    `adapted` holds the parameters that the server rejected and that are no longer sent.
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
        self._server = server_of(section)
        self._key = os.environ.get(section.api_key_env, "")
        if not self._key and urlsplit(self._server).hostname == urlsplit(OPENAI_URL).hostname:
            message = (
                f"evaluation.judge: {section.model} at {urlsplit(self._server).hostname} needs a "
                f"key: set the environment variable {section.api_key_env}, or base_url to a server "
                "that needs none, or replay=true to use recorded replies"
            )
            raise ConfigError(message)
        self._pace = Pace(section.requests_per_minute, backoff_s=backoff_s, seed=seed)
        self._lock = threading.Lock()  # ask() may run in several threads
        self.adapted: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """The model's name on its server."""
        return self._section.model

    @property
    def identity(self) -> str:
        """`openai/<host and port>/<model>`."""
        return identity_of(self._section)

    def ask(self, asks: Sequence[Ask]) -> Iterator[Reply]:
        """Yield one reply per request, as they come; at most `concurrency` are under way.

        A reply that is not fetched counts as under way, so that little is lost when this generator
        is closed or the process killed. After many failures in a row the server is taken to be
        down: the rest fail unasked.

        Raises:
            ConfigError: no request can succeed (key, rights, address, model, credit).
            ValueError: two asks have the same key.
        """
        unique_keys(asks)
        limit = max(_LEAST_FAILURES_TO_GIVE_UP, 2 * self._section.concurrency)
        failed_in_a_row = 0
        queue = iter(asks)
        with self._connection() as (loop, client):
            under_way: set[Future[Reply]] = set()
            while True:
                room = self._section.concurrency - len(under_way)
                for ask in islice(queue, room if failed_in_a_row < limit else 0):
                    coroutine = self._answer(client, ask)
                    under_way.add(asyncio.run_coroutine_threadsafe(coroutine, loop))
                if not under_way:
                    break
                done = wait(under_way, return_when=FIRST_COMPLETED).done.pop()
                under_way.discard(done)
                reply = done.result()
                failed_in_a_row = failed_in_a_row + 1 if reply.finish == "failed" else 0
                yield reply
        for ask in queue:
            reason = f"not asked: the {failed_in_a_row} requests before it failed (last: "
            yield Reply(ask.key, "", "failed", failure=f"{reason}{reply.failure})")

    @contextmanager
    def _connection(self) -> Iterator[tuple[asyncio.AbstractEventLoop, AsyncOpenAI]]:
        """Run an event loop in a thread; on leaving, whatever is under way is cancelled."""
        from openai import AsyncOpenAI

        client = AsyncOpenAI(
            api_key=self._key or "none",
            base_url=self._server,
            timeout=self._section.timeout_s,
            max_retries=0,
        )
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="judge", daemon=True)
        thread.start()
        try:
            yield loop, client
        finally:
            asyncio.run_coroutine_threadsafe(_wind_down(client), loop).result(_WIND_DOWN_S)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(_WIND_DOWN_S)
            loop.close()

    async def _answer(self, client: AsyncOpenAI, ask: Ask) -> Reply:
        """Try until there is an answer or no use in going on."""
        began = time.monotonic()
        attempts = 1 + self._section.max_retries
        attempt = tokens_in = tokens_out = 0
        while True:
            found = await self._attempt_as_the_server_likes(client, ask)
            attempt += 1
            tokens_in, tokens_out = tokens_in + found.tokens_in, tokens_out + found.tokens_out
            billed, seconds = (tokens_in, tokens_out), time.monotonic() - began
            if isinstance(found, Answer):
                said = (found.logprobs, found.model)
                return Reply(ask.key, found.text, found.finish, *billed, *said, None, seconds)
            if found.final or attempt == attempts:
                reason = found.reason if found.final else f"{found.reason} ({attempts} attempts)"
                return Reply(ask.key, "", "failed", *billed, failure=reason, seconds=seconds)
            await asyncio.sleep(self._pace.backoff(attempt - 1, found.wait_s))

    async def _attempt_as_the_server_likes(
        self, client: AsyncOpenAI, ask: Ask
    ) -> Answer | _Problem:
        """Send a request, at once again without what the server rejects."""
        while True:
            adapted = self.adapted
            await asyncio.sleep(self._pace.turn())
            found = await self._attempt(client, ask, adapted)
            if not isinstance(found, _AskDifferently):
                return found
            if found.parameter in adapted:
                return _Problem(f"{found.parameter} is rejected with and without it", final=True)
            self._adapt(found.parameter)

    async def _attempt(
        self, client: AsyncOpenAI, ask: Ask, adapted: frozenset[str]
    ) -> Answer | _Problem | _AskDifferently:
        import openai

        body = request_body(self._section.model, ask, adapted)
        try:
            # The client's own time-out starts again with each byte that arrives.
            async with asyncio.timeout(self._section.timeout_s):
                raw = await client.chat.completions.with_raw_response.create(**body)
                found = read_answer(raw.text)
        except (TimeoutError, openai.APITimeoutError):
            return _Problem(f"no reply within {self._section.timeout_s:g} s")
        except openai.APIStatusError as error:
            return self._read_error(error)
        except openai.APIConnectionError as error:
            return _Problem(self._clean(f"connection: {error.__cause__ or error}"))
        except openai.OpenAIError as error:
            return _Problem(self._clean(f"unreadable reply: {error}"))
        if isinstance(found, Malformed):
            reason = self._clean(f"malformed reply: {found.reason}")
            return _Problem(reason, tokens_in=found.tokens_in, tokens_out=found.tokens_out)
        return found

    def _read_error(self, error: APIStatusError) -> Answer | _Problem | _AskDifferently:
        status = error.status_code
        message = error.message.removeprefix(f"Error code: {status} - ")
        reason = self._clean(f"HTTP {status}: {message}")
        kind = trouble(status, error.code, error.param, message)
        if kind == "stop":
            raise ConfigError(self._advice(status))
        if kind in {"too_long", "refused"}:
            return Answer("", cast("ReplyFinish", kind), 0, 0, None, "")
        if kind == "unsupported":
            name = unsupported(error.code, error.param, message) or ""
            if name in ("logprobs", "top_logprobs"):
                raise ConfigError(self._no_logprobs(reason))
            return _AskDifferently(name)
        if kind == "failed":
            return _Problem(reason, final=True)
        return self._hold_back(reason, retry_after_s(error.response.headers))

    def _hold_back(self, reason: str, wait_s: float | None) -> _Problem:
        """Pause all requests for as long as the server asks."""
        if wait_s is None:
            return _Problem(reason)
        if wait_s > _LONGEST_RETRY_AFTER_S:
            return _Problem(f"{reason}; to be asked again after {wait_s:g} s", final=True)
        self._pace.hold(wait_s)
        return _Problem(reason, wait_s=wait_s)

    def _adapt(self, parameter: str) -> None:
        with self._lock:
            if parameter in self.adapted:
                return  # another request met the same rejection
            self.adapted |= {parameter}
        instead = "max_completion_tokens is sent" if parameter == "max_tokens" else "it is left out"
        _log.warning("%s rejects %s: %s from here on", self.identity, parameter, instead)

    def _advice(self, status: int) -> str:
        """Say what to check; the server's words are left out, for they may repeat the key."""
        where = f"evaluation.judge: {self.identity} answers HTTP {status}"
        variable = self._section.api_key_env
        checks = {
            401: f"the key in {variable} is missing or wrong",
            403: f"the key in {variable} has no right to this model",
            404: "check evaluation.judge.model and base_url (which usually ends in /v1)",
            429: f"the account of the key in {variable} has no credit left",
        }
        return f"{where}: {checks.get(status, f'check the account of the key in {variable}')}"

    def _no_logprobs(self, reason: str) -> str:
        return (
            f"evaluation.judge: {self.identity} gives no log-probabilities ({reason}); use another "
            "judge, or prompts that are answered in words (head_to_head.prompt = 'alpaca_eval')"
        )

    def _clean(self, text: str) -> str:
        """Cut a message to a readable length and take out key and password, should it hold them."""
        for secret in (self._key, urlsplit(self._server).password):
            text = text.replace(secret, "[secret]") if secret else text
        return " ".join(text.split())[:_SHOWN_CHARACTERS]


async def _wind_down(client: AsyncOpenAI) -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await client.close()
