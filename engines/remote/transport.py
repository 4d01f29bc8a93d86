"""Requests to servers with the OpenAI protocol: pacing and retries; dialects.py reads errors.

The engine over served models (openai_api.py) and the API judge (judges/backends/openai_judge.py)
send through it; each builds its own requests and reads its own replies.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
import random
import threading
import time
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from core.errors import ConfigError
from core.secrets import passwords, redacted
from engines.remote.dialects import ServerError, Trouble, read_error, trouble

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from openai import APIStatusError, AsyncOpenAI, OpenAI

_T = TypeVar("_T")

_MAX_RETRY_AFTER_S = 600.0
_MAX_BACKOFF_S = 60.0
_WIND_DOWN_S = 10.0
_SHOWN_CHARACTERS = 300


class Problem(NamedTuple):
    """Why a request has no answer; see `dialects.trouble` for the kinds.

    `status` and `error`: of an error reply. `wait_s`: the pause that the server asks for. Tokens:
    what a malformed reply is billed at.
    """

    kind: Trouble
    reason: str
    status: int | None = None
    error: ServerError | None = None
    wait_s: float | None = None
    tokens_in: int = 0
    tokens_out: int = 0


class Pace:
    """Rate limit and pauses shared by all requests to one server; thread-safe."""

    def __init__(self, per_minute: float | None, *, backoff_s: float, seed: int) -> None:
        """Allow `per_minute` requests, None for no limit.

        `backoff_s`: the pause after a first failed attempt, which doubles with each further one;
        `seed`: of its jitter.
        """
        self._interval_s = 60 / per_minute if per_minute is not None else 0.0
        self._backoff_s = backoff_s
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._next = 0.0

    def turn(self) -> float:
        """Reserve the next free slot; return the seconds until then (0 for at once)."""
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            if self._interval_s:
                self._next = turn + self._interval_s
            return turn - now

    def hold(self, seconds: float) -> None:
        """Pause all requests for `seconds`."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)

    def backoff(self, attempt: int, asked_for_s: float | None = None) -> float:
        """Return the pause after a failed attempt (the first is 0), in seconds.

        It is half to one and a half times `backoff_s`·2^attempt, at most 90 s; or what the server
        asked for plus jitter.
        """
        with self._lock:
            jitter = self._random.random()
        if asked_for_s is not None:
            return asked_for_s + self._backoff_s * jitter
        return float(min(_MAX_BACKOFF_S, self._backoff_s * 2.0**attempt) * (0.5 + jitter))


