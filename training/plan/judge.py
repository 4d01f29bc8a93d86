"""What the evaluation's external judge may cost, from counts that are configured or published.

Training imports nothing of evaluation, so prompts are not read here: benchmarks whose number of
prompts is neither configured nor published are "?". `srlm-eval run --dry-run` quotes the same from
the prompts themselves once there is a run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from judges.backends.budget import FREE, price_of
from judges.backends.openai_judge import server_of
from judges.pair_prompts import pair_prompt
from training.plan.shapes import Unknown
from training.plan.work import CHARACTERS_PER_TOKEN, RANKING_TEMPLATE_TOKENS

if TYPE_CHECKING:
    from core.config import Config
    from judges.backends.budget import Price

ALPACA_EVAL_PROMPTS, ALPACA_EVAL_CHARACTERS = 805, 165  # its data set; mean instruction
MT_BENCH_QUESTIONS, MT_BENCH_CHARACTERS = 80, 404  # its questions; mean of both turns together
_TURNS = _ORDERS = 2
_TAG_TOKENS = 100  # three short lines
# What the annotator configurations of alpaca-eval let the judge write.
_ANNOTATOR_TOKENS = {"weighted_alpaca_eval_gpt4_turbo": 1, "alpaca_eval_gpt4": 100}


class JudgeQuote(NamedTuple):
    """Requests to the judge for one benchmark, and what each holds.

    `read` counts the answers at their mean length, `read_most` at their limit; `written` is the
    limit on the judge's replies.
    """

    benchmark: str
    requests: int
    read: int
    read_most: int
    written: int


def judge_quotes(config: Config, k: int) -> list[JudgeQuote | Unknown]:
    """Return one quote for each benchmark that asks an external judge about models up to M_k."""
    section = config.evaluation
    models = [name for name in section.models if _is_made(name, k)]
    wanted = section.benchmarks
    found: list[JudgeQuote | Unknown] = []
    if "head_to_head" in wanted:
        found.append(_head_to_head(config, models))
    if "alpaca_eval" in wanted:
        found.append(_alpaca_eval(config, len(models)))
        if section.alpaca_eval.tags:
            found.append(_tags(config))
    if "mt_bench" in wanted:
        found.append(_mt_bench(config, len(models)))
    if "self_judge" in wanted:
        found.append(_self_judge(config, k))
    return found


def price_for(config: Config) -> Price | None:
    """Return the judge's price: nothing for a model of one's own, None when it is not known."""
    judge = config.evaluation.judge
    return FREE if judge.backend == "model" else price_of(judge.model, server_of(judge))


def _is_made(model: str, k: int) -> bool:
    return model == "sft" or int(model[1:]) <= k


class _Shown(NamedTuple):
    """What one request shows, and the most that comes back: tokens, and answers of a model."""

    prompt: float
    answers: int
    answer_limit: int
    reply_limit: int


def _quote(config: Config, benchmark: str, requests: int, shown: _Shown) -> JudgeQuote:
    mean = min(config.plan.answer_tokens, shown.answer_limit)
    around = RANKING_TEMPLATE_TOKENS + shown.prompt
    return JudgeQuote(
        benchmark,
        requests,
        round(requests * (around + shown.answers * mean)),
        round(requests * (around + shown.answers * shown.answer_limit)),
        requests * shown.reply_limit,
    )


def _head_to_head(config: Config, models: list[str]) -> JudgeQuote | Unknown:
    section, answer = config.evaluation.head_to_head, config.evaluation.generation.max_new_tokens
    if section.limit is None:
        return Unknown("head_to_head: how many prompts there are is not stated (limit)")
    matches = sum(a in models and b in models for a, b in section.matchups)
    reply = pair_prompt(section.prompt).max_new_tokens
    shown = _Shown(config.plan.prompt_tokens, 2, answer, reply)
    return _quote(config, "head_to_head", matches * section.limit * _ORDERS, shown)


def _alpaca_prompts(config: Config) -> int | None:
    section = config.evaluation.alpaca_eval
    return section.limit or (ALPACA_EVAL_PROMPTS if section.prompts == "hub" else None)


def _alpaca_eval(config: Config, models: int) -> JudgeQuote | Unknown:
    annotator, count = config.evaluation.alpaca_eval.annotator, _alpaca_prompts(config)
    if count is None:
        return Unknown("alpaca_eval: how many prompts there are is not stated (limit)")
    if annotator not in _ANNOTATOR_TOKENS:
        return Unknown(f"alpaca_eval: how much annotator {annotator} writes is not known here")
    prompt = ALPACA_EVAL_CHARACTERS / CHARACTERS_PER_TOKEN
    answer = config.evaluation.generation.max_new_tokens
    shown = _Shown(prompt, 2, answer, _ANNOTATOR_TOKENS[annotator])
    return _quote(config, "alpaca_eval", models * count, shown)


def _tags(config: Config) -> JudgeQuote | Unknown:
    count = _alpaca_prompts(config)
    if count is None:
        return Unknown("tags: how many prompts there are is not stated (alpaca_eval.limit)")
    prompt = ALPACA_EVAL_CHARACTERS / CHARACTERS_PER_TOKEN
    return _quote(config, "tags", count, _Shown(prompt, 0, 0, _TAG_TOKENS))


def _mt_bench(config: Config, models: int) -> JudgeQuote:
    section = config.evaluation.mt_bench
    requests = models * (section.limit or MT_BENCH_QUESTIONS) * _TURNS * section.draws
    prompt = MT_BENCH_CHARACTERS / CHARACTERS_PER_TOKEN
    shown = _Shown(prompt, _TURNS, section.max_new_tokens, section.judge_max_new_tokens)
    return _quote(config, "mt_bench", requests, shown)


def _self_judge(config: Config, k: int) -> JudgeQuote:
    candidates = config.prompts.count * config.candidates.n
    each = min(candidates, config.evaluation.self_judge.limit or candidates)
    reply, answer = config.judge.max_new_tokens, config.candidates.max_new_tokens
    shown = _Shown(config.plan.prompt_tokens, 1, answer, reply)
    return _quote(config, "self_judge", each * max(0, k - 1), shown)
