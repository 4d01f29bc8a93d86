from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from core.config import HealthSection
from core.errors import StageFailed, UnhealthyJudge
from core.records import Judgment, Measurement
from core.stages import Ref, Stage
from core.store import Key, Store
from judges.health import enforce, entropy_bits, measure, problems, signal, write

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [
    "parse_rate",
    "score_mean",
    "score_entropy_bits",
    "tie_rate",
    "draw_variance",
    "length_correlation",
]


def draws(subject: str, *scores: float | None, reason: str = "no_score") -> list[Judgment]:
    """Return an answer's judgments; its prompt is what precedes the slash."""
    return [
        Judgment(
            f"{subject}/j{draw}",
            subject,
            subject.split("/", maxsplit=1)[0],
            draw,
            "",
            score,
            reason if score is None else None,
            0,
        )
        for draw, score in enumerate(scores)
    ]


def measured(
    judgments: list[Judgment], lengths: dict[str, int] | None = None
) -> dict[str, Measurement]:
    """Measure, with all answers of one length unless lengths are given."""
    flat = dict.fromkeys((j.subject_key for j in judgments), 100)
    return {m.key: m for m in measure(judgments, lengths or flat)}


# Two prompts, two answers each, three draws per answer: used by several tests below.
EXAMPLE = [
    *draws("p0/c0", 4.0, 5.0, None),  # mean 4.5
    *draws("p0/c1", 4.0, 4.0, 4.0),  # mean 4
    *draws("p1/c0", 2.0, None, None, reason="cut_off"),  # mean 2
    *draws("p1/c1", 2.0, 2.0, 2.0),  # mean 2
]
LENGTHS = {"p0/c0": 100, "p0/c1": 300, "p1/c0": 200, "p1/c1": 50}


def test_the_measurements_have_these_names_in_this_order() -> None:
    assert [m.key for m in measure(EXAMPLE, LENGTHS)] == NAMES
    assert [m.key for m in measure([], {})] == NAMES


def test_the_parse_rate_is_the_share_of_readable_replies_and_counts_the_reasons() -> None:
    # 2 + 3 + 1 + 3 = 9 of 12 replies; one without a score, two cut off.
    found = measured(EXAMPLE)["parse_rate"]
    assert found == Measurement("parse_rate", 0.75, 12, {"cut_off": 2.0, "no_score": 1.0})


def test_every_reply_readable_is_1_and_none_is_0() -> None:
    assert measured(draws("p0/c0", 1.0, 2.0))["parse_rate"] == Measurement("parse_rate", 1.0, 2, {})
    found = measured(draws("p0/c0", None, None, reason="prompt_too_long"))["parse_rate"]
    assert found == Measurement("parse_rate", 0.0, 2, {"prompt_too_long": 2.0})


def test_the_mean_is_over_single_scores_that_could_be_read() -> None:
    # 4+5 + 4+4+4 + 2 + 2+2+2 = 29 over 9; the unreadable three are not zeros (29/12 = 2.42).
    found = measured(EXAMPLE)["score_mean"]
    assert found.value == pytest.approx(29 / 9)
    assert found.n == 9


def test_the_histogram_and_its_entropy_are_over_single_scores() -> None:
    # Four 2s, four 4s, one 5: 2 x 4/9 x log2(9/4) + 1/9 x log2(9) = log2(9) - 16/9 = 1.3921 bits.
    found = measured(EXAMPLE)["score_entropy_bits"]
    assert found.detail == {"2": 4.0, "4": 4.0, "5": 1.0}
    assert found.value == pytest.approx(math.log2(9) - 16 / 9)
    assert found.n == 9
    assert found.value == pytest.approx(1.3921, abs=5e-5)


def test_six_equally_common_scores_have_the_most_entropy() -> None:
    found = measured(draws("p0/c0", 0.0, 1.0, 2.0, 3.0, 4.0, 5.0))["score_entropy_bits"]
    assert found.value == pytest.approx(math.log2(6))  # 2.585
    assert found.detail == {str(point): 1.0 for point in range(6)}


def test_one_score_everywhere_has_no_entropy() -> None:
    found = measured(draws("p0/c0", 5.0, 5.0, 5.0))["score_entropy_bits"]
    assert (found.value, found.detail) == (0.0, {"5": 3.0})


def test_scores_between_whole_points_are_rounded_for_the_histogram() -> None:
    # 3.4 is a 3, 3.6 and 4.0 are 4s: 1/3 x log2(3) + 2/3 x log2(3/2) = log2(3) - 2/3.
    found = measured(draws("p0/c0", 3.4, 3.6, 4.0))["score_entropy_bits"]
    assert found.detail == {"3": 1.0, "4": 2.0}
    assert found.value == pytest.approx(math.log2(3) - 2 / 3)


