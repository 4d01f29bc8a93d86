"""Several servers with the OpenAI protocol that share a list of requests.

What can pass (408, 409, 429, 5xx, time-outs, broken connections) is tried again by openai's client,
with back-off. A server that then still fails is given up and the others do its work.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import threading
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from core.errors import ModelError
from core.progress import say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from openai import AsyncOpenAI

    from core.config import EngineSection

_SHOWN_CHARACTERS = 300
_WIND_DOWN_S = 10.0
_SERVER_ERROR = 500
_PASSING = {408, 409, 429}


class ServedModel(NamedTuple):
    """A model as a server lists it: name, folder (if it says so), window, who made the server."""

    name: str
    root: str | None
    window: int | None
    owner: str


class Completion(NamedTuple):
    """One reply: its only choice, and how many tokens the server says it generated."""

    choice: dict[str, Any]
    tokens: int


_Answers: TypeAlias = "queue.SimpleQueue[tuple[int, Completion] | None]"


class _GivenUp(Exception):
    """A server does not answer, after all retries."""


class Servers:
    """Sends completion requests; the key comes from the environment and stays out of messages."""

    def __init__(self, urls: Sequence[str], section: EngineSection) -> None:
        """Read the key; nothing is sent yet."""
        self.urls = list(urls)
        self._section = section
        self._key = os.environ.get(section.api_key_env, "")

    def models(self, url: str) -> list[ServedModel]:
        """Return what a server serves.

        Raises:
            ModelError: it does not answer, or not in this protocol.
        """
        import openai

        client = openai.OpenAI(**self._reached_at(url))
        try:
            with client:
                found = client.models.list().data
        except openai.OpenAIError as error:
            raise self._failed(url, error) from None
        cards: list[dict[str, Any]] = [card.to_dict() for card in found or []]
        return [
            ServedModel(
                str(card.get("id")),
                card.get("root"),
                card.get("max_model_len"),
                str(card.get("owned_by", "?")),
            )
            for card in cards
        ]

    def _reached_at(self, url: str) -> dict[str, Any]:
        """Return how openai's clients reach a server."""
        return {
            "api_key": self._key or "none",
            "base_url": url,
            "timeout": self._section.timeout_s,
            "max_retries": self._section.max_retries,
        }

    def version(self, url: str) -> str:
        """Return a server's version as /version tells it (vLLM's does), or "?"."""
        import httpx

        address = f"{url.rstrip('/').removesuffix('/v1')}/version"
        try:
            reply = httpx.get(address, timeout=self._section.timeout_s)
            return str(reply.json()["version"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return "?"

    def complete(
        self, groups: Sequence[Sequence[dict[str, Any]]]
    ) -> Iterator[tuple[int, Completion]]:
        """Yield (place, reply) for each request as it is answered; places count across groups.

        The requests of a group begin alike and go to one server, for its prefix cache, unless
        another one has nothing left to do. Requests under way are cancelled when this is closed.

        Raises:
            ModelError: a server refuses a request or replies with nonsense, or none answers.
        """
        bodies = [body for group in groups for body in group]
        queues: list[deque[int]] = [deque() for _ in self.urls]
        places = iter(range(len(bodies)))
        for number, group in enumerate(groups):
            queues[number % len(queues)].extend(next(places) for _ in group)
        answers: _Answers = queue.SimpleQueue()
        with _event_loop() as loop:
            work = self._work(bodies, queues, answers)
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
        bodies: Sequence[dict[str, Any]],
        queues: list[deque[int]],
        answers: _Answers,
    ) -> None:
        """Keep every server busy until all is answered."""
        from openai import AsyncOpenAI

        clients = [AsyncOpenAI(**self._reached_at(url)) for url in self.urls]
        live = set(range(len(clients)))
        tasks: dict[asyncio.Task[Completion], tuple[int, int]] = {}
        load = [0] * len(clients)
        try:
            while True:
                for server, place in _hand_out(queues, live, load, self._section.concurrency):
                    asked = self._ask(clients[server], self.urls[server], bodies[place])
                    tasks[asyncio.create_task(asked)] = (server, place)
                if not tasks:
                    return
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    server, place = tasks.pop(task)
                    load[server] -= 1
                    try:
                        answers.put((place, task.result()))
                    except _GivenUp as error:
                        queues[server].appendleft(place)
                        self._give_up(server, live, error)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(*(client.close() for client in clients))

    def _give_up(self, server: int, live: set[int], error: _GivenUp) -> None:
        if server in live:
            live.discard(server)
            say(f"  warning: {error}; {len(live)} of {len(self.urls)} servers go on")
        if not live:
            message = f"{error}; start it again and repeat the command: what came is kept"
            raise ModelError(message) from None

    async def _ask(self, client: AsyncOpenAI, url: str, body: dict[str, Any]) -> Completion:
        import openai

        try:
            raw = await client.completions.with_raw_response.create(
                model=body["model"],
                prompt=body["prompt"],
                extra_body={k: v for k, v in body.items() if k not in ("model", "prompt")},
            )
            reply = json.loads(raw.text)
            return Completion(dict(reply["choices"][0]), int(reply["usage"]["completion_tokens"]))
        except openai.APIStatusError as error:
            if error.status_code >= _SERVER_ERROR or error.status_code in _PASSING:
                raise _GivenUp(self._failed(url, error)) from None
            raise self._failed(url, error) from None
        except openai.APIConnectionError as error:
            raise _GivenUp(self._failed(url, error)) from None
        except (ValueError, KeyError, IndexError, TypeError):
            message = f"{url}: the reply is no completion in the OpenAI protocol"
            raise ModelError(message) from None

    def _failed(self, url: str, error: Exception) -> ModelError:
        """Return what went wrong, at a readable length and without the key."""
        status = getattr(error, "status_code", None)
        reason = str(error.__cause__ or error)
        if status:
            reason = f"HTTP {status}: {str(error).removeprefix(f'Error code: {status} - ')}"
        if self._key:
            reason = reason.replace(self._key, "[secret]")
        advice = {
            401: f"; the key in {self._section.api_key_env} is missing or wrong",
            404: "; engine.base_urls usually end in /v1",
        }.get(status or 0, "")
        return ModelError(f"{url}: {' '.join(reason.split())[:_SHOWN_CHARACTERS]}{advice}")


def _hand_out(
    queues: list[deque[int]], live: set[int], load: list[int], limit: int
) -> Iterator[tuple[int, int]]:
    """Yield (server, place) until all servers are busy or all work is out, counting it in `load`.

    Each takes its own work first; what is then left is some busy or lost server's.
    """
    for server in sorted(live):
        while queues[server] and load[server] < limit:
            load[server] += 1
            yield server, queues[server].popleft()
    for server in sorted(live):
        while load[server] < limit and (longest := max(queues, key=len)):
            load[server] += 1
            yield server, longest.pop()


@contextmanager
def _event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Run an event loop in a thread of its own; whatever is under way at the end is cancelled."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="servers", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        asyncio.run_coroutine_threadsafe(_wind_down(), loop).result(_WIND_DOWN_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_WIND_DOWN_S)
        loop.close()


async def _wind_down() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
