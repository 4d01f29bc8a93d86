from __future__ import annotations

import random
from typing import Any, TypeAlias

import pytest

from core.errors import ConfigError
from reports.gate.gate import GateOptions, GateResult, parse_tolerances, run_gate
from reports.gate.pairs import matches
from reports.scores import Metric
from tests.reports.gating import graded, metric, right, scores

Metrics: TypeAlias = Metric | tuple[Metric, ...]


def gate(before: Metrics, after: Metrics, **options: Any) -> GateResult:
    first, second = (m if isinstance(m, tuple) else (m,) for m in (before, after))
    named = scores(*first, run="main"), scores(*second, run="pull")
    return run_gate(*named, GateOptions(**options))


def test_a_run_against_itself_passes() -> None:
    same = (metric(), graded([5, 6, 7]))
    found = gate(same, same)
    assert found.exit_code == 0
    assert [(one.difference, one.p_value, one.outcome) for one in found.checked] == [
        (0.0, 1.0, "passed"),
        (0.0, 1.0, "passed"),
    ]


def test_a_drop_on_binary_items_is_mcnemars_one_sided_tail() -> None:
    # Five of ten items are lost and none gained: p = 1/2^5 = 0.03125.
    found = gate(metric(items=right(5, 10)), metric(items=right(0, 10)))
    (one,) = found.checked
    assert (one.test, one.p_value) == ("mcnemar_exact", 1 / 32)
    assert (one.baseline, one.candidate, one.difference) == (50.0, 0.0, -50.0)
    assert (one.outcome, found.exit_code) == ("failed", 1)
    # Four are not enough, at any size of the drop: 1/16.
    assert gate(metric(items=right(4, 4)), metric(items=right(0, 4))).exit_code == 0


def test_an_improvement_never_fails_and_is_shown() -> None:
    found = gate(metric(items=right(0, 10)), metric(items=right(8, 10)))
    (one,) = found.checked
    assert (one.outcome, found.exit_code) == ("improved", 0)
    assert (one.p_value, one.p_better) == (1.0, 1 / 256)
    assert one.difference == 80.0


def test_graded_items_are_tested_by_sign_flips_over_clusters() -> None:
    # Six questions of two turns, each turn worse by 1: the six sums fall, p = 1/2^6.
    clusters = {f"q{at}": f"question {at // 2}" for at in range(12)}
    before = graded([7.0] * 12, clusters)
    after = graded([6.0] * 12, clusters)
    (one,) = gate(before, after).checked
    assert (one.test, one.p_value, one.n, one.n_clusters) == ("sign_flip_exact", 1 / 64, 12, 6)
    assert (one.difference, one.outcome) == (-1.0, "failed")
    # The same items without clusters would be twelve observations.
    (one,) = gate(graded([7.0] * 12), graded([6.0] * 12)).checked
    assert one.p_value == 1 / 4096


