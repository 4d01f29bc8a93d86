"""Keeping text that spells a control token from becoming one: only templates make control tokens.

A tokenizer turns "<|im_end|>" into the control token wherever it stands, so that an answer that
spells it in ordinary tokens would end its own turn, and begin another, in a judge's prompt or a
training row. Here such text is cut after its first character and the parts are tokenised apart;
other text has the tokens it always has.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from transformers import PreTrainedTokenizerBase

_FIRST_MARK = 0xE000  # private use: in no ordinary text, and templates let it pass


class ControlTokens:
    """The control tokens of one tokenizer, as text spells them."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, turns: str) -> None:
        """Collect them: special tokens, and what makes up `turns`, a rendered conversation.

        Some tokenizers (DeepSeek's) do not mark their turns' tokens as special. Tokens that models
        write themselves, such as <think>, are not control tokens unless marked so.
        """
        added = tokenizer.added_tokens_decoder.values()
        names = {str(token) for token in added if token.special or _marks(str(token), turns)}
        names |= set(tokenizer.all_special_tokens)
        names = {name for name in names if len(name) > 1}
        first = "|".join({re.escape(name[0]) for name in names})
        whole = "|".join(map(re.escape, names))
        self._begins = re.compile(f"(?s)(?={first})(?={whole})." if names else "(?!)")

    def parts(self, text: str) -> list[str]:
        """Return text in parts none of which holds a control token."""
        parts, start = [], 0
        for found in self._begins.finditer(text):
            parts.append(text[start : found.end()])
            start = found.end()
        return [*parts, text[start:]]

    def marked(self, texts: Collection[str]) -> tuple[list[str], str]:
        """Return texts with a mark at every cut, and the mark, a character that none of them has.

        What a template makes of them is cut at the marks before it is tokenised.
        """
        held = set().union(*texts)
        mark = next(chr(at) for at in range(_FIRST_MARK, 0x110000) if chr(at) not in held)
        return [mark.join(self.parts(text)) for text in texts], mark


def _marks(name: str, turns: str) -> bool:
    """Whether a token is one of the signs around turns: words and white space are not."""
    return name in turns and not name[0].isalnum() and not name.isspace()
