from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import pytest
import torch

from core.config import EngineSection, ModelSection
from core.errors import ConfigError, ModelError
from core.hashing import sha256_file
from core.records import user
from engines.embedded import embedded_folder, link, make_tiny, materialise
from engines.engine import Continuation, Decoding, Request
from engines.hf.engine import HFEngine
from engines.models import Usable, check_folder, check_usable, load_model, load_tokenizer

TEXTS = ["The quick brown fox jumps over the lazy dog."]


def test_the_tiny_model_is_the_same_for_the_same_seed_and_another_for_another(
    tmp_path: Path,
) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        make_tiny(tmp_path / name, TEXTS, seed=seed)
    digest = {name: sha256_file(tmp_path / name / "model.safetensors") for name in "abc"}
    assert digest["a"] == digest["b"] != digest["c"]
    tokenizers = {(tmp_path / name / "tokenizer.json").read_bytes() for name in "abc"}
    assert len(tokenizers) == 1


def test_a_local_folder_becomes_m0_without_copying_its_weights(tiny: Path, tmp_path: Path) -> None:
    target = tmp_path / "m0"
    origin = materialise(ModelSection(base=str(tiny)), target, seed=0, texts=[])
    assert origin == f"local folder {tiny.resolve()}"
    weights = target / "model.safetensors"
    assert weights.samefile(tiny / "model.safetensors")
    assert not weights.is_symlink()  # it stays when the folder moves
    assert check_usable(target, ModelSection()) == Usable(4096, "")


def test_a_link_to_another_file_system_is_symbolic(tmp_path: Path) -> None:
    far = Path("/dev/shm") / f"srlm-{tmp_path.name}"
    if not far.parent.is_dir() or far.parent.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs two file systems")
    try:
        far.write_text("weights")
        link(far, tmp_path / "w")
        assert (tmp_path / "w").is_symlink()
        assert (tmp_path / "w").read_text() == "weights"
    finally:
        far.unlink(missing_ok=True)


def test_a_chat_template_can_be_given_to_a_base_model_without_one(
    tiny: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    materialise(ModelSection(base=str(tiny)), base, seed=0, texts=[])
    (base / "chat_template.jinja").unlink()
    template = tmp_path / "llama2.jinja"
    template.write_text("{% for m in messages %}[INST] {{ m['content'] }} [/INST]{% endfor %}")
    target = tmp_path / "m0"
    section = ModelSection(base=str(base), chat_template=str(template))
    materialise(section, target, seed=0, texts=[])
    rendered = load_tokenizer(target).apply_chat_template(user("Hi"), tokenize=False)
    assert rendered == "[INST] Hi [/INST]"
    missing = ModelSection(base=str(base), chat_template=str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"model\.chat_template = .*nowhere: no such file"):
        materialise(missing, tmp_path / "m1", seed=0, texts=[])


def test_a_generation_config_that_cannot_be_saved_is_repaired(
    tiny: Path, tmp_path: Path, shared: Path
) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny, base)
    settings = json.loads(
        (shared / "cases" / "generation_config_without_do_sample.json").read_text()
    )
    (base / "generation_config.json").write_text(json.dumps(settings | {"eos_token_id": [1, 2]}))
    with pytest.raises(ValueError, match="do_sample"):  # as it would after training
        load_model(base, torch.float32).save_pretrained(tmp_path / "m1")
    materialise(ModelSection(base=str(base)), tmp_path / "m0", seed=0, texts=[])
    model = load_model(tmp_path / "m0", torch.float32)
    model.save_pretrained(tmp_path / "m1")
    assert model.generation_config is not None
    assert model.generation_config.eos_token_id == [1, 2]


def test_a_pad_token_below_zero_is_repaired_too(tiny: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny, base)
    settings = {"pad_token_id": -1, "eos_token_id": 1, "temperature": 0.6}
    (base / "generation_config.json").write_text(json.dumps(settings))
    materialise(ModelSection(base=str(base)), tmp_path / "m0", seed=0, texts=[])
    model = load_model(tmp_path / "m0", torch.float32)
    model.save_pretrained(tmp_path / "m1")
    assert model.generation_config is not None
    assert model.generation_config.eos_token_id == 1


def test_weights_are_copied_where_there_are_no_links(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    for kind in ("hardlink_to", "symlink_to"):
        monkeypatch.setattr(Path, kind, refuse)
    materialise(ModelSection(base=str(tiny)), tmp_path / "m0", seed=0, texts=[])
    assert sha256_file(tmp_path / "m0" / "model.safetensors") == sha256_file(
        tiny / "model.safetensors"
    )


def test_a_pad_token_without_embedding_is_the_end_of_turn_and_other_tokens_are_refused(
    tiny: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "m"
    shutil.copytree(tiny, folder)
    tokenizer = load_tokenizer(folder)
    known = len(tokenizer)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": known}))
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(folder)
    assert load_tokenizer(folder).pad_token == "<|end|>"
    check_usable(folder, ModelSection())
    tokenizer.add_tokens(["<think>"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(ModelError, match=f"'<think>' .{known + 1}. has no embedding.* {known}"):
        check_usable(folder, ModelSection())


def test_a_hub_model_that_cannot_be_reached_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    section = ModelSection(base="nobody/nothing-at-all")
    with pytest.raises(ModelError, match="'nobody/nothing-at-all': cannot be downloaded"):
        materialise(section, tmp_path / "m0", seed=0, texts=[])


def test_folders_that_are_no_models_are_refused_by_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model folder"):
        check_folder(tmp_path / "nowhere")
    with pytest.raises(ModelError, match=r"no config\.json"):
        check_folder(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"no \*\.safetensors files"):
        check_folder(tmp_path)


@pytest.mark.slow
def test_the_embedded_model_knows_what_a_language_model_knows(tmp_path: Path) -> None:
    target = tmp_path / "m0"
    origin = materialise(ModelSection(), target, seed=0, texts=[])
    assert "Apache-2.0" in origin
    # A copy, not a link: nothing done to a run reaches the cache that other runs share.
    assert not (target / "model.safetensors").is_symlink()
    assert sha256_file(target / "model.safetensors") == sha256_file(
        embedded_folder() / "model.safetensors"
    )
    engine = HFEngine(target, EngineSection(device="cpu", dtype="bfloat16"))
    right, wrong = engine.score(
        [
            Continuation("The capital of France is", " Paris"),
            Continuation("The capital of France is", " Berlin"),
        ]
    )
    assert right.total > wrong.total
    assert right.greedy
    asked = [Request("q", user("What is the capital of France?"))]
    (answer,) = engine.sample(asked, Decoding(0.0, 1.0, 24, seed=0))
    assert "Paris" in answer.text