def test_binary_items_in_clusters_are_not_tested_as_independent() -> None:
    clusters = {f"i{at}": str(at // 2) for at in range(10)}
    before, after = metric(items=right(10, 10)), metric(items=right(0, 10))
    clustered = [m.model_copy(update={"clusters": clusters}) for m in (before, after)]
    (one,) = gate(*clustered).checked
    assert (one.test, one.p_value) == ("sign_flip_exact", 1 / 32)


def test_binary_is_what_only_has_the_ends_of_its_scale() -> None:
    halves = {f"i{at}": 50.0 for at in range(10)}
    (one,) = gate(metric(items=right(5, 10)), metric(items=halves)).checked
    assert one.test == "sign_flip_exact"
    share: dict[str, Any] = {"unit": "share", "scale": (0.0, 1.0)}
    readable = metric(items={f"i{at}": 1.0 for at in range(6)}, **share)
    silent = metric(items={f"i{at}": 0.0 for at in range(6)}, **share)
    (one,) = gate(readable, silent).checked
    assert (one.test, one.p_value) == ("mcnemar_exact", 1 / 64)
    (one,) = gate(*(m.model_copy(update={"scale": None}) for m in (readable, silent))).checked
    assert one.test == "mcnemar_exact"


def test_holm_counts_all_tested_metrics() -> None:
    # One loses five of ten (p = 1/32 = 0.031): alone it fails, beside a second metric it is 0.0625.
    drop = (metric("M1/nlp/piqa/acc", right(5, 10)), metric("M1/nlp/piqa/acc", right(0, 10)))
    other = metric("M1/nlp/obqa/acc", right(5, 10))
    assert gate(*drop).exit_code == 1
    found = gate((drop[0], other), (drop[1], other))
    assert found.exit_code == 0
    assert [one.adjusted for one in found.checked] == [0.0625, 1.0]
    # Two that drop: 6 lost is 1/64, twice that is 0.031; the second then only has itself: 0.031.
    before = (metric("M1/nlp/a/acc", right(6, 10)), metric("M1/nlp/b/acc", right(5, 10)))
    after = (metric("M1/nlp/a/acc", right(0, 10)), metric("M1/nlp/b/acc", right(0, 10)))
    found = gate(before, after)
    assert [one.adjusted for one in found.checked] == [1 / 32, 1 / 32]
    assert len(found.failed) == 2


def test_a_drop_within_the_tolerance_is_no_failure() -> None:
    # 10 of 100 lost: significant (1/1024), 10 points.
    before, after = metric(items=right(60, 100)), metric(items=right(50, 100))
    assert gate(before, after).exit_code == 1
    assert gate(before, after, tolerances=(("nlp", 9.9),)).exit_code == 1
    found = gate(before, after, tolerances=(("nlp", 10.0),))
    assert (found.exit_code, found.checked[0].outcome) == (0, "tolerated")
    # A tolerance does not make a drop that may be chance fail: p decides as well.
    assert gate(metric(items=right(4, 10)), metric(items=right(0, 10))).exit_code == 0


def test_the_last_tolerance_that_matches_counts() -> None:
    before, after = metric(items=right(60, 100)), metric(items=right(50, 100))
    wide, narrow = ("*", 20.0), ("M1/nlp/piqa", 5.0)
    assert gate(before, after, tolerances=(wide, narrow)).exit_code == 1
    assert gate(before, after, tolerances=(narrow, wide)).exit_code == 0
    assert gate(before, after, tolerances=(narrow, ("nlp", 0.0))).checked[0].tolerance == 0.0


def test_items_of_one_file_only_are_counted_and_left_out() -> None:
    before = metric(items={"a": 100.0, "b": 0.0, "c": 100.0, "x": 100.0})
    after = metric(items={"a": 100.0, "b": 0.0, "c": 0.0, "y": 0.0, "z": 0.0})
    (one,) = gate(before, after).checked
    assert (one.n, one.n_only_baseline, one.n_only_candidate) == (3, 1, 2)
    assert one.baseline == pytest.approx(200 / 3)
    assert one.candidate == pytest.approx(100 / 3)


def test_a_candidate_whose_bad_items_became_unreadable_is_not_compared() -> None:
    # The baseline has all 805 right. Of the candidate's, 605 are wrong: exit code 1. Where those
    # cannot be read instead, the 200 right ones that are left would pass.
    before, worse = metric(items=right(805, 805)), right(200, 805)
    assert gate(before, metric(items=worse)).exit_code == 1
    read = {item: value for item, value in worse.items() if value}
    found = gate(before, metric(items=read))
    assert (found.exit_code, found.checked) == (2, ())
    assert "no value for 605 of the baseline's 805 items" in found.problems[0].reason
    assert gate(before, metric(items=read), max_lost=0.76).exit_code == 0  # 605/805 = 0.7516


def test_one_item_or_5_percent_of_them_may_be_lost() -> None:
    for whole, most in ((4, 1), (20, 1), (40, 2), (805, 40)):
        before = metric(items=right(whole, whole))
        assert gate(before, metric(items=right(whole - most, whole - most))).problems == ()
        over = right(whole - most - 1, whole - most - 1)
        assert gate(before, metric(items=over)).exit_code == 2
        # Nor can a baseline that lacks them be held against a candidate that has them.
        assert gate(metric(items=over), before).problems == ()


def test_items_are_paired_by_name_and_not_by_place() -> None:
    items = {f"i{at}": 100.0 * (at % 2) for at in range(40)}
    shuffled = dict(reversed(items.items()))
    (one,) = gate(metric(items=items), metric(items=shuffled)).checked
    # Tango's interval without a discordant pair: ±z²/(40 + z²).
    assert one.difference == 0.0
    assert one.interval == pytest.approx((-8.7622, 8.7622), abs=1e-4)


def test_the_interval_is_that_of_paired_differences() -> None:
    # −1, −2, −3, and one gain and one loss of 9·√(z²/(3 + z²)) = 6.744: mean −6/5 = −1.2, squares
    # 0.2² + 0.8² + 1.8² + 5.544² + 7.944² = 97.77 over 4·5: −1.2 ± 1.95996·2.211.
    (one,) = gate(graded([5, 6, 7]), graded([4, 4, 4])).checked
    assert one.interval == pytest.approx((-5.533, 3.133), abs=2e-3)


def test_other_conditions_are_incomparable_and_each_is_named_with_both_values() -> None:
    before = metric(conditions={"judge": "gpt-4", "shots": 5, "prompts": "abc"})
    after = metric(conditions={"judge": "M1", "shots": 0, "prompts": "abc"})
    found = gate(before, after)
    assert (found.exit_code, found.checked) == (2, ())
    (problem,) = found.problems
    assert problem.id == "M1/nlp/piqa/acc"
    assert "judge was gpt-4, is M1" in problem.reason
    assert "shots was 5, is 0" in problem.reason
    assert "prompts" not in problem.reason


def test_a_condition_that_only_one_side_has_is_a_difference() -> None:
    found = gate(metric(), metric(conditions={"judge": "gpt-4", "limit": 10}))
    assert "limit was absent, is 10" in found.problems[0].reason


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scale": (0.0, 1.0)}, "scale was (0.0, 100.0), is (0.0, 1.0)"),
        ({"unit": "share"}, "unit was percent, is share"),
        ({"clusters": {"i3": "q1"}}, "item i3 belonged to i3, belongs to q1"),
        ({"items": {"other": 100.0}}, "no item is in both files (10 and 1 items)"),
    ],
)
def test_other_scales_clusters_and_items_are_incomparable(
    change: dict[str, object], said: str
) -> None:
    found = gate(metric(), metric().model_copy(update=change))
    assert found.exit_code == 2
    assert said in found.problems[0].reason


