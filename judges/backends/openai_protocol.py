"""The OpenAI chat protocol: what is sent, and what comes back in the project's terms."""

from __future__ import annotations

import json
import math
import re
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from judges.asking import Ask, ReplyFinish

Trouble = Literal["retry", "too_long", "refused", "unsupported", "stop", "failed"]

# The wording of OpenAI, vLLM, llama.cpp, Anthropic's and Mistral's compatible servers.
_TOO_LONG = re.compile(
    r"maximum context length|context[ _]length|context window|context size|prompt is too long"
    r"|maximum model length|max_model_len|too large for model",
    re.IGNORECASE,
)
_UNSUPPORTED = re.compile(r"unsupported|not supported|does not support", re.IGNORECASE)
_UNSUPPORTED_CODES = {"unsupported_parameter", "unsupported_value"}
_ADAPTABLE = ("max_tokens", "temperature", "top_p", "logprobs", "top_logprobs")
_RETRIED = {408, 409, 425, 429}
_STOPPING = {401, 403, 404}
_OUT_OF_CREDIT = {"insufficient_quota", "billing_hard_limit_reached"}
_LEAST_TOP_LOGPROBS = 5
_BAD_REQUEST, _UNPROCESSABLE, _SERVER_ERROR = 400, 422, 500


class Answer(NamedTuple):
    """A well-formed reply; tokens are 0 where the server does not count them."""

    text: str
    finish: ReplyFinish
    tokens_in: int
    tokens_out: int
    logprobs: dict[str, Any] | None
    model: str


class Malformed(NamedTuple):
    """A reply of status 200 that is none, and the tokens it is nevertheless billed at."""

    reason: str
    tokens_in: int = 0
    tokens_out: int = 0


def request_body(model: str, ask: Ask, adapted: frozenset[str]) -> dict[str, Any]:
    """Return the parameters of a chat completion, without those that the server rejects."""
    limit = "max_completion_tokens" if "max_tokens" in adapted else "max_tokens"
    body: dict[str, Any] = {
        "model": model,
        "messages": list(ask.messages),
        limit: ask.max_new_tokens,
        "temperature": ask.temperature,
        "top_p": ask.top_p,
    }
    if ask.weigh or ask.top_logprobs:
        body |= {"logprobs": True, "top_logprobs": max(_LEAST_TOP_LOGPROBS, ask.top_logprobs)}
    return {name: value for name, value in body.items() if name not in adapted}


def read_answer(body: str) -> Answer | Malformed:
    """Read the body of a chat completion.

    A null content is an answer if the model refused or used up its tokens (as reasoning models do);
    any other is malformed.
    """
    try:
        payload = json.loads(body)
    except ValueError:
        return Malformed(f"not JSON: {body[:60]!r}")
    if "\\ud" in body.lower():  # half a surrogate pair is legal JSON but not UTF-8
        whole = json.dumps(payload, ensure_ascii=False).encode("utf-16", "surrogatepass")
        payload = json.loads(whole.decode("utf-16", "replace"))
    if not isinstance(payload, dict):
        return Malformed("not a JSON object")
    tokens_in, tokens_out = _usage(payload.get("usage"))
    choices = payload.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        return Malformed("no choices", tokens_in, tokens_out)
    content, refusal = message.get("content"), message.get("refusal")
    reason = choice.get("finish_reason")
    if content is None and not refusal and reason not in ("length", "content_filter"):
        return Malformed("no content", tokens_in, tokens_out)
    text = refusal or content or ""
    if not isinstance(text, str):
        return Malformed("the content is not text", tokens_in, tokens_out)
    logprobs = choice.get("logprobs")
    return Answer(
        text,
        _finish(reason, refused=bool(refusal)),
        tokens_in,
        tokens_out,
        logprobs if isinstance(logprobs, dict) else None,
        str(payload.get("model") or ""),
    )


def _finish(reason: object, *, refused: bool) -> ReplyFinish:
    if refused or reason == "content_filter":
        return "refused"
    return "length" if reason == "length" else "stop"


def _usage(usage: object) -> tuple[int, int]:
    if not isinstance(usage, dict):
        return 0, 0
    counts = (usage.get("prompt_tokens"), usage.get("completion_tokens"))
    tokens_in, tokens_out = (c if isinstance(c, int) and c > 0 else 0 for c in counts)
    return tokens_in, tokens_out


def trouble(  # noqa: PLR0911 - one return per outcome
    status: int, code: str | None, param: str | None, message: str
) -> Trouble:
    """Say what an error status means for the request.

    "retry": again later; "too_long", "refused": an outcome of its own; "unsupported": again without
    what `unsupported` names; "stop": no request will succeed; "failed": this one will not.
    """
    if status in _STOPPING or code in _OUT_OF_CREDIT:
        return "stop"
    if status in _RETRIED or status >= _SERVER_ERROR:
        return "retry"
    if status not in (_BAD_REQUEST, _UNPROCESSABLE):
        return "failed"
    if code == "content_filter":
        return "refused"
    if unsupported(code, param, message):
        return "unsupported"
    if code == "context_length_exceeded" or _TOO_LONG.search(message):
        return "too_long"
    return "failed"


def unsupported(code: str | None, param: str | None, message: str) -> str | None:
    """Return the parameter that a server rejects and one can do without, None if it is none."""
    if code not in _UNSUPPORTED_CODES and not _UNSUPPORTED.search(message):
        return None
    if param in _ADAPTABLE:
        return param
    named = (name for name in _ADAPTABLE if re.search(rf"\b{name}\b", message))
    return next(named, None)


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
