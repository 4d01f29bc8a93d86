"""Upper bounds on what judging costs: requests and tokens, of given requests or whole benchmarks.

`expected_bounds` needs no prompts: it uses counts that are configured or published, for the plan of
a run that does not exist yet. `srlm-eval run --dry-run` passes the prompts themselves to
`benchmark_bound`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from core.benchmarks import FIRST_FEEDBACK_ITERATION
from judges.backends.budget import CHARACTERS_PER_TOKEN, FREE, Price, TokenCounter, price_of
from judges.backends.openai_judge import server_of
from judges.pairwise import pair_prompt

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from core.config import Config
    from core.evaluation_config import JudgeBackendSection
    from judges.asking import Ask

TEMPLATE_TOKENS = 400
"""Tokens of the longest judge prompt without the prompt and answers that it shows."""

ALPACA_EVAL_PROMPTS, ALPACA_EVAL_CHARACTERS = 805, 165  # its data set; mean instruction
MT_BENCH_QUESTIONS, MT_BENCH_CHARACTERS = 80, 404  # its questions; mean of both turns together
TAG_TOKENS = 100  # three short lines
_TURNS = _ORDERS = _PAIR = 2
# The reply limits of alpaca-eval's annotator configurations.
_ANNOTATOR_TOKENS = {"weighted_alpaca_eval_gpt4_turbo": 1, "alpaca_eval_gpt4": 100}


class JudgeBound(NamedTuple):
    """The most that is asked of a judge; `expected_in` counts answers at their mean length."""

    benchmark: str
    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    expected_in: int = 0

    def usd(self, price: Price | None) -> float | None:
        """Return the cost in US dollars; None when no price is known."""
        return None if price is None else price.cost(self.tokens_in, self.tokens_out)


class PromptCount(NamedTuple):
    """How many prompts a benchmark has, and their mean length in tokens."""

    prompts: int
    tokens: float

    @classmethod
    def of(cls, texts: Sequence[str]) -> PromptCount:
        """Count texts, each rounded up to whole tokens."""
        total = sum(len(text) // CHARACTERS_PER_TOKEN + 1 for text in texts)
        return cls(len(texts), total / max(1, len(texts)))


def total(bounds: Iterable[JudgeBound], benchmark: str = "total") -> JudgeBound:
    """Return the sum of several bounds."""
    columns = zip((0,) * 4, *(bound[1:] for bound in bounds), strict=True)  # 0: without any
    return JudgeBound(benchmark, *map(sum, columns))


def asks_bound(asks: Sequence[Ask], counter: TokenCounter) -> JudgeBound:
    """Return the bound for given requests: every reply at its limit, no retries."""
    tokens_in = sum(counter.prompt(ask) for ask in asks)
    tokens_out = sum(ask.limit for ask in asks)
    return JudgeBound("", len(asks), tokens_in, tokens_out, tokens_in)


def benchmark_bound(
    config: Config,
    benchmark: str,
    count: PromptCount,
    *,
    subjects: int = 1,
    annotator_tokens: int = 0,
) -> JudgeBound:
    """Return the bound for `subjects` models, matchups or iterations of one benchmark.

    Args:
        config: its limits on new tokens apply.
        benchmark: a benchmark's name, or "tags" for AlpacaEval's tags.
        count: the benchmark's prompts.
        subjects: how many are judged.
        annotator_tokens: AlpacaEval's limit on the judge's replies.
    """
    section, candidates = config.evaluation, config.candidates.max_new_tokens
    answer, mt_bench = section.generation.max_new_tokens, section.mt_bench
    ranking = pair_prompt(section.head_to_head.prompt).max_new_tokens
    # Requests per prompt, answers shown by each, the limit on an answer and on the judge's reply.
    each, shown, limit, reply = {
        "head_to_head": (_ORDERS, _PAIR, answer, ranking),
        "alpaca_eval": (1, _PAIR, answer, annotator_tokens),
        "tags": (1, 0, 0, TAG_TOKENS),
        "mt_bench": (
            _TURNS * mt_bench.draws,
            _TURNS,
            mt_bench.max_new_tokens,
            mt_bench.judge_max_new_tokens,
        ),
        "self_judge": (1, 1, candidates, config.judge.max_new_tokens),
    }[benchmark]
    if reply > 1:  # a reply in words
        reply = max(reply, section.judge.min_reply_tokens or 0)
    requests = subjects * each * count.prompts
    around = TEMPLATE_TOKENS + count.tokens
    mean = min(config.plan.answer_tokens, limit)
    return JudgeBound(
        benchmark,
        requests,
        round(requests * (around + shown * limit)),
        requests * reply,
        round(requests * (around + shown * mean)),
    )


def expected_bounds(config: Config, k: int) -> tuple[list[JudgeBound], list[str]]:
    """Return the bound of each benchmark about models up to M_k that asks an external judge.

    The second list says which benchmarks are left out because their prompts cannot be counted.
    """
    section, mean = config.evaluation, config.plan.prompt_tokens
    models = [name for name in section.models if name == "sft" or int(name[1:]) <= k]
    played = sum(a in models and b in models for a, b in section.head_to_head.matchups)
    alpaca = section.alpaca_eval
    listed = alpaca.limit or (ALPACA_EVAL_PROMPTS if alpaca.prompts == "hub" else None)
    reply = _ANNOTATOR_TOKENS.get(alpaca.annotator)
    questions = section.mt_bench.limit or MT_BENCH_QUESTIONS
    # Prompts (None: not stated), their mean tokens, and how many models, matchups or iterations.
    stated: dict[str, tuple[int | None, float, int]] = {
        "head_to_head": (section.head_to_head.limit, mean, played),
        "alpaca_eval": (listed, ALPACA_EVAL_CHARACTERS / CHARACTERS_PER_TOKEN, len(models)),
        "mt_bench": (questions, MT_BENCH_CHARACTERS / CHARACTERS_PER_TOKEN, len(models)),
    }
    bounds: list[JudgeBound] = []
    unknown: list[str] = []
    for name, (prompts, tokens, subjects) in stated.items():
        if name not in section.benchmarks:
            continue
        if prompts is None:
            unknown.append(f"{name}: the number of prompts is not stated (limit)")
            continue
        count = PromptCount(prompts, tokens)
        if name == "alpaca_eval" and reply is None:
            unknown.append(f"{name}: the reply limit of annotator {alpaca.annotator} is unknown")
        else:
            bound = benchmark_bound(
                config, name, count, subjects=subjects, annotator_tokens=reply or 0
            )
            bounds.append(bound)
        if name == "alpaca_eval" and alpaca.tags:  # asked for once, whatever the number of models
            bounds.append(benchmark_bound(config, "tags", count))
    if "self_judge" in section.benchmarks:
        iterations = range(FIRST_FEEDBACK_ITERATION, k + 1)
        bounds.append(total((_self_judge(config.at(i)) for i in iterations), "self_judge"))
    return bounds, unknown


def _self_judge(config: Config) -> JudgeBound:
    """Return the bound of the self-judge check of one iteration with these settings."""
    made = config.prompts.count * config.candidates.n
    judged = min(made, config.evaluation.self_judge.limit or made)
    return benchmark_bound(config, "self_judge", PromptCount(judged, config.plan.prompt_tokens))


def judge_price(section: JudgeBackendSection) -> Price | None:
    """Return the judge's price: the setting's, free if it is a local model, None if unknown."""
    if section.backend == "model":
        return FREE
    if section.price_usd is not None:
        return Price(*section.price_usd, "evaluation.judge.price_usd")
    return price_of(section.model, server_of(section))
