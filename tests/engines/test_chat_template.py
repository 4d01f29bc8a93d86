from __future__ import annotations

from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

from core.config import DATE
from core.errors import ModelError
from core.records import Message, user
from engines.chat_template import ChatTemplate
from engines.models import load_tokenizer

CHAT: list[Message] = [
    {"role": "system", "content": " Be brief. "},
    *user("1 < 2 & 'é'?"),
    {"role": "assistant", "content": "<think>hm</think>Yes"},
    *user("Sure?"),
]


@pytest.fixture(scope="module")
def tokenizer(tiny: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(tiny)


def render(tokenizer: PreTrainedTokenizerBase, source: str) -> str:
    tokenizer.chat_template = source
    return ChatTemplate(tokenizer, DATE).render(CHAT, prompt=True)


@pytest.mark.parametrize(
    "source",
    [
        "{% for m in messages %}{{ loop.index0 ~ '/' ~ loop.length }}{% if loop.last %}!{% endif %}"
        "{{ m['content'] | trim }}\n{% endfor %}",
        "{% for m in messages[1:] if m.role == 'user' %}{% if loop.index > 1 %}"
        "{% break %}{% endif %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
        "{{ messages | tojson }}{{ messages | tojson(indent=2) }}",
        "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + m.content|length"
        " %}"
        "{% endfor %}{{ ns.n * 2 - 3 ** 2 }}{{ 'ab' * 3 + bos_token|default('', true) ~ none }}",
        "{%- macro turn(m) -%}[{{ m.role }}]{{ m.content.split('</think>')[-1] }}{%- endmacro -%}\n"
        "  {% for m in messages %}\n    {{ turn(m) }}{{ eos_token }}\n  {% endfor %}\n",
        "{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}{{ tools }}{{ missing }}"
        "{% for x in missing %}{% endfor %}{% for m in messages[::-1] recursive %}{{ m.role }}"
        "{% if loop.depth < 3 %}{{ loop([m]) }}{% endif %}{% endfor %}",
        "{% if add_generation_prompt %}{{ 'a,b'.split(',') | join('-') }}{% endif %}"
        "{{ range(3) | list }}{{ '%s' % 4 }}{{ messages | map(attribute='role') | unique | list }}",
    ],
)
def test_templates_render_as_with_transformers(
    tokenizer: PreTrainedTokenizerBase, source: str
) -> None:
    found = render(tokenizer, source)
    assert found
    assert found == tokenizer.apply_chat_template(CHAT, add_generation_prompt=True, tokenize=False)


HOSTILE = {
    "syntax": ("{% if %}", "line 1 (TemplateSyntaxError"),
    "unclosed": ("{% for m in messages %}", "TemplateSyntaxError"),
    "filter": ("{{ messages | nofilter }}", "No filter named"),
    "function": ("{{ nothing() }}", "'nothing' is undefined"),
    "attribute": ("{{ messages[99].content }}", "no element 99"),
    "type": ("{{ messages[0].content + 3 }}", "TypeError"),
    "number": ("{{ 1 / 0 }}", "ZeroDivisionError"),
    "refuses": ("{{ raise_exception('Roles must alternate') }}", "(Roles must alternate)"),
    "wordless": ("{{ raise_exception('') }}", "(TemplateError)"),
    "include": ("{% include '/etc/passwd' %}", "no loader"),
    "import": ("{{ ''.__class__.__mro__ }}", "unsafe"),
    "changes": ("{{ messages.append(3) }}", "unsafe"),
    "nested": ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "RecursionError"),
    "self": ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError"),
    "loops": (
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "does not come to an end",
    ),
    "levels": (
        "{% for a in range(9000) recursive %}{{ loop(range(9000)) }}{% endfor %}",
        "does not come to an end",
    ),
    "calls": (
        "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(50) }}",
        "does not come to an end",
    ),
    "plus": (
        "{% set n = namespace(s='a') %}{% for i in range(60) %}{% set n.s=n.s+n.s %}{% endfor %}",
        "does not come to an end",
    ),
    "tilde": (
        "{% set n = namespace(s='a') %}{% for i in range(60) %}{% set n.s=n.s~n.s %}{% endfor %}",
        "does not come to an end",
    ),
    "times": ("{{ 'a' * 10 ** 12 }}", "does not come to an end"),
    "power": ("{{ 9 ** (9 ** 12) }}", "does not come to an end"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_whatever_is_wrong_with_a_template_is_one_error(
    tokenizer: PreTrainedTokenizerBase, name: str
) -> None:
    source, reason = HOSTILE[name]
    with pytest.raises(ModelError, match="its chat template does not render") as caught:
        render(tokenizer, source)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
