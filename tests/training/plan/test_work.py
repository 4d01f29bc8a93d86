from __future__ import annotations

from typing import Any

import pytest

from core.config import (
    CandidatesSection,
    Config,
    DpoSection,
    EarlyStoppingSection,
    EftConstructionSection,
    EftSection,
    EftSelectionSection,
    EftSourceSection,
    IftSection,
    ImprovementSection,
    JudgeSection,
    M1Section,
    PlanSection,
    ProbeSection,
    PromptsSection,
    SftSection,
)
from core.stages import Ref, Stage
from judges.bounds import JudgeBound
from training.plan.shapes import Unknown
from training.plan.work import (
    Work,
    compared_checkpoints,
    constructed_examples,
    external_checkpoints,
    few_shot_tokens,
    longest,
    mean_lengths,
    optimiser_steps,
    rubric_tokens,
    stage_work,
)

RUBRIC = 437  # the additive rubric has 1,746 characters, two placeholders included: / 4, rounded up
PLAN = PlanSection(
    prompt_tokens=30,
    seed_reply_tokens=200,
    ranked_reply_tokens=100,
    answer_tokens=300,
    judgment_tokens=80,
    call_tokens=90,
    kept_per_call=0.5,
    replies_per_prompt=3,
)


def config(plan: PlanSection = PLAN, **more: Any) -> Config:
    sections: dict[str, Any] = {
        "ift": IftSection(max_examples=100),
        "eft": EftSection(selection=EftSelectionSection(max_examples=50)),
        "prompts": PromptsSection(count=10, max_calls=60, max_new_tokens=128),
        "candidates": CandidatesSection(n=4, max_new_tokens=512),
        "judge": JudgeSection(draws=3, max_new_tokens=128),
        "dpo": DpoSection(early_stopping=EarlyStoppingSection(enabled=False)),
    }
    return Config(plan=plan, **(sections | more))


def work(settings: Config, iteration: int, stage: Stage) -> list[Work]:
    return stage_work(settings, Ref(iteration, stage), mean_lengths(settings))


def test_the_rubric_is_counted_from_its_own_text() -> None:
    assert rubric_tokens(config()) == RUBRIC
    # Figure 7's prompt: 2,442 characters.
    assert rubric_tokens(config(judge=JudgeSection(rubric="li"))) == 611


def test_the_baseline_reads_instructions_and_replies() -> None:
    assert work(config(), 1, Stage.SFT) == [Work("embedded", trained=23_000)]


def test_m1_reads_judging_examples_as_well() -> None:
    # 100 x (30 + 200) and 50 x (437 + 30 + 100 + 80).
    expected = 23_000 + 50 * 647
    assert work(config(), 1, Stage.MODEL) == [Work("embedded", trained=expected)]
    without = config(m1=M1Section(use_eft=False))
    assert work(without, 1, Stage.MODEL) == work(config(), 1, Stage.SFT)


def test_epochs_multiply_and_steps_replace_them() -> None:
    twice = config(sft=SftSection(epochs=2))
    assert work(twice, 1, Stage.SFT)[0].trained == 2 * 23_000
    # 5 steps of 16 examples of 230 tokens.
    limited = config(sft=SftSection(max_steps=5, epochs=9))
    assert work(limited, 1, Stage.SFT)[0].trained == 5 * 16 * 230


def test_no_row_is_longer_than_training_allows() -> None:
    short = config(sft=SftSection(max_length=150))
    assert work(short, 1, Stage.MODEL)[0].trained == 150 * 150


def test_calls_of_the_prompt_writer_follow_from_what_is_kept() -> None:
    # 10 prompts at half a prompt per call: 20 calls. Each shows 8 examples of 30 tokens in a frame
    # of its own, and writes 90.
    settings = config()
    shown = few_shot_tokens(settings, mean_lengths(settings))
    assert 8 * 30 + 70 < shown < 8 * 30 + 110  # the frame has some 350 characters
    assert work(settings, 2, Stage.PROMPT_CALLS) == [Work("embedded", 20 * shown, 20 * 90)]


