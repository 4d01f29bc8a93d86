"""Opening the external judge of a run: an API or a model, recorded, within a budget."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from core.progress import say
from judges.backends.budget import ESTIMATE, FREE, Budget, price_of, quote, token_counter
from judges.backends.cassette import Cassette
from judges.backends.local_judge import LocalJudge
from judges.backends.openai_judge import OpenAIJudge, identity_of, server_of
from judges.backends.recorded import Recorded, Replayed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from core.evaluation_config import JudgeBackendSection
    from engines.engine import Engine
    from evaluation.run import EvalRun
    from judges.asking import Ask, Judge, Reply
    from judges.backends.budget import Price, TokenCounter


class ExternalJudge:
    """The judge of a run; says what asking may cost before it asks, and what it did cost after."""

    def __init__(self, judge: Judge, price: Price | None, counter: TokenCounter | None) -> None:
        """Wrap a recorded or replayed judge; `counter` None: nothing is charged."""
        self._judge, self._price, self._counter = judge, price, counter
        self.name, self.identity = judge.name, judge.identity
        self._quoted_usd = 0.0

    def ask(self, asks: Sequence[Ask]) -> Iterator[Reply]:
        """Print a quote for what is not recorded yet, then pass the replies on."""
        if self._counter is not None and isinstance(self._judge, Recorded):
            missing = self._judge.missing(asks)
            if missing:
                offer = quote(missing, self._counter, self._price)
                self._quoted_usd += offer.usd or 0.0
                money = "price unknown" if offer.usd is None else f"at most {offer.usd:.2f} USD"
                say(
                    f"  judge {self.name}: {offer.requests} requests, {offer.prompt_tokens:,} "
                    f"tokens in ({offer.counted_by}), at most {offer.max_output_tokens:,} out: "
                    f"{money}"
                )
        return self._judge.ask(asks)

    def summary(self) -> str | None:
        """Return a line of actual against quoted; None if nothing was asked."""
        if not isinstance(self._judge, Recorded):
            return None
        spent, spared = self._judge.budget.spent, self._judge.budget.spared
        if not spent.requests and not spared.requests:
            return None
        money = ""
        if self._counter is not None and self._price is None:
            money = f", {spent.tokens_in:,} tokens in and {spent.tokens_out:,} out (price unknown)"
        elif self._counter is not None:
            money = f", {spent.usd:.2f} USD (quoted: at most {self._quoted_usd:.2f})"
        return (
            f"judge {self.name}: {spent.requests} requests answered{money}, "
            f"{spared.requests} from the cassette"
        )


def open_judge(run: EvalRun) -> ExternalJudge:
    """Return the judge that a run's configuration names; see `open_section`."""
    section = run.section.judge
    named = Path(section.cassette).expanduser() if section.cassette else run.store.paths.cassette
    return open_section(section, named, run.judge_engine, seed=run.config.seed)


def open_section(
    section: JudgeBackendSection, file: Path, engine: Callable[[], Engine], *, seed: int
) -> ExternalJudge:
    """Return the judge that a section describes, recorded in (or replayed from) `file`.

    `engine` opens the model of a judge with backend "model".

    Raises:
        ConfigError: no key, no such model, or a limit without a price.
        DataError: the cassette is damaged, or absent where it should be replayed.
    """
    cassette = Cassette(file, read_only=section.replay)
    if section.backend == "model":
        local = LocalJudge(engine(), section.model, seed=seed)
        if section.replay:
            return ExternalJudge(Replayed(cassette, local.identity, local.name), None, None)
        # The estimate is never used: a model of one's own costs nothing.
        return ExternalJudge(Recorded(local, cassette, Budget(FREE, ESTIMATE)), FREE, None)
    if section.replay:
        replayed = Replayed(cassette, identity_of(section), section.model)
        return ExternalJudge(replayed, None, None)
    judge = OpenAIJudge(section, seed=seed)
    price, counter = price_of(section.model, server_of(section)), token_counter(section.model)
    budget = Budget(
        price,
        counter,
        limit_usd=section.budget_usd,
        already_usd=cassette.cost_usd(judge.identity),
    )
    return ExternalJudge(Recorded(judge, cassette, budget), price, counter)
