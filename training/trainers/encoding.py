"""Token ids and loss mask of prompts and responses.

The prompt is rendered by the chat template exactly as for sampling; the response's text is
tokenised separately and ended by the end-of-turn token. So training sees the same tokens as
sampling (no double BOS), and the end of turn is learnt even if it is also the pad token. Where a
prompt opens a thought, a response without one begins by closing it (engines/turns.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from core.records import user
from core.thinking import answer_of
from engines.turns import assistant_turn

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from core.records import Message
    from engines.prompting import Prompter

IGNORED = -100


class Row(NamedTuple):
    """A training example: `prompt` answered with `response`, which ended its turn or was cut.

    `before`: the system turn and the earlier turns of the conversation.
    """

    prompt: str
    response: str
    ended: bool = True
    before: tuple[Message, ...] = ()


class Encoded(NamedTuple):
    """Prompt and response token ids; `cut` if the response was cut at `max_length`."""

    prompt_ids: list[int]
    response_ids: list[int]
    cut: bool

    @property
    def input_ids(self) -> list[int]:
        """Return prompt and response in one sequence."""
        return self.prompt_ids + self.response_ids

    @property
    def labels(self) -> list[int]:
        """Return the labels: the response's tokens, `IGNORED` for the prompt."""
        return [IGNORED] * len(self.prompt_ids) + self.response_ids


class Encoder:
    """Encodes prompts and responses for one tokenizer."""

    def __init__(self, prompter: Prompter, stop_ids: Collection[int]) -> None:
        """Find what opens and ends a turn; raises `ModelError` if no stop token ends it."""
        self._prompter = prompter
        turn = assistant_turn(prompter, stop_ids)
        self._opening, self.end_of_turn = turn.opening, turn.end

    def encode(
        self,
        prompt: str,
        response: str,
        max_length: int,
        *,
        ended: bool = True,
        before: Sequence[Message] = (),
    ) -> Encoded | None:
        """Return the tokens, at most `max_length`; None if there is no room for any response token.

        The turns `before` the prompt are part of the prompt: no loss is computed on them.
        A response cut here, or by the token limit when it was sampled (not `ended`), has no
        end-of-turn token: the model must not learn to stop there.
        """
        prompt_ids = self._prompter.render([*before, *user(prompt)])
        response_ids = self._prompter.response(response)
        if not answer_of(response).thought:
            response_ids = self._opening + response_ids
        if ended:
            response_ids = [*response_ids, self.end_of_turn]
        room = max_length - len(prompt_ids)
        if room < 1 or not response_ids:
            return None
        return Encoded(prompt_ids, response_ids[:room], len(response_ids) > room)

    def encode_all(
        self, name: str, examples: Sequence[tuple[Row, ...]], max_length: int
    ) -> tuple[list[tuple[Encoded, ...] | None], dict[str, int]]:
        """Return the encoded examples, and how many were cut or dropped for their length.

        An example has one row (SFT) or several (a pair); it is dropped, and None in its place, if
        one has no room. `name` is that of the number of examples among the counts.
        """
        counts = {name: len(examples), "cut_response": 0}
        counts |= {"without_end_of_turn": 0, "dropped_prompt_too_long": 0}
        encoded: list[tuple[Encoded, ...] | None] = []
        for rows in examples:
            found = [
                self.encode(r.prompt, r.response, max_length, ended=r.ended, before=r.before)
                for r in rows
            ]
            items = tuple(item for item in found if item is not None)
            if len(items) < len(rows):
                counts["dropped_prompt_too_long"] += 1
                encoded.append(None)
                continue
            counts["cut_response"] += sum(item.cut for item in items)
            endings = zip(items, rows, strict=True)
            counts["without_end_of_turn"] += sum(i.cut or not r.ended for i, r in endings)
            encoded.append(items)
        return encoded, counts
