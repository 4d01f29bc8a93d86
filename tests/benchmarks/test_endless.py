from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.endless import without_end
from engines.models import load_model, load_tokenizer, stop_ids


def test_only_the_end_of_turn_changes(tiny: Path, tmp_path: Path) -> None:
    folder = without_end(tiny, tmp_path / "endless", unsaid="<|system|>")
    before, after = load_tokenizer(tiny), load_tokenizer(folder)
    unsaid = before.convert_tokens_to_ids("<|system|>")
    model = load_model(folder, torch.float32)
    assert stop_ids(model, after) == {unsaid}
    assert stop_ids(load_model(tiny, torch.float32), before) == {before.eos_token_id}
    assert unsaid != before.eos_token_id
    assert after.pad_token_id == before.pad_token_id
    turns = [{"role": "user", "content": "The quick brown fox"}]
    assert after.apply_chat_template(turns) == before.apply_chat_template(turns)
    assert (folder / "model.safetensors").resolve() == (tiny / "model.safetensors").resolve()