@pytest.mark.parametrize(
    ("counts", "bits"),
    [
        ([7], 0.0),
        ([7, 0, 0], 0.0),
        ([1, 1], 1.0),
        ([3, 3, 3, 3], 2.0),
        ([1] * 6, math.log2(6)),
        ([2, 1, 1], 1.5),  # 1/2 x 1 + 1/4 x 2 + 1/4 x 2
        ([], 0.0),
    ],
)
def test_entropy_is_0_for_one_value_and_log2_n_for_n_equal_ones(
    counts: list[int], bits: float
) -> None:
    assert entropy_bits(counts) == pytest.approx(bits)
    assert math.copysign(1, entropy_bits(counts)) == 1  # never printed as "-0.00"


def test_the_tie_rate_is_the_share_of_prompts_whose_answers_all_have_one_mean() -> None:
    # p0: 4.5 against 4; p1: 2 against 2. One prompt of two.
    assert measured(EXAMPLE)["tie_rate"] == Measurement("tie_rate", 0.5, 2)


def test_a_prompt_is_tied_only_if_its_best_and_worst_are_equal() -> None:
    three = draws("p0/c0", 3.0) + draws("p0/c1", 3.0) + draws("p0/c2", 3.0)
    assert measured(three)["tie_rate"] == Measurement("tie_rate", 1.0, 1)
    three[1:2] = draws("p0/c1", 2.0)
    assert measured(three)["tie_rate"] == Measurement("tie_rate", 0.0, 1)


def test_ties_are_between_means_and_not_between_single_draws() -> None:
    # (2 + 4) / 2 = (3 + 3) / 2.
    found = measured(draws("p0/c0", 2.0, 4.0) + draws("p0/c1", 3.0, 3.0))
    assert found["tie_rate"].value == 1.0


def test_prompts_with_fewer_than_two_scored_answers_do_not_count_for_ties() -> None:
    alone = draws("p0/c0", 3.0)
    unread = draws("p1/c0", 3.0) + draws("p1/c1", None)
    assert measured(alone + unread)["tie_rate"] == Measurement("tie_rate", None, 0)
    decided = draws("p2/c0", 3.0) + draws("p2/c1", 1.0)
    assert measured(alone + unread + decided)["tie_rate"] == Measurement("tie_rate", 0.0, 1)


def test_the_draw_variance_is_averaged_over_answers_with_two_or_more_draws() -> None:
    # (4, 5): (0.25 + 0.25) / (2 - 1) = 0.5; (4, 4, 4): 0; one draw: left out; (2, 2, 2): 0.
    # (0.5 + 0 + 0) / 3 = 1/6.
    found = measured(EXAMPLE)["draw_variance"]
    assert found.value == pytest.approx(1 / 6)
    assert found.n == 3


def test_the_variance_of_one_answer_is_the_unbiased_one() -> None:
    # (1, 2, 3): mean 2, (1 + 0 + 1) / (3 - 1) = 1.
    assert measured(draws("p0/c0", 1.0, 2.0, 3.0))["draw_variance"].value == pytest.approx(1.0)
    # (0, 5): mean 2.5, (6.25 + 6.25) / 1 = 12.5, the most there can be.
    assert measured(draws("p0/c0", 0.0, 5.0))["draw_variance"].value == pytest.approx(12.5)


def test_a_single_draw_has_no_variance() -> None:
    found = measured(draws("p0/c0", 3.0) + draws("p0/c1", 3.0, None))["draw_variance"]
    assert found == Measurement("draw_variance", None, 0)


def test_the_length_correlation_is_spearmans_over_answers() -> None:
    # Ranks of the means (4.5, 4, 2, 2): 4, 3, 1.5, 1.5; of the lengths (100, 300, 200, 50):
    # 2, 4, 3, 1. Around 2.5: 1.5 x -0.5 + 0.5 x 1.5 + -1 x 0.5 + -1 x -1.5 = 1; sums of squares
    # 2.25 + 0.25 + 1 + 1 = 4.5 and 5. rho = 1 / sqrt(4.5 x 5) = 0.2108.
    found = measured(EXAMPLE, LENGTHS)["length_correlation"]
    assert found.value == pytest.approx(1 / math.sqrt(22.5))
    assert found.n == 4


@pytest.mark.parametrize(("direction", "rho"), [(1, 1.0), (-1, -1.0)])
def test_a_judge_of_length_alone_has_a_correlation_of_1_or_minus_1(
    direction: int, rho: float
) -> None:
    # Lengths 1, 4, 9, 16 against scores 1 to 4: monotone, not linear.
    judgments = [j for n in range(1, 5) for j in draws(f"p{n}/c0", float(n))]
    lengths = {f"p{n}/c0": 100 + direction * n * n for n in range(1, 5)}
    found = measured(judgments, lengths)["length_correlation"]
    assert found.value == pytest.approx(rho)
    assert found.n == 4


