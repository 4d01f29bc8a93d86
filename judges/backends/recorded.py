"""A judge with recorded replies: no request is paid for twice, and spending is limited."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from core.errors import NotRecorded
from core.hashing import sha256_json, short
from core.progress import say
from judges.asking import Ask, Judge, Reply, unique_keys
from judges.bounds import asks_bound

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from judges.backends.budget import Budget
    from judges.backends.cassette import Cassette

_SHOWN_WORDS = 12


class Recorded:
    """Returns replies from a cassette, and asks the wrapped judge for the rest.

    Each reply is recorded before it is returned. Failures are returned and not recorded.
    """

    def __init__(
        self,
        judge: Judge,
        cassette: Cassette,
        budget: Budget,
        *,
        charged: bool = False,
        least_tokens: int = 0,
    ) -> None:
        """Keep the judge, its cassette (closed by the caller) and its budget.

        `charged`: requests cost money, so each batch is quoted before it is sent, and the summary
        includes tokens and dollars. `least_tokens`: least limit on a reply in words.
        """
        self._judge, self.cassette, self._charged = judge, cassette, charged
        self.name, self.identity, self.budget = judge.name, judge.identity, budget
        self._least_tokens, self._quoted_usd, self._said_nothing = least_tokens, 0.0, 0

    def missing(self, asks: Sequence[Ask]) -> list[Ask]:
        """Return the requests that are not recorded, equal ones once."""
        firsts = [same[0] for same in self._equal(asks)]
        return [ask for ask in firsts if self.cassette.final(ask, self.identity) is None]

    def ask(self, asks: Sequence[Ask]) -> Iterator[Reply]:
        """Yield one reply per request: first the recorded ones, then the others as they arrive.

        Equal requests under several keys are asked once. With a budget, as many requests are sent
        at once as fit at their greatest possible cost; once these are settled at their real cost,
        more may fit.

        Raises:
            BudgetSpent: the next request may exceed the limit; the replies to all requests sent are
                recorded and yielded before.
            ValueError: two asks have the same key.
        """
        unique_keys(asks)
        asks = [replace(ask, least_tokens=self._least_tokens) for ask in asks]
        if self._charged:
            self._print_quote(asks)
        waiting: dict[str, list[Ask]] = {}
        for same in self._equal(asks):
            recording = self.cassette.final(same[0], self.identity)
            if recording is None:
                waiting[same[0].key] = same
            else:
                yield from self._replayed(same, recording.reply, recording.cost_usd)
        left = [same[0] for same in waiting.values()]
        while left:
            count = self._affordable(left)
            if count == 0:
                raise self.budget.exceeded(left[0], len(left))
            batch, left = left[:count], left[count:]
            for reply, cost in self._paid(batch):
                yield reply
                yield from self._replayed(waiting[reply.key][1:], reply, cost)

    def summary(self) -> str | None:
        """Return one line: requests answered and replayed, actual against quoted cost.

        None if nothing was asked.
        """
        spent, replayed = self.budget.spent, self.budget.replayed
        if not spent.requests and not replayed.requests:
            return None
        cost = ""
        if self._charged and self.budget.price is None:
            tokens = f"{spent.tokens_in:,} tokens in and {spent.tokens_out:,} out"
            cost = f", {tokens} (price unknown: set evaluation.judge.price_usd)"
        elif self._charged:
            cost = f", {spent.usd:.2f} USD (quoted: at most {self._quoted_usd:.2f})"
        advice = ""
        if self._said_nothing:
            advice = (
                f"; {self._said_nothing} replies reached their limit before the first word, as a "
                "reasoning model's do: set evaluation.judge.min_reply_tokens (8192, say) and run "
                "again with --redo stale; only cut replies are asked for again"
            )
        return (
            f"judge {self.name}: {spent.requests} requests answered{cost}, "
            f"{replayed.requests} from the cassette{advice}"
        )

    def _print_quote(self, asks: Sequence[Ask]) -> None:
        """Print what the requests that are not recorded yet cost at most."""
        if not (missing := self.missing(asks)):
            return
        bound = asks_bound(missing, self.budget.counter)
        usd = bound.usd(self.budget.price)
        self._quoted_usd += usd or 0.0
        cost = "price unknown" if usd is None else f"at most {usd:.2f} USD"
        say(
            f"  judge {self.name}: {bound.requests} requests, {bound.tokens_in:,} tokens in "
            f"({self.budget.counter.method}), at most {bound.tokens_out:,} out: {cost}"
        )

    def _replayed(self, asks: Sequence[Ask], reply: Reply, cost: float) -> Iterator[Reply]:
        """Yield for each request the reply to an equal one."""
        for ask in asks:
            self._said_nothing += reply.says_nothing
            if reply.finish != "failed":
                self.budget.replay(reply, cost)
            yield replace(reply, key=ask.key)

    def _affordable(self, asks: Sequence[Ask]) -> int:
        """Reserve money for as many of the first asks as fit; return how many."""
        return next((n for n, ask in enumerate(asks) if not self.budget.reserve(ask)), len(asks))

    def _paid(self, batch: Sequence[Ask]) -> Iterator[tuple[Reply, float]]:
        """Ask, settle and record; on an error, cancel the reservations left."""
        open_asks = {ask.key: ask for ask in batch}
        try:
            for reply in self._judge.ask(batch):
                ask = open_asks.pop(reply.key)
                cost = self.budget.settle(ask, reply)
                self._said_nothing += reply.says_nothing
                if reply.finish != "failed":
                    reply = replace(reply, limit=ask.limit)  # noqa: PLW2901
                    self.cassette.put(ask.identity(self.identity), reply, cost_usd=cost)
                yield reply, cost
        finally:
            for ask in open_asks.values():
                self.budget.release(ask)

    def _equal(self, asks: Sequence[Ask]) -> list[list[Ask]]:
        """Return the requests, equal ones together."""
        groups: dict[str, list[Ask]] = defaultdict(list)
        for ask in asks:
            groups[sha256_json(ask.identity(self.identity))].append(ask)
        return list(groups.values())


class Replayed:
    """Returns recorded replies of the judge of that identity; never sends a request."""

    def __init__(
        self, cassette: Cassette, identity: str, name: str, *, least_tokens: int = 0
    ) -> None:
        self.cassette, self._least_tokens = cassette, least_tokens
        self.identity, self.name = identity, name

    def ask(self, asks: Sequence[Ask]) -> Iterator[Reply]:
        """Yield the recorded replies, in the order of the requests.

        Raises:
            NotRecorded: a request is not in the cassette; then nothing is yielded.
            ValueError: two asks have the same key.
        """
        unique_keys(asks)
        asks = [replace(ask, least_tokens=self._least_tokens) for ask in asks]
        recordings = [self.cassette.final(ask, self.identity) for ask in asks]
        absent = [ask for ask, found in zip(asks, recordings, strict=True) if found is None]
        if absent:
            first = absent[0]
            shown = " ".join(first.messages[-1]["content"].split()[:_SHOWN_WORDS])
            request = short(sha256_json(first.identity(self.identity)))
            message = (
                f"{self.cassette.path}: {len(absent)} of {len(asks)} requests to {self.identity} "
                f"are not recorded; the first is {first.key} (request {request}, “{shown} …”). "
                "Record them by running the same command with evaluation.judge.replay=false"
            )
            raise NotRecorded(message)
        for ask, found in zip(asks, recordings, strict=True):
            if found is not None:
                yield replace(found.reply, key=ask.key)


def reply_facts(judge: Judge, asks: Sequence[Ask]) -> dict[str, Any]:
    """Return what an artifact's manifest says of the replies behind it, from their recordings.

    judge: its name. answered_by: how many replies came from each model that the server named (a
        snapshot, where the name asked for is an alias). adapted: what was changed in requests
        because the server refuses it. said_nothing: replies cut before their first word.

    `asks` are all requests of the artifact, those that an earlier, killed run sent included. Of a
    judge without recordings only the name is known.
    """
    models: Counter[str] = Counter()
    adapted: dict[str, str | int] = {}
    said_nothing = 0
    if isinstance(judge, Recorded | Replayed):
        for ask in asks:
            if (found := judge.cassette.get(ask.identity(judge.identity))) is not None:
                models.update([found.reply.model] if found.reply.model else [])
                adapted |= found.reply.adapted
                said_nothing += found.reply.says_nothing
    facts = {"answered_by": dict(sorted(models.items())), "adapted": adapted}
    counted = {"said_nothing": said_nothing} if said_nothing else {}
    return {"judge": judge.name} | {name: fact for name, fact in facts.items() if fact} | counted
