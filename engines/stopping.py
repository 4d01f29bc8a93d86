"""Stop strings: where a draw ends besides the end of turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedTokenizerBase


def cut_at_stop(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    """Return the text before the first stop string in it, and whether there was one."""
    places = [at for at in map(text.find, stop) if at >= 0]
    return (text[: min(places)], True) if places else (text, False)


class StopStrings:
    """Watches growing token sequences for stop strings, looking at their ends only."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stop: tuple[str, ...]) -> None:
        """Measure how far back a stop string can begin.

        A token holds at least one byte, so a string of n bytes spans at most n tokens; one more in
        front of them keeps their leading space where a tokenizer drops that of the first token.

        Raises:
            ValueError: an empty stop string, which every text contains.
        """
        if "" in stop:
            raise ValueError("an empty stop string would end every draw before it begins")
        self._tokenizer, self.stop = tokenizer, stop
        self._tail = max((len(s.encode()) for s in stop), default=0) + 1

    def reached(self, ids: list[int]) -> bool:
        """Whether the newest tokens complete a stop string."""
        if not self.stop:
            return False
        seen = cut_at_stop(self._text(ids[-self._tail :]), self.stop)[1]
        return seen and self.cut(ids)[1]  # some tokens read differently out of their context

    def cut(self, ids: list[int]) -> tuple[str, bool]:
        """Return the tokens' text before the first stop string, and whether there was one."""
        return cut_at_stop(self._text(ids), self.stop)

    def _text(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))
