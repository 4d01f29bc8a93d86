from __future__ import annotations

import asyncio
import logging
import socket

import pytest

from core.errors import ConfigError
from web.kit.guard import LOOPBACK_NAMES
from web.kit.serving import address_of, hosts_of, no_cancellation, open_port


def test_a_free_port_is_opened_on_loopback_without_a_word(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with open_port("127.0.0.1", 0) as opened:
        port = opened.getsockname()[1]
        assert address_of(opened) == f"http://127.0.0.1:{port}"
        # asyncio sends small parts of an answer at once only over sockets that say they are TCP;
        # over others each page waited 40 ms for the browser's acknowledgement.
        assert opened.proto == socket.IPPROTO_TCP
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            pass  # it listens already: a browser waits for the server instead of being refused
    assert capsys.readouterr().err == ""


def test_an_address_that_others_reach_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    with open_port("0.0.0.0", 0):
        assert "can be reached from other machines" in capsys.readouterr().err


def test_a_taken_port_or_an_unknown_host_is_a_one_line_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            ConfigError, match=rf"127\.0\.0\.1:{port}: Address already in use; give"
        ):
            open_port("127.0.0.1", port)
    with pytest.raises(ConfigError, match=r"203\.0\.113\.1:0: .+; give another --port"):
        open_port("203.0.113.1", 0)  # TEST-NET-3: nobody's
    with pytest.raises(ConfigError, match="give another --port"):
        open_port("a" * 70, 0)  # a label of a name has at most 63 characters


def test_a_loopback_server_answers_to_loopbacks_names_only() -> None:
    assert hosts_of("127.0.0.1") == hosts_of("::1") == hosts_of("localhost") == LOOPBACK_NAMES
    assert hosts_of("0.0.0.0") is None
    assert hosts_of("study.example") is None


def test_behind_a_proxy_its_name_is_answered_to_as_well() -> None:
    assert hosts_of("127.0.0.1", "https://Study.example:8443") == LOOPBACK_NAMES | {"study.example"}
    for wrong in ("study.example", "https://", "https://a/b", "https://me@a", "javascript:1"):
        with pytest.raises(ConfigError, match="expected a web address"):
            hosts_of("127.0.0.1", wrong)


@pytest.mark.parametrize(
    ("error", "logged"), [(asyncio.CancelledError("stopped"), False), (ValueError("x"), True)]
)
def test_a_request_that_ends_with_the_server_leaves_no_traceback(
    error: BaseException, logged: bool
) -> None:
    found = logging.LogRecord("uvicorn.error", logging.ERROR, "", 0, "Exception in ASGI", (), None)
    assert no_cancellation(found)
    found.exc_info = (type(error), error, None)
    assert no_cancellation(found) == logged
