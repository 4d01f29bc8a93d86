"""From conversations and raw text to the token ids a model reads."""

from __future__ import annotations

from collections import defaultdict
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

from core.config import DATE
from core.errors import ModelError
from core.records import user
from core.thinking import closing_of, opening_of
from engines.chat_template import ChatTemplate
from engines.control_tokens import ControlTokens

if TYPE_CHECKING:
    import datetime
    from collections.abc import Mapping, Sequence

    from transformers import PreTrainedTokenizerBase

    from core.records import Message
    from engines.engine import Continuation


_OPENING_TOKENS = 24  # a mark and white space, also where each character is a token


class Pair(NamedTuple):
    """The tokens of a context and of what is scored after it."""

    context: list[int]
    target: list[int]


class Prompter:
    """Turns prompts into token ids with one model's tokenizer.

    Only the chat template makes control tokens: the same words in a message, a response or raw text
    are ordinary text (engines/control_tokens.py).
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        date: datetime.date = DATE,
        variables: Mapping[str, Any] | None = None,
    ) -> None:
        """Compile the chat template, in which `date` is today; raises `ModelError` if it fails.

        `variables`: what else the template is told (`enable_thinking`).
        """
        self._tokenizer, self.name = tokenizer, tokenizer.name_or_path
        self._template = ChatTemplate(tokenizer, date, variables)
        self._control = ControlTokens(tokenizer, self._turns())
        # The first token of an empty context, as in lm-eval.
        begin = tokenizer.bos_token_id
        self._begin: int = tokenizer.eos_token_id if begin is None else begin

    def render(self, prompt: Sequence[Message] | str) -> list[int]:
        """Return a prompt's token ids: a conversation up to the assistant's turn, or raw text.

        For templates that reject a system turn, its text is prepended to the user's turn.

        Raises:
            ModelError: the template fails.
        """
        return self.encode(prompt) if isinstance(prompt, str) else self.turns(prompt, prompt=True)

    def turns(self, messages: Sequence[Message], *, prompt: bool) -> list[int]:
        """Return a conversation's token ids; a prompt ends with the assistant's header."""
        contents, mark = self._control.marked([message["content"] for message in messages])
        marked: list[Message] = [
            {"role": message["role"], "content": content}
            for message, content in zip(messages, contents, strict=True)
        ]
        return self._joined(self.text(marked, prompt=prompt).split(mark))

    def response(self, text: str) -> list[int]:
        """Return the ids of text that stands behind other text."""
        return self._joined(self._control.parts(text))

    def fixed(self, text: str) -> list[int]:
        """Return the ids of text that a template writes: control tokens are what it spells."""
        return self._joined([text])

    def decode(self, ids: Sequence[int]) -> str:
        """Return all tokens' text, control tokens included."""
        return str(self._tokenizer.decode(ids))

    def opening(self, ids: list[int]) -> str:
        """Return the mark by which a prompt ends if it opens a thought, as a draw's text begins."""
        return opening_of(str(self._tokenizer.decode(ids[-_OPENING_TOKENS:])))

    def encode(self, text: str) -> list[int]:
        """Return the ids of raw text, with the tokenizer's beginning-of-text token if it adds one.

        A text that already begins with that token does not get it twice.
        """
        opened, (first, *others) = self._parts(text)
        ids: list[int] = self._tokenizer(first, add_special_tokens=not opened).input_ids
        return ids + self._joined(others)

    def text(self, messages: Sequence[Message], *, prompt: bool) -> str:
        """Return a conversation's text, control tokens that messages spell included."""
        try:
            return self._template.render(messages, prompt=prompt)
        except ModelError:
            if len(messages) < 2 or messages[0]["role"] != "system":  # noqa: PLR2004 - and user
                raise
        text = f"{messages[0]['content']}\n\n{messages[1]['content']}"
        return self._template.render([*user(text), *messages[2:]], prompt=prompt)

    def _turns(self) -> str:
        """Return a conversation with all the signs that the template puts around turns."""
        answered: list[Message] = [*user("?"), {"role": "assistant", "content": "?"}]
        try:
            return self.text(
                [{"role": "system", "content": "?"}, *answered, *user("?")], prompt=False
            )
        except ModelError:
            return self.text(user("?"), prompt=True)

    def _joined(self, parts: Sequence[str]) -> list[int]:
        """Return the ids of parts that are tokenised one by one."""
        return [
            token
            for part in parts
            for token in self._tokenizer(part, add_special_tokens=False).input_ids
        ]

    def _parts(self, text: str) -> tuple[bool, list[str]]:
        """Return whether raw text begins with the beginning-of-text token, and its parts."""
        begin = str(self._tokenizer.bos_token or "")
        opened = bool(begin) and text.startswith(begin)
        parts = self._control.parts(text[len(begin) :] if opened else text)
        return opened, [begin + parts[0], *parts[1:]] if opened else parts

    def pairs(self, requests: Sequence[Continuation]) -> list[Pair]:
        """Return the tokens of scoring requests; equal contexts are tokenised once."""
        known: dict[str, list[int]] = {}
        pairs = [self._pair(request, known) for request in requests]
        begun: dict[tuple[Any, str], list[int]] = defaultdict(list)
        for at, request in enumerate(requests):
            if request.given and not isinstance(request.context, str):
                turns = tuple((m["role"], m["content"]) for m in request.context)
                begun[turns, request.given].append(at)
        for (_, given), places in begun.items():
            alone = self.response(given)
            read = min(_common(alone, pairs[at].target) for at in places)
            for at in places:
                context, target = pairs[at]
                pairs[at] = Pair(context + target[:read], target[read:])
        return pairs

    def _pair(self, request: Continuation, known: dict[str, list[int]]) -> Pair:
        """Tokenise context and continuation so that together they are the whole text's tokens.

        Spaces at the end of the context belong to the continuation's first token; an empty context
        is replaced by one beginning-of-text token. Source: lm-eval's TemplateLM.loglikelihood.
        """
        if not isinstance(request.context, str):
            asked = self.render(request.context)
            # An answer comes after the thought that the prompt opens, also one that is scored.
            asked += self.fixed(closing_of(self.opening(asked)))
            return Pair(asked, self.response(request.given + request.continuation))
        context = request.context.rstrip()
        moved = request.context[len(context) :]
        if not context:
            opened, parts = self._parts(moved + request.continuation)
            target = self._joined(parts)
            return Pair(target[:1], target[1:]) if opened else Pair([self._begin], target)
        if context not in known:
            known[context] = self.encode(context)
        whole = self.encode(context + moved + request.continuation)
        return Pair(known[context], whole[len(known[context]) :])


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many tokens two texts begin with in common."""
    both = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], both))
