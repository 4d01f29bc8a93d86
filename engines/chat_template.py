"""Chat templates, rendered in Jinja's sandbox as transformers does, with bounded work.

Templates come with models of others: whatever is wrong with one (syntax, types, its own
`raise_exception`, loops without end) is one `ModelError`.
"""

from __future__ import annotations

import datetime
import json
from typing import TYPE_CHECKING, Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.compiler import CodeGenerator
from jinja2.ext import Extension, loopcontrols
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from core.errors import ModelError, first_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jinja2.compiler import Frame
    from jinja2.parser import Parser
    from jinja2.runtime import Context
    from transformers import PreTrainedTokenizerBase

    from core.records import Message

# Turns of loops, calls, and pieces of text made in one rendering. Published templates need some
# ten a message; this many take at most two seconds.
_MOST_STEPS = 200_000
_CHARACTERS_PER_STEP = 64
_STEPS = "_steps_left"


class ChatTemplate:
    """A tokenizer's chat template."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        date: datetime.date,
        variables: Mapping[str, Any] | None = None,
    ) -> None:
        """Compile it; `date` is its today. Raises `ModelError` if it is no template.

        `variables` are what else it is told, such as {"enable_thinking": False}.
        """
        self._name = tokenizer.name_or_path
        self._variables = {"tools": None, "documents": None, **tokenizer.special_tokens_map}
        self._variables |= variables or {}
        environment = _Environment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
        )
        environment.code_generator_class = _Counting
        environment.filters["tojson"] = _to_json
        midnight = datetime.datetime.combine(date, datetime.time())
        environment.globals |= {"raise_exception": _refuse, "strftime_now": midnight.strftime}
        try:
            self._template = environment.from_string(tokenizer.get_chat_template())
        except Exception as error:
            raise self._error(error) from error

    def render(self, messages: Sequence[Message], *, prompt: bool, **variables: Any) -> str:
        """Return a conversation's text, with the assistant's header behind it if for a `prompt`.

        Raises:
            ModelError: the template fails, refuses the conversation or does not come to an end.
        """
        given = {**self._variables, **variables, _STEPS: [_MOST_STEPS]}
        try:
            return self._template.render(messages=messages, add_generation_prompt=prompt, **given)
        except Exception as error:
            raise self._error(error) from error

    def _error(self, error: Exception) -> ModelError:
        kind = "" if type(error) is jinja2.TemplateError else f"{type(error).__name__}: "
        line = getattr(error, "lineno", None)
        where = f" in line {line}" if line else ""
        return ModelError(
            f"{self._name}: its chat template does not render{where} ({kind}{first_line(error)}); "
            "correct it, or set model.chat_template to a Jinja file"
        )


class _Environment(ImmutableSandboxedEnvironment):
    """Counts what a template does; in it nothing but loops and calls takes long."""

    intercepted_binops = frozenset({"+", "*", "**"})

    def call(self, context: Context, called: Any, /, *args: Any, **kwargs: Any) -> Any:
        _count(context, 1)
        if isinstance(called, LoopContext):  # a recursive loop's next level
            args = (self.counted(context, args[0]),)
        return super().call(context, called, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        sizes = _size(left), _size(right)
        if isinstance(left, int) and isinstance(right, int):
            _count(context, sizes[0] * right if operator == "**" else sum(sizes))
        else:
            times = next((n for n in (left, right) if isinstance(n, int)), 1)
            _count(context, sum(sizes) * times // _CHARACTERS_PER_STEP)
        return super().call_binop(context, operator, left, right)

    @jinja2.pass_context
    def counted(self, context: Context, items: Any) -> Any:
        """Return what a loop runs over."""
        items = items if hasattr(items, "__len__") else list(items)
        _count(context, len(items))
        return items

    @jinja2.pass_context
    def joined(self, context: Context, *parts: Any) -> str:
        """Return what the operator ~ does."""
        texts = [str(part) for part in parts]
        _count(context, sum(map(len, texts)) // _CHARACTERS_PER_STEP)
        return "".join(texts)


class _Counting(CodeGenerator):
    """Compiles loops and the operator ~ to calls that the environment counts."""

    def visit_For(self, node: nodes.For, frame: Frame) -> None:  # noqa: N802 - Jinja's name
        node.iter = _call("counted", [node.iter])
        super().visit_For(node, frame)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802 - Jinja's name
        self.visit(_call("joined", node.nodes).set_environment(self.environment), frame)


class _Generation(Extension):
    """The tag `generation`, which marks the assistant's words for training: its body as it is."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's type

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _call(name: str, arguments: list[Any]) -> nodes.Call:
    return nodes.Call(nodes.EnvironmentAttribute(name), arguments, [], None, None)


def _count(context: Context, steps: int) -> None:
    left = context[_STEPS]
    left[0] -= max(0, steps)
    if left[0] < 0:
        raise jinja2.TemplateError("it does not come to an end")


def _size(value: Any) -> int:
    """Return a value's characters, items or bits."""
    if isinstance(value, int):
        return value.bit_length()
    return len(value) if hasattr(value, "__len__") else 0


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )
