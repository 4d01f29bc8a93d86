"""What servers' errors mean, in the words of those there are: one table for all of them.

OpenAI, Azure, Anthropic, Gemini, Mistral, OpenRouter, vLLM and the gateways before them speak one
protocol and differ in how they say no. The wordings are from public records of what they answer;
tests/dialects.py has a server that uses them.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Trouble = Literal["retry", "too_long", "refused", "cut", "unsupported", "stop", "failed"]
Adaptations: TypeAlias = "dict[str, str | int]"

LEFT_OUT, RENAMED, IMPOSSIBLE = "left out", "max_completion_tokens", "impossible"
MIN_TOKENS, MAX_LOGPROBS = "min_tokens", "max_top_logprobs"
# The parameters that may be refused: how errors name them, and what is done without them. Where an
# error names two ("cannot both be specified"), the first that was sent is left out.
_PARAMETERS = {
    "top_p": (r"top_?p", LEFT_OUT),
    "temperature": (r"temperature", LEFT_OUT),
    "seed": (r"seed", LEFT_OUT),
    "logprobs": (r"(?:response_?|top_?)?logprobs", IMPOSSIBLE),
    "max_tokens": (r"max_tokens", RENAMED),
}
_REFUSING = re.compile(
    r"unsupported|n[o']t (?:yet )?support|not allowed to request|unrecogni[sz]ed|unknown name"
    r"|unknown parameter|unexpected keyword|extra[_ ]forbidden|extra (?:inputs|fields) (?:are )?not"
    r"|cannot both be|is deprecated|may only be set|(?:be|or) unset|not enabled|is disabled"
    r"|not permitted|not available|n[o']t accept",
    re.IGNORECASE,
)
_REFUSING_CODES = {"unsupported_parameter", "unsupported_value"}
_LEAST_TOKENS = re.compile(r"tokens'?: integer below minimum value\. Expected a value >= (\d+)")
_MOST_LOGPROBS = re.compile(r"logprobs of \d+, which is greater than max allowed: (\d+)")
_OUT_OF_TOKENS = re.compile(r"max_tokens or model output limit was reached", re.IGNORECASE)
_TOO_LONG = re.compile(
    r"maximum context length|context[ _]length|context window|context size|prompt is too long"
    r"|maximum model length|max_model_len|too large for model",
    re.IGNORECASE,
)
_MODERATED = re.compile(
    r"content[ _-]?(?:filter|management|moderation|policy_violation)|ResponsibleAIPolicy"
    r"|(?:prompt|input|output|content|request) (?:was|has been|is) (?:flagged|blocked)"
    r"|requires moderation|prohibited_content|violat\w*[^.]{0,40}(?:polic(?:y|ies)|guidelines)"
    r"|content exists risk|inappropriate content|data_inspection_failed|moderation_blocked",
    re.IGNORECASE,
)
_MODERATED_CODES = {"content_filter", "content_policy_violation", "invalid_prompt"}
_MODERATED_ENDS = re.compile(
    r"content_?filter|safety|prohibited|blocklist|spii|recitation|refusal|moderat|sensitive",
    re.IGNORECASE,
)
_RETRIED = {408, 409, 425, 429}
_STOPPING = {401, 402, 403, 404}
_OUT_OF_CREDIT = {"insufficient_quota", "billing_hard_limit_reached"}
_BAD_REQUEST, _FORBIDDEN, _UNPROCESSABLE, _SERVER_ERROR, _LAST = 400, 403, 422, 500, 599


class ServerError(NamedTuple):
    """What a server says of an error: its words, and the code and parameter that it names."""

    message: str
    code: str = ""
    param: str = ""

    @property
    def status(self) -> int:
        """The HTTP status that an error inside a successful reply stands for: its code, or 500."""
        code = int(self.code) if self.code.isdecimal() else _SERVER_ERROR
        return code if _BAD_REQUEST <= code <= _LAST else _SERVER_ERROR


def read_error(body: str) -> ServerError:
    """Return the error in a reply's body; one that is not in any known form is all message."""
    try:
        found = error_in(json.loads(body))
    except (ValueError, RecursionError):
        found = None
    return found or ServerError(body)