def test_a_writer_of_its_own_is_the_model_that_works() -> None:
    settings = config(prompts=PromptsSection(generator="models/chat", count=10))
    assert work(settings, 2, Stage.PROMPT_CALLS)[0].model == "models/chat"


def test_draws_of_one_prompt_share_its_reading() -> None:
    # 10 prompts of 30 tokens; 40 answers of 300.
    assert work(config(), 2, Stage.CANDIDATES) == [Work("embedded", 300, 12_000)]
    # 40 answers are read once each, 437 + 30 + 300, and judged three times with 80.
    assert work(config(), 2, Stage.JUDGMENTS) == [Work("embedded", 40 * 767, 40 * 3 * 80)]


def test_the_model_before_judges_as_much_and_both_models_read_each_answer_once() -> None:
    judged = work(config(), 2, Stage.JUDGMENTS)
    assert work(config(), 2, Stage.PREVIOUS_JUDGMENTS) == judged
    # 40 answers of 300 tokens behind 30, by two models.
    assert work(config(), 2, Stage.IMPLICIT_REWARDS) == [Work("embedded", 2 * 40 * 330)]


def test_dpo_reads_both_answers_and_the_reference_does_once() -> None:
    # 10 pairs of 2 x (30 + 300) tokens, two epochs; the reference reads them once.
    twice = config(
        dpo=DpoSection(epochs=2, early_stopping=EarlyStoppingSection(enabled=False)),
    )
    assert work(twice, 2, Stage.MODEL) == [Work("embedded", scored=6600, trained=13_200)]


def test_simpo_has_no_reference_whose_pass_would_take_time() -> None:
    plain, simpo = (
        work(config(dpo=section), 2, Stage.MODEL)
        for section in (
            DpoSection(early_stopping=EarlyStoppingSection(enabled=False)),
            DpoSection(loss="simpo", beta=2.5, early_stopping=EarlyStoppingSection(enabled=False)),
        )
    )
    assert [one.scored > 0 for one in plain] == [True]
    assert simpo == [plain[0]._replace(scored=0.0)]


def test_a_stated_yield_of_pairs_counts() -> None:
    half = config(PLAN.model_copy(update={"pairs_per_prompt": 0.5}))
    assert work(half, 2, Stage.MODEL)[0].trained == 3300  # 5 pairs of 660 tokens


@pytest.mark.parametrize(("steps", "compared"), [(1, 1), (200, 1), (201, 2), (438, 3), (600, 3)])
def test_the_last_checkpoint_is_always_compared(steps: int, compared: int) -> None:
    assert compared_checkpoints(config(), steps) == compared


def test_steps_are_rounded_up() -> None:
    assert optimiser_steps(SftSection(), 33) == 3
    assert optimiser_steps(SftSection(max_steps=7), 33) == 7


def test_checkpoints_are_compared_by_ranking_in_both_orders() -> None:
    stopping = EarlyStoppingSection(every_steps=1, max_prompts=5, judge="models/judge")
    settings = config(dpo=DpoSection(batch_size=5, early_stopping=stopping))
    _, answers, verdicts = work(settings, 2, Stage.MODEL)
    # 10 pairs in steps of 5: M_t and two checkpoints answer 5 prompts; two comparisons, two orders.
    assert answers == Work("embedded", 15 * 30, 15 * 300)
    assert verdicts == Work("models/judge", 20 * (400 + 30 + 2 * 300), 20 * 100)


def test_an_external_judge_of_checkpoints_is_money_and_not_work() -> None:
    stopping = EarlyStoppingSection(
        every_steps=1, max_prompts=5, judge="external", max_new_tokens=400
    )
    settings = config(dpo=DpoSection(batch_size=5, early_stopping=stopping))
    assert len(work(settings, 2, Stage.MODEL)) == 2  # training, and the answers
    assert external_checkpoints(settings) == JudgeBound(
        "checkpoints", 20, 20 * (430 + 2 * 400), 20 * 100, 20 * (430 + 2 * 300)
    )


def test_checkpoints_compared_by_scores_are_judged_once_each() -> None:
    stopping = EarlyStoppingSection(every_steps=1, max_prompts=5, prompt="pointwise")
    settings = config(dpo=DpoSection(batch_size=5, early_stopping=stopping))
    assert work(settings, 2, Stage.MODEL)[2] == Work("embedded", 15 * 767, 15 * 3 * 80)


