"""The bodies of OpenAI chat completions: building requests, reading replies."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from engines.remote.transport import Problem

if TYPE_CHECKING:
    from judges.asking import Ask, ReplyFinish

_MIN_TOP_LOGPROBS = 5


class Answer(NamedTuple):
    """A well-formed reply; tokens are 0 where the server does not count them.

    `thought`: the reasoning that the server sends beside the reply.
    """

    text: str
    finish: ReplyFinish
    tokens_in: int
    tokens_out: int
    logprobs: dict[str, Any] | None
    model: str
    thought: str = ""


def request_body(model: str, ask: Ask, adapted: frozenset[str]) -> dict[str, Any]:
    """Return the parameters of a chat completion, without those in `adapted`."""
    limit = "max_completion_tokens" if "max_tokens" in adapted else "max_tokens"
    body: dict[str, Any] = {
        "model": model,
        "messages": list(ask.messages),
        limit: ask.max_new_tokens,
        "temperature": ask.temperature,
        "top_p": ask.top_p,
    }
    if ask.weigh or ask.top_logprobs:
        body |= {"logprobs": True, "top_logprobs": max(_MIN_TOP_LOGPROBS, ask.top_logprobs)}
    return {name: value for name, value in body.items() if name not in adapted}


def read_answer(body: str) -> Answer | Problem:
    """Read the body of a chat completion.

    A null content is an answer if the model refused, used up its tokens or only thought.
    A malformed reply is a problem that may pass, with the tokens that it is billed at.
    """
    try:
        payload = json.loads(body)
    except ValueError:
        return _malformed(f"not JSON: {body!r}")
    if "\\ud" in body.lower():  # half a surrogate pair is legal JSON but not UTF-8
        whole = json.dumps(payload, ensure_ascii=False).encode("utf-16", "surrogatepass")
        payload = json.loads(whole.decode("utf-16", "replace"))
    if not isinstance(payload, dict):
        return _malformed("not a JSON object")
    tokens_in, tokens_out = _usage(payload.get("usage"))
    choices = payload.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        return _malformed("no choices", tokens_in, tokens_out)
    content, refusal = message.get("content"), message.get("refusal")
    reason, thought = choice.get("finish_reason"), _thought(message)
    may_be_empty = refusal or thought or reason in ("length", "content_filter")
    if content is None and not may_be_empty:
        return _malformed("no content", tokens_in, tokens_out)
    text = refusal or content or ""
    if not isinstance(text, str):
        return _malformed("the content is not text", tokens_in, tokens_out)
    logprobs = choice.get("logprobs")
    return Answer(
        text,
        _finish(reason, refused=bool(refusal)),
        tokens_in,
        tokens_out,
        logprobs if isinstance(logprobs, dict) else None,
        str(payload.get("model") or ""),
        thought,
    )


def _thought(message: dict[str, Any]) -> str:
    """Return the reasoning: `reasoning_content` (DeepSeek, vLLM) or `reasoning` (OpenRouter)."""
    found = message.get("reasoning_content") or message.get("reasoning")
    return found if isinstance(found, str) else ""


def _malformed(reason: str, tokens_in: int = 0, tokens_out: int = 0) -> Problem:
    return Problem(
        "retry", f"malformed reply: {reason}", tokens_in=tokens_in, tokens_out=tokens_out
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