def test_answers_without_a_score_are_left_out_of_the_length_correlation() -> None:
    judgments = draws("p0/c0", 1.0) + draws("p0/c1", None) + draws("p0/c2", 2.0)
    found = measured(judgments, {"p0/c0": 10, "p0/c1": 999, "p0/c2": 20})["length_correlation"]
    assert found.value == pytest.approx(1.0)
    assert found.n == 2


@pytest.mark.parametrize(
    ("scores", "lengths"),
    [
        ([], []),
        ([3.0], [10]),
        ([3.0, 3.0, 3.0], [10, 20, 30]),  # a constant score
        ([1.0, 2.0, 3.0], [10, 10, 10]),  # a constant length
    ],
)
def test_there_is_no_length_correlation_without_two_different_values_of_each(
    scores: list[float], lengths: list[int]
) -> None:
    keys = [f"p{n}/c0" for n in range(len(scores))]
    judgments = [j for key, score in zip(keys, scores, strict=True) for j in draws(key, score)]
    found = measured(judgments, dict(zip(keys, lengths, strict=True)))["length_correlation"]
    assert found == Measurement("length_correlation", None, len(scores))


def test_nothing_judged_measures_nothing() -> None:
    assert measure([], {}) == [
        Measurement("parse_rate", None, 0, {}),
        Measurement("score_mean", None, 0),
        Measurement("score_entropy_bits", None, 0, {}),
        Measurement("tie_rate", None, 0),
        Measurement("draw_variance", None, 0),
        Measurement("length_correlation", None, 0),
    ]


def test_one_judgment_has_a_score_and_nothing_to_compare_it_with() -> None:
    assert measure(draws("p0/c0", 4.0), {"p0/c0": 10}) == [
        Measurement("parse_rate", 1.0, 1, {}),
        Measurement("score_mean", 4.0, 1),
        Measurement("score_entropy_bits", 0.0, 1, {"4": 1.0}),
        Measurement("tie_rate", None, 0),
        Measurement("draw_variance", None, 0),
        Measurement("length_correlation", None, 1),
    ]


LIMITS = HealthSection(
    min_parse_rate=0.5, min_score_entropy_bits=0.3, max_tie_rate=0.9, max_length_correlation=0.8
)


def values(**changes: float | None) -> list[Measurement]:
    """Return the measurements of a healthy judge but for the changes."""
    healthy: dict[str, float | None] = {
        "parse_rate": 0.9,
        "score_mean": 3.0,
        "score_entropy_bits": 2.0,
        "tie_rate": 0.2,
        "draw_variance": 0.5,
        "length_correlation": 0.1,
    }
    return [Measurement(name, value, 10) for name, value in (healthy | changes).items()]


def test_a_healthy_judge_has_no_problems() -> None:
    assert problems(values(), LIMITS) == []
    assert enforce(values(), LIMITS, "iter2") == []


BROKEN: list[tuple[dict[str, float | None], str]] = [
    ({"parse_rate": 0.49}, "readable judge replies: 49.0% (limit 50%)"),
    ({"parse_rate": 0.0}, "readable judge replies: 0.0% (limit 50%)"),
    ({"parse_rate": None}, "readable judge replies: no replies (limit 50%)"),
    ({"score_entropy_bits": 0.29}, "score entropy 0.29 bits (limit 0.3)"),
    ({"score_entropy_bits": 0.0}, "score entropy 0.00 bits (limit 0.3)"),
    ({"tie_rate": 0.91}, "tied prompts: 91.0% (limit 90%)"),
    ({"length_correlation": 0.81}, "correlation of score with length +0.81 (limit ±0.8)"),
    ({"length_correlation": -0.81}, "correlation of score with length -0.81 (limit ±0.8)"),
]


@pytest.mark.parametrize(("changes", "sentence"), BROKEN)
def test_each_limit_alone_is_noticed_in_one_sentence(
    changes: dict[str, float | None], sentence: str
) -> None:
    found = problems(values(**changes), LIMITS)
    assert len(found) == 1
    assert found[0].startswith(sentence)


@pytest.mark.parametrize(("changes", "sentence"), BROKEN)
def test_a_broken_limit_stops_the_run_with_exit_code_1(
    changes: dict[str, float | None], sentence: str
) -> None:
    with pytest.raises(UnhealthyJudge) as caught:
        enforce(values(**changes), LIMITS, "iter2/health")
    message = str(caught.value)
    assert message.startswith("iter2/health: the judge is not fit to train on. " + sentence)
    assert message.endswith("To go on regardless: --set health.action=warn")
    assert isinstance(caught.value, StageFailed)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(("changes", "sentence"), BROKEN)
