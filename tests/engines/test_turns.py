from __future__ import annotations

from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

from core.errors import ModelError
from core.records import user
from engines.models import load_tokenizer
from engines.prompting import Prompter
from engines.turns import assistant_turn

# Qwen 3's: an answered turn has an empty thought in front of the answer.
QWEN = (
    "{% for m in messages %}<|{{ m.role }}|>\n{% if m.role == 'assistant' %}<think>\n\n</think>\n\n"
    "{% endif %}{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
# Llama 2's: a space on both sides of the answer.
LLAMA = (
    "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %}"
    " {{ m.content }} <|end|>{% endif %}{% endfor %}"
)


@pytest.fixture
def tokenizer(tiny: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(tiny)


def around(tokenizer: PreTrainedTokenizerBase, template: str) -> tuple[str, str, str]:
    tokenizer.chat_template = template
    prompter = Prompter(tokenizer)
    turn = assistant_turn(prompter, [tokenizer.eos_token_id])
    return tokenizer.decode(turn.opening), tokenizer.decode([turn.end]), turn.difference


def test_most_templates_put_nothing_between_prompt_and_answer(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    assert around(tokenizer, str(tokenizer.chat_template)) == ("", "<|end|>", "")


def test_what_a_template_writes_before_an_answer_is_trained(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    assert around(tokenizer, QWEN) == ("<think>\n\n</think>\n\n", "<|end|>", "")


@pytest.mark.parametrize("name", ["r1", "qwq"])
def test_a_thought_that_the_prompt_opens_is_closed_before_an_answer(
    tokenizer: PreTrainedTokenizerBase, shared: Path, name: str
) -> None:
    template = (shared / "cases" / f"{name}.jinja").read_text().replace("<|im_end|>", "<|end|>")
    assert around(tokenizer, template) == ("\n</think>\n\n", "<|end|>", "")
    text = tokenizer.decode(Prompter(tokenizer).render(user("Hi")))
    assert text.endswith("<think>\n")  # sampled as the template renders


def test_a_turn_that_the_template_renders_otherwise_is_told(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    opening, end, difference = around(tokenizer, LLAMA)
    assert (opening, end) == ("", "<|end|>")
    assert "...'[INST] question [/INST] answer <|end|>'" in difference
    assert "...'[INST] question [/INST]answer<|end|>'" in difference


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for m in messages %}{{ m.content }}{% endfor %}", "would never stop"),
        ("Hi<|end|>", "leaves out the assistant's text"),
        ("{% if messages|length > 1 %}answer<|end|>{% endif %}", "leaves out the user's text"),
    ],
)
def test_templates_that_end_no_turn_or_drop_text_are_refused(
    tokenizer: PreTrainedTokenizerBase, template: str, reason: str
) -> None:
    with pytest.raises(ModelError, match=reason):
        around(tokenizer, template)
