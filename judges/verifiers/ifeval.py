"""IFEval's prompts and checker: which instructions of a prompt does a response follow?

lm-eval's own functions decide. Some of them draw random numbers: language detection, and
instructions whose arguments they cannot use (the letter "!" is replaced by a random letter). Both
generators are seeded here for each check, so that a response is always judged the same way.

Source: lm-eval 0.4.13, lm_eval/tasks/ifeval (a copy of google-research's checker).
"""

from __future__ import annotations

import importlib.util
import random
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard, TypeVar

from core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

T = TypeVar("T")

_UNUSABLE = (ValueError, TypeError, KeyError, AttributeError)
_PUNKT = "tokenizers/punkt_tab/english/"  # nltk's English sentence splitter
_SEED = 0


class Followed(NamedTuple):
    """Per instruction of a prompt, in order: is it followed?

    `loose` also accepts the response without asterisks and without its first or last line, where a
    model may have put an introduction or a closing remark.
    """

    strict: tuple[bool, ...]
    loose: tuple[bool, ...]


class IfevalPrompt(NamedTuple):
    """A prompt with the instructions that a response to it must follow."""

    key: str
    text: str
    instructions: tuple[str, ...]
    arguments: tuple[dict[str, Any], ...]


def check(
    prompt: str, instructions: Sequence[str], arguments: Sequence[Mapping[str, Any]], response: str
) -> Followed:
    """Return which instructions a response follows; an empty response follows none.

    Args:
        prompt: the whole prompt, for instructions that ask to repeat it.
        instructions: ids such as "punctuation:no_comma".
        arguments: of each instruction, such as {"num_bullets": 3}; None values count as absent.
        response: the model's answer.

    Raises:
        ConfigError: lm-eval's checker or nltk's sentence splitter is not installed.
        ValueError, TypeError, KeyError, AttributeError: an instruction does not exist or does not
            take these arguments.
    """
    lm_eval = _lm_eval()
    strict, loose = [], []
    for name, given in zip(instructions, arguments, strict=True):
        one = lm_eval.InputExample(0, [name], prompt, [dict(given)])
        strict.append(_followed(lm_eval.test_instruction_following_strict, one, response))
        # The loose reading tries the response as it is first, so strict implies loose.
        loose.append(
            strict[-1] or _followed(lm_eval.test_instruction_following_loose, one, response)
        )
    return Followed(tuple(strict), tuple(loose))


def _followed(test: Any, one: Any, response: str) -> bool:
    with _seeded():
        try:
            return bool(test(one, response).follow_all_instructions)
        except RecursionError:  # the JSON check on thousands of open brackets
            return False


@contextmanager
def _seeded() -> Iterator[None]:
    """Seed Python's generator, which the checker draws from, and restore it afterwards."""
    before = random.getstate()
    random.seed(_SEED)
    try:
        yield
    finally:
        random.setstate(before)


@cache
def _lm_eval() -> Any:
    """Return lm-eval's checker, with language detection seeded."""
    _find_sentence_splitter()
    try:
        import langdetect
        from lm_eval.tasks.ifeval import utils
    except ImportError as error:
        message = f"IFEval needs {error.name}; install it with pip install 'lm-eval[ifeval]'"
        raise ConfigError(message) from None
    langdetect.DetectorFactory.seed = _SEED
    return utils


def _find_sentence_splitter() -> None:
    """Let nltk find its sentence splitter: its own copy, the installed package's, or a download.

    `make setup` installs llama-index-core without its dependencies, for the copy inside it.
    """
    import nltk

    package = importlib.util.find_spec("llama_index.core")
    if package is not None and package.origin is not None:
        nltk.data.path.append(str(Path(package.origin).parent / "_static" / "nltk_cache"))
    try:
        nltk.data.find(_PUNKT)
    except LookupError:
        if not nltk.download("punkt_tab", quiet=True):
            message = (
                "IFEval needs nltk's sentence splitter, which is neither installed nor can be "
                "downloaded; run `make setup`, or `python -m nltk.downloader punkt_tab` online"
            )
            raise ConfigError(message) from None


def read_prompt(origin: Path | str, line: int, row: dict[str, Any]) -> IfevalPrompt:
    """Read one row in the schema of google/IFEval.

    Raises:
        DataError: a field is missing, or an instruction cannot be checked with its arguments.
    """
    key, text = row.get("key"), row.get("prompt")
    names, given = row.get("instruction_id_list"), row.get("kwargs")
    if not isinstance(key, int | str) or not isinstance(text, str) or not text.strip():
        raise DataError(origin, line, 'expected "key" (a number) and "prompt" (text)')
    if not (_are(names, str) and _are(given, dict) and len(names) == len(given)):
        what = 'expected "instruction_id_list" and "kwargs", two lists of the same length'
        raise DataError(origin, line, what)
    arguments = tuple({k: v for k, v in one.items() if v is not None} for one in given)
    try:
        check(text, names, arguments, "")
    except _UNUSABLE as error:
        what = f"instructions {', '.join(names)} cannot be checked with these kwargs: {error}"
        raise DataError(origin, line, what) from None
    return IfevalPrompt(str(key), text, tuple(names), arguments)


def _are(values: Any, kind: type[T]) -> TypeGuard[list[T]]:
    return isinstance(values, list) and bool(values) and all(isinstance(v, kind) for v in values)
