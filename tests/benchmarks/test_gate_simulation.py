from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.gate_families import Member, from_items, from_scores, from_shared
from benchmarks.gate_simulation import Vectors, plant, simulate
from core.errors import ConfigError, DataError
from reports.gate.gate import GateOptions, check_one, run_gate, settle
from reports.scores import to_json
from tests.conftest import ROOT
from tests.reports.gating import graded, metric, right, scores


def binary_member(n: int = 200, name: str = "M1/nlp/piqa/acc") -> Member:
    """Two vectors that are right on 60 %, and differ on a fifth of the items."""
    second = right(int(0.6 * n), n, start=n // 10)
    return Member(metric(name, right(int(0.6 * n), n)), second)


def graded_member() -> Member:
    """Forty questions of two turns, rated twice."""
    rng = np.random.default_rng(0)
    first, second = rng.integers(3, 11, size=(2, 80)).astype(float).tolist()
    clusters = {f"q{at}": str(at // 2) for at in range(80)}
    return Member(graded(first, clusters), {f"q{at}": v for at, v in enumerate(second)})


def family() -> list[Member]:
    return [binary_member(), graded_member(), Member(metric("M1/nlp/obqa/acc", right(90, 300)))]


def test_swapped_vectors_keep_each_cluster_whole_and_each_pair_of_values() -> None:
    member = graded_member()
    one = Vectors(member)
    first, second = one.exchangeable(np.random.default_rng(0))
    a, b = one.first, one.second
    assert b is not None
    straight, crossed = (first == a) & (second == b), (first == b) & (second == a)
    kept, swapped = (side.reshape(40, 2).all(axis=1) for side in (straight, crossed))
    assert (kept | swapped).all()
    assert 10 < kept.sum() < 30  # a coin each


def test_two_copies_of_one_vector_differ_by_noise_alone_in_both_directions() -> None:
    one = Vectors(Member(metric(items=right(900, 3000))))
    rng = np.random.default_rng(0)
    apart = [first - second for first, second in (one.exchangeable(rng) for _ in range(50))]
    # Each copy redraws one in ten, and 2 · 0.3 · 0.7 of redrawn ones change: 0.084 in all.
    assert np.mean([(d != 0).mean() for d in apart]) == pytest.approx(0.081, abs=0.005)
    assert abs(np.mean(apart)) < 0.3


def test_a_planted_drop_has_its_size_on_average_and_never_leaves_the_scale() -> None:
    rng = np.random.default_rng(0)
    percent = metric(items=right(400, 1000))
    values = np.array(list((percent.items or {}).values()))
    planted = [plant(values, percent, 5.0, rng) for _ in range(200)]
    drops = [values.mean() - lowered.mean() for lowered in planted if lowered is not None]
    assert np.mean(drops) == pytest.approx(5.0, abs=0.15)
    assert np.std(drops) > 0.4  # each item falls or not: √(400 · 1/8 · 7/8)/10 = 0.66
    # A preference of v becomes 100 − v where it was won.
    preferences = np.array([90.0, 20.0, 60.0, 50.0])
    mirrored = plant(preferences, percent, 25.0, rng)
    assert mirrored is not None and mirrored.tolist() == [10.0, 20.0, 40.0, 50.0]


def test_a_planted_drop_of_ratings_lowers_all_by_the_same_down_to_the_scales_end() -> None:
    one = graded([1.0, 1.5, 9.0, 9.0])
    values = np.array([1.0, 1.5, 9.0, 9.0])
    lowered = plant(values, one, 0.5, np.random.default_rng(0))
    # Shifted by 0.75, where the second only has 0.5 to lose: (0 + 0.5 + 0.75 + 0.75)/4 = 0.5.
    assert lowered is not None and lowered.tolist() == pytest.approx([1.0, 1.0, 8.25, 8.25])


def test_where_there_is_no_room_nothing_is_planted() -> None:
    rng = np.random.default_rng(0)
    values = np.array(list(right(4, 100).values()))
    assert plant(values, metric(), 5.0, rng) is None
    assert plant(np.array([1.2, 1.1]), graded([1.2, 1.1]), 0.45, rng) is None
    poor = Member(metric(items=right(4, 100)), right(4, 100))
    (row,) = simulate([poor], runs=3, seed=0).caught
    assert (row.runs, row.caught) == (0, 0)


def test_the_simulation_decides_as_the_gate_does_on_the_same_files() -> None:
    # It tests the planted metric alone and corrects anew; the gate would test all of them again.
    rng = np.random.default_rng(5)
    vectors = [Vectors(member) for member in family()]
    outcomes = set()
    for seed in range(25):
        options = GateOptions(seed=seed)
        drawn = [one.exchangeable(rng) for one in vectors]
        pairs = [one.pair(*pair) for one, pair in zip(vectors, drawn, strict=True)]
        tests = [check_one(pair, options, family=len(pairs)) for pair in pairs]
        for at, one in enumerate(vectors):
            lowered = plant(drawn[at][1], one.metric, 8 / 100 * (9 if at == 1 else 100), rng)
            assert lowered is not None
            worse = one.pair(drawn[at][0], lowered)
            quick = settle(
                [
                    *tests[:at],
                    check_one(worse, options, family=len(pairs)),
                    *tests[at + 1 :],
                ],
                options.alpha,
            )
            planted = [*pairs[:at], worse, *pairs[at + 1 :]]
            whole = run_gate(
                scores(*(pair.baseline for pair in planted)),
                scores(*(pair.candidate for pair in planted)),
                options,
            )
            assert tuple(quick) == whole.checked
            outcomes |= {one.outcome for one in quick}
    assert {"failed", "passed"} <= outcomes


def test_the_same_seed_gives_the_same_figures() -> None:
    assert simulate(family(), runs=5, seed=3) == simulate(family(), runs=5, seed=3)
    assert simulate(family(), runs=5, seed=3) != simulate(family(), runs=5, seed=4)


def test_alarms_and_caught_drops_are_at_the_rates_promised() -> None:
    found = simulate(family(), runs=250, seed=0)
    # 5 % of 250 is 12.5; more than 20 has a probability of 0.01 at exactly 5 %.
    assert found.alarms <= 20
    assert found.interval is not None and found.interval.low < 0.05
    for row in found.caught:
        # Two standard errors of 250 runs are up to 6 points, and the promise is 5.
        assert row.caught / row.runs == pytest.approx(0.8, abs=0.1), row


def test_without_the_correction_there_would_be_more_alarms() -> None:
    # Ten metrics, each at its own 5 %: the simulation itself must be able to show it.
    many = [
        graded_member()._replace(metric=graded_member().metric.model_copy(update={"id": f"m{at}"}))
        for at in range(10)
    ]
    vectors, rng = [Vectors(member) for member in many], np.random.default_rng(0)
    alarms = 0
    for seed in range(100):
        pairs = [one.pair(*one.exchangeable(rng)) for one in vectors]
        tests = [check_one(pair, GateOptions(seed=seed), family=10) for pair in pairs]
        alarms += any(test.p_value <= 0.05 for test in tests)
    assert alarms > 25  # 1 − 0.95^10 = 0.40


def test_families_come_from_scores_files_that_follow_each_other() -> None:
    a = scores(metric(items={"x": 0.0, "y": 100.0, "only a": 0.0}), metric("M1/nlp/obqa/acc"))
    b = scores(metric(items={"y": 0.0, "x": 100.0, "only b": 0.0}))
    two, alone = from_scores([a, b])
    assert (two.first, two.second) == ({"x": 0.0, "y": 100.0}, {"x": 100.0, "y": 0.0})
    assert (alone.metric.id, alone.second) == ("M1/nlp/obqa/acc", None)
    assert [m.metric.id for m in from_scores([b, b, b])] == [
        "M1/nlp/piqa/acc (1, 2)",
        "M1/nlp/piqa/acc (2, 3)",
    ]
    with pytest.raises(ConfigError, match="no metric with items"):
        from_scores([scores(metric(better=""))])


def test_families_come_from_item_rows(tmp_path: Path) -> None:
    rows = [
        {"key": f"obqa/{at}", "metrics": {"acc": float(at), "acc_norm": 1.0 - at}} for at in (0, 1)
    ]
    file = tmp_path / "obqa.items.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    acc, acc_norm, both = from_items(tmp_path)
    assert acc.first == {"obqa/0": 0.0, "obqa/1": 100.0} and acc.second is None
    assert (both.first, both.second) == (acc.first, acc_norm.first)
    with pytest.raises(DataError, match=r"no \*\.items\.jsonl"):
        from_items(tmp_path / "empty")


def test_the_recorded_results_have_their_published_means(shared: Path) -> None:
    found = {member.metric.id: member for member in from_shared(shared)}
    assert len(found) == 8
    wins = found["claude-2/humpback-llama2-70b/alpaca_eval/win_rate"]
    means = [float(np.mean(list(values.values()))) for values in (wins.first, wins.second or {})]
    assert means == pytest.approx([17.188240, 10.121772], abs=1e-6)
    rated = found["mamba_0_5_dpo_ep1/mamba_0_5_dpo_ep3/mt_bench/overall"]
    means = [float(np.mean(list(values.values()))) for values in (rated.first, rated.second or {})]
    assert means == pytest.approx([7.1219, 7.3125], abs=1e-4)
    assert len(Vectors(rated).members) == 80
    # text_davinci_001 lacks two of the 805; mistral-orpo's grade of −1 is no rating.
    assert len(found["alpaca-7b/text_davinci_001/alpaca_eval/win_rate"].first) == 803
    assert min(min(m.first.values()) for m in found.values() if m.metric.unit == "points") >= 1


def test_missing_recorded_results_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected recorded results"):
        from_shared(tmp_path)


@pytest.mark.slow
def test_on_real_results_the_gate_keeps_both_promises(shared: Path) -> None:
    # docs/measurements.md has the figures of 4,000 runs; this many cost half a minute.
    found = simulate(from_shared(shared), runs=400, seed=2)
    assert found.interval is not None and found.interval.low < 0.05
    planted = [row for row in found.caught if row.runs]
    assert len(planted) >= 6
    for row in planted:
        assert row.caught / row.runs == pytest.approx(0.8, abs=0.1), row


def test_the_command_prints_both_figures_and_refuses_nothing_to_simulate(tmp_path: Path) -> None:
    file = tmp_path / "scores.json"
    file.write_text(to_json(scores(metric(items=right(90, 300)))))
    command = [sys.executable, "-m", "benchmarks.gate_simulation", "--runs", "3"]
    done = subprocess.run(
        [*command, "--scores", str(file)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "of 3 comparisons without a change" in done.stdout
    assert "Planted drops of the minimum detectable effect" in done.stdout
    assert "M1/nlp/piqa/acc" in done.stdout
    empty = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert empty.returncode == 2
    assert "at least one run" in empty.stderr
