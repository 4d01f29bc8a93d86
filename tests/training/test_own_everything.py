"""A stranger's path: the README's file with one's own model, chats, reward model and rubric."""

from __future__ import annotations

import re
from pathlib import Path

from core.config import load_config
from core.stages import model_ref
from tests.conftest import ROOT
from training.seed_stages import seed_stages

_OWN = ("/models/my-sft", "chats.jsonl", "/models/my-reward", "my_rubric.md")
_MOST_LINES = 20


def shown() -> str:
    """The README's configuration that names everything of one's own."""
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    found: str
    (found,) = [block for block in blocks if all(f'"{name}"' in block for name in _OWN)]
    return found


def test_the_configuration_is_short_valid_and_begins_at_m1(tmp_path: Path) -> None:
    text = shown()
    assert len(text.splitlines()) <= _MOST_LINES
    file = tmp_path / "mine.toml"
    file.write_text(text)
    config = load_config(file)
    assert (config.m1.model, config.prompts.source, config.improvement.judge) == (*_OWN[:3],)
    assert config.judge.rubric == _OWN[3]
    assert config.dpo.early_stopping.prompt == "pointwise"  # so that the rubric is used
    assert set(seed_stages(config)) == {model_ref(1)}
