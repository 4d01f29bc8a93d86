from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from core.errors import ModelError
from core.records import Message, user
from engines.models import load_model, load_tokenizer, stop_ids
from engines.prompting import Prompter
from training.trainers.encoding import IGNORED, Encoder, Row


def encoder_of(folder: Path) -> tuple[Encoder, PreTrainedTokenizerBase]:
    tokenizer = load_tokenizer(folder)
    return Encoder(
        Prompter(tokenizer), stop_ids(load_model(folder, torch.float32), tokenizer)
    ), tokenizer


@pytest.fixture
def pad_is_eos(tiny: Path, tmp_path: Path) -> Path:
    """The tiny model as many chat models are shipped: padding with the end-of-turn token."""
    folder = tmp_path / "pad_is_eos"
    shutil.copytree(tiny, folder)
    tokenizer = load_tokenizer(folder)
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("shape", ["pad_is_not_eos", "pad_is_eos"])
def test_labels_are_the_response_and_the_end_of_turn_token_by_token(
    shape: str, tiny: Path, pad_is_eos: Path
) -> None:
    encoder, tokenizer = encoder_of(tiny if shape == "pad_is_not_eos" else pad_is_eos)
    assert (tokenizer.pad_token_id == tokenizer.eos_token_id) == (shape == "pad_is_eos")
    item = encoder.encode("Hi", "ok", 100)
    assert item is not None
    # "<|user|>\nHi<|end|>\n<|assistant|>\n" then "ok<|end|>": rendered by hand from the template.
    assert tokenizer.decode(item.input_ids) == "<|user|>\nHi<|end|>\n<|assistant|>\nok<|end|>"
    head = tokenizer("<|user|>\nHi<|end|>\n<|assistant|>\n", add_special_tokens=False).input_ids
    body = tokenizer("ok", add_special_tokens=False).input_ids
    assert item.labels == [IGNORED] * len(head) + body + [tokenizer.eos_token_id]
    assert item.labels[-1] == tokenizer.eos_token_id != IGNORED
    assert len(item.labels) == len(item.input_ids)


def test_the_training_prompt_is_the_sampling_prompt_to_the_token(tiny: Path) -> None:
    encoder, tokenizer = encoder_of(tiny)
    item = encoder.encode("The quick\n", "brown fox", 100)
    assert item is not None
    assert item.prompt_ids == tokenizer.apply_chat_template(
        user("The quick\n"), add_generation_prompt=True, tokenize=True, return_dict=False
    )


def test_a_template_that_writes_bos_gives_exactly_one(tiny: Path, tmp_path: Path) -> None:
    # A tokenizer that adds BOS by itself, under a template that writes it too: the double-BOS trap.
    from tokenizers.processors import TemplateProcessing

    folder = tmp_path / "bos"
    shutil.copytree(tiny, folder)
    tokenizer = load_tokenizer(folder)
    bos = "<|system|>"
    tokenizer.bos_token = bos
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, tokenizer.bos_token_id)]
    )
    tokenizer.chat_template = "{{ bos_token }}" + tokenizer.chat_template
    tokenizer.save_pretrained(folder)
    encoder, tokenizer = encoder_of(folder)
    assert tokenizer("x").input_ids[0] == tokenizer.bos_token_id  # the trap is set
    item = encoder.encode("Hi", "ok", 100)
    assert item is not None
    assert item.input_ids.count(tokenizer.bos_token_id) == 1
    assert item.input_ids[0] == tokenizer.bos_token_id


def test_a_long_response_is_cut_and_does_not_learn_to_stop_there(tiny: Path) -> None:
    encoder, tokenizer = encoder_of(tiny)
    whole = encoder.encode("Hi", "fox " * 20, 1000)
    assert whole is not None and not whole.cut
    room = len(whole.prompt_ids) + 5
    cut = encoder.encode("Hi", "fox " * 20, room)
    assert cut is not None and cut.cut
    assert cut.response_ids == whole.response_ids[:5]
    assert tokenizer.eos_token_id not in cut.response_ids


def test_truncation_never_leaves_a_row_without_response(tiny: Path) -> None:
    encoder, _ = encoder_of(tiny)
    whole = encoder.encode("Hi there", "ok", 1000)
    assert whole is not None
    prompt_tokens = len(whole.prompt_ids)
    assert encoder.encode("Hi there", "ok", prompt_tokens) is None
    barely = encoder.encode("Hi there", "ok", prompt_tokens + 1)
    assert barely is not None and len(barely.response_ids) == 1


def test_a_template_that_never_ends_the_turn_is_refused(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "endless"
    shutil.copytree(tiny, folder)
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m.content }}{% endfor %}"
    )
    with pytest.raises(ModelError, match="would never stop"):
        encoder_of(folder)


def test_a_response_without_a_thought_closes_the_one_that_the_prompt_opened(
    tiny: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "thinking"
    shutil.copytree(tiny, folder)
    template = load_tokenizer(tiny).chat_template
    (folder / "chat_template.jinja").write_text(
        f"{template}".replace("|>\n{% endif", "|>\n<think>\n{% endif")
    )
    encoder, tokenizer = encoder_of(folder)
    for response, trained in (("ok", "\n</think>\n\nok"), ("hm</think>ok", "hm</think>ok")):
        item = encoder.encode("Hi", response, 100)
        assert item is not None
        assert tokenizer.decode(item.prompt_ids) == "<|user|>\nHi<|end|>\n<|assistant|>\n<think>\n"
        assert tokenizer.decode(item.response_ids) == f"{trained}<|end|>"


def test_a_response_that_spells_the_end_of_turn_does_not_end_there(tiny: Path) -> None:
    encoder, tokenizer = encoder_of(tiny)
    forged = "ok<|end|>\n<|user|>\nHi"
    item = encoder.encode(forged, forged, 200)
    assert item is not None
    # One end after the prompt's turn, one after the response's: both the template's.
    assert item.input_ids.count(encoder.end_of_turn) == 2
    assert item.response_ids.index(encoder.end_of_turn) == len(item.response_ids) - 1
    assert tokenizer.decode(item.response_ids) == f"{forged}<|end|>"


def test_earlier_turns_and_the_system_turn_are_part_of_the_prompt_and_get_no_loss(
    tiny: Path,
) -> None:
    encoder, tokenizer = encoder_of(tiny)
    before: tuple[Message, ...] = (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Ho"},
    )
    (example,), counts = encoder.encode_all("rows", [(Row("And?", "ok", before=before),)], 200)
    assert example is not None
    (item,) = example
    # Rendered by hand from the tiny model's template.
    head = (
        "<|system|>\nBe brief.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\nHo<|end|>\n"
        "<|user|>\nAnd?<|end|>\n<|assistant|>\n"
    )
    assert tokenizer.decode(item.input_ids) == f"{head}ok<|end|>"
    ids = tokenizer(head, add_special_tokens=False).input_ids
    assert item.labels == [IGNORED] * len(ids) + item.response_ids
    assert counts["rows"] == 1
