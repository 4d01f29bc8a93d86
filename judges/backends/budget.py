"""The cost of judging: prices, token counts, a spending limit and the amount spent."""

from __future__ import annotations

import ipaddress
import threading
import tomllib
from collections.abc import Callable  # noqa: TC003 - a NamedTuple's field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from core.errors import BudgetSpent, ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from judges.asking import Ask, Reply

_PRICES = Path(__file__).with_name("prices.toml")
_MILLION = 1_000_000
CHARACTERS_PER_TOKEN = 4  # English prose; other scripts need more tokens
_TOKENS_PER_MESSAGE = 4  # the chat format's own: role and delimiters
_TOKENS_PER_REPLY = 3  # ... and those that open the reply
_DOWNLOAD_PATIENCE_S = 5.0
_LOCAL_DOMAINS = (".local", ".lan", ".internal", ".localhost")


class Price(NamedTuple):
    """US dollars per million tokens; `checked` says when and how they were looked up."""

    input_usd: float
    output_usd: float
    checked: str = ""

    def cost(self, tokens_in: int, tokens_out: int) -> float:
        """Return the dollars for so many tokens."""
        return (tokens_in * self.input_usd + tokens_out * self.output_usd) / _MILLION


FREE = Price(0.0, 0.0, "runs on machines of your own")


class TokenCounter(NamedTuple):
    """Counts a text's tokens; `method` says how: an encoding's name, or that it is an estimate."""

    count: Callable[[str], int]
    method: str

    def prompt(self, ask: Ask) -> int:
        """Return the tokens of an ask's conversation, with those of the chat format."""
        texts = sum(self.count(m["content"]) + _TOKENS_PER_MESSAGE for m in ask.messages)
        return texts + _TOKENS_PER_REPLY


