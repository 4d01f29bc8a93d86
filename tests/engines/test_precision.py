"""What "auto" arithmetic becomes; the machine's own speed is measured, and not asserted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.config import Config, EngineSection
from core.making import locked_run
from engines import precision
from engines.precision import Products, resolve, resolve_engine
from tests import loop
from training.trainers.job import TrainingJob

SETTINGS = ("engine.dtype", "sft.precision", "dpo.precision")


def _config(folder: Path, value: dict[str, str] | None = None) -> Config:
    chosen = dict.fromkeys(SETTINGS, "auto") | (value or {})
    tree: dict[str, object] = {"run": "one", "out_dir": str(folder)}
    for name, setting in chosen.items():
        section, _, field = name.partition(".")
        tree[section] = {field: setting}
    return Config.model_validate(tree)


def _arithmetic(config: Config) -> list[str]:
    return [config.section(name) for name in SETTINGS]


def _not_measured(device: str) -> bool:
    raise AssertionError(f"measured {device}")


@pytest.mark.parametrize(
    ("faster", "expected"),
    [(True, ["bfloat16", "bf16", "bf16"]), (False, ["float32", "fp32", "fp32"])],
)
def test_auto_is_what_is_faster_on_the_device_that_samples(
    tmp_path: Path, faster: bool, expected: list[str]
) -> None:
    asked = []

    def measure(device: str) -> bool:
        asked.append(device)
        return faster

    config = _config(tmp_path)
    config = config.model_copy(update={"engine": EngineSection(device="cpu", dtype="auto")})
    assert _arithmetic(resolve(config, measure)) == expected
    assert set(asked) == {"cpu"}


def test_named_arithmetic_is_kept_and_nothing_is_measured(tmp_path: Path) -> None:
    named = {"engine.dtype": "float32", "sft.precision": "bf16", "dpo.precision": "fp32"}
    config = _config(tmp_path, named)
    assert resolve(config, _not_measured) == config


def test_the_key_holds_what_auto_became(tmp_path: Path) -> None:
    config = resolve(_config(tmp_path), lambda _: True)
    named = {"engine.dtype": "bfloat16", "sft.precision": "bf16", "dpo.precision": "bf16"}
    sections = ("engine.dtype", "sft", "dpo")
    assert config.plain(*sections) == _config(tmp_path, named).plain(*sections)


def test_a_run_goes_on_as_it_began_on_a_machine_that_would_choose_otherwise(
    tmp_path: Path,
) -> None:
    with locked_run(resolve(_config(tmp_path), lambda _: True)):
        pass
    assert _arithmetic(resolve(_config(tmp_path), _not_measured)) == ["bfloat16", "bf16", "bf16"]
    # A named value still changes a run, which then says what is stale; the others are kept.
    other = resolve(_config(tmp_path, {"sft.precision": "fp32"}), _not_measured)
    assert _arithmetic(other) == ["bfloat16", "fp32", "bf16"]


def test_a_run_that_takes_from_another_begins_with_its_arithmetic(tmp_path: Path) -> None:
    with locked_run(resolve(_config(tmp_path), lambda _: True)):
        pass
    config = _config(tmp_path).model_copy(update={"run": "two"})
    reuse = [tmp_path / "none", tmp_path / "one"]
    assert _arithmetic(resolve(config, _not_measured, reuse=reuse)) == ["bfloat16", "bf16", "bf16"]
    # Once it has begun its own record counts.
    with locked_run(resolve(config, lambda _: False)):
        pass
    assert _arithmetic(resolve(config, _not_measured, reuse=reuse)) == ["float32", "fp32", "fp32"]


def test_a_setting_that_the_run_does_not_record_is_measured(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "config.json").write_text(json.dumps({"engine": {"dtype": "float32"}}))
    found = resolve(_config(tmp_path), lambda _: True)
    assert _arithmetic(found) == ["float32", "bf16", "bf16"]


def test_a_dry_run_shows_the_arithmetic_and_writes_nothing(tmp_path: Path) -> None:
    with locked_run(Config.model_validate({"run": "smoke", "out_dir": str(tmp_path)})):
        pass
    before = sorted(tmp_path.rglob("*"))
    done = loop.run(tmp_path, "--dry-run", "--set", "engine.dtype=auto")
    # The run began with the default, bfloat16; smoke.toml names the other two.
    line = "Arithmetic: engine.dtype = bfloat16, sft.precision = fp32, dpo.precision = fp32"
    assert line in done.stdout.splitlines()
    assert "engine.dtype: bfloat16 (as this run began)" in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_bfloat16_pays_if_its_products_are_half_again_as_fast(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for bfloat16_s, pays in ((1.0, True), (2.0, True), (2.1, False), (27.0, False)):
        precision.bfloat16_is_faster.cache_clear()
        monkeypatch.setattr(precision, "products", lambda s=bfloat16_s: Products(3.0, s))
        assert precision.bfloat16_is_faster("cpu") is pays
    precision.bfloat16_is_faster.cache_clear()


def test_an_engine_opened_without_a_run_takes_what_the_measurement_says() -> None:
    found = resolve_engine(EngineSection(dtype="auto", device="cpu"))
    faster = precision.bfloat16_is_faster("cpu")
    assert found.dtype == ("bfloat16" if faster else "float32")
    measured = precision.products()
    assert measured.float32_s > 0 and measured.bfloat16_s > 0


def test_servers_need_a_named_dtype() -> None:
    with pytest.raises(ValueError, match=r"'openai' with dtype 'auto'.*'bfloat16' or 'float32'"):
        EngineSection(kind="openai", dtype="auto", base_urls=("http://here:8000/v1",))


def test_a_training_job_needs_a_named_precision(tmp_path: Path) -> None:
    job = TrainingJob(
        policy=tmp_path, sft=_config(tmp_path).sft, seed=0, device="cpu",
        work=tmp_path, metrics=tmp_path / "metrics.jsonl", title="M1",
    )  # fmt: skip
    with pytest.raises(ValueError, match="M1: precision is 'auto'"):
        _ = job.section