def test_a_broken_limit_only_warns_if_the_config_says_so(
    changes: dict[str, float | None], sentence: str
) -> None:
    lenient = LIMITS.model_copy(update={"action": "warn"})
    warnings = enforce(values(**changes), lenient, "iter2/health")
    assert warnings == problems(values(**changes), LIMITS)
    assert warnings[0].startswith(sentence)


@pytest.mark.parametrize(
    "changes",
    [
        {"parse_rate": 0.5},
        {"score_entropy_bits": 0.3},
        {"tie_rate": 0.9},
        {"length_correlation": 0.8},
        {"length_correlation": -0.8},
    ],
)
def test_a_value_at_its_limit_is_healthy(changes: dict[str, float | None]) -> None:
    assert problems(values(**changes), LIMITS) == []


@pytest.mark.parametrize("name", ["score_entropy_bits", "tie_rate", "length_correlation"])
def test_what_could_not_be_measured_is_not_a_broken_limit(name: str) -> None:
    assert problems(values(**{name: None}), LIMITS) == []


def test_all_broken_limits_are_named_at_once() -> None:
    bad = values(parse_rate=0.1, score_entropy_bits=0.0, tie_rate=1.0, length_correlation=1.0)
    assert len(problems(bad, LIMITS)) == 4
    with pytest.raises(UnhealthyJudge) as caught:
        enforce(bad, LIMITS, "iter2/health")
    message = str(caught.value)
    assert "readable judge replies: 10.0%" in message
    assert "score entropy 0.00 bits" in message
    assert "tied prompts: 100.0%" in message
    assert "correlation of score with length +1.00" in message


def test_score_inflation_is_stopped_before_training() -> None:
    # Everything a 5: no entropy, every prompt tied.
    judgments = [j for n in range(4) for c in "01" for j in draws(f"p{n}/c{c}", 5.0, 5.0, 5.0)]
    lengths = {j.subject_key: n for n, j in enumerate(judgments)}
    with pytest.raises(UnhealthyJudge, match=r"score entropy 0\.00 bits.*tied prompts: 100\.0%"):
        enforce(measure(judgments, lengths), HealthSection(), "iter2/health")


def test_a_judge_nobody_can_read_is_stopped_by_its_parse_rate_alone() -> None:
    found = problems(measure(draws("p0/c0", None, None), {}), HealthSection())
    assert len(found) == 1
    assert found[0].startswith("readable judge replies: 0.0%")


def test_the_measurements_are_written_once_each_and_not_again_after_a_restart(
    tmp_path: Path,
) -> None:
    store, ref, key = Store(tmp_path), Ref(2, Stage.HEALTH), Key({}, {}, 0)
    texts = {subject: "x" * length for subject, length in LENGTHS.items()}
    names = [*NAMES, "score_gap", "true_signal", "distinct_answers"]
    with store.begin(ref, key) as out:  # a run killed after its first measurement
        out.add(measure(EXAMPLE, LENGTHS)[0])
    with store.begin(ref, key) as out:
        built = write(EXAMPLE, texts, out)
        out.commit(lambda row: names.index(row.key), built)
    assert store.read(ref) == [*measure(EXAMPLE, LENGTHS), *signal(EXAMPLE, texts)]
    assert store.manifest(ref).counts == {"judgments": 12}


# ----- what can be learned from the scores


def test_a_gap_within_the_noise_of_draws_is_no_signal() -> None:
    # Draws differ by 2 in every answer (variance 2), so a mean of two has a standard error of 1;
    # the range of two equal answers' means stays below q(.95; 2, 6) = 3.46 of those.
    noisy = [
        *draws("p0/c0", 2.0, 4.0), *draws("p0/c1", 1.0, 3.0),
        *draws("p1/c0", 4.0, 6.0), *draws("p1/c1", 0.0, 2.0),
        *draws("p2/c0", 3.0, 5.0), *draws("p2/c1", 3.0, 5.0),
    ]  # fmt: skip
    texts = {judgment.subject_key: judgment.subject_key for judgment in noisy}
    found = {m.key: m for m in signal(noisy, texts | {"p2/c1": "p2/c0"})}
    assert found["score_gap"].value == pytest.approx((1 + 4 + 0) / 3)
    assert found["true_signal"].value == pytest.approx(1 / 3)
    assert found["true_signal"].n == 3
    assert found["distinct_answers"].value == pytest.approx((1 + 1 + 0.5) / 3)


def test_answers_judged_once_cannot_be_told_from_noise() -> None:
    once = [*draws("p0/c0", 2.0), *draws("p0/c1", 5.0)]
    found = {m.key: m for m in signal(once, {"p0/c0": "a", "p0/c1": "b"})}
    assert found["score_gap"].value == 3.0
    assert found["true_signal"] == Measurement("true_signal", None, 0)
