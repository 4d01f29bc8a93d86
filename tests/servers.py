"""Judge servers on the loopback for tests: a scripted one that can fail, and `transformers serve`.

Both are real processes of HTTP over a socket; nothing of the client is replaced.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

_HOST = "127.0.0.1"
_START_S = 180.0

Script = Callable[[list[dict[str, str]]], "str | dict[str, Any]"]


@dataclass(frozen=True)
class Fault:
    """What happens to one request instead of a proper reply.

    `status` other than 200 answers with `body`; `raw` sends these bytes with status 200; `hang_s`
    waits before anything else; `drop` closes the connection without a word, or in the middle of the
    body if there is a `raw`; `pause_s` is waited for before each byte of the body.
    """

    status: int = 200
    body: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    hang_s: float = 0.0
    drop: bool = False
    pause_s: float = 0.0


TOO_MANY = Fault(429, {"error": {"message": "Rate limit reached", "code": "rate_limit_exceeded"}})
BROKEN = Fault(500, {"error": {"message": "The server had an error"}})
TRUNCATED = Fault(raw=b'{"choices": [{"message": {"content": "Sco')
NO_CHOICES = Fault(raw=b'{"object": "error", "message": "overloaded"}')
NO_CONTENT = Fault(
    raw=b'{"choices": [{"message": {"content": null}, "finish_reason": "stop"}],'
    b' "usage": {"prompt_tokens": 7, "completion_tokens": 2}}'
)
DROPPED = Fault(drop=True)
CUT_OFF = Fault(raw=b'{"choices": [', drop=True)
TOO_LONG = Fault(
    400,
    {
        "error": {
            "message": "This model's maximum context length is 8192 tokens.",
            "code": "context_length_exceeded",
            "param": "messages",
        }
    },
)


def rejects(parameter: str, code: str = "unsupported_parameter") -> Fault:
    """Return the 400 by which OpenAI's newer models reject a parameter."""
    message = f"Unsupported parameter: '{parameter}' is not supported with this model."
    return Fault(400, {"error": {"message": message, "code": code, "param": parameter}})


class FakeOpenAI:
    """A chat-completions server whose words come from `script(messages)`. Use it as a context.

    The script returns the text, or a whole choice ({"message": ..., "finish_reason": ...,
    "logprobs": ...}). `faults` befall the first requests, one each, in the order in which they
    arrive; None stands for none. `fault_for(body)` may name one for any request. `delay_s` is how
    long each reply takes.

    Read afterwards: `bodies` (all requests seen), `answered` (those that got a proper reply),
    `times` (of arrival), `peak` (most under way at once), `authorizations` (headers).

    Another protocol is a subclass with its own `path`, `reply` and `get`.
    """

    path = "/v1/chat/completions"

    def __init__(
        self,
        script: Script,
        *,
        faults: Iterable[Fault | None] = (),
        fault_for: Callable[[dict[str, Any]], Fault | None] = lambda body: None,
        delay_s: float = 0.0,
        model: str = "served-model",
    ) -> None:
        self.script, self.fault_for = script, fault_for
        self.faults = deque(faults)
        self.delay_s, self.model = delay_s, model
        self.bodies: list[dict[str, Any]] = []
        self.answered: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.authorizations: set[str] = set()
        self.peak = self._under_way = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._server: _Server | None = None
        self._port = 0

    @property
    def base_url(self) -> str:
        """What a client is given."""
        return f"http://{_HOST}:{self._port}/v1"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    def start(self) -> None:
        """Listen, on the same port as before if this is a restart."""
        self._stopping.clear()
        self._server = _Server((_HOST, self._port), self)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def kill(self) -> None:
        """Stop at once: open connections break, requests under way are never answered."""
        server, self._server = self._server, None
        if server is not None:
            self._stopping.set()
            server.shutdown()
            server.server_close()
            server.break_connections()

    def arrive(self, body: dict[str, Any], authorization: str) -> Fault | None:
        """Count a request; return what befalls it."""
        with self._lock:
            self.bodies.append(body)
            self.times.append(time.monotonic())
            self.authorizations.add(authorization)
            self._under_way += 1
            self.peak = max(self.peak, self._under_way)
            planned = self.faults.popleft() if self.faults else None
            return planned or self.fault_for(body)

    def leave(self) -> None:
        """Count a request as done with."""
        with self._lock:
            self._under_way -= 1

    def sleep(self, seconds: float) -> None:
        """Wait, but no longer than the server lives."""
        self._stopping.wait(seconds)

    @property
    def stopping(self) -> bool:
        """Whether the server is being killed."""
        return self._stopping.is_set()

    def get(self, path: str) -> dict[str, Any] | None:  # noqa: ARG002 - for subclasses
        """Return what a GET of this path is answered with, None for "no such path"."""
        return None

    def reply(self, body: dict[str, Any]) -> bytes:
        """Return the proper reply to a request."""
        said = self.script(body["messages"])
        choice = said if isinstance(said, dict) else {"message": {"content": said}}
        content = choice["message"].get("content") or ""
        prompt = " ".join(m["content"] for m in body["messages"])
        payload = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 0,
            "model": self.model,
            "choices": [{"index": 0, "finish_reason": "stop", "logprobs": None, **choice}],
            "usage": {
                "prompt_tokens": len(prompt.split()),
                "completion_tokens": len(content.split()),
            },
        }
        return json.dumps(payload).encode()


