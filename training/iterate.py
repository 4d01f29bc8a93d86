"""The self-rewarding loop: seed data → M1, then M_t → prompts → answers → judgments → M_{t+1}.

Every step is an artifact that is made once; running this again resumes where it stopped.
Source: Yuan et al., "Self-Rewarding Language Models", section 2 and figure 1.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from core.progress import say
from core.stages import SFT_BASELINE, Ref, Stage, model_ref
from judges import health
from judges.backends.local_judge import LocalJudge
from judges.candidate_judges import RubricJudge
from judges.meta.comparing import meta_prompt_source
from judges.pointwise import judge_ranked, of_split
from training import models
from training.candidate_judge import JudgeSource, candidate_judge
from training.data import (
    candidates,
    consistency,
    eft,
    implicit_rewards,
    judge_pairs,
    pairs,
    prompts,
    seed,
)
from training.preflight import check_settings

if TYPE_CHECKING:
    from core.records import Prompt, RankedPrompt
    from core.store import Built, Partial
    from judges.meta.comparing import Disputed
    from training.run import Run


def iterate(run: Run, k: int) -> Ref:
    """Make M_k and everything before it that is missing."""
    check_settings(run, k)
    make_seed(run)
    make_m1(run)
    for iteration in range(2, k + 1):
        self_reward(run.at(iteration), iteration)
    return model_ref(k)


def make_seed(run: Run) -> None:
    """Make M0, the IFT examples and the human-ranked replies (section 3.1.1)."""
    config = run.config
    ift, ranked = Ref(1, Stage.IFT), Ref(1, Stage.RANKED)
    run.rows(
        ift,
        [],
        lambda out: seed.select_ift(config, out),
        sources=seed.ift_source(config).content() | seed.ift_order(config),
    )
    run.rows(
        ranked,
        [ift],
        lambda out: seed.select_ranked(config, run.read(ift), out),
        sources=seed.eft_source(config).content(),
    )
    if not run.store.exists(Ref(1, Stage.EFT)):
        eft.require_written(of_split(run.read(ranked), "train"), config)
    models.make_base(run, ift)


def make_m1(run: Run) -> None:
    """Make the SFT baseline (IFT), EFT data and M1 (IFT + EFT); measure how M0 and M1 judge."""
    config = run.config
    ift, ranked, examples = Ref(1, Stage.IFT), Ref(1, Stage.RANKED), Ref(1, Stage.EFT)
    judged, built = Ref(1, Stage.EFT_JUDGMENTS), Ref(1, Stage.EFT_CONSTRUCTED)

    models.train_baseline(run, ift)
    if config.eft.construction.enabled:
        run.rows(
            judged,
            [ranked, SFT_BASELINE],
            lambda out: judge_ranked(
                run.engines.model(SFT_BASELINE, judged),
                training_prompts(run, ranked),
                config.judge,
                draws=config.eft.construction.draws,
                seed=config.seed,
                title="the SFT baseline judges",
                out=out,
            ),
        )
        run.rows(
            built,
            [ranked, judged],
            lambda out: eft.construct(training_prompts(run, ranked), run.read(judged), config, out),
            sources=eft.rule(config),
        )
    if config.eft.selection.source == "constructed":
        run.rows(examples, [built], lambda out: eft.adopt(run.read(built), out))
    else:
        run.rows(
            examples,
            [ranked],
            lambda out: eft.written(of_split(run.read(ranked), "train"), config, out),
        )
    models.train_m1(run, ift, examples)
    if config.probe.enabled:
        for k in (0, 1):
            probe(run, k, ranked)


def self_reward(run: Run, k: int) -> None:
    """Run one iteration: M_{k-1} writes, answers and judges; DPO makes M_k (section 2.4)."""
    config = run.config
    model = model_ref(k - 1)
    new, answers, judged = write_prompts(run, k), Ref(k, Stage.CANDIDATES), Ref(k, Stage.JUDGMENTS)
    measured, chosen = Ref(k, Stage.HEALTH), Ref(k, Stage.PAIRS)
    run.rows(
        answers,
        [new, model],
        lambda out: candidates.sample_candidates(
            run.engines.model(model, answers), kept(run, new), config, out
        ),
    )
    judge = judge_answers(run, k, new, answers)
    run.rows(
        measured,
        [answers, judged],
        lambda out: health.write(
            run.read(judged),
            {c.key: c.text for c in run.read(answers)},
            out,
            pointed=judge.pointed,
        ),
    )
    for problem in health.enforce(run.read(measured), config.health, str(measured)):
        say(f"  warning: {problem}")
    orders, preferred = compare_judges(run, k), learned_preferences(run, k)
    run.rows(
        chosen,
        [new, answers, judged, *orders, *preferred],
        lambda out: pairs.select_pairs(
            kept(run, new),
            run.read(answers),
            run.read(judged),
            config,
            out,
            agreements=[row for ref in orders for row in run.read(ref)],
            log_probs=[row for ref in preferred for row in run.read(ref)],
        ),
    )
    models.improve(run, k, chosen, meta_judge(run, k, new, answers))


def judge_answers(run: Run, k: int, new: Ref, answers: Ref) -> JudgeSource:
    """Let the judge of iteration k (`improvement.judge`) score the candidates; return the judge."""
    judge, ref = candidate_judge(run, k), Ref(k, Stage.JUDGMENTS)

    def make(out: Partial) -> Built:
        with judge.open(ref) as opened:
            return candidates.judge_candidates(opened, kept(run, new), run.read(answers), out)

    inputs = [new, answers, *judge.inputs]
    run.rows(ref, inputs, make, sources=judge.sources, sections=judge.sections)
    return judge


def meta_judge(run: Run, k: int, new: Ref, answers: Ref) -> Ref | None:
    """Let M_{k-1} compare its own judgments; return their pairs, None if it is not to be trained.

    Source: Wu et al. 2024, Meta-Rewarding (arXiv 2407.19594), section 2.2.
    """
    config, model = run.config, model_ref(k - 1)
    if not config.judge_pairs.enabled:
        return None
    judged, verdicts, ref = (
        Ref(k, stage) for stage in (Stage.JUDGMENTS, Stage.META_VERDICTS, Stage.JUDGE_PAIRS)
    )

    def disputed() -> dict[str, Disputed]:
        return judge_pairs.disputed_answers(kept(run, new), run.read(answers), run.read(judged))

    def compare(out: Partial) -> Built:
        judge = LocalJudge(run.engines.model(model, verdicts), f"M{k - 1}", seed=config.seed)
        return judge_pairs.compare_judgments(judge, disputed(), config, out)

    inputs, prompt = [new, answers, judged], config.judge_pairs.prompt
    run.rows(verdicts, [*inputs, model], compare, sources=meta_prompt_source(prompt))
    return run.rows(
        ref,
        [*inputs, verdicts],
        lambda out: judge_pairs.select_judge_pairs(
            kept(run, new), disputed(), run.read(verdicts), config, out
        ),
    )


def compare_judges(run: Run, k: int) -> list[Ref]:
    """Let M_{k-2} judge iteration k's answers, too; return the agreement, if pairs depend on it."""
    config, previous = run.config, model_ref(k - 2)
    if not config.compares_judges:
        return []
    new, answers, judged = Ref(k, Stage.PROMPTS), Ref(k, Stage.CANDIDATES), Ref(k, Stage.JUDGMENTS)
    again, agreement = Ref(k, Stage.PREVIOUS_JUDGMENTS), Ref(k, Stage.CONSISTENCY)
    run.rows(
        again,
        [new, answers, previous],
        lambda out: candidates.judge_candidates(
            RubricJudge(run.engines.model(previous, again), config.judge, seed=config.seed),
            kept(run, new),
            run.read(answers),
            out,
        ),
    )
    run.rows(
        agreement,
        [new, judged, again],
        lambda out: consistency.compare(kept(run, new), run.read(judged), run.read(again), out),
    )
    return [agreement] if config.pairs.consistency != "off" else []