def _estimated(text: str) -> int:
    return -(-len(text) // CHARACTERS_PER_TOKEN)


ESTIMATE = TokenCounter(_estimated, f"estimated, {CHARACTERS_PER_TOKEN} characters per token")


class Spent(NamedTuple):
    """Requests answered, their tokens, and dollars (0 where no price is known)."""

    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float = 0.0

    def plus(self, reply: Reply, usd: float) -> Spent:
        """Return the sum with one more reply."""
        return Spent(
            self.requests + 1,
            self.tokens_in + reply.tokens_in,
            self.tokens_out + reply.tokens_out,
            self.usd + usd,
        )


@lru_cache(maxsize=1)
def load_prices() -> dict[str, Price]:
    """Return the price of each model named in prices.toml."""
    entries = tomllib.loads(_PRICES.read_text(encoding="utf-8"))["price"]
    return {
        model: Price(entry["input"], entry["output"], entry["checked"])
        for entry in entries
        for model in entry["models"]
    }


def price_of(model: str, base_url: str | None = None) -> Price | None:
    """Return a model's price; None when it is not known.

    A local server (this machine, a private address, a name without a public domain) is free. Any
    other server, OpenAI's or not, is priced by the model's name.
    """
    if base_url is not None and _is_local(urlsplit(base_url).hostname or ""):
        return FREE
    return load_prices().get(model)


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:  # a name
        return "." not in host or host.endswith(_LOCAL_DOMAINS)


def token_counter(
    model: str,
    *,
    load: Callable[[str], Callable[[str], Sequence[int]]] | None = None,
    patience_s: float = _DOWNLOAD_PATIENCE_S,
) -> TokenCounter:
    """Return the model's tokenizer by tiktoken, or an estimate of four characters per token.

    tiktoken (or `load`: an encoding's function from text to tokens) downloads an encoding on first
    use; if that fails or takes longer than `patience_s`, or the model is not one of OpenAI's, the
    estimate is returned.
    """
    import tiktoken

    try:
        name = tiktoken.encoding_name_for_model(model)
    except KeyError:
        return ESTIMATE
    found: list[Callable[[str], Sequence[int]]] = []

    def fetch() -> None:
        try:
            found.append((load or _encode_with)(name))
        except (OSError, ValueError):  # no network; a damaged download
            return

    # A daemon thread: a hanging download must block neither this call nor the process's exit.
    thread = threading.Thread(target=fetch, name="encoding", daemon=True)
    thread.start()
    thread.join(patience_s)
    if not found:
        return ESTIMATE
    encode = found[0]
    return TokenCounter(lambda text: len(encode(text)), f"tiktoken, {name}")


def _encode_with(name: str) -> Callable[[str], Sequence[int]]:
    import tiktoken

    # "<|endoftext|>" in an answer is text to be counted, not an error.
    return tiktoken.get_encoding(name).encode_ordinary


class Budget:
    """A spending limit: money is reserved before each request and settled after it; thread-safe.

    `spent` is what this process paid, `replayed` the cost of replies taken from recordings.
    """

    def __init__(
        self,
        price: Price | None,
        counter: TokenCounter,
        *,
        limit_usd: float | None = None,
        already_usd: float = 0.0,
    ) -> None:
        """Start with nothing spent by this process.

        Args:
            price: None if not known: then only tokens are counted.
            counter: estimates a request's cost before its reply.
            limit_usd: limit on spending, as exact as `counter`; None for no limit.
            already_usd: what earlier processes spent on the same work; counts towards the limit, so
                that running the same command again does not spend the limit again.

        Raises:
            ConfigError: there is a limit but no price.
        """
        if limit_usd is not None and price is None:
            message = (
                "evaluation.judge.budget_usd is set, but no price is known for "
                "evaluation.judge.model: set evaluation.judge.price_usd = [in, out] (US dollars "
                "per million tokens), or remove the limit"
            )
            raise ConfigError(message)
        self.price, self.counter = price, counter
        self._limit, self._already = limit_usd, already_usd
        self._lock = threading.Lock()
        self._reserved = 0.0
        self.spent = Spent()
        self.replayed = Spent()

    def reserve(self, ask: Ask) -> bool:
        """Reserve the most that a request can cost; False, and nothing is, if it does not fit."""
        with self._lock:
            cost = self._most(ask)
            committed = self._already + self.spent.usd + self._reserved
            if self._limit is not None and committed + cost > self._limit:
                return False
            self._reserved += cost
            return True

    def settle(self, ask: Ask, reply: Reply) -> float:
        """Replace a request's reservation by the cost of its reply; return the cost.

        A failed request costs as much as its malformed replies, if any; if the server counts no
        tokens, the counter's estimate applies.
        """
        with self._lock:
            self._reserved -= self._most(ask)
            usd = self._cost(ask, reply)
            self.spent = self.spent.plus(reply, usd)
            return usd

    def release(self, ask: Ask) -> None:
        """Cancel the reservation of a request that was never answered."""
        with self._lock:
            self._reserved -= self._most(ask)

    def replay(self, reply: Reply, usd: float) -> None:
        """Count a reply taken from a recording, and its original cost."""
        with self._lock:
            self.replayed = self.replayed.plus(reply, usd)

    def exceeded(self, ask: Ask, left: int) -> BudgetSpent:
        """Return the error for a request that does not fit; `left` are not answered yet."""
        total = self._already + self.spent.usd
        earlier = f" ({self._already:.4f} of it by earlier runs)" if self._already else ""
        return BudgetSpent(
            f"{total:.4f} USD spent{earlier} of evaluation.judge.budget_usd = {self._limit:g}; "
            f"the next request may cost {self._most(ask):.4f} USD. {left} requests are left. "
            "Everything paid for is recorded: run the same command with a larger budget_usd and "
            "only the rest is asked"
        )

    def _cost(self, ask: Ask, reply: Reply) -> float:
        if self.price is None or self.price == FREE:
            return 0.0
        if reply.tokens_in == 0 and reply.finish in ("stop", "length", "refused"):
            return self.price.cost(self.counter.prompt(ask), self.counter.count(reply.text))
        return self.price.cost(reply.tokens_in, reply.tokens_out)

    def _most(self, ask: Ask) -> float:
        if self.price is None or self.price == FREE:
            return 0.0
        return self.price.cost(self.counter.prompt(ask), ask.limit)