class _Server(ThreadingHTTPServer):
    """Threads per connection; remembers the connections so that they can be broken."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], owner: FakeOpenAI) -> None:
        self.owner = owner
        self._connections: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def break_connections(self) -> None:
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # closed by the client meanwhile

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Answers POST of the owner's path, and GET as the owner likes."""

    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        owner = self.server.owner
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fault = owner.arrive(body, self.headers.get("Authorization", ""))
        try:
            owner.sleep(fault.hang_s if fault else owner.delay_s)
            if owner.stopping:
                self.close_connection = True
            elif self.path != owner.path:
                self._send(404, b'{"error": {"message": "no such path"}}', {})
            elif fault is None or (fault.hang_s and fault.status == 200 and not fault.raw):
                reply = owner.reply(body)
                # Before it is sent, so that a client that has the reply finds it counted.
                owner.answered.append(body)
                self._send(200, reply, {})
            else:
                self._fail(fault)
        finally:
            owner.leave()

    def do_GET(self) -> None:
        self.server.owner.authorizations.add(self.headers.get("Authorization", ""))
        found = self.server.owner.get(self.path)
        body = found if found is not None else {"error": {"message": "no such path"}}
        self._send(404 if found is None else 200, json.dumps(body).encode(), {})

    def _fail(self, fault: Fault) -> None:
        if fault.drop:
            self.close_connection = True
            if fault.raw is not None:
                self._send(200, fault.raw, {"Content-Length": str(len(fault.raw) + 100)})
            return
        body = fault.raw if fault.raw is not None else json.dumps(fault.body).encode()
        self._send(fault.status, body, fault.headers, pause_s=fault.pause_s)

    def _send(
        self, status: int, body: bytes, headers: dict[str, str], *, pause_s: float = 0.0
    ) -> None:
        self.send_response(status)
        sent = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
        for name, value in sent.items():
            self.send_header(name, value)
        self.end_headers()
        for part in [body[i : i + 1] for i in range(len(body))] if pause_s else [body]:
            self.server.owner.sleep(pause_s)
            self.wfile.write(part)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


class TransformersServer:
    """`transformers serve` over a model folder. Use it as a context, or `serving`.

    The model's name for requests is `model`. It supports messages, max_tokens, temperature, top_p
    and seed; logprobs are ignored.
    """

    def __init__(self, folder: Path, log: Path) -> None:
        self.model = str(folder.resolve())
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind((_HOST, 0))
            self._port = free.getsockname()[1]

    @property
    def base_url(self) -> str:
        """What a client is given."""
        return f"http://{_HOST}:{self._port}/v1"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start the server and wait until it answers, on the same port each time."""
        program = Path(sys.executable).with_name("transformers")
        arguments = ["serve", self.model, "--host", _HOST, "--port", str(self._port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(program), *arguments, "--device", "cpu"],
                stdout=log,
                stderr=log,
                env={**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"},
            )
        deadline = time.monotonic() + _START_S
        while not self._healthy():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"transformers serve did not start: {self._log.read_text()}")
            time.sleep(0.2)

    def kill(self) -> None:
        """Kill the process without warning (signal 9)."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def _healthy(self) -> bool:
        address = f"http://{_HOST}:{self._port}/health"
        try:
            with urllib.request.urlopen(address, timeout=2) as reply:
                return bool(reply.status == 200)
        except (urllib.error.URLError, OSError):
            return False


@contextmanager
def serving(folder: Path, log: Path) -> Iterator[str]:
    """Serve a model folder by `transformers serve`; yield the base URL.

    Requests name the model by its resolved folder. `log` gets what the server prints.
    """
    with TransformersServer(folder, log) as server:
        yield server.base_url
