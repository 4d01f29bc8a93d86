"""The base class of configuration sections, and their constrained number types."""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue
from pydantic_core import PydanticCustomError

HIDDEN = "hidden"
"""The type of a validation error whose value may be a password or a key: it is not shown."""


def _server_url(url: str) -> str:
    if not re.fullmatch(r"https?://[^/@?#\s]+(/[^@?#\s]*)?", url):
        message = (
            "an address begins with http:// or https:// and holds no password, '?' or '#': keys "
            "come from the environment variable that api_key_env names"
        )
        raise PydanticCustomError(HIDDEN, message)
    return url


def _variable(name: str) -> str:
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name):
        message = (
            "not the name of an environment variable (A-Z, 0-9, _): the key itself never enters a "
            "file; set the variable to the key and write the variable's name here"
        )
        raise PydanticCustomError(HIDDEN, message)
    return name


def _template_variables(given: dict[str, JsonValue]) -> dict[str, JsonValue]:
    for name in given:
        if not re.fullmatch(r"[A-Za-z]\w*", name) or name in _TEMPLATES_OWN:
            raise ValueError(f"{name!r} is no variable of a chat template that can be set")
    return given


def _columns(given: dict[str, str]) -> dict[str, str]:
    for name in given:
        if name not in _FIELDS:
            raise ValueError(f"{name!r} is no field that is read; there are {', '.join(_FIELDS)}")
    return given


_FIELDS = (
    "messages", "conversations", "system", "instruction", "input", "output", "prompt", "response",
    "completion", "chosen", "rejected", "question", "answer", "rank", "key", "split",
)  # fmt: skip


def _named_or_file(names: tuple[str, ...], given: str) -> str:
    if given not in names and not given.endswith(".md"):
        listed = ", ".join(f"'{name}'" for name in names)
        raise ValueError(f"expected {listed} or the path of a Markdown file (.md)")
    return given


_TEMPLATES_OWN = frozenset({"messages", "add_generation_prompt", "tokenize", "return_dict"})
Probability = Annotated[float, Field(gt=0.0, le=1.0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1, le=10**9)]
Tally = Annotated[int, Field(ge=0, le=10**9)]
Tokens = Annotated[int, Field(ge=1, le=10**6)]
Draws = Annotated[int, Field(ge=1, le=1000)]
Epochs = Annotated[float, Field(gt=0.0, le=10_000)]
Rate = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Reading = Literal["words", "expected"]
PACKAGED_RUBRICS = ("additive", "li", "verifiable")
RubricName = Annotated[str, AfterValidator(partial(_named_or_file, PACKAGED_RUBRICS))]
PairRubricName = Annotated[
    str, AfterValidator(partial(_named_or_file, ("alpaca_eval", "mt_bench", "first_token")))
]
CheckpointPromptName = Annotated[
    str, AfterValidator(partial(_named_or_file, ("alpaca_eval", "pointwise")))
]
MetaPromptName = Annotated[str, AfterValidator(partial(_named_or_file, ("meta",)))]
TemplateVariables = Annotated[dict[str, JsonValue], AfterValidator(_template_variables)]
ServerUrl = Annotated[str, AfterValidator(_server_url)]
Columns = Annotated[dict[str, str], AfterValidator(_columns)]
KeyVariable = Annotated[str, AfterValidator(_variable)]


class Section(BaseModel):
    """A part of the configuration: no unknown keys, finite numbers, no changes after loading."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    added: ClassVar[frozenset[str]] = frozenset()
    """Settings that came after a release: no part of a key while they have their default, which
    does what the release did. Artifacts made before them stay current."""

    def has_default(self, name: str) -> bool:
        """Whether a setting has its default."""
        return bool(getattr(self, name) == type(self).model_fields[name].get_default())

    def for_key(self) -> dict[str, Any]:
        """Return the section as JSON values, for an artifact's key."""
        plain = self.model_dump(mode="json")
        for name in type(self).model_fields:
            value = getattr(self, name)
            if name in self.added and self.has_default(name):
                del plain[name]
            elif isinstance(value, Section):
                plain[name] = value.for_key()
        return plain
