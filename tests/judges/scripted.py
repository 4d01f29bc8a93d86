"""A judge whose replies come from a function, with a list of what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from judges.asking import Ask, Reply

Answering = Callable[[Ask], Reply]


class ScriptedJudge:
    """Yields `answer(ask)` for each ask in order; `asked` holds the keys, `calls` their batches."""

    def __init__(self, answer: Answering, name: str = "judge", identity: str = "test/1") -> None:
        self.answer, self.name, self.identity = answer, name, identity
        self.calls: list[list[str]] = []
        self.asked: list[str] = []

    def ask(self, asks: Sequence[Ask]) -> Iterator[Reply]:
        self.calls.append([ask.key for ask in asks])
        for ask in asks:
            self.asked.append(ask.key)
            yield self.answer(ask)