def test_a_metric_that_the_candidate_lacks_is_a_problem_with_the_reason_it_gives() -> None:
    kept = metric("M1/nlp/obqa/acc")
    lost = {"value": None, "better": "", "n": 0, "items": None, "reason": "failed: out of memory"}
    # A failed task stands under another name, since what its metrics are is not known.
    placeholder = metric("M1/nlp/piqa/value", **lost)
    found = gate((kept, metric()), (kept, placeholder))
    assert found.exit_code == 2
    assert [(p.id, p.reason) for p in found.problems] == [
        ("M1/nlp/piqa/acc", "missing in the candidate: failed: out of memory")
    ]
    assert len(found.checked) == 1  # the other is tested all the same
    assert "its file does not name it" in gate((kept, metric()), kept).problems[0].reason
    empty = metric().model_copy(update=lost)
    assert "out of memory" in gate(metric(), empty).problems[0].reason


def test_excluding_what_cannot_be_compared_leaves_the_rest() -> None:
    kept, other = metric("M1/nlp/obqa/acc"), metric(conditions={})
    found = gate((kept, metric()), (kept, other), exclude=("M1/nlp/piqa",))
    assert (found.exit_code, len(found.checked)) == (0, 1)
    found = gate((kept, metric()), (kept, other), only=("*/obqa/*",))
    assert (found.exit_code, len(found.checked)) == (0, 1)


def test_a_problem_outweighs_a_drop_and_both_are_there() -> None:
    drop = (metric("M1/nlp/a/acc", right(9, 9)), metric("M1/nlp/a/acc", right(0, 9)))
    found = gate((drop[0], metric()), drop[1])
    assert (found.exit_code, len(found.failed), len(found.problems)) == (2, 1, 1)


def test_nothing_to_hold_against_is_exit_code_2() -> None:
    assert gate((), metric()).exit_code == 2
    assert gate(metric(better=""), metric(better="")).exit_code == 2
    found = gate(metric(), metric(), exclude=("nlp",))
    assert found.exit_code == 2
    assert "that --only and --exclude leave" in found.problems[0].reason


def test_numbers_without_items_or_without_a_direction_are_not_tested() -> None:
    plain = metric("M1/agreement/spearman", items=None).model_copy(update={"items": None})
    lower = metric("M1/alpaca_eval/avg_length", better="lower")
    found = gate((metric(), plain, lower), (metric(), plain, lower))
    assert [one.id for one in found.checked] == ["M1/nlp/piqa/acc"]


def test_a_metric_without_a_baseline_is_named_and_does_not_fail() -> None:
    found = gate(metric(), (metric(), metric("M1/nlp/obqa/acc")))
    assert (found.exit_code, found.new) == (0, ("M1/nlp/obqa/acc",))


