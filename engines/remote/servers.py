"""Several servers with the OpenAI protocol that share a list of requests.

Transient errors are retried with back-off (transport.py). A server that still fails then is given
up, and the others do its work.
"""

from __future__ import annotations

import asyncio
import json
import queue
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from core.errors import ModelError
from core.progress import say
from core.secrets import read_key
from engines.remote.dialects import read_error
from engines.remote.transport import Pace, Problem, Transport, event_loop, is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from openai import AsyncOpenAI

    from core.config import EngineSection

_BACKOFF_S = 0.5


class ServedModel(NamedTuple):
    """A model as a server lists it: name, folder if stated, context window, kind of server."""

    name: str
    root: str | None
    window: int | None
    owner: str


class Completion(NamedTuple):
    """One reply: its only choice, and how many tokens the server says it generated."""

    choice: dict[str, Any]
    tokens: int


_Answers: TypeAlias = "queue.SimpleQueue[tuple[int, Completion] | None]"


class _ServerLost(Exception):
    """A server does not answer, after all retries."""


class Servers:
    """Sends completion requests; the key comes from the environment."""

    def __init__(self, urls: Sequence[str], section: EngineSection) -> None:
        self.urls = list(urls)
        self._section = section
        key = read_key(section.api_key_env)
        limits: dict[str, Any] = section.model_dump(include={"timeout_s", "max_retries"})
        self._transports = [
            Transport(url, key, **limits, pace=Pace(None, backoff_s=_BACKOFF_S, seed=number))
            for number, url in enumerate(urls)
        ]

    def models(self, url: str) -> list[ServedModel]:
        """Return what a server serves.

        Raises:
            ModelError: it does not answer, or not in this protocol.
        """
        import openai

        transport = self._transports[self.urls.index(url)]
        try:
            with transport.blocking_client() as client:
                cards: list[dict[str, Any]] = [c.to_dict() for c in client.models.list().data or []]
        except openai.OpenAIError as error:
            raise self._error(url, transport.problem(error)) from None
        return [
            ServedModel(
                str(c.get("id")), c.get("root"), c.get("max_model_len"), str(c.get("owned_by", "?"))
            )
            for c in cards
        ]

    def version(self, url: str) -> str:
        """Return a server's version as /version tells it (vLLM's does), or "?"."""
        import httpx

        address = f"{url.rstrip('/').removesuffix('/v1')}/version"
        try:
            direct = is_loopback(url)
            reply = httpx.get(address, timeout=self._section.timeout_s, trust_env=not direct)
            return str(reply.json()["version"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return "?"

    def complete(
        self, groups: Sequence[Sequence[dict[str, Any]]]
    ) -> Iterator[tuple[int, Completion]]:
        """Yield (place, reply) for each request as it is answered; places count across groups.

        The requests of a group share a prefix and go to one server, for its prefix cache, unless
        another is idle. Requests in flight are cancelled when this is closed.

        Raises:
            ModelError: a server refuses a request or sends a malformed reply, or none answers.
        """
        bodies = [body for group in groups for body in group]
        queues: list[deque[int]] = [deque() for _ in self.urls]
        places = iter(range(len(bodies)))
        for number, group in enumerate(groups):
            queues[number % len(queues)].extend(next(places) for _ in group)
        answers: _Answers = queue.SimpleQueue()
        clients = [transport.client() for transport in self._transports]
        with event_loop("servers", clients) as loop:
            work = self._work(clients, bodies, queues, answers)
            future = asyncio.run_coroutine_threadsafe(work, loop)
            future.add_done_callback(lambda _: answers.put(None))
            try:
                while (answer := answers.get()) is not None:
                    yield answer
                future.result()
            finally:
                future.cancel()

    async def _work(
        self,
        clients: Sequence[AsyncOpenAI],
        bodies: Sequence[dict[str, Any]],
        queues: list[deque[int]],
        answers: _Answers,
    ) -> None:
        """Keep every server busy until all requests are answered."""
        live = set(range(len(clients)))
        tasks: dict[asyncio.Task[Completion], tuple[int, int]] = {}
        load = [0] * len(clients)
        try:
            while True:
                for server, place in _hand_out(queues, live, load, self._section.concurrency):
                    asked = self._ask(server, clients[server], bodies[place])
                    tasks[asyncio.create_task(asked)] = (server, place)
                if not tasks:
                    return
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    server, place = tasks.pop(task)
                    load[server] -= 1
                    try:
                        answers.put((place, task.result()))
                    except _ServerLost as error:
                        queues[server].appendleft(place)
                        self._give_up(server, live, error)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _give_up(self, server: int, live: set[int], error: _ServerLost) -> None:
        if server in live:
            live.discard(server)
            say(f"  warning: {error}; {len(live)} of {len(self.urls)} servers remain")
        if not live:
            raise ModelError(
                f"{error}; restart it and run the same command again: finished rows are kept"
            ) from None

    async def _ask(self, server: int, client: AsyncOpenAI, body: dict[str, Any]) -> Completion:
        transport = self._transports[server]
        create = partial(
            client.completions.with_raw_response.create,
            model=body["model"],
            prompt=body["prompt"],
            extra_body={k: v for k, v in body.items() if k not in ("model", "prompt")},
        )
        found, _ = await transport.send(lambda: transport.post(create, _read_completion))
        if isinstance(found, Completion):
            return found
        error = self._error(transport.url, found)
        raise _ServerLost(error) if found.kind == "retry" else error

    def _error(self, url: str, found: Problem) -> ModelError:
        advice = {
            401: f"; the key in {self._section.api_key_env} is missing or wrong",
            404: "; engine.base_urls usually end in /v1",
        }.get(found.status or 0, "")
        return ModelError(f"{url}: {found.reason}{advice}")


def _read_completion(body: str) -> Completion | Problem:
    try:
        reply = json.loads(body)
        choice, tokens = dict(reply["choices"][0]), int(reply["usage"]["completion_tokens"])
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        what = f"the reply is not a completion in the OpenAI protocol: {read_error(body).message}"
        return Problem("failed", what)
    if choice.get("finish_reason") == "error":  # after part of the text
        return Problem("retry", f"an error in the reply: {choice.get('error') or 'not named'}")
    return Completion(choice, tokens)


def _hand_out(
    queues: list[deque[int]], live: set[int], load: list[int], limit: int
) -> Iterator[tuple[int, int]]:
    """Yield (server, place) until all servers are busy or no work is left, counting it in `load`.

    Each server takes its own work first, then that of busy or lost servers.
    """
    for server in sorted(live):
        while queues[server] and load[server] < limit:
            load[server] += 1
            yield server, queues[server].popleft()
    for server in sorted(live):
        while load[server] < limit and (longest := max(queues, key=len)):
            load[server] += 1
            yield server, longest.pop()
