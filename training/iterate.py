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
from training.answers import answer, judge, kept
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
from training.seed_stages import CONSTRUCTED, EFT, IFT, JUDGED, PROBES, RANKED, seed_stages
from training.temporal import Feedback

if TYPE_CHECKING:
    from collections.abc import Collection

    from core.records import RankedPrompt
    from core.store import Built, Partial
    from judges.meta.comparing import Disputed
    from training.run import Run


def iterate(run: Run, k: int) -> Ref:
    """Make M_k and everything before it that is missing."""
    check_settings(run, k)
    wanted = seed_stages(run.config)
    make_seed(run, wanted)
    make_m1(run, wanted)
    for iteration in range(2, k + 1):
        self_reward(run.at(iteration), iteration)
    return model_ref(k)


def make_seed(run: Run, wanted: Collection[Ref]) -> None:
    """Make M0, the IFT examples and the human-ranked replies (section 3.1.1), if wanted."""
    config = run.config
    seeds = [IFT] if IFT in wanted else []
    if IFT in wanted:
        run.rows(
            IFT,
            [],
            lambda out: seed.select_ift(config, out),
            sources=seed.ift_source(config).content() | seed.ift_order(config),
        )
    if RANKED in wanted:
        run.rows(
            RANKED,
            seeds,
            lambda out: seed.select_ranked(config, [e for r in seeds for e in run.read(r)], out),
            sources=seed.eft_source(config).content(),
        )
    if EFT in wanted and not run.store.exists(EFT):
        eft.require_written(of_split(run.read(RANKED), "train"), config)
    if model_ref(0) in wanted:
        models.make_base(run, IFT)


def make_m1(run: Run, wanted: Collection[Ref]) -> None:
    """Make the SFT baseline (IFT), EFT data and M1 (IFT + EFT); measure how M0 and M1 judge.

    Or take M1 as it is given (`m1.model`), and of the others what is wanted.
    """
    config = run.config
    if SFT_BASELINE in wanted:
        models.train_baseline(run, IFT)
    if CONSTRUCTED in wanted:
        run.rows(
            JUDGED,
            [RANKED, SFT_BASELINE],
            lambda out: judge_ranked(
                run.engines.model(SFT_BASELINE, JUDGED),
                training_prompts(run),
                config.judge,
                draws=config.eft.construction.draws,
                seed=config.seed,
                title="the SFT baseline judges",
                out=out,
            ),
        )
        run.rows(
            CONSTRUCTED,
            [RANKED, JUDGED],
            lambda out: eft.construct(training_prompts(run), run.read(JUDGED), config, out),
            sources=eft.rule(config),
        )
    if config.m1.model:
        models.take_m1(run, config.m1.model)
    else:
        make_eft(run)
        models.train_m1(run, IFT, EFT)
    for ref in PROBES:
        if ref in wanted:
            probe(run, ref)


def make_eft(run: Run) -> None:
    """Make the EFT examples: those by construction, or those that the source file has."""
    config = run.config
    if config.eft.selection.source == "constructed":
        run.rows(EFT, [CONSTRUCTED], lambda out: eft.adopt(run.read(CONSTRUCTED), out))
    else:
        run.rows(
            EFT,
            [RANKED],
            lambda out: eft.written(of_split(run.read(RANKED), "train"), config, out),
        )


def self_reward(run: Run, k: int) -> None:
    """Run one iteration: M_{k-1} writes, answers and judges; DPO makes M_k (section 2.4)."""
    config = run.config
    model = model_ref(k - 1)
    new, answers, judged = write_prompts(run, k), Ref(k, Stage.CANDIDATES), Ref(k, Stage.JUDGMENTS)
    measured, chosen = Ref(k, Stage.HEALTH), Ref(k, Stage.PAIRS)
    answer(run, new, model, answers)
    source = judge(run, new, answers, judged)
    run.rows(
        measured,
        [answers, judged],
        lambda out: health.write(
            run.read(judged),
            {c.key: c.text for c in run.read(answers)},
            out,
            pointed=source.pointed,
        ),
    )
    for problem in health.enforce(run.read(measured), config.health, str(measured)):
        say(f"  warning: {problem}")
    orders, preferred = compare_judges(run, k), learned_preferences(run, k)
    if config.pairs.temporal:
        Feedback(run, k, new).choose_pairs()
    else:
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
        own = LocalJudge(run.engines.model(model, verdicts), f"M{k - 1}", seed=config.seed)
        return judge_pairs.compare_judgments(own, disputed(), config, out)

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
    """Make iteration k's prompts: by self-instruction, from `prompts.source`, or both."""
    config, section, new = run.config, run.config.prompts, Ref(k, Stage.PROMPTS)
    earlier = [Ref(i, Stage.PROMPTS) for i in range(2, k)]
    # Where M1 is given and no prompt is written, IFT examples have no part in the run.
    seeds = [IFT] if section.writes or config.m1.model is None else []

    def known() -> prompts.Known:
        return prompts.Known(
            [example for ref in seeds for example in run.read(ref)],
            [prompt.transcript for ref in earlier for prompt in kept(run, ref)],
        )

    source = prompts.prompts_source(config).content() if section.takes else {}
    if not section.writes:
        return run.rows(
            new,
            [*seeds, *earlier],
            lambda out: prompts.take(known(), config, k=k, out=out),
            sources=source,
        )
    writer, calls = models.prompt_writer(run, k), Ref(k, Stage.PROMPT_CALLS)
    run.rows(
        calls,
        [IFT, *writer.inputs, *earlier],
        lambda out: prompts.ask(writer.open(calls), known(), config, k=k, out=out),
        sources=writer.sources | source,
        order=lambda call: call.call,
    )
    return run.rows(
        new,
        [IFT, calls, *earlier],
        lambda out: prompts.filter_prompts(run.read(calls), known(), config, k=k, out=out),
        sources=prompts.READING | source,
        order=lambda prompt: (prompt.call, prompt.key),
    )


def probe(run: Run, ref: Ref) -> None:
    """Judge the EFT evaluation split with M0 or M1, to measure what EFT changed."""
    model, section = model_ref(ref.iteration), run.config.probe
    run.rows(
        ref,
        [RANKED, model],
        lambda out: judge_ranked(
            run.engines.model(model, ref),
            of_split(run.read(RANKED), "eval", section.max_prompts),
            run.config.judge,
            draws=section.draws,
            seed=run.config.seed,
            title=f"M{ref.iteration} judges the EFT evaluation split",
            out=out,
        ),
    )


def training_prompts(run: Run) -> list[RankedPrompt]:
    """Return the ranked prompts that construction may use."""
    return of_split(run.read(RANKED), "train", run.config.eft.construction.max_prompts)
