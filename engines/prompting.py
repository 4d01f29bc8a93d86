"""From conversations and raw text to the token ids a model reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from jinja2 import TemplateError

from core.thinking import opening_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedTokenizerBase

    from core.records import Message
    from engines.engine import Continuation


_OPENING_TOKENS = 24  # a mark and white space, also where each character is a token


class Pair(NamedTuple):
    """The tokens of a context and of what is scored after it."""

    context: list[int]
    target: list[int]


class Prompter:
    """Turns prompts into token ids with one model's tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        # The first token of an empty context, as in lm-eval.
        begin = tokenizer.bos_token_id
        self._begin: int = tokenizer.eos_token_id if begin is None else begin

    def render(self, prompt: Sequence[Message] | str) -> list[int]:
        """Return a prompt's token ids: a conversation up to the assistant's turn, or raw text.

        For templates that reject a system turn, its text is prepended to the user's turn.
        """
        if isinstance(prompt, str):
            return self.encode(prompt)
        turns = list(prompt)
        try:
            return self._apply_template(turns)
        except TemplateError:
            if len(turns) < 2 or turns[0]["role"] != "system":  # noqa: PLR2004 - system and user
                raise
        text = f"{turns[0]['content']}\n\n{turns[1]['content']}"
        return self._apply_template([{"role": "user", "content": text}, *turns[2:]])

    def _apply_template(self, messages: list[Message]) -> list[int]:
        ids: list[int] = self._tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=False
        )
        return ids

    def opening(self, ids: list[int]) -> str:
        """Return the mark by which a prompt ends if it opens a thought, as a draw's text begins."""
        return opening_of(str(self._tokenizer.decode(ids[-_OPENING_TOKENS:])))

    def encode(self, text: str) -> list[int]:
        """Return the ids of raw text, with the tokenizer's beginning-of-text token if it adds one.

        A text that already begins with that token does not get it twice.
        """
        opened = bool(self._tokenizer.bos_token) and text.startswith(self._tokenizer.bos_token)
        ids: list[int] = self._tokenizer(text, add_special_tokens=not opened).input_ids
        return ids

    def pairs(self, requests: Sequence[Continuation]) -> list[Pair]:
        """Return the tokens of scoring requests; equal contexts are tokenised once."""
        known: dict[str, list[int]] = {}
        return [self._pair(request, known) for request in requests]

    def _pair(self, request: Continuation, known: dict[str, list[int]]) -> Pair:
        """Tokenise context and continuation so that together they are the whole text's tokens.

        Spaces at the end of the context belong to the continuation's first token; an empty context
        is replaced by one beginning-of-text token. Source: lm-eval's TemplateLM.loglikelihood.
        """
        if not isinstance(request.context, str):
            return Pair(self.render(request.context), self._bare(request.continuation))
        context = request.context.rstrip()
        moved = request.context[len(context) :]
        if not context:
            target = self._bare(moved + request.continuation)
            if target and target[0] == self._begin:
                return Pair(target[:1], target[1:])
            return Pair([self._begin], target)
        if context not in known:
            known[context] = self.encode(context)
        whole = self.encode(context + moved + request.continuation)
        return Pair(known[context], whole[len(known[context]) :])

    def _bare(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False).input_ids
        return ids
