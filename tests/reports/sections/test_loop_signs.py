from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core.records import Generation, Score
from core.stages import Ref, Stage, evaluation_ref
from reports.sections.loop import judging, signs
from tests.reports.runs import RunBuilder, score
from tests.reports.trained import ledger, trained

if TYPE_CHECKING:
    from pathlib import Path


def test_falling_log_probability_of_chosen_answers_is_seen(tmp_path: Path) -> None:
    # First quarter −0.1, −0.2, −0.3; last −1.0, −1.1, −1.2: 0.9 of reward are 9 nats at beta 0.1.
    results = trained(RunBuilder(tmp_path), [-0.1 * n for n in range(1, 13)]).open()
    said = signs.chosen_log_probability(results, 2)
    assert said.startswith("Falling log-probability of chosen answers: detected; ")
    assert "of 12 steps it fell by 9.0 nats per answer, against the reference" in said
    assert "p = 0.000" in said


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        ("sigmoid_norm", "9.0 nats per token, against the reference (K"),
        ("simpo", "9.0 nats per token (K"),
        ("hinge", "9.0 nats per answer, against the reference (K"),
    ],
)
def test_the_change_is_per_token_where_the_loss_is(tmp_path: Path, loss: str, words: str) -> None:
    results = trained(RunBuilder(tmp_path), [-0.1 * n for n in range(1, 13)], loss=loss).open()
    assert words in signs.chosen_log_probability(results, 2)


def test_rising_log_probability_and_noise_are_not_the_sign(tmp_path: Path) -> None:
    rising = trained(RunBuilder(tmp_path / "a"), [0.1 * n for n in range(12)]).open()
    assert ": not detected; " in signs.chosen_log_probability(rising, 2)
    noise = trained(RunBuilder(tmp_path / "b"), [0.3, -0.5, 0.4, -0.3] * 3).open()
    # Lower in the last quarter than in the first, but no trend.
    said = signs.chosen_log_probability(noise, 2)
    assert ": not detected; " in said
    assert "it fell by" in said


def test_steps_after_the_one_that_was_kept_do_not_count(tmp_path: Path) -> None:
    rewards = [0.1 * n for n in range(10)] + [-5.0 * n for n in range(10)]
    results = trained(RunBuilder(tmp_path), rewards, kept=10).open()
    assert ": not detected; from the first to the last quarter of 10 steps it rose" in (
        signs.chosen_log_probability(results, 2)
    )


def test_few_steps_and_no_log_say_nothing(tmp_path: Path) -> None:
    few = trained(RunBuilder(tmp_path / "a"), [0.0, -1.0, -2.0]).open()
    assert "unknown, too few steps; " in signs.chosen_log_probability(few, 2)
    none = RunBuilder(tmp_path / "b").open()
    assert "iter2/model is not made yet" in signs.chosen_log_probability(none, 2)
    empty = trained(RunBuilder(tmp_path / "c"), []).open()
    assert "has no preference pairs" in signs.chosen_log_probability(empty, 2)


@pytest.mark.parametrize(
    ("longer", "detected"), [(12, "detected"), (0, "not detected"), (-12, "not detected")]
)
def test_pairs_that_reward_length_are_seen(tmp_path: Path, longer: int, detected: str) -> None:
    # Twelve pairs whose chosen answers are longer by 12 characters, give or take one.
    pairs = [ledger(f"c{n}", "pair", "x" * (49 + longer + n % 3), "x" * 50) for n in range(12)]
    said = signs.growing_length(RunBuilder(tmp_path).rows(Ref(2, Stage.PAIRS), pairs).open(), 2)
    assert said.startswith(f"Growing answer length: {detected}; ")
    assert f"{abs(longer):.1f} characters {'shorter' if longer < 0 else 'longer'}" in said


def test_a_model_that_answers_at_greater_length_is_seen(tmp_path: Path) -> None:
    built = RunBuilder(tmp_path)
    for model, longer in (("M1", 0), ("M2", 30)):
        rows = [
            Generation(f"p{n}", f"p{n}", "q", "x" * (100 + 10 * n + longer), 1, "stop")
            for n in range(8)
        ]
        built.rows(evaluation_ref(f"{model}/head_to_head", Stage.ANSWERS), rows)
    # Paired by prompt, all eight differences are 30: p = 2/2^8. Interval: eight times 30 and one
    # gain and one loss of 30 are (8·6² + 6² + 54²)/90 = 6² around 24; 24 ± 1.96·6.
    assert signs.growing_length(built.open(), 2) == (
        "Growing answer length: detected; M2 answers head_to_head prompts 30.0 characters longer "
        "(95 % interval of the difference 12.2 to 35.8, p = 0.008, n = 8) than M1."
    )