def error_in(payload: object) -> ServerError | None:
    """Return the error that a parsed body holds, in any server's form; None without one.

    Forms: {"error": {...}} or {"error": "..."}; a list of these (Gemini); {"message": ...} (vLLM,
    Mistral); {"detail": ...} (FastAPI). A gateway's `metadata` has the words of the server behind.
    """
    if isinstance(payload, list):
        payload = payload[0] if payload else None
    if not isinstance(payload, dict):
        return None
    error = payload.get("error") or payload
    if not isinstance(error, dict):
        return ServerError(str(error))
    said = error.get("message") or error.get("detail") or error.get("status")
    if not said:
        return None if error is payload else ServerError(json.dumps(error))
    words = [said if isinstance(said, str) else json.dumps(said)]
    if error.get("metadata"):
        words.append(json.dumps(error["metadata"], ensure_ascii=False))
    code, param = (str(error.get(name) or "") for name in ("code", "param"))
    return ServerError(" ".join(words), code, param)


def trouble(status: int, error: ServerError) -> Trouble:  # noqa: PLR0911 - one return per outcome
    """Return what an error means for the request.

    "retry": it may succeed later; "too_long", "refused" (moderation), "cut" (no token left for the
    answer): an outcome of its own; "unsupported": it may succeed after an `adaptation`; "stop": no
    request will succeed; "failed": this one will not.
    """
    if status in (_BAD_REQUEST, _FORBIDDEN, _UNPROCESSABLE):
        if error.code in _MODERATED_CODES or _MODERATED.search(error.message):
            return "refused"
        if _adaptable(error):
            return "unsupported"
    if status in _STOPPING or error.code in _OUT_OF_CREDIT:
        return "stop"
    if status in _RETRIED or status >= _SERVER_ERROR:
        return "retry"
    if status not in (_BAD_REQUEST, _UNPROCESSABLE):
        return "failed"
    if _OUT_OF_TOKENS.search(error.message):
        return "cut"
    if error.code == "context_length_exceeded" or _TOO_LONG.search(error.message):
        return "too_long"
    return "failed"


def adaptation(error: ServerError, body: Mapping[str, Any]) -> tuple[str, str | int] | None:
    """Return the parameter of a refused request to change, and to what; None if none can be.

    `body` is the request as it was sent: what it lacks was not refused.
    """
    if least := _LEAST_TOKENS.search(error.message):
        return MIN_TOKENS, int(least[1])
    most = _MOST_LOGPROBS.search(error.message)
    if most and 0 < int(most[1]) < body.get("top_logprobs", 0):
        return MAX_LOGPROBS, int(most[1])
    return next(((name, _PARAMETERS[name][1]) for name in _refused(error) if name in body), None)


def moderated(finish_reason: object) -> bool:
    """Whether a reply ended because a filter stopped it, in any server's wording."""
    return isinstance(finish_reason, str) and bool(_MODERATED_ENDS.search(finish_reason))


def _adaptable(error: ServerError) -> bool:
    changed = _LEAST_TOKENS.search(error.message) or _MOST_LOGPROBS.search(error.message)
    return bool(changed or _refused(error))


def _refused(error: ServerError) -> list[str]:
    """Return the parameters that a server refuses, in the order in which to give them up."""
    if error.code not in _REFUSING_CODES and not _REFUSING.search(error.message):
        return []
    words = error.param if error.code in _REFUSING_CODES and error.param else error.message
    return [
        name
        for name, (pattern, _) in _PARAMETERS.items()
        if re.search(rf"(?<![^\W_]){pattern}(?![^\W_]|_)", words, re.IGNORECASE)
    ]