class Transport:
    """Sends requests to one server; the key stays out of messages."""

    def __init__(
        self, url: str, key: str, *, timeout_s: float, max_retries: int, pace: Pace
    ) -> None:
        """Keep the settings; nothing is sent yet. An empty `key` is for servers without one."""
        self.url = url
        self._options: dict[str, Any] = {
            "api_key": key or "none",
            "base_url": url,
            "timeout": timeout_s,
        }
        self._secrets = [key, *passwords(url)]
        self._timeout_s, self._max_retries = timeout_s, max_retries
        self._pace = pace

    def client(self) -> AsyncOpenAI:
        """Return a client without retries of its own; close it, or give it to `event_loop`.

        Raises:
            ConfigError: the environment names a proxy that cannot be used.
        """
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        http = self._reachable(DefaultAsyncHttpxClient)
        return AsyncOpenAI(**self._options, max_retries=0, http_client=http)

    def blocking_client(self) -> OpenAI:
        """Return a client that retries by itself; use it as a context. Raises as `client`."""
        from openai import DefaultHttpxClient, OpenAI

        http = self._reachable(DefaultHttpxClient)
        return OpenAI(**self._options, max_retries=self._max_retries, http_client=http)

    def _reachable(self, kind: Callable[..., _T]) -> _T:
        """Open an HTTP client: through the environment's proxy, but directly to this machine."""
        try:
            return kind(trust_env=not is_loopback(self.url))
        except (ImportError, ValueError) as error:
            message = (
                f"{urlsplit(self.url).hostname}: the proxy that the environment names "
                f"(HTTPS_PROXY, HTTP_PROXY, ALL_PROXY) cannot be used: {self._clean(str(error))}; "
                "install what it needs, correct it, or name the server in NO_PROXY"
            )
            raise ConfigError(message) from None

    async def send(
        self, attempt: Callable[[], Awaitable[_T | Problem]]
    ) -> tuple[_T | Problem, list[Problem]]:
        """Repeat an attempt, with back-off, while it may succeed later.

        Returns:
            The answer, or the problem that ended the retries; and the problems that were retried.
        """
        retried: list[Problem] = []
        while True:
            found = await attempt()
            if not isinstance(found, Problem) or found.kind != "retry":
                return found, retried
            if len(retried) == self._max_retries:
                reason = f"{found.reason} ({len(retried) + 1} attempts)"
                return found._replace(reason=reason), retried
            await asyncio.sleep(self._pace.backoff(len(retried), found.wait_s))
            retried.append(found)

    async def post(
        self, call: Callable[[], Awaitable[Any]], read: Callable[[str], _T | Problem]
    ) -> _T | Problem:
        """Send one request when it is its turn; return what `read` makes of the reply's body.

        `call` sends it by a client's `with_raw_response`.
        """
        import openai

        await asyncio.sleep(self._pace.turn())
        try:
            # The client's own time-out restarts with each byte that arrives.
            async with asyncio.timeout(self._timeout_s):
                found = read((await call()).text)
        except (openai.OpenAIError, TimeoutError) as error:
            return self.problem(error)
        if isinstance(found, Problem):
            return found._replace(reason=self._clean(found.reason))
        return found

    def problem(self, error: Exception) -> Problem:
        """Return what a client's error means; a server that asks for it pauses all requests."""
        import openai

        if isinstance(error, openai.APIStatusError):
            found = self._status_problem(error)
        elif isinstance(error, (openai.APITimeoutError, TimeoutError)):
            found = Problem("retry", f"no reply within {self._timeout_s:g} s")
        elif isinstance(error, openai.APIConnectionError):
            found = Problem("retry", f"connection: {error.__cause__ or error}")
        else:
            found = Problem("retry", f"unreadable reply: {error}")
        return found._replace(reason=self._clean(found.reason))

    def _status_problem(self, answer: APIStatusError) -> Problem:
        status, error = answer.status_code, read_error(answer.response.text)
        kind, wait_s = trouble(status, error), retry_after_s(answer.response.headers)
        found = Problem(kind, f"HTTP {status}: {error.message}", status, error)
        if kind != "retry" or wait_s is None:
            return found
        if wait_s > _MAX_RETRY_AFTER_S:
            reason = f"{self._clean(found.reason)}; to be asked again after {wait_s:g} s"
            return found._replace(kind="failed", reason=reason)
        self._pace.hold(wait_s)
        return found._replace(wait_s=wait_s)

    def _clean(self, text: str) -> str:
        """Cut a message to a readable length; before that, remove keys and passwords from it."""
        return " ".join(redacted(text, self._secrets).split())[:_SHOWN_CHARACTERS]


def is_loopback(url: str) -> bool:
    """Whether a server is on this machine, where no proxy can reach it for us."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost" or host.endswith(".localhost")


@contextmanager
def event_loop(name: str, clients: Sequence[AsyncOpenAI]) -> Iterator[asyncio.AbstractEventLoop]:
    """Run an event loop in a thread; on leaving, cancel its tasks and close the clients."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name=name, daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        asyncio.run_coroutine_threadsafe(_wind_down(clients), loop).result(_WIND_DOWN_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_WIND_DOWN_S)
        loop.close()


async def _wind_down(clients: Sequence[AsyncOpenAI]) -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.gather(*(client.close() for client in clients))


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds a server asks to wait, from any of its three headers; None without one."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None or value is None:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
