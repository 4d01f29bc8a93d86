"""The plan's tables: tokens and GPU hours, GPU memory, the external judge, and what is assumed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rich.table import Table
from rich.text import Text

from core.plan_config import PlanSection
from judges.backends.budget import FREE as NO_MONEY
from training.plan.costs import Cost, cost_of, total
from training.plan.fit import GB, Fit, fits
from training.plan.judge import JudgeQuote, judge_quotes, price_for
from training.plan.machine import samplers, training_setup
from training.plan.memory import Memory
from training.plan.shapes import Unknown, shape_of
from training.plan.work import (
    CHARACTERS_PER_TOKEN,
    RANKING_TEMPLATE_TOKENS,
    longest,
    mean_lengths,
    stage_work,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from core.config import Config
    from core.stages import Ref
    from judges.backends.budget import Price
    from training.plan.plan import PlanRow
    from training.plan.work import Lengths, Work

_NOT_RUN = ("done", "off")
_MILLION = 1e6


class Line(NamedTuple):
    """One stage that asks something of a model."""

    ref: Ref
    work: list[Work] | Unknown
    cost: Cost | Unknown


def lines(config: Config, rows: list[PlanRow], lengths: Lengths) -> list[Line]:
    """Return the work and cost of each stage that is to run and needs a model."""
    found = []
    for row in rows:
        if row.state in _NOT_RUN:
            continue
        work = stage_work(config, row.ref, lengths)
        if isinstance(work, Unknown):
            found.append(Line(row.ref, work, work))
        elif work:
            found.append(Line(row.ref, work, _cost_of(config, row.ref, work)))
    return found


def _cost_of(config: Config, ref: Ref, work: list[Work]) -> Cost | Unknown:
    shape = shape_of(config.model.base)
    if isinstance(shape, Unknown):
        return shape
    engines = samplers(config)
    gpus = engines if isinstance(engines, Unknown) else engines.gpus
    section = config.dpo if ref.iteration > 1 else config.sft
    setup = training_setup(config, section, shape)
    if isinstance(setup, Unknown):
        return setup
    return cost_of(work, config.plan, setup, gpus, shape_of)


def cost_tables(config: Config, k: int, rows: list[PlanRow]) -> Iterator[RenderableType]:
    """Yield what a dry run prints below the stages."""
    if not config.plan.gpus:
        yield Text(
            "GPU memory, hours and money are reckoned once plan.gpus says how many there are; see "
            "docs/plan.md."
        )
    else:
        yield from _hours(config, rows)
        yield from _memory(config, k)
        yield _assumed(config)
        yield Text(
            f"Besides: {CHARACTERS_PER_TOKEN} characters a token, and {RANKING_TEMPLATE_TOKENS} "
            "tokens of a judge's prompt around the answers it compares. Loading and saving weights "
            "takes time that is not counted."
        )
    yield from _judge(config, k)


def _hours(config: Config, rows: list[PlanRow]) -> Iterator[RenderableType]:
    found = lines(config, rows, mean_lengths(config))
    plan = config.plan
    table = Table(
        title=f"Millions of tokens at stated mean lengths, and hours on {plan.gpus} GPUs",
        title_justify="left",
    )
    table.add_column("artifact", overflow="fold")
    for name in ("read", "new", "scored", "trained", "GPU h", "hours", "USD"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in found:
        table.add_row(str(line.ref), *_tokens(line.work), *_cost(line.cost))
    table.add_section()
    every = [line.work for line in found if not isinstance(line.work, Unknown)]
    known = [line.cost for line in found if isinstance(line.cost, Cost)]
    table.add_row("in all", *_tokens([w for work in every for w in work]), *_cost(total(known)))
    most = lines(config, rows, longest(config))
    at_most = [line.cost for line in most if isinstance(line.cost, Cost)]
    table.add_row("at most (longest replies)", *[""] * 4, *_cost(total(at_most)))
    yield table
    for reason in dict.fromkeys(x.cost.reason for x in found if isinstance(x.cost, Unknown)):
        stages = ", ".join(str(x.ref) for x in found if x.cost == Unknown(reason))
        yield Text(f"? {stages}: {reason}; not in the sum.")


def _tokens(work: list[Work] | Unknown) -> list[str]:
    if isinstance(work, Unknown):
        return ["?"] * 4
    columns = (
        sum(item.read for item in work),
        sum(item.written for item in work),
        sum(item.scored for item in work),
        sum(item.trained for item in work),
    )
    return [f"{value / _MILLION:.2f}" if value else "" for value in columns]


def _cost(cost: Cost | Unknown) -> list[str]:
    if isinstance(cost, Unknown):
        return ["?"] * 3
    usd = "?" if cost.usd is None else f"{cost.usd:,.0f}"
    return [f"{cost.gpu_hours:,.1f}", f"{cost.hours:,.2f}", usd]


def _memory(config: Config, k: int) -> Iterator[RenderableType]:
    found = fits(config, k)
    table = Table(title="GPU memory: GB on each GPU (1 GB = 10^9 bytes)", title_justify="left")
    table.add_column("what runs", overflow="fold")
    names = ("GPUs", "weights", "grads", "Adam", "copies", "kept", "sum", "of")
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for fit in found:
        if isinstance(fit, Fit):
            table.add_row(fit.what, str(fit.gpus), *_parts(fit))
    yield table
    for fit in found:
        if isinstance(fit, Unknown):
            yield Text(f"? {fit.reason}")
            continue
        yield Text(f"{fit.what}: {fit.verdict}.")
        if fit.remedies:
            yield Text(f"  It would fit with {'; or with '.join(fit.remedies)}.")


def _parts(fit: Fit) -> list[str]:
    parts = fit.parts
    if isinstance(parts, Memory):
        weights = parts.weights + parts.reference
        columns = [weights, parts.gradients, parts.optimiser, parts.copies, parts.activations]
    else:
        columns = [parts.weights, 0.0, 0.0, 0.0, parts.cache]
    cells = [f"{value / GB:.1f}" if value else "" for value in columns]
    return [*cells, f"{parts.needed / GB:.1f}", f"{fit.available / GB:.1f}"]


def _assumed(config: Config) -> Table:
    """Return every assumption with its value and where it comes from."""
    table = Table(title="Assumed, and set under plan (docs/plan.md)", title_justify="left")
    table.add_column("setting", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("meaning")
    for name, field in PlanSection.model_fields.items():
        value = getattr(config.plan, name)
        meaning = " ".join((field.description or "").split())
        table.add_row(name, "not stated" if value is None else f"{value:g}", meaning)
    return table


def _judge(config: Config, k: int) -> Iterator[RenderableType]:
    price, judge = price_for(config), config.evaluation.judge
    if price == NO_MONEY:
        yield Text(f"The evaluation's judge, {judge.model}, runs on machines of your own.")
    else:
        yield from _judge_table(config, judge_quotes(config, k), price)
    yield Text(
        "`srlm-eval run --dry-run` quotes the evaluation from its prompts once there is a run."
    )


def _judge_table(
    config: Config, quotes: list[JudgeQuote | Unknown], price: Price | None
) -> Iterator[RenderableType]:
    title = f"The evaluation's judge, {config.evaluation.judge.model}: millions of tokens"
    table = Table(title=title, title_justify="left")
    table.add_column("benchmark", overflow="fold")
    for name in ("requests", "in", "in ≤", "out ≤", "USD", "USD ≤"):
        table.add_column(name, justify="right", no_wrap=True)
    known = [quote for quote in quotes if not isinstance(quote, Unknown)]
    for quote in known:
        table.add_row(quote.benchmark, *_quoted(quote, price))
    table.add_section()
    whole = JudgeQuote(
        "in all",
        sum(quote.requests for quote in known),
        sum(quote.read for quote in known),
        sum(quote.read_most for quote in known),
        sum(quote.written for quote in known),
    )
    table.add_row(whole.benchmark, *_quoted(whole, price))
    yield table
    for unknown in quotes:
        if isinstance(unknown, Unknown):
            yield Text(f"? {unknown.reason}; not in the sum.")
    yield Text(f"Price: {_priced(price)}.")


def _quoted(quote: JudgeQuote, price: Price | None) -> list[str]:
    tokens = [f"{v / _MILLION:.2f}" for v in (quote.read, quote.read_most, quote.written)]
    if price is None:
        return [f"{quote.requests:,}", *tokens, "?", "?"]
    money = [f"{price.cost(v, quote.written):,.0f}" for v in (quote.read, quote.read_most)]
    return [f"{quote.requests:,}", *tokens, *money]


def _priced(price: Price | None) -> str:
    if price is None:
        return "not known; add the model to judges/backends/prices.toml"
    return (
        f"{price.input_usd:g} USD in, {price.output_usd:g} USD out per million tokens "
        f"({price.checked}; judges/backends/prices.toml)"
    )
