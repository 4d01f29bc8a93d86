"""Tokens that each stage reads, samples and trains on, at the mean lengths that [plan] states.

Rows are the most that the configuration allows, unless [plan] states a yield; for an upper bound,
lengths are the limits on new tokens. docs/plan.md derives each line.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from core.stages import Stage
from judges.backends.budget import CHARACTERS_PER_TOKEN
from judges.bounds import TEMPLATE_TOKENS, JudgeBound, PromptCount, benchmark_bound
from judges.pairwise import pair_prompt
from judges.rubrics import load_rubric
from training.candidate_judge import judge_kind
from training.data.prompts import task_messages
from training.plan.shapes import Unknown
from training.run import EXTERNAL, is_run_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.config import Config, OptimiserSection
    from core.stages import Ref

ANSWERING = (Stage.CANDIDATES, Stage.PAST_ANSWERS, Stage.FUTURE_ANSWERS)
JUDGING = (
    Stage.JUDGMENTS, Stage.PREVIOUS_JUDGMENTS, Stage.PAST_JUDGMENTS, Stage.FUTURE_JUDGMENTS
)  # fmt: skip
_PAIR = 2  # answers of a pair; presentation orders of a comparison


class Lengths(NamedTuple):
    """Tokens of each text; `calls` of the prompt writer per iteration."""

    prompt: float
    seed_reply: float
    ranked_reply: float
    answer: float
    judgment: float
    validation_answer: float
    call: float
    calls: float


def mean_lengths(config: Config) -> Lengths:
    """Return the lengths that [plan] states, at most the limits on new tokens."""
    plan, prompts = config.plan, config.prompts
    return Lengths(
        plan.prompt_tokens,
        plan.seed_reply_tokens,
        plan.ranked_reply_tokens,
        min(plan.answer_tokens, config.candidates.max_new_tokens),
        min(plan.judgment_tokens, config.judge.max_new_tokens),
        min(plan.answer_tokens, config.dpo.early_stopping.max_new_tokens),
        min(plan.call_tokens, prompts.max_new_tokens),
        min(math.ceil(prompts.count / plan.kept_per_call), prompts.max_calls),
    )


def longest(config: Config) -> Lengths:
    """Return the same with everything generated at its limits."""
    return mean_lengths(config)._replace(
        answer=config.candidates.max_new_tokens,
        judgment=config.judge.max_new_tokens,
        validation_answer=config.dpo.early_stopping.max_new_tokens,
        call=config.prompts.max_new_tokens,
        calls=config.prompts.max_calls,
    )


class Work(NamedTuple):
    """Tokens that one model handles in a stage.

    `model`: a setting that training/plan/shapes.py finds a shape for. `read`: prompts, once for
    all draws of a request. `written`: sampled. `scored`: read by a reference model. `trained`:
    forward and backward.
    """

    model: str
    read: float = 0.0
    written: float = 0.0
    scored: float = 0.0
    trained: float = 0.0


def stage_work(config: Config, ref: Ref, lengths: Lengths) -> list[Work]:
    """Return what a stage asks of models, [] if nothing.

    Raises:
        Unknown: the configuration does not state how much that is.
    """
    base, count, n = config.origin, config.prompts.count, config.candidates.n
    answer = lengths.answer
    known: dict[Stage, Callable[[], list[Work]]] = {
        Stage.SFT: lambda: [_supervised(config, lengths, with_eft=False)],
        Stage.EFT_JUDGMENTS: lambda: _ranked(config, lengths, held_out=False),
        Stage.PROBE: lambda: _ranked(config, lengths, held_out=True),
        Stage.PROMPT_CALLS: lambda: [_prompt_calls(config, lengths)],
        **dict.fromkeys(
            ANSWERING, lambda: [Work(base, count * lengths.prompt, count * n * answer)]
        ),
        **dict.fromkeys(JUDGING, lambda: _candidates_judged(config, lengths, count * n)),
        Stage.IMPLICIT_REWARDS: lambda: [Work(base, 2 * count * n * (lengths.prompt + answer))],
        Stage.META_VERDICTS: lambda: _meta_judged(config, lengths),
        Stage.FUTURE: lambda: _improved(config, lengths),
        Stage.MODEL: lambda: (
            _improved(config, lengths)
            if ref.iteration > 1
            else []
            if config.m1.model
            else [_supervised(config, lengths, with_eft=config.m1.use_eft)]
        ),
    }
    return known[ref.stage]() if ref.stage in known else []


def rubric_tokens(config: Config) -> int:
    """Return the length of the judge prompt without question and answer."""
    return math.ceil(len(load_rubric(config.judge.rubric).template) / CHARACTERS_PER_TOKEN)


def few_shot_tokens(config: Config, lengths: Lengths) -> float:
    """Return the length of one request for new prompts: its template and its examples."""
    shown = config.prompts.seed_examples + config.prompts.generated_examples
    own = sum(len(message["content"]) for message in task_messages([""] * shown))
    return math.ceil(own / CHARACTERS_PER_TOKEN) + shown * lengths.prompt


def compared_checkpoints(config: Config, steps: int) -> int:
    """Return how many checkpoints are compared, each with the one before; the last always is."""
    return math.ceil(steps / config.dpo.early_stopping.every_steps)


def optimiser_steps(section: OptimiserSection, rows: float) -> int:
    """Return the steps of a training stage."""
    return section.max_steps or math.ceil(rows * section.epochs / section.batch_size)


def _seen(section: OptimiserSection, rows: float) -> float:
    """Return the rows of all epochs."""
    return section.max_steps * section.batch_size if section.max_steps else rows * section.epochs


def _supervised(config: Config, lengths: Lengths, *, with_eft: bool) -> Work:
    section, most = config.sft, config.sft.max_length
    ift = config.ift.max_examples
    tokens = ift * min(lengths.prompt + lengths.seed_reply, most)
    rows = ift
    if with_eft:
        examples = config.eft.selection.max_examples
        if examples is None:
            raise Unknown("eft.selection.max_examples is not set, so M1's rows are not known")
        judged = rubric_tokens(config) + lengths.prompt + lengths.ranked_reply
        # Written by the baseline or by hand: no limit on new tokens applies.
        tokens += examples * min(judged + config.plan.judgment_tokens, most)
        rows += examples
    return Work(config.model.base, trained=_seen(section, rows) * tokens / rows)


def _judged(config: Config, lengths: Lengths, answers: float, answer: float, draws: int) -> Work:
    """Return the work of judging so many answers pointwise; the draws share one prefill."""
    read = answers * (rubric_tokens(config) + lengths.prompt + answer)
    return Work(config.origin, read, answers * draws * lengths.judgment)


def _candidates_judged(config: Config, lengths: Lengths, answers: float) -> list[Work]:
    """Return the work of the judge of candidates; one behind an API and a program ask nothing."""
    name, kind = config.improvement.judge, judge_kind(config)
    if kind == "reward":
        return [Work(name, scored=answers * (lengths.prompt + lengths.answer))]
    if kind != "model":
        return []
    work = _judged(config, lengths, answers, lengths.answer, config.judge.draws)
    return [work if is_run_model(name) else work._replace(model=name)]


def _meta_judged(config: Config, lengths: Lengths) -> list[Work]:
    """Return the work of comparing every two judgments of one answer per prompt, in both orders."""
    if not config.judge_pairs.enabled:
        return []
    asked = config.prompts.count * config.judge.draws * (config.judge.draws - 1)
    shown = lengths.prompt + lengths.answer + _PAIR * lengths.judgment
    read = asked * (TEMPLATE_TOKENS + rubric_tokens(config) + shown)
    return [Work(config.origin, read, asked * lengths.judgment)]


def external_candidates(config: Config) -> JudgeBound:
    """Return what an external judge of one iteration's candidates is asked at most."""
    made = config.prompts.count * config.candidates.n
    count = PromptCount(made, config.plan.prompt_tokens)
    bound = benchmark_bound(config, "self_judge", count, subjects=config.judge.draws)
    return bound._replace(benchmark="candidates")