def test_of_an_nlp_task_the_papers_metric_is_tested_and_the_others_on_request() -> None:
    both = (
        metric("M1/nlp/piqa/acc_norm", right(5, 10)),
        metric("M1/nlp/piqa/acc", right(5, 10), headline=False),
        metric("M1/agreement/pairwise_accuracy/ties_half", right(5, 10), headline=False),
    )
    assert [one.id for one in gate(both, both).checked] == [both[0].id, both[2].id]
    asked = gate(both, both, only=("nlp",))
    assert [one.id for one in asked.checked] == [both[0].id, both[1].id]


def test_patterns_are_benchmarks_beginnings_of_ids_or_globs() -> None:
    one = metric("M1/nlp/piqa/acc_norm")
    for pattern in ("nlp", "n*", "M1", "M1/", "M1/nlp", "M1/nlp/piqa/acc_norm", "M?/*/acc_*", "*"):
        assert matches(pattern, one), pattern
    for pattern in ("M", "M1/nl", "M10", "piqa", "acc_norm", "NLP", "M1/nlp/piqa/acc"):
        assert not matches(pattern, one), pattern


@pytest.mark.parametrize(
    "options", [{"only": ("nlpp",)}, {"tolerances": (("mtbench", 1.0),)}], ids=["only", "tolerance"]
)
def test_a_misspelt_pattern_is_an_error_and_not_a_pass(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"no metric matches; expected a benchmark \(nlp\)"):
        gate(metric(), metric(), **options)


def test_tolerances_are_read() -> None:
    assert parse_tolerances(["mt_bench=0.1", "M*/nlp=2"]) == (("mt_bench", 0.1), ("M*/nlp", 2.0))
    assert parse_tolerances([]) == ()
    for text in ("mt_bench", "=1", "nlp=x", "nlp=-1", "nlp=nan", "nlp=inf", "nlp="):
        with pytest.raises(ConfigError, match="expected PATTERN=DROP"):
            parse_tolerances([text])


def test_the_detectable_drop_depends_on_the_family() -> None:
    # Binary, 200 items without a discordant one: at 5 % five lost items of 200 are significant, at
    # 1 % (five metrics) seven.
    def family(count: int) -> GateResult:
        many = tuple(metric(f"M1/nlp/t{at}/acc", right(150, 200)) for at in range(count))
        return gate(many, many)

    alone, five = (family(count).checked[0].detectable for count in (1, 5))
    assert alone.least is not None and five.least is not None
    assert 2.5 < alone.least < five.least < 6
    assert alone.method == "exact"


def test_why_no_drop_is_detectable_is_said() -> None:
    (one,) = gate(metric(items=right(4, 4)), metric(items=right(4, 4))).checked
    assert one.detectable.least is None
    assert "no drop can be detected with n = 4" in one.detectable.note
    (one,) = gate(graded([5.0] * 50), graded([5.0] * 50)).checked
    assert one.detectable.least is None
    assert "noise cannot be estimated" in one.detectable.note


def test_a_tolerance_raises_the_detectable_drop() -> None:
    before, after = metric(items=right(300, 500)), metric(items=right(300, 500, start=10))
    plain = gate(before, after).checked[0].detectable
    tolerant = gate(before, after, tolerances=(("nlp", 5.0),)).checked[0].detectable
    assert plain.least is not None and tolerant.least is not None
    # A true drop of just the tolerance is observed as a larger one about half of the time.
    assert plain.least < 5 < tolerant.least


def test_the_same_input_gives_the_same_answer() -> None:
    rng = random.Random(1)
    before, after = ([rng.uniform(1, 10) for _ in range(60)] for _ in range(2))
    assert gate(graded(before), graded(after)) == gate(graded(before), graded(after))
    assert gate(graded(before), graded(after)).checked[0].test == "sign_flip_sampled"


def test_sampled_p_values_can_be_small_enough_for_large_families() -> None:
    # 400 metrics: the first Holm step asks for 0.05/400, and 10,000 flips end at 0.0001.
    many = [f"M1/mt_bench/t{at}" for at in range(400)]
    before = [graded([5.0] * 40).model_copy(update={"id": name}) for name in many]
    after = [*before[1:], graded([4.0] * 40).model_copy(update={"id": many[0]})]
    found = gate(tuple(before), tuple(after))
    assert [one.id for one in found.failed] == [many[0]]
    assert found.failed[0].p_value < 0.05 / 400 / 5
