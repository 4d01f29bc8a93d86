from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from core.records import user
from engines.engine import Continuation
from engines.models import load_tokenizer
from engines.prompting import Pair, Prompter


@pytest.fixture(scope="module")
def prompter(tiny: Path) -> Prompter:
    return Prompter(load_tokenizer(tiny))


def test_raw_text_is_rendered_as_it_stands_without_a_template(
    prompter: Prompter, tiny: Path
) -> None:
    ids = prompter.render("The quick brown fox")
    assert load_tokenizer(tiny).decode(ids) == "The quick brown fox"


def test_a_conversation_is_rendered_up_to_where_the_assistant_begins(
    prompter: Prompter, tiny: Path
) -> None:
    text = load_tokenizer(tiny).decode(prompter.render(user("Hi")))
    assert text == "<|user|>\nHi<|end|>\n<|assistant|>\n"


def test_a_system_turn_that_the_template_refuses_opens_the_users_turn(
    tiny: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "m"
    shutil.copytree(tiny, folder)
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no') }}"
        "{% endif %}[{{ m['content'] }}]{% endfor %}"
    )
    tokenizer = load_tokenizer(folder)
    ids = Prompter(tokenizer).render([{"role": "system", "content": "Be brief."}, *user("Hi")])
    assert tokenizer.decode(ids) == "[Be brief.\n\nHi]"


def with_beginning(tiny: Path, target: Path) -> Prompter:
    """A tokenizer that opens every text with <|system|>, as Llama's does with its own token."""
    from tokenizers.processors import TemplateProcessing

    tokenizer = load_tokenizer(tiny)
    begin = tokenizer.convert_tokens_to_ids("<|system|>")
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|system|> $A", special_tokens=[("<|system|>", begin)]
    )
    tokenizer.bos_token = "<|system|>"
    return Prompter(tokenizer)


def test_the_beginning_of_text_token_comes_once(tiny: Path, tmp_path: Path) -> None:
    prompter = with_beginning(tiny, tmp_path)
    begin = load_tokenizer(tiny).convert_tokens_to_ids("<|system|>")
    for text in ("Hi", "<|system|>Hi"):
        assert prompter.render(text).count(begin) == 1


def test_an_empty_context_is_one_beginning_or_else_end_of_text_token(
    prompter: Prompter, tiny: Path, tmp_path: Path
) -> None:
    tokenizer = load_tokenizer(tiny)
    fox = tokenizer("fox", add_special_tokens=False).input_ids
    assert prompter.pairs([Continuation("", "fox")]) == [Pair([tokenizer.eos_token_id], fox)]
    begin = tokenizer.convert_tokens_to_ids("<|system|>")
    opened = with_beginning(tiny, tmp_path)
    assert opened.pairs([Continuation("", "fox")]) == [Pair([begin], fox)]
    # A continuation that spells the token out gives it as context: it is not scored.
    assert opened.pairs([Continuation("", "<|system|>fox")]) == [Pair([begin], fox)]


def test_spaces_at_the_end_of_a_context_belong_to_the_continuation(prompter: Prompter) -> None:
    assert prompter.pairs([Continuation("The lazy ", "dog.")]) == prompter.pairs(
        [Continuation("The lazy", " dog.")]
    )


def test_only_what_follows_the_context_is_scored(prompter: Prompter) -> None:
    (pair,) = prompter.pairs([Continuation("The lazy", " dog.")])
    assert pair.context == prompter.encode("The lazy")
    assert pair.target
    assert pair.context + pair.target == prompter.encode("The lazy dog.")


def test_equal_contexts_have_equal_tokens_whatever_follows(prompter: Prompter) -> None:
    # "jum" and "ps" join into other tokens than "jum" alone; lm-eval keeps the context's own.
    first, second = prompter.pairs([Continuation("The jum", "ps"), Continuation("The jum", "!")])
    assert first.context == second.context == prompter.encode("The jum")


def test_a_continuation_after_a_conversation_is_tokenised_on_its_own(
    prompter: Prompter, tiny: Path
) -> None:
    tokenizer = load_tokenizer(tiny)
    context = tuple(user("Which is better?"))
    found = prompter.pairs([Continuation(context, "m"), Continuation(context, " fox")])
    assert [pair.context for pair in found] == [prompter.render(list(context))] * 2
    assert [pair.target for pair in found] == [
        tokenizer("m", add_special_tokens=False).input_ids,
        tokenizer(" fox", add_special_tokens=False).input_ids,
    ]
