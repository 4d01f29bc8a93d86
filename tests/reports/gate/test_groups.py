"""Variants over seeds: hand-made runs with known items."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from core.errors import ConfigError
from core.records import ItemScore, LedgerRow, Measurement, OrderAgreement, Score
from core.stages import Ref, Stage, evaluation_ref
from reports.document import Cell, Report, Table
from reports.formats.markdown import render
from reports.gate.groups import compare_groups
from reports.gate.members import members
from tests import loop
from tests.reports.runs import RunBuilder

METRIC = "prompt_level_strict_acc"


def made(
    folder: Path,
    name: str,
    seed: int,
    right: Sequence[int],
    *,
    data: str = "hub",
    gap: float | None = None,
    **sections: Any,
) -> Path:
    """A run whose M2 follows the prompts with a 1; the scores of its pairs differ by `gap`."""
    run = RunBuilder(folder / name)
    run.config(
        run=name,
        seed=seed,
        iterations=2,
        evaluation={"benchmarks": ["ifeval"], "models": ["M2"]},
        **sections,
    )
    rows = [
        ItemScore(str(i), "ifeval", str(i), {METRIC: float(x)}, {}) for i, x in enumerate(right)
    ]
    config = {"evaluation.ifeval.data": data}
    run.rows(evaluation_ref("M2/ifeval", Stage.ITEMS), rows, config=config)
    share = 100 * sum(right) / len(right)
    run.scores("M2/ifeval", Score(METRIC, share, len(right), 0, share - 8, share + 12))
    if gap is not None:
        pair = LedgerRow(
            "p", "?", "pair", (4.0, 4.0 - gap), (1, 1), "a", "b", "A", "B", 4.0, 4 - gap
        )
        run.rows(Ref(2, Stage.PAIRS), [pair])
        run.rows(Ref(2, Stage.HEALTH), [Measurement("score_gap", 2 * gap, 1)])
        orders = [OrderAgreement("p", gap - 2, 4), OrderAgreement("q", None, 1)]
        run.rows(Ref(2, Stage.CONSISTENCY), orders)
    return run.folder


def report(*folders: Path) -> Report:
    return compare_groups(members(folders))


def row(table: Table, label: str) -> tuple[Cell, ...]:
    (found,) = [one.cells for one in table.rows if one.label == label]
    return found


def ifeval(found: Report) -> Table:
    (table,) = [table for table in found.tables if table.key == f"group_ifeval_{METRIC}"]
    return table


@pytest.fixture
def four(tmp_path: Path) -> list[Path]:
    """Two variants with two seeds each, on two prompts: `tests.core.test_seeds` has the numbers."""
    return [
        made(tmp_path, "plain-seed0", 0, [0, 0]),
        made(tmp_path, "plain-seed1", 1, [0, 0]),
        made(tmp_path, "sharp-seed0", 0, [1, 0]),
        made(tmp_path, "sharp-seed1", 1, [1, 1]),
    ]


def test_mean_spread_and_the_interval_of_one_run_stand_beside_each_other(four: list[Path]) -> None:
    table = ifeval(report(*four))
    assert table.columns == ("mean over seeds", "SD of seeds", "± in a run", "− plain", "p")
    mean, spread, in_a_run, *_ = row(table, "M2: sharp")
    # Seeds 50 and 100: mean 75, deviation √1250; a run's own interval is 20 wide.
    assert (mean.value, mean.n, mean.missing) == (75.0, 2, 0)
    assert spread.value == pytest.approx(35.3553, abs=1e-4)
    assert in_a_run.value == pytest.approx(10.0)
    # 12.7062·25 to either side, within 0 to 100 %.
    assert (mean.low, mean.high) == (0.0, 100.0)


def test_the_difference_is_paired_by_prompt_within_each_seed(four: list[Path]) -> None:
    table = ifeval(report(*four))
    *_, difference, p_value = row(table, "M2: sharp")
    assert (difference.value, difference.n) == (75.0, 2)
    assert difference.high == pytest.approx(75 + 12.7062 * 25, abs=1e-2)
    assert p_value.value == pytest.approx(0.2048, abs=1e-4)
    assert row(table, "M2: plain")[3:] == (Cell(), Cell())


def test_the_first_run_s_variant_is_what_others_are_compared_with(four: list[Path]) -> None:
    table = ifeval(report(*reversed(four)))
    assert table.columns[3] == "− sharp"
    assert row(table, "M2: plain")[3].value == -75.0


def test_only_seeds_that_both_have_are_compared(four: list[Path], tmp_path: Path) -> None:
    third = made(tmp_path, "sharp-seed7", 7, [0, 0])
    mean, *_, difference, _ = row(ifeval(report(*four, third)), "M2: sharp")
    assert (mean.value, mean.n) == (50.0, 3)
    assert (difference.value, difference.n) == (75.0, 2)
    mean, *_, difference, p = row(ifeval(report(four[0], four[1], third)), "M2: sharp")
    assert (mean.low, difference.reason, p) == (None, "no seed has both", Cell())


def test_one_seed_is_compared_over_prompts(four: list[Path]) -> None:
    _, spread, _, difference, p_value = row(ifeval(report(four[1], four[3])), "M2: sharp")
    assert spread.reason == "one seed"
    # Two prompts gained, none lost: McNemar's exact p is 2·(1/2)².
    assert (difference.value, p_value.value) == (100.0, 0.5)


def test_equal_runs_do_not_differ(four: list[Path], tmp_path: Path) -> None:
    same = [made(tmp_path, f"same-seed{seed}", seed, [0, 0]) for seed in (0, 1)]
    *_, difference, p_value = row(ifeval(report(*four[:2], *same)), "M2: same")
    assert (difference.value, difference.low, p_value.text) == (0.0, None, "no item differs")


def test_other_conditions_are_named_instead_of_compared(four: list[Path], tmp_path: Path) -> None:
    other = [made(tmp_path, f"x-seed{s}", s, [1, 1], data="sample") for s in (0, 1)]
    *_, difference, _ = row(ifeval(report(*four[:2], *other)), "M2: x")
    assert difference.reason == "not comparable: evaluation.ifeval.data was hub, is sample"


def test_by_iteration_has_the_gap_of_scores_over_seeds(tmp_path: Path) -> None:
    runs = [made(tmp_path, f"plain-seed{s}", s, [1, 0], gap=g) for s, g in ((0, 1.0), (1, 2.0))]
    table = next(t for t in report(*runs).tables if t.key == "group_iterations")
    assert table.columns == (
        "M_k: prompts followed, %",
        "gap of best and worst score",
        "gap of chosen and rejected score",
        "consistency with the judge before",
    )
    followed, gap, of_pairs, consistency = row(table, "plain: iteration 2")
    assert followed.value == 50.0
    # 2 and 4; 1 and 2: means 3 and 1.5, deviations √2 and √½; 12.7062·1 and 12.7062/2 to each side.
    assert (gap.value, gap.n, of_pairs.value) == (3.0, 2, 1.5)
    assert gap.high == pytest.approx(3 + 12.7062, abs=1e-3)
    # tau is −1 and 0, so C is 0 and ½; prompts without an order have none.
    assert consistency.value == 0.25
    assert of_pairs.low == pytest.approx(1.5 - 12.7062 / 2, abs=1e-3)


def test_numbers_without_items_are_compared_by_seed(tmp_path: Path) -> None:
    runs = []
    for name, values in (("plain", (50.0, 52.0)), ("sharp", (53.0, 57.0))):
        for seed, value in enumerate(values):
            folder = made(tmp_path, f"{name}-seed{seed}", seed, [1, 0])
            run = RunBuilder(folder)
            run.rows(Ref(2, Stage.PROMPTS), [])
            run.scores("truth/iter2", Score("judge_accuracy", value, 40))
            runs.append(folder)
    table = next(t for t in report(*runs).tables if t.key == "group_truth_judge_accuracy")
    *_, difference, p_value = row(table, "iter2: sharp")
    # 3 and 5: mean 4, deviation √2, t = 4/(√2/√2) = 4; p = 1 − 2/π·atan 4.
    assert (difference.value, difference.n) == (4.0, None)
    assert p_value.value == pytest.approx(0.1560, abs=1e-4)


@pytest.mark.parametrize(
    ("second", "seed", "sections", "problem"),
    [
        ("other-seed0", 0, {}, ""),
        ("plain-seed1", 1, {"dpo": {"beta": 0.5}}, "both are called plain, but dpo differ"),
        ("plain-seed1", 1, {"engine": {"dtype": "float32"}}, "but engine.dtype differ"),
        ("plain-seed1", 1, {"engine": {"max_batch_rows": 2}, "plan": {"gpus": 8}}, ""),
    ],
)
def test_runs_of_one_variant_differ_in_their_seeds_alone(
    tmp_path: Path, second: str, seed: int, sections: dict[str, Any], problem: str
) -> None:
    folders = [made(tmp_path, "plain-seed0", 0, [1]), made(tmp_path, second, seed, [1], **sections)]
    if not problem:
        assert len(members(folders)) == 2
        return
    with pytest.raises(ConfigError) as error:
        members(folders)
    assert problem in str(error.value)


def test_the_same_seed_twice_is_no_second_run(tmp_path: Path) -> None:
    one = made(tmp_path / "a", "plain-seed0", 0, [1])
    other = made(tmp_path / "b", "plain-seed0", 0, [1])
    with pytest.raises(ConfigError, match="both are plain with seed 0"):
        members([one, other])


def test_a_run_without_settings_cannot_be_grouped(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path / "run").scores("M1/ifeval", Score(METRIC, 50.0, 2))
    with pytest.raises(ConfigError, match=r"there is no config\.json, so its seed is not known"):
        members([run.folder])


def test_the_command_takes_folders_or_a_sweep_and_writes_every_format(
    four: list[Path], tmp_path: Path
) -> None:
    done = loop.main("reports", "compare", "--group", *four, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout == render(report(*four))
    for name in ("report.html", "report.md", f"tables/group_ifeval_{METRIC}.csv"):
        assert "sharp" in (tmp_path / "out" / name).read_text()
    assert list((tmp_path / "out" / "latex").glob(f"group_ifeval_{METRIC}*.tex"))

    (tmp_path / "base.toml").write_text(f"out_dir = {json.dumps(str(tmp_path))}\n")
    file = tmp_path / "sweep.toml"
    text = (
        'sweep = "."\nbase = "base.toml"\nseeds = [0, 1, 2]\n[variants]\nplain = {}\nsharp = {}\n'
    )
    file.write_text(text.replace('"."', '"s"'))
    (tmp_path / "s").mkdir()
    for folder in four:
        folder.rename(tmp_path / "s" / folder.name)
    done = loop.main("reports", "compare", "--group", file)
    assert "| M2: sharp | 75.00" in done.stdout
    assert "plain, seed 2: not there yet" in done.stderr


def test_a_sweep_that_made_nothing_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(f"out_dir = {json.dumps(str(tmp_path))}\n")
    file = tmp_path / "sweep.toml"
    file.write_text('sweep = "s"\nbase = "base.toml"\n[variants]\nplain = {}\n')
    done = loop.main("reports", "compare", "--group", file)
    assert (done.returncode, "no run is there yet" in done.stderr) == (2, True)