def test_a_judge_compared_with_itself_is_its_reliability_and_no_comparison(tmp_path: Path) -> None:
    """The external judge is M1, and so is the judge of iteration 2; that of iteration 3 is M2."""
    run = RunBuilder(tmp_path)
    for k, judge in ((2, "iter1/model"), (3, "iter2/model")):
        run.rows(Ref(k, Stage.JUDGMENTS), [], inputs={judge: judge * 8, f"iter{k}/prompts": "p"})
        address = f"self_judge/iter{k}"
        external = evaluation_ref(address, Stage.EXTERNAL_JUDGMENTS)
        run.rows(external, [], inputs={"iter1/model": "iter1/model" * 8, f"iter{k}/prompts": "p"})
        run.scores(address, score("mean_difference", 0.5, 40), score("pairs_confirmed", 80.0, 9))
    results = run.open()
    itself, other = (judging.self_judge(results, k) for k in (2, 3))
    assert itself is not None and other is not None
    assert itself.title == "M1 as a judge compared with itself: its reliability"
    assert itself.notes[0].startswith("The external judge is the iteration's own judge, asked")
    assert "training pairs that it confirms when asked again" in itself.rows[-1].label
    assert other.title == "M2 as a judge compared with the external judge"
    assert "external judge" in other.rows[-1].label
    assert signs.self_judge(results, 2) == (
        "M1 as its own judge: the external judge is M1 too, so inflation cannot be seen; asked "
        "again it differs by 0.50 points on average (40 answers)."
    )
    assert "cannot be said" in signs.self_judge(results, 3)


def test_five_prompts_cannot_show_that_answers_grow(tmp_path: Path) -> None:
    # All five are longer: the least two-sided p of five signs is 2/32 = 0.0625.
    five = [ledger(f"c{n}", "pair", "x" * (90 + n), "x" * 50) for n in range(5)]
    said = signs.growing_length(
        RunBuilder(tmp_path / "5").rows(Ref(2, Stage.PAIRS), five).open(), 2
    )
    assert said.startswith(
        "Growing answer length: cannot be said from fewer than 6 prompts; chosen answers are 42.0 "
    )
    six = [*five, ledger("c5", "pair", "x" * 95, "x" * 50)]
    said = signs.growing_length(RunBuilder(tmp_path / "6").rows(Ref(2, Stage.PAIRS), six).open(), 2)
    assert said.startswith("Growing answer length: detected; ")


def test_of_two_tests_each_must_pass_holms_correction(tmp_path: Path) -> None:
    # Pairs: six of six longer, p = 2/64 = 0.031, doubled 0.0625. Answers: as long as before.
    built = RunBuilder(tmp_path)
    pairs = [ledger(f"c{n}", "pair", "x" * (90 + n), "x" * 50) for n in range(6)]
    built.rows(Ref(2, Stage.PAIRS), pairs)
    for model in ("M1", "M2"):
        rows = [Generation(f"p{n}", f"p{n}", "q", "x" * (100 + n), 1, "stop") for n in range(8)]
        built.rows(evaluation_ref(f"{model}/head_to_head", Stage.ANSWERS), rows)
    assert signs.growing_length(built.open(), 2).startswith("Growing answer length: not detected; ")


@pytest.mark.parametrize(
    ("value", "p_value", "prompts", "said"),
    [
        (0.5, 0.04, 20, "M1 as its own judge is more generous than the external judge, beyond"),
        (-0.5, 0.04, 20, "M1 as its own judge is stricter than the external judge, beyond chance"),
        (0.5, 0.05, 20, "M1 as its own judge is neither more generous nor stricter than the ex"),
        (0.5, 0.04, 5, "Self-judge against the external judge: cannot be said from fewer than 6"),
    ],
)
def test_the_self_judge_is_generous_only_beyond_chance(
    tmp_path: Path, value: float, p_value: float, prompts: int, said: str
) -> None:
    detail = {"p_value": p_value, "prompts": prompts}
    found = Score("mean_difference", value, 40, 2, 0.2, 0.8, detail=detail)
    results = RunBuilder(tmp_path).scores("self_judge/iter2", found).open()
    sentence = signs.self_judge(results, 2)
    assert sentence.startswith(said)
    assert (
        f"own − external {value:.2f} points (sign-flip p = {p_value:.3f}, 95 % interval 0.20 to "
        f"0.80, 40 answers to {prompts} prompts, 2 without a score by one of them)."
    ) in sentence.replace("\u2212", "-").replace("own - ext", "own − ext")
