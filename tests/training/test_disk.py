from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from core.config import DpoSection, LoraSection, SftSection
from core.errors import StorageError
from engines.models import load_model
from tests.training import together
from training.disk import Disk, check_room, parameters_of, training_disk

N = 8_000_000_000


def test_an_8b_model_by_hand() -> None:
    # 3,200 rows in steps of 16 are 200 steps, one checkpoint of 4 + 8 bytes a weight; the model
    # is written in fp32.
    assert training_disk(SftSection(), parameters=N, rows=3200) == Disk(12 * N, 0, 4 * N)
    # 250 steps: checkpoints at 200 and 250.
    assert training_disk(SftSection(), parameters=N, rows=4000).checkpoints == 24 * N
    # Of more, two are kept while the next one is written; so if the rows are not known.
    assert training_disk(SftSection(), parameters=N, rows=20_000).checkpoints == 36 * N
    assert training_disk(SftSection(), parameters=N, rows=None).checkpoints == 36 * N
    half = SftSection(save_dtype="bfloat16", max_steps=1)
    assert training_disk(half, parameters=N, rows=20_000) == Disk(12 * N, 0, 2 * N)


def test_compared_checkpoints_by_hand() -> None:
    # Checkpoints every gcd(200, 150) = 50 steps of 100; the best stays, in fp32.
    section = DpoSection()
    found = training_disk(section, parameters=N, rows=1600, compared_every=150)
    assert found == Disk(24 * N, 4 * N, 4 * N)
    # Launched processes add the whole model to each: their checkpoints hold shards.
    found = training_disk(section, parameters=N, rows=1600, compared_every=150, apart=True)
    assert found == Disk(32 * N, 4 * N, 4 * N)
    # Adapters of 1,000 weights: 12,000 bytes and, compared, the whole model.
    found = training_disk(section, parameters=N, rows=1600, adapters=1000, compared_every=150)
    assert found == Disk(2 * (12_000 + 4 * N), 4 * N, 4 * N)
    assert training_disk(section, parameters=N, rows=1600, adapters=1000).checkpoints == 12_000


def test_weights_are_counted_without_being_loaded(tiny: Path) -> None:
    import torch

    loaded = load_model(tiny, torch.float32)
    assert parameters_of(tiny) == sum(weight.numel() for weight in loaded.parameters())


class Usage(NamedTuple):
    free: int


def check(
    tiny: Path, folder: Path, free: int, monkeypatch: pytest.MonkeyPatch, **more: Any
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free))
    check_room(together.job(tiny, folder, **more), 11, compared=False, apart=False)


def test_a_full_disk_is_an_error_before_training(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 11 rows in 2 epochs and steps of 4: 6 steps, checkpoints at 2, 4 and 6: 3 x 12 + 4 bytes.
    needed = 40 * parameters_of(tiny)
    check(tiny, tmp_path, needed, monkeypatch)
    with pytest.raises(StorageError, match=r"test writes up to 0\.0 GB.*set out_dir") as caught:
        check(tiny, tmp_path, needed - 1, monkeypatch)
    assert caught.value.exit_code == 2
    # What an interrupted attempt wrote is part of it.
    (tmp_path / "work" / "checkpoint-2").mkdir()
    (tmp_path / "work" / "checkpoint-2" / "model.safetensors").write_bytes(b"x")
    check(tiny, tmp_path, needed - 1, monkeypatch)


def test_adapters_need_room_for_the_model_only(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = 4 * parameters_of(tiny)
    check(tiny, tmp_path, needed, monkeypatch, lora=LoraSection(enabled=True))
    with pytest.raises(StorageError):
        check(tiny, tmp_path, needed - 1, monkeypatch, lora=LoraSection(enabled=True))
