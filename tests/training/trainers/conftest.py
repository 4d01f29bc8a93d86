from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second tiny model with the same tokenizer and other weights."""
    from engines.embedded import make_tiny

    folder = tmp_path_factory.mktemp("models") / "other"
    make_tiny(folder, ["The quick brown fox jumps over the lazy dog. Score: 4"] * 3, seed=9)
    return folder