def _ranked(config: Config, lengths: Lengths, *, held_out: bool) -> list[Work]:
    section = config.probe if held_out else config.eft.construction
    replies = _ranked_prompts(config, held_out=held_out) * config.plan.replies_per_prompt
    return [_judged(config, lengths, replies, lengths.ranked_reply, section.draws)]


def constructed_examples(config: Config) -> float:
    """Return how many EFT examples construction is expected to yield, before balancing.

    Raises:
        Unknown: how many ranked prompts there are is not stated.
    """
    plan, draws = config.plan, config.eft.construction.draws
    share = 1 - (1 - plan.agreeing_prompts) ** draws
    return _ranked_prompts(config, held_out=False) * plan.replies_per_prompt * share


def _ranked_prompts(config: Config, *, held_out: bool) -> float:
    source, plan = config.eft.source, config.plan
    section = config.probe if held_out else config.eft.construction
    share = source.eval_share if held_out else 1 - source.eval_share
    known = [n for n in (source.max_prompts, plan.ranked_prompts) if n is not None]
    limits = [share * min(known)] if known else []
    limits += [section.max_prompts] if section.max_prompts is not None else []
    if not limits:
        raise Unknown("how many ranked prompts the source has is not stated (plan.ranked_prompts)")
    return min(limits)


