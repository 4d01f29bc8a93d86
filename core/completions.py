"""Recorded completions of AlpacaEval annotators in readable form; nothing in them is trusted."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple


class Completion(NamedTuple):
    """A completion's text, and its first token's probabilities where they were recorded."""

    text: str
    first_token: tuple[tuple[str, float], ...] = ()

    def __str__(self) -> str:
        """The text, with the probabilities by which weighted annotators decide below it."""
        if not self.first_token:
            return self.text
        lines = [f"{token!r}: {100 * p:.2f} %" for token, p in self.first_token]
        return "\n".join([self.text, "", "Probabilities of the first token:", *lines])


def read_completion(raw: str) -> Completion:
    """Read a recorded completion: JSON of an OpenAI choice, a JSON string, or any other text.

    Never raises. What is not of that form (not JSON, nested too deeply, other shapes) is the text
    itself, and probabilities that cannot be read are left out.
    """
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return Completion(raw)
    text = found.get("text") if isinstance(found, dict) else found
    return Completion(text if isinstance(text, str) else raw, token_probabilities(found))


def token_probabilities(completion: Any, at: int = 0) -> tuple[tuple[str, float], ...]:
    """Return the most probable tokens of an OpenAI choice at one place, with their probabilities.

    () where log-probabilities are absent, null, NaN or of another shape; never raises.
    """
    try:
        listed = completion["logprobs"]["content"][at]["top_logprobs"]
        found = [(one["token"], float(one["logprob"])) for one in listed]
    except (TypeError, KeyError, IndexError, ValueError, OverflowError):
        return ()
    if not all(isinstance(token, str) and not math.isnan(logprob) for token, logprob in found):
        return ()
    return tuple((token, math.exp(min(0.0, logprob))) for token, logprob in found)
