"""The plan's tables: tokens and GPU hours, GPU memory, the external judge, and the assumptions."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rich.table import Table
from rich.text import Text

from core.benchmarks import FIRST_FEEDBACK_ITERATION
from core.config import PlanSection
from core.stages import Stage, model_ref
from judges.backends.budget import CHARACTERS_PER_TOKEN
from judges.backends.budget import FREE as NO_MONEY
from judges.bounds import TEMPLATE_TOKENS, JudgeBound, expected_bounds, judge_price
from judges.bounds import total as total_bound
from training.candidate_judge import judge_kind
from training.disk import BYTES, Disk, training_disk
from training.launch.command import NONE
from training.plan.costs import Cost, cost_of, total
from training.plan.fit import GB, Fit, adapters, fits
from training.plan.memory import Memory
from training.plan.shapes import Unknown, shape_of
from training.plan.work import (
    constructed_examples,
    external_candidates,
    external_checkpoints,
    longest,
    mean_lengths,
    stage_work,
)
from training.run import EXTERNAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import RenderableType

    from core.config import Config
    from core.stages import Ref
    from judges.backends.budget import Price
    from training.plan.plan import PlanRow
    from training.plan.work import Lengths, Work

_NOT_RUN = ("done", "off", "linked")
_NOT_USED = ("link_gb_per_s",)  # accepted in older files
_MILLION = 1e6


class Line(NamedTuple):
    """One stage that asks something of a model; "" where nothing is unknown."""

    ref: Ref
    work: list[Work]
    cost: Cost | None
    unknown: str = ""


def lines(
    config: Config, rows: list[PlanRow], lengths_of: Callable[[Config], Lengths]
) -> list[Line]:
    """Return the work and cost of each stage that is to run and needs a model."""
    found = []
    for row in rows:
        if row.state.startswith(_NOT_RUN):
            continue
        work: list[Work] = []
        try:
            own = config.at(row.ref.iteration)
            work = stage_work(own, row.ref, lengths_of(own))
            section = own.dpo if row.ref.iteration > 1 else own.sft
            if work:
                found.append(Line(row.ref, work, cost_of(own, section, work)))
        except Unknown as reason:
            found.append(Line(row.ref, work, None, str(reason)))
    return found


def cost_tables(config: Config, k: int, rows: list[PlanRow]) -> Iterator[RenderableType]:
    """Yield what a dry run prints below the stages."""
    if not config.plan.gpus:
        yield Text("Set plan.gpus to estimate GPU memory, hours and cost; see docs/plan.md.")
    else:
        yield from _hours(config, rows)
        yield from _memory(config, k)
        yield _assumed(config)
        yield Text(
            f"Also assumed: {CHARACTERS_PER_TOKEN} characters per token, and "
            f"{TEMPLATE_TOKENS} tokens of prompt around the answers that a judge compares. "
            "Communication between GPUs, loading and saving are not counted."
        )
    yield from _few_examples(config, rows)
    yield from _disk(config, k, rows)
    yield from _judge(config, k)


def _few_examples(config: Config, rows: list[PlanRow]) -> Iterator[RenderableType]:
    """Yield a warning if EFT by construction is expected to yield fewer examples than asked."""
    wanted = config.eft.selection.max_examples
    to_make = any(row.ref.stage is Stage.EFT and not row.state.startswith(_NOT_RUN) for row in rows)
    if not to_make or wanted is None or config.eft.selection.source != "constructed":
        return
    try:
        expected = constructed_examples(config)
    except Unknown as reason:
        yield Text(f"? How many EFT examples construction yields: {reason}.")
        return
    if expected < wanted:
        draws = config.eft.construction.draws
        yield Text(
            f"EFT by construction yields about {expected:,.0f} examples at {draws} "
            f"draw{'s' * (draws > 1)} per reply (plan.agreeing_prompts), fewer than "
            f"eft.selection.max_examples = {wanted:,}. More draws (eft.construction.draws) or more "
            "ranked prompts give more."
        )


def _table(title: str, first: str, *numbers: str) -> Table:
    """Return a table with one column of text that may fold, and columns of numbers."""
    table = Table(title=title, title_justify="left")
    table.add_column(first, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _hours(config: Config, rows: list[PlanRow]) -> Iterator[RenderableType]:
    found = lines(config, rows, mean_lengths)
    title = f"Millions of tokens at mean lengths, and hours on {config.plan.gpus} GPUs"
    names = ("read", "new", "scored", "trained", "GPU h", "hours", "USD")
    table = _table(title, "artifact", *names)
    for line in found:
        table.add_row(str(line.ref), *_tokens(line.work), *_cost(line.cost))
    table.add_section()
    known = [line.cost for line in found if line.cost]
    table.add_row("total", *_tokens([w for line in found for w in line.work]), *_cost(total(known)))
    at_most = [line.cost for line in lines(config, rows, longest) if line.cost]
    table.add_row("at most (longest replies)", *[""] * 4, *_cost(total(at_most)))
    yield table
    for reason in dict.fromkeys(line.unknown for line in found if line.unknown):
        stages = ", ".join(str(line.ref) for line in found if line.unknown == reason)
        yield Text(f"? {stages}: {reason}; not in the total.")


def _tokens(work: list[Work]) -> list[str]:
    if not work:
        return ["?"] * 4
    # All fields but the first, the model.
    columns = [sum(tokens) for tokens in zip(*(item[1:] for item in work), strict=True)]
    return [f"{value / _MILLION:.2f}" if value else "" for value in columns]


def _cost(cost: Cost | None) -> list[str]:
    if cost is None:
        return ["?"] * 3
    usd = "?" if cost.usd is None else f"{cost.usd:,.0f}"
    return [f"{cost.gpu_hours:,.1f}", f"{cost.hours:,.2f}", usd]


def _memory(config: Config, k: int) -> Iterator[RenderableType]:
    names = ("GPUs", "weights", "grads", "Adam", "copies", "kept", "sum", "of")
    table = _table("GPU memory: GB on each GPU (1 GB = 10^9 bytes)", "what runs", *names)
    verdicts = []
    for what, fit in fits(config, k).items():
        if isinstance(fit, Unknown):
            verdicts.append(f"? {what}: {fit}")
        else:
            table.add_row(what, str(fit.gpus), *_parts(fit))
            verdicts.append(f"{what}: {fit.verdict}.")
    yield table
    yield from map(Text, verdicts)


def _parts(fit: Fit) -> list[str]:
    parts = fit.parts
    if isinstance(parts, Memory):
        weights = parts.weights + parts.reference + parts.engines
        columns = [weights, parts.gradients, parts.optimiser, parts.copies, parts.activations]
    else:
        columns = [parts.weights, 0.0, 0.0, 0.0, parts.cache]
    cells = [f"{value / GB:.1f}" if value else "" for value in columns]
    return [*cells, f"{parts.needed / GB:.1f}", f"{fit.available / GB:.1f}"]


def _disk(config: Config, k: int, rows: list[PlanRow]) -> Iterator[RenderableType]:
    """Return what training stages write at most at one time, and what their models keep."""
    try:
        shape = shape_of(config.origin)
    except Unknown as reason:
        yield Text(f"? disk of training: {reason}.")
        return
    engine = config.engine
    # Beside vLLM on a GPU, "none" is "one-gpu".
    apart = config.launch.config != NONE or (engine.kind == "vllm" and engine.device != "cpu")
    most = {row.ref: row.rows for row in rows}
    table = _table("Disk: GB at most at one time", "what trains", *Disk._fields, "sum")
    first = FIRST_FEEDBACK_ITERATION if config.m1.model else 1
    kept = 0.0 if config.m1.model else 2.0 * shape.parameters * BYTES[config.sft.save_dtype]
    for ref in (model_ref(i) for i in range(first, k + 1)):
        own = config.at(ref.iteration)
        dpo = ref.iteration > 1 and own.improvement.method == "dpo"
        section, stopping = (own.dpo if dpo else own.sft), own.dpo.early_stopping
        disk = training_disk(
            section,
            parameters=shape.parameters,
            rows=most.get(ref),
            adapters=adapters(own, shape) or None,
            compared_every=stopping.every_steps if dpo and stopping.enabled else None,
            apart=apart,
        )
        table.add_row(f"M{ref.iteration}", *(f"{part / GB:.1f}" for part in (*disk, disk.needed)))
        kept += 0 if ref.iteration == 1 else disk.model
    yield table
    which = f"M{first}" if config.m1.model else "The SFT baseline and M1"
    yield Text(f"{which} to M{k} keep {kept / GB:.1f} GB.")


def _assumed(config: Config) -> Table:
    """Return every assumption with its value and where it comes from."""
    table = Table(title="Assumptions, set under [plan] (docs/plan.md)", title_justify="left")
    table.add_column("setting", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("meaning")
    for name, field in PlanSection.model_fields.items():
        if name in _NOT_USED:
            continue
        value = getattr(config.plan, name)
        meaning = " ".join((field.description or "").split())
        table.add_row(name, "not stated" if value is None else f"{value:g}", meaning)
    return table


def _judge(config: Config, k: int) -> Iterator[RenderableType]:
    judge = config.evaluation.judge
    price = judge_price(judge)
    if price == NO_MONEY:
        yield Text(f"The evaluation's judge, {judge.model}, is free: it runs on your own machines.")
    else:
        yield from _judge_table(config, k, price)
    yield Text(
        "Once there is a run, `srlm-eval run --dry-run` estimates the evaluation from its prompts."
    )


def _judge_table(config: Config, k: int, price: Price | None) -> Iterator[RenderableType]:
    title = f"The evaluation's judge, {config.evaluation.judge.model}: millions of tokens"
    names = ("requests", "in", "in ≤", "out ≤", "USD", "USD ≤")
    table = _table(title, "benchmark", *names)
    bounds, unknown = expected_bounds(config, k)
    own = [config.at(i) for i in range(FIRST_FEEDBACK_ITERATION, k + 1)]
    checkpoints = [external_checkpoints(one) for one in own if _externally_stopped(one)]
    candidates = [external_candidates(one) for one in own if judge_kind(one) == "external"]
    bounds += [total_bound(checkpoints, "checkpoints")] if checkpoints else []
    bounds += [total_bound(candidates, "candidates")] if candidates else []
    for bound in bounds:
        table.add_row(bound.benchmark, *_bound_cells(bound, price))
    table.add_section()
    table.add_row("total", *_bound_cells(total_bound(bounds), price))
    yield table
    for reason in unknown:
        yield Text(f"? {reason}; not in the total.")
    yield Text(f"Price: {_priced(price)}.")


def _externally_stopped(config: Config) -> bool:
    """Whether the evaluation's judge compares an iteration's checkpoints, too."""
    stopping = config.dpo.early_stopping
    uses_dpo = config.improvement.method == "dpo"
    return uses_dpo and stopping.enabled and stopping.judge == EXTERNAL


def _bound_cells(bound: JudgeBound, price: Price | None) -> list[str]:
    read = (bound.expected_in, bound.tokens_in)
    tokens = [f"{count / _MILLION:.2f}" for count in (*read, bound.tokens_out)]
    if price is None:
        return [f"{bound.requests:,}", *tokens, "?", "?"]
    usd = [f"{price.cost(count, bound.tokens_out):,.0f}" for count in read]
    return [f"{bound.requests:,}", *tokens, *usd]


def _priced(price: Price | None) -> str:
    if price is None:
        return "unknown; add the model to judges/backends/prices.toml"
    return (
        f"{price.input_usd:g} USD in, {price.output_usd:g} USD out per million tokens "
        f"({price.checked}; judges/backends/prices.toml)"
    )