def _prompt_calls(config: Config, lengths: Lengths) -> Work:
    writer = config.prompts.generator
    model = config.origin if is_run_model(writer) else writer
    model = config.model.base if writer in ("base", "M0") else model
    read = lengths.calls * few_shot_tokens(config, lengths)
    return Work(model, read, lengths.calls * lengths.call)


def _improved(config: Config, lengths: Lengths) -> list[Work]:
    """Return the work of DPO: the reference's pass, training, and comparing checkpoints."""
    if config.improvement.method != "dpo":
        raise Unknown("how many candidates get a perfect score is not known beforehand")
    section, pairs = config.dpo, config.prompts.count * config.plan.pairs_per_prompt
    pair_tokens = _PAIR * min(lengths.prompt + lengths.answer, section.max_length)
    if config.judge_pairs.enabled:
        asked = rubric_tokens(config) + lengths.prompt + lengths.answer
        judging = _PAIR * min(asked + lengths.judgment, section.max_length)
        pair_tokens, pairs = (pair_tokens + judging) / 2, 2 * pairs
    trained = pair_tokens * _seen(section, pairs)
    scored = 0.0 if section.loss == "simpo" else pair_tokens * pairs  # SimPO has no reference
    work = [Work(config.origin, scored=scored, trained=trained)]
    if section.early_stopping.enabled:
        work += _checkpoints(config, lengths, optimiser_steps(section, pairs))
    return work


def _checkpoints(config: Config, lengths: Lengths, steps: int) -> list[Work]:
    """Return the work of judged early stopping if it never stops early."""
    stopping = config.dpo.early_stopping
    compared = compared_checkpoints(config, steps)
    answers = (compared + 1) * stopping.max_prompts  # M_t answers too
    answer = lengths.validation_answer
    work = [Work(config.origin, answers * lengths.prompt, answers * answer)]
    if stopping.prompt == "pointwise":
        return [*work, _judged(config, lengths, answers, answer, config.judge.draws)]
    own = is_run_model(stopping.judge)
    if stopping.judge == EXTERNAL:
        return work  # no GPU: `external_checkpoints`
    asked = compared * stopping.max_prompts * _PAIR
    read = asked * (TEMPLATE_TOKENS + lengths.prompt + _PAIR * answer)
    written = asked * pair_prompt(stopping.prompt).max_new_tokens
    return [*work, Work(config.origin if own else stopping.judge, read, written)]


def external_checkpoints(config: Config) -> JudgeBound:
    """Return what an external judge of one iteration's checkpoints is asked at most."""
    stopping, mean = config.dpo.early_stopping, mean_lengths(config).validation_answer
    steps = optimiser_steps(config.dpo, config.prompts.count * config.plan.pairs_per_prompt)
    requests = compared_checkpoints(config, steps) * stopping.max_prompts * _PAIR
    around = TEMPLATE_TOKENS + config.plan.prompt_tokens
    least = config.evaluation.judge.min_reply_tokens or 0
    return JudgeBound(
        "checkpoints",
        requests,
        round(requests * (around + _PAIR * stopping.max_new_tokens)),
        requests * max(pair_prompt(stopping.prompt).max_new_tokens, least),
        round(requests * (around + _PAIR * mean)),
    )
