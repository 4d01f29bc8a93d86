"""Judge servers that speak as the services do: what each refuses, and in which words it fails.

Written from public records of what OpenAI, Anthropic, Gemini, vLLM, OpenRouter and Azure answer.
Each refuses the parameters that it does not take, every time; fails in its own ways a few times,
once each; and refuses one of many prompts for its content.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.servers import FakeOpenAI, Fault

JSON = dict[str, Any]


@dataclass(frozen=True)
class Dialect:
    """One service.

    `refuses(body)`: its refusal of a request, if any. `fails`: what befalls its first requests.
    `moderates`: how it refuses one prompt. `adapted`: what a judge must have changed in the end.
    `model`: the name that answers. `weighs`: whether it gives log-probabilities. `thinks`: the
    tokens that it needs before its first word.
    """

    refuses: Callable[[JSON], Fault | None]
    fails: tuple[Fault, ...]
    moderates: Fault
    adapted: dict[str, str | int]
    model: str
    weighs: bool = False
    thinks: int = 0


def _error(message: str, status: int = 400, **more: Any) -> Fault:
    return Fault(status, {"error": {"message": message, "param": None, "code": None, **more}})


def _raw(body: object) -> Fault:
    return Fault(raw=json.dumps(body).encode())


def _listed(message: str, code: int, status: str) -> Fault:
    error = [{"error": {"code": code, "message": message, "status": status}}]
    return Fault(code, raw=json.dumps(error).encode())


def _openai(body: JSON) -> Fault | None:
    kind: JSON = {"type": "invalid_request_error"}
    if "max_tokens" in body:
        words = "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead"
        code: JSON = {"param": "max_tokens", "code": "unsupported_parameter"}
        return _error(f"Unsupported parameter: {words}.", **kind, **code)
    if "temperature" in body:
        words = "'temperature' does not support 0 with this model. Only the default (1) value is"
        code = {"param": "temperature", "code": "unsupported_value"}
        return _error(f"Unsupported value: {words} supported.", **kind, **code)
    if "logprobs" in body:
        return _error("You are not allowed to request logprobs from this model", 403)
    return None


def _anthropic(body: JSON) -> Fault | None:
    kind: JSON = {"type": "invalid_request_error"}
    if {"temperature", "top_p"} <= body.keys():
        words = "`temperature` and `top_p` cannot both be specified for this model."
        return _error(f"{words} Please use only one.", **kind)
    if "temperature" in body:
        return _error("`temperature` is deprecated for this model.", **kind)
    return None


def _gemini(body: JSON) -> Fault | None:
    if "logprobs" in body:
        words = 'Invalid JSON payload received. Unknown name "logprobs": Cannot find field.'
        return _listed(words, 400, "INVALID_ARGUMENT")
    return None


def _vllm(body: JSON) -> Fault | None:
    if body.get("top_logprobs", 0) > 2:
        words = "Requested sample logprobs of 5, which is greater than max allowed: 2"
        return Fault(400, {"object": "error", "message": words, "code": 400})
    return None


def _openrouter(body: JSON) -> Fault | None:
    if body.get("max_tokens", 16) >= 16:
        return None
    inner = {
        "message": "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= "
        "16, but got 1 instead.",
        "code": "integer_below_min_value",
    }
    metadata = {"raw": json.dumps({"error": inner}), "provider_name": "Azure"}
    return _error("Provider returned error", code=400, metadata=metadata)


def _azure(body: JSON) -> Fault | None:
    if "logprobs" in body:
        return _error("Unrecognized request argument supplied: logprobs")
    return None


_PARTIAL = {"role": "assistant", "content": "[{'model': 'model_2', 'rank': 1}, {'model': 'model_1'"}
_NO_NUMBER = (
    b'{"choices": [{"message": {"content": "m"}, "finish_reason": "length", "logprobs": {"content":'
    b' [{"token": "m", "logprob": NaN, "top_logprobs": [{"token": "m", "logprob": NaN}]}]}}]}'
)

DIALECTS = {
    "openai": Dialect(
        _openai,
        (Fault(429, {"error": {"message": "Rate limit reached", "code": "rate_limit_exceeded"}}),),
        _error("Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
               code="invalid_prompt"),
        {"max_tokens": "max_completion_tokens", "temperature": "left out"},
        "gpt-5.1-2025-11-13",
        thinks=1000,
    ),
    "anthropic": Dialect(
        _anthropic,
        (Fault(529, {"error": {"type": "overloaded_error", "message": "Overloaded"}}),),
        _error("Output blocked by content filtering policy"),
        {"temperature": "left out"},
        "claude-opus-4-8",
    ),
    "gemini": Dialect(
        _gemini,
        (_listed("Resource has been exhausted (e.g. check quota).", 429, "RESOURCE_EXHAUSTED"),),
        _raw({"choices": [{"index": 0, "finish_reason": "content_filter: PROHIBITED_CONTENT"}]}),
        {},
        "gemini-3-pro",
    ),
    "vllm": Dialect(
        _vllm,
        (Fault(503), Fault(raw=_NO_NUMBER)),
        Fault(400, {"object": "error", "code": 400,
                    "message": "This model's maximum context length is 9 tokens."}),
        {"max_top_logprobs": 2},
        "meta-llama/Llama-3.3-70B-Instruct",
        weighs=True,
    ),
    "openrouter": Dialect(
        _openrouter,
        (
            _raw({"choices": [{"message": _PARTIAL, "finish_reason": "error", "error":
                               {"code": 502, "message": "Upstream idle timeout exceeded"}}]}),
            _raw({"error": {"code": 502, "message": "Provider returned error"}}),
            _raw({"choices": []}),
        ),
        _error("openai/gpt-4.1 requires moderation on OpenAI. Your input was flagged for "
               '"violence".', 403, code=403, metadata={"reasons": ["violence"]}),
        {"min_tokens": 16},
        "openai/gpt-4.1-2025-04-14",
        weighs=True,
    ),
    "azure": Dialect(
        _azure,
        (Fault(429, {"error": {"code": "429", "message": "Please retry after 1 second."}},
               {"retry-after-ms": "10"}),),
        _error("The response was filtered due to the prompt triggering Azure OpenAI's content "
               "management policy.", code="content_filter", param="prompt",
               innererror={"code": "ResponsibleAIPolicyViolation"}),
        {},
        "gpt-4.1-2025-04-14",
    ),
}  # fmt: skip


class DialectServer(FakeOpenAI):
    """A judge's server in one dialect, which answers every judge prompt of the suite readably.

    `moderated` holds the one prompt that it refuses for its content.
    """

    def __init__(self, dialect: Dialect) -> None:
        super().__init__(
            self._say, faults=dialect.fails, fault_for=self._fault, model=dialect.model
        )
        self.dialect = dialect
        self.moderated: str | None = None

    def _fault(self, body: JSON) -> Fault | None:
        if refusal := self.dialect.refuses(body):
            return refusal
        prompt = json.dumps(body["messages"])
        if self.moderated is None:
            self.moderated = prompt
        return self.dialect.moderates if prompt == self.moderated else None

    def reply(self, body: JSON) -> bytes:
        """Return the reply, or nothing but thoughts if the limit is below what they need."""
        limit = int(body.get("max_completion_tokens") or body.get("max_tokens") or 0)
        if limit >= self.dialect.thinks:
            return super().reply(body)
        choice = {"index": 0, "message": {"content": ""}, "finish_reason": "length"}
        usage = {"prompt_tokens": 9, "completion_tokens": limit}
        return json.dumps({"model": self.model, "choices": [choice], "usage": usage}).encode()

    def _say(self, messages: list[dict[str, str]]) -> str | JSON:
        text = " ".join(message["content"] for message in messages)
        if "Complexity" in text:
            return "Category: Miscellaneous / Other\nComplexity: 3\nLength: 1 sentence"
        if "[[rating]]" in text:
            return "It is fine. Rating: [[7]]"
        if "'rank'" in text:
            return "[{'model': 'model_1', 'rank': 1}, {'model': 'model_2', 'rank': 2}]"
        if "## Best Model Identifier" in text:
            return self._token()
        return "It is fine.\nScore: 3"

    def _token(self) -> JSON:
        top = [{"token": "m", "logprob": -0.1}, {"token": "M", "logprob": -2.5}]
        logprobs = {"content": [{**top[0], "top_logprobs": top}]} if self.dialect.weighs else None
        return {"message": {"content": "m"}, "finish_reason": "length", "logprobs": logprobs}
