"""What evaluating would do: which benchmarks are done, and what the judge may cost.

Nothing is generated yet, so the tokens are upper bounds: every answer, the reference's too, as long
as evaluation.generation lets it be. A closer quote is printed before each benchmark is judged, when
the answers are known. Whether finished artifacts are stale is found out by running, not here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rich.table import Table

from core.errors import ConfigError
from core.stages import Ref, Stage, evaluation_ref
from core.store import Store
from evaluation.alpaca_eval import files as alpaca_files
from evaluation.alpaca_eval import tags
from evaluation.alpaca_eval.annotator import PackageAnnotator
from evaluation.benchmarks import ANSWERS, jobs
from evaluation.mt_bench import questions as mt_bench_questions
from evaluation.prompts import load_prompts
from evaluation.run import EvalRun
from judges.backends.budget import FREE, price_of
from judges.backends.openai_judge import server_of
from judges.pair_prompts import pair_prompt

if TYPE_CHECKING:
    from core.config import Config
    from judges.backends.budget import Price

_CHARACTERS_PER_TOKEN = 4
_TEMPLATE_TOKENS = 400  # the longest judge prompt without what is judged


class Bound(NamedTuple):
    """The most a benchmark asks of the judge."""

    requests: int
    tokens_in: int
    tokens_out: int


_NOTHING = Bound(0, 0, 0)


def plan_table(config: Config) -> Table:
    """Return one line per benchmark: its state, requests, tokens and cost at most.

    Raises:
        ConfigError: there is no such run.
    """
    if not config.folder.is_dir():
        raise ConfigError(f"{config.folder}: no such run; train it first")
    run = EvalRun(config, Store(config.folder))
    judge = config.evaluation.judge
    price = FREE if judge.backend == "model" else price_of(judge.model, server_of(judge))
    table = Table(
        title=f"{config.folder}: evaluation, judged by {judge.model}", title_justify="left"
    )
    for name in ("benchmark", "state", "judge requests ≤", "tokens in ≤", "tokens out ≤", "USD ≤"):
        table.add_column(name, justify="right" if "≤" in name else "left")
    total = _NOTHING
    for job in jobs(run):
        last = Stage.ANSWERS if job.part == ANSWERS else Stage.SCORES
        done = run.store.exists(evaluation_ref(job.address, last))
        bound = None if done else bound_of(run, job.benchmark, job.address)
        if bound is not None:
            total = Bound(*(a + b for a, b in zip(total, bound, strict=True)))
        table.add_row(job.name, "done" if done else "runs", *_cells(bound, price))
    table.add_section()
    table.add_row("in all", "", *_cells(total, price))
    return table


def _cells(bound: Bound | None, price: Price | None) -> list[str]:
    if bound is None:
        return [""] * 4
    usd = "?" if price is None else f"{price.cost(bound.tokens_in, bound.tokens_out):.2f}"
    return [f"{number:,}" for number in bound] + [usd]


def bound_of(run: EvalRun, benchmark: str, address: str) -> Bound | None:
    """Return what a benchmark may ask of the external judge; None if it asks nothing."""
    section = run.section
    answer = section.generation.max_new_tokens
    if benchmark == "head_to_head" and address.startswith("head_to_head/"):
        prompts = load_prompts(section.head_to_head.prompts, section.head_to_head.limit)
        out = pair_prompt(section.head_to_head.prompt).max_new_tokens
        return _bound([p.text for p in prompts], 2, 2 * answer, out)
    if benchmark == "alpaca_eval":
        if section.alpaca_eval.prompts == "hub":
            # The 805 prompts are not downloaded for a plan; they have 165 characters on average.
            n = section.alpaca_eval.limit or len(alpaca_files.official_index())
            texts = ["x" * 165] * n
        else:
            setting, limit = section.alpaca_eval.prompts, section.alpaca_eval.limit
            texts = [p.instruction for p in alpaca_files.load_prompts(setting, limit)]
        out = PackageAnnotator(section.alpaca_eval.annotator).max_new_tokens
        compared = _bound(texts, 1, 2 * answer, out)
        # Tags are asked for once; counting them for every model keeps the sum an upper bound.
        tagged = _bound(texts, 1, 0, tags.MAX_TOKENS) if section.alpaca_eval.tags else _NOTHING
        return Bound(*(a + b for a, b in zip(compared, tagged, strict=True)))
    if benchmark == "mt_bench":
        questions = mt_bench_questions.load_questions(section.mt_bench)
        texts = [" ".join(q.turns) for q in questions]
        both = 2 * section.mt_bench.max_new_tokens
        return _bound(
            texts, 2 * section.mt_bench.draws, both, section.mt_bench.judge_max_new_tokens
        )
    if benchmark == "self_judge":
        k = int(address.rpartition("iter")[2])
        rows = run.store.manifest(Ref(k, Stage.CANDIDATES)).rows or 0
        n = min(rows, (section.self_judge.limit or rows))
        judged = run.config.judge
        return _bound([""] * n, 1, run.config.candidates.max_new_tokens, judged.max_new_tokens)
    return None


def _bound(texts: list[str], each: int, answer_tokens: int, out: int) -> Bound:
    """Add up requests about texts, each asked `each` times with so many tokens of answers."""
    requests = each * len(texts)
    prompts = sum(len(text) // _CHARACTERS_PER_TOKEN + 1 for text in texts) * each
    tokens_in = prompts + requests * (_TEMPLATE_TOKENS + answer_tokens)
    return Bound(requests, tokens_in, requests * out)
