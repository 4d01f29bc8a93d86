"""The bodies of OpenAI chat completions: building requests, reading replies."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from engines.remote.dialects import (
    LEFT_OUT,
    MAX_LOGPROBS,
    MIN_TOKENS,
    ServerError,
    error_in,
    moderated,
    trouble,
)
from engines.remote.transport import Problem
from judges.distribution import TOP_LOGPROBS

if TYPE_CHECKING:
    from engines.remote.dialects import Adaptations
    from judges.asking import Ask, ReplyFinish

_MIN_TOP_LOGPROBS = 5
_MOST_LOGPROB = 0.01  # 0 with rounding
# Not JSON, but sent: a probability of zero is one, the others are no numbers.
_CONSTANTS: dict[str, float] = {"-Infinity": -9999.0}  # as vLLM writes it
_OUT_OF_TOKENS = ("length", "max_tokens", "max_output_tokens", "model_length")


class Answer(NamedTuple):
    """A well-formed reply; tokens are 0 where the server does not count them.

    `thought`: the reasoning that the server sends beside the reply. `adapted`: what was changed in
    the request (set by who sends it).
    """

    text: str
    finish: ReplyFinish
    tokens_in: int
    tokens_out: int
    logprobs: dict[str, Any] | None
    model: str
    thought: str = ""
    adapted: Adaptations | None = None


def request_body(model: str, ask: Ask, adapted: Adaptations) -> dict[str, Any]:
    """Return the parameters of a chat completion, as the server takes them (`adapted`).

    top_p is sent where it does something: some models take either it or the temperature.
    """
    limit = max(ask.limit, int(adapted.get(MIN_TOKENS, 0)))
    body: dict[str, Any] = {
        "model": model,
        "messages": list(ask.messages),
        str(adapted.get("max_tokens", "max_tokens")): limit,
        "temperature": ask.temperature,
    }
    if ask.top_p < 1:
        body["top_p"] = ask.top_p
    if ask.weigh or ask.top_logprobs or ask.form:
        wanted = TOP_LOGPROBS if ask.form else ask.top_logprobs
        most = max(_MIN_TOP_LOGPROBS, wanted)
        most = min(most, int(adapted.get(MAX_LOGPROBS, most)))
        body |= {"logprobs": True, "top_logprobs": most}
    return {name: value for name, value in body.items() if adapted.get(name) != LEFT_OUT}


def read_answer(body: str) -> Answer | Problem:
    """Read the body of a chat completion.

    A null content is an answer if the model refused, used up its tokens or only thought.
    What holds an error, partial words or not, is a problem of the kind that the error says; a
    malformed reply is one that may pass. Both have the tokens that they are billed at.
    """
    try:
        payload = json.loads(body, parse_constant=_CONSTANTS.get)
    except (ValueError, RecursionError):
        return _malformed(f"not JSON: {body!r}")
    if "\\ud" in body.lower():  # half a surrogate pair is legal JSON but not UTF-8
        whole = json.dumps(payload, ensure_ascii=False).encode("utf-16", "surrogatepass")
        payload = json.loads(whole.decode("utf-16", "replace"))
    reply = payload if isinstance(payload, dict) else {}
    tokens = _usage(reply.get("usage"))
    choices = reply.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict) or reply.get("error"):
        return _no_choice(payload, tokens)
    reason, message = choice.get("finish_reason"), choice.get("message")
    if choice.get("error") or reason == "error":
        error = error_in(choice) if choice.get("error") else None
        return _problem(error or ServerError("finish_reason: error"), tokens)
    message = message if isinstance(message, dict) else {}
    content, refusal = _text(message.get("content")), message.get("refusal")
    finish, thought = _finish(reason, refused=bool(refusal)), _thought(message)
    if content is None and finish == "stop" and not thought:
        return _malformed("no content", tokens)
    text = refusal if isinstance(refusal, str) else content or ""
    model = str(reply.get("model") or "")
    return Answer(text, finish, *tokens, _logprobs(choice.get("logprobs")), model, thought)


def _no_choice(payload: object, tokens: tuple[int, int]) -> Answer | Problem:
    reply = payload if isinstance(payload, dict) else {}
    if isinstance(feedback := reply.get("promptFeedback"), dict) and feedback.get("blockReason"):
        return Answer("", "refused", *tokens, None, str(reply.get("model") or ""))
    error = error_in(payload)
    return _problem(error, tokens) if error else _malformed("no choices", tokens)


def _problem(error: ServerError, tokens: tuple[int, int]) -> Problem:
    kind = trouble(error.status, error)
    reason = f"an error in the reply: {error.message}"
    return Problem(kind, reason, error.status, error, None, *tokens)


def _malformed(reason: str, tokens: tuple[int, int] = (0, 0)) -> Problem:
    return Problem("retry", f"malformed reply: {reason}", None, None, None, *tokens)


def _text(content: object) -> str | None:
    """Return a message's text; servers may send it in parts (Mistral's reasoning models do)."""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(part for part in parts if isinstance(part, str)) if parts else None
    return content if isinstance(content, str) else None


def _thought(message: dict[str, Any]) -> str:
    """Return the reasoning: `reasoning_content` (DeepSeek, vLLM) or `reasoning` (OpenRouter)."""
    found = message.get("reasoning_content") or message.get("reasoning")
    return found if isinstance(found, str) else ""


def _finish(reason: object, *, refused: bool) -> ReplyFinish:
    if refused or moderated(reason):
        return "refused"
    return "length" if str(reason).lower() in _OUT_OF_TOKENS else "stop"


def _logprobs(found: object) -> dict[str, Any] | None:
    """Return log-probabilities if the first token's can be used, else None."""
    content = found.get("content") if isinstance(found, dict) else None
    first = content[0] if isinstance(content, list) and content else None
    top = first.get("top_logprobs") if isinstance(first, dict) else None
    if not isinstance(found, dict) or not isinstance(top, list) or not all(map(_weighed, top)):
        return None
    return found


def _weighed(entry: object) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("token"), str):
        return False
    value = entry.get("logprob")
    return isinstance(value, int | float) and not isinstance(value, bool) and value < _MOST_LOGPROB


def _usage(usage: object) -> tuple[int, int]:
    if not isinstance(usage, dict):
        return 0, 0
    counts = (usage.get("prompt_tokens"), usage.get("completion_tokens"))
    tokens_in, tokens_out = (c if isinstance(c, int) and c > 0 else 0 for c in counts)
    return tokens_in, tokens_out