def learned_preferences(run: Run, k: int) -> list[Ref]:
    """Score iteration k's answers under M_{k-1} and M_{k-2}, if pairs depend on it (SCIR)."""
    if run.config.pairs.filter == "none":
        return []
    new, answers = Ref(k, Stage.PROMPTS), Ref(k, Stage.CANDIDATES)
    scored = Ref(k, Stage.IMPLICIT_REWARDS)
    current, previous = model_ref(k - 1), model_ref(k - 2)
    run.rows(
        scored,
        [new, answers, current, previous],
        lambda out: implicit_rewards.score_answers(
            {
                "current": partial(run.engines.model, current, scored),
                "previous": partial(run.engines.model, previous, scored),
            },
            kept(run, new),
            run.read(answers),
            out,
        ),
    )
    return [scored]


def write_prompts(run: Run, k: int) -> Ref:
    """Make iteration k's prompts: by self-instruction, or from a file (`prompts.source`)."""
    config, ift, new = run.config, Ref(1, Stage.IFT), Ref(k, Stage.PROMPTS)
    earlier = [Ref(i, Stage.PROMPTS) for i in range(2, k)]

    def earlier_prompts() -> list[str]:
        return [prompt.transcript for ref in earlier for prompt in kept(run, ref)]

    if config.prompts.source != prompts.SELF_INSTRUCTION:
        return run.rows(
            new,
            [ift, *earlier],
            lambda out: prompts.take(run.read(ift), earlier_prompts(), config, k=k, out=out),
            sources=prompts.prompts_source(config).content(),
        )
    writer, calls = models.prompt_writer(run, k), Ref(k, Stage.PROMPT_CALLS)
    run.rows(
        calls,
        [ift, *writer.inputs, *earlier],
        lambda out: prompts.ask(
            writer.open(calls), run.read(ift), earlier_prompts(), config, k=k, out=out
        ),
        sources=writer.sources,
        order=lambda call: call.call,
    )
    return run.rows(
        new,
        [ift, calls, *earlier],
        lambda out: prompts.filter_prompts(
            run.read(calls), run.read(ift), earlier_prompts(), config, out
        ),
        sources=prompts.READING,
        order=lambda prompt: (prompt.call, prompt.key),
    )


def probe(run: Run, k: int, ranked: Ref) -> None:
    """Judge the EFT evaluation split with M_k, to measure what EFT changed."""
    ref, section = Ref(k, Stage.PROBE), run.config.probe
    run.rows(
        ref,
        [ranked, model_ref(k)],
        lambda out: judge_ranked(
            run.engines.model(model_ref(k), ref),
            of_split(run.read(ranked), "eval", section.max_prompts),
            run.config.judge,
            draws=section.draws,
            seed=run.config.seed,
            title=f"M{k} judges the EFT evaluation split",
            out=out,
        ),
    )


def kept(run: Run, prompts_ref: Ref) -> list[Prompt]:
    """Return the prompts that passed the filter."""
    return [prompt for prompt in run.read(prompts_ref) if prompt.kept]


def training_prompts(run: Run, ranked: Ref) -> list[RankedPrompt]:
    """Return the ranked prompts that construction may use."""
    return of_split(run.read(ranked), "train", run.config.eft.construction.max_prompts)