def test_one_checkpoint_is_compared_with_the_model_it_started_from() -> None:
    stopping = EarlyStoppingSection(every_steps=200, max_prompts=5)
    found = work(config(dpo=DpoSection(early_stopping=stopping)), 2, Stage.MODEL)
    assert found[1] == Work("embedded", 10 * 30, 10 * 300)
    assert found[2].written == 10 * 100


def ranked(**limits: Any) -> Config:
    source = EftSourceSection(eval_share=0.25, max_prompts=limits.get("source"))
    construction = EftConstructionSection(max_prompts=limits.get("construction"), draws=2)
    plan = PLAN.model_copy(update={"ranked_prompts": limits.get("stated")})
    return config(plan, eft=EftSection(source=source, construction=construction))


@pytest.mark.parametrize(
    ("limits", "prompts"),
    [
        ({"stated": 80}, 60),  # three quarters are trained on
        ({"source": 40}, 30),
        ({"stated": 80, "source": 40}, 30),
        ({"stated": 80, "construction": 20}, 20),
        ({"construction": 20}, 20),
    ],
)
def test_ranked_replies_are_as_many_as_the_smallest_limit(
    limits: dict[str, int], prompts: int
) -> None:
    # Three replies a prompt, read once (437 + 30 + 100) and judged twice.
    found = work(ranked(**limits), 1, Stage.EFT_JUDGMENTS)
    assert found == [Work("embedded", prompts * 3 * 567, prompts * 3 * 2 * 80)]


def test_expected_eft_examples_by_hand() -> None:
    # 60 training prompts of 3 replies. Two draws: 1 - 0.899^2 = 0.191799 of them agree.
    assert constructed_examples(ranked(stated=80)) == pytest.approx(60 * 3 * 0.191799)
    # With a perfect judge all do.
    sure = ranked(stated=80)
    plan = sure.plan.model_copy(update={"agreeing_prompts": 1.0})
    assert constructed_examples(sure.model_copy(update={"plan": plan})) == 180


def test_the_probe_judges_what_is_held_out() -> None:
    settings = ranked(stated=80)
    assert work(settings, 1, Stage.PROBE) == [Work("embedded", 20 * 3 * 567, 20 * 3 * 80)]
    limited = settings.model_copy(update={"probe": ProbeSection(max_prompts=5)})
    assert work(limited, 0, Stage.PROBE) == [Work("embedded", 5 * 3 * 567, 5 * 3 * 80)]


def reason(settings: Config, iteration: int, stage: Stage) -> str:
    with pytest.raises(Unknown) as caught:
        stage_work(settings, Ref(iteration, stage), mean_lengths(settings))
    return str(caught.value)


def test_what_is_not_stated_is_unknown_with_a_reason() -> None:
    assert "plan.ranked_prompts" in reason(config(), 1, Stage.EFT_JUDGMENTS)
    unlimited = config(eft=EftSection(selection=EftSelectionSection(max_examples=None)))
    assert "eft.selection.max_examples" in reason(unlimited, 1, Stage.MODEL)
    ablation = config(improvement=ImprovementSection(method="positive_only"))
    assert "perfect score" in reason(ablation, 2, Stage.MODEL)


def test_stages_without_a_model_ask_nothing() -> None:
    for stage in (Stage.PROMPTS, Stage.HEALTH, Stage.PAIRS):
        assert work(config(), 2, stage) == []


def test_means_are_no_longer_than_what_may_be_generated() -> None:
    short = config(
        candidates=CandidatesSection(max_new_tokens=64), judge=JudgeSection(max_new_tokens=32)
    )
    assert mean_lengths(short).answer == 64
    assert mean_lengths(short).judgment == 32


def test_the_upper_bound_is_every_limit_on_new_tokens() -> None:
    most = longest(config())
    assert (most.answer, most.judgment, most.validation_answer) == (512, 128, 512)
    assert (most.call, most.calls) == (128, 60)
    # Instructions and seed data are not generated: their means stay.
    assert (most.prompt, most.seed_reply, most.ranked_reply) == (30, 200, 100)
