"""Programs that know which answers are right: exact final answers and IFEval's instructions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from core.errors import DataError
from judges.verifiers.final_answer import check_final, wanted_answer
from judges.verifiers.ifeval import check, read_prompt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from judges.verifiers.ifeval import IfevalPrompt


class Verdict(NamedTuple):
    """Whether an answer is right, and what was found, in words."""

    right: bool
    found: str


def read_checks(
    rows: Iterable[tuple[int, dict[str, Any]]], origin: Path | str
) -> dict[str, Callable[[str], Verdict]]:
    """Return the check of each prompt, by the prompt's text; `rows` with their lines in `origin`.

    A row has "prompt" (or "question") and either "answer", the final answer or a solution that ends
    in "#### 42", or "instruction_id_list" and "kwargs" as in google/IFEval.

    Raises:
        DataError: a row has neither, or instructions that cannot be checked; names the line.
    """
    found: dict[str, Callable[[str], Verdict]] = {}
    for line, row in rows:
        if "instruction_id_list" in row:
            prompt = read_prompt(origin, line, row)
            found[prompt.text.strip()] = _instructions(prompt)
            continue
        text, answer = row.get("prompt", row.get("question")), row.get("answer")
        if not isinstance(text, str) or not isinstance(answer, str | int | float):
            what = (
                'a verifier needs "prompt" with the right "answer" (as in GSM8K), or with '
                '"instruction_id_list" and "kwargs" (as in IFEval)'
            )
            raise DataError(origin, line, what)
        found[text.strip()] = _exact(wanted_answer(str(answer)))
    if not found:
        raise DataError(origin, None, "there are no rows")
    return found


def _exact(wanted: str) -> Callable[[str], Verdict]:
    def verify(response: str) -> Verdict:
        right, found = check_final(response, wanted)
        return Verdict(right, f"Final answer: {found or 'none'}; expected: {wanted}")

    return verify


def _instructions(prompt: IfevalPrompt) -> Callable[[str], Verdict]:
    def verify(response: str) -> Verdict:
        followed = check(prompt.text, prompt.instructions, prompt.arguments, response).strict
        said = (
            f"{name}: {'followed' if done else 'not followed'}"
            for name, done in zip(prompt.instructions, followed, strict=True)
        )
        return Verdict(all(followed), "\n".join(said))

    return verify
