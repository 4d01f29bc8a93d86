from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import ConfigError
from core.stages import project_root
from core.sweep import Sweep, load_sweep, variant_of

SHIPPED = sorted((project_root() / "configs" / "sweeps").glob("*.toml"))
BASE = 'run = "base"\nout_dir = "out"\niterations = 2\n[dpo]\nbeta = 0.1\n'


def sweep(folder: Path, text: str, *overrides: str) -> Sweep:
    (folder / "base.toml").write_text(BASE)
    (folder / "sweep.toml").write_text(text)
    return load_sweep(folder / "sweep.toml", overrides)


def test_a_run_for_each_variant_and_seed_seed_by_seed(tmp_path: Path) -> None:
    found = sweep(
        tmp_path,
        """
        sweep = "try"
        base = "base.toml"
        seeds = [3, 0]
        evaluate = ["ifeval"]
        [settings]
        evaluation.models = ["M1", "M2"]
        dpo.beta = 0.3
        [variants]
        plain = {}
        sharp = { dpo.beta = 0.5, iteration.2.pairs.min_margin = 1.0 }
        """,
    )
    assert [run.name for run in found.runs] == [
        "plain, seed 3", "sharp, seed 3", "plain, seed 0", "sharp, seed 0",
    ]  # fmt: skip
    assert [str(run.config.folder) for run in found.runs] == [
        "out/try/plain-seed3", "out/try/sharp-seed3", "out/try/plain-seed0", "out/try/sharp-seed0",
    ]  # fmt: skip
    assert [run.config.seed for run in found.runs] == [3, 3, 0, 0]
    assert [run.config.dpo.beta for run in found.runs] == [0.3, 0.5, 0.3, 0.5]
    assert found.runs[1].config.at(2).pairs.min_margin == 1.0
    assert found.runs[0].config.evaluation.models == ("M1", "M2")
    assert found.evaluate == ("ifeval",)


def test_a_variant_is_a_file_or_a_file_with_settings(tmp_path: Path) -> None:
    (tmp_path / "variants").mkdir()
    (tmp_path / "variants" / "own.toml").write_text('run = "own"\n[dpo]\nbeta = 0.7\nlr = 1e-5\n')
    found = sweep(
        tmp_path,
        """
        sweep = "try"
        [variants]
        own = "variants/own.toml"
        more = { config = "variants/own.toml", dpo.lr = 2e-5 }
        """,
    )
    assert [run.config.dpo.beta for run in found.runs] == [0.7, 0.7]
    assert [run.config.dpo.lr for run in found.runs] == [1e-5, 2e-5]


def test_settings_of_the_command_count_most(tmp_path: Path) -> None:
    text = 'sweep = "try"\nbase = "base.toml"\n[variants]\na = { dpo.beta = 0.5 }\n'
    found = sweep(tmp_path, text, "dpo.beta=0.9", f"out_dir={tmp_path}")
    assert found.runs[0].config.dpo.beta == 0.9
    assert found.runs[0].config.folder == tmp_path / "try" / "a-seed0"


def test_values_of_every_kind_arrive_as_they_were_written(tmp_path: Path) -> None:
    found = sweep(
        tmp_path,
        r"""
        sweep = "try"
        base = "base.toml"
        [variants.a]
        model.base = "C:\\\"é\""
        model.chat_template_kwargs = { enable_thinking = false, level = "low" }
        evaluation.head_to_head.matchups = [["M2", "M1"]]
        dpo.lr = 1e-7
        probe.enabled = false
        """,
    )
    (run,) = found.runs
    assert run.config.model.base == 'C:\\"é"'
    assert run.config.model.chat_template_kwargs == {"enable_thinking": False, "level": "low"}
    assert run.config.evaluation.head_to_head.matchups == (("M2", "M1"),)
    assert (run.config.dpo.lr, run.config.probe.enabled) == (1e-7, False)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('sweep = "a"\n[variants]\nx = {}\n', "variants.x has settings alone: set `base`"),
        ('sweep = "a"\nbase = "base.toml"\n', "variants: Field required"),
        ('sweep = "a"\nbase = "base.toml"\n[variants]\n', "variants: Dictionary should have"),
        ('sweep = "a/b"\nbase = "base.toml"\n[variants]\nx = {}\n', "sweep: String should match"),
        ('sweep = "a"\nbas = "base.toml"\n[variants]\nx = {}\n', "unknown key 'bas'"),
        (
            'sweep = "a"\nbase = "base.toml"\n[variants]\n"../x" = {}\n',
            "variants.../x.[key]: String should match",
        ),
        (
            'sweep = "a"\nbase = "base.toml"\n[variants]\nx = { dpo.bet = 1 }\n',
            "variants.x: ",
        ),
        ('sweep = "a"\n[variants]\nx = "missing.toml"\n', "missing.toml: no such configuration"),
        (
            'sweep = "a"\nbase = "base.toml"\nseeds = [1, 1]\n[variants]\nx = {}\n',
            "seeds: one comes twice",
        ),
        ('sweep = "a"\nbase = "base.toml"\nseeds = []\n[variants]\nx = {}\n', "seeds: Tuple"),
        (
            'sweep = "a"\nbase = "base.toml"\n[variants]\nx = { seed = 4 }\n',
            "seed=4: a sweep names its runs and their seeds",
        ),
        (
            'sweep = "a"\nbase = "base.toml"\nevaluate = ["if"]\n[variants]\nx = {}\n',
            "evaluate.0: Input should be",
        ),
        ("sweep = [\n", "not valid TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        sweep(tmp_path, text)
    assert str(tmp_path / "sweep.toml") in str(error.value)
    assert problem in str(error.value)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_sweep_loads_and_evaluates_on_the_learning_task(path: Path) -> None:
    found = load_sweep(path)
    assert found.folder == Path("runs") / found.folder.name
    assert {run.config.evaluation.ifeval.data for run in found.runs} == {"verifiable"}
    assert "ifeval" in found.evaluate


def test_a_missing_file_says_what_a_sweep_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such sweep file"):
        load_sweep(tmp_path / "none.toml")


def test_the_variant_of_a_run_by_its_name() -> None:
    assert variant_of("cream-seed12", 12) == "cream"
    assert variant_of("cream-seed12", 2) == "cream-seed12"
    assert variant_of("mine", 0) == "mine"
