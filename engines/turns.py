"""How a chat template opens and ends the assistant's turn, for training and checking."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from core.errors import ModelError
from core.records import user
from core.thinking import closing_of, opening_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from core.records import Message
    from engines.prompting import Prompter

_QUESTION, _ANSWER = "question", "answer"
_SHOWN = 60


class AssistantTurn(NamedTuple):
    """What surrounds an answer: prompt, `opening`, answer, `end`.

    `opening` are the tokens that come between the prompt, as it is sampled from, and an answer
    without a thought: the end of the thought that the prompt opened (R1, QwQ), what the template
    itself writes there (Qwen 3: an empty thought), mostly nothing. `end` ends the turn.
    `difference` says how all this differs from the template's own rendering, "" if it does not.
    """

    opening: list[int]
    end: int
    difference: str


def assistant_turn(prompter: Prompter, stop_ids: Collection[int]) -> AssistantTurn:
    """Compare a prompt and an answer with the template's rendering of both.

    Raises:
        ModelError: the template leaves out what is said, or ends the turn with none of `stop_ids`.
    """
    answered: list[Message] = [*user(_QUESTION), {"role": "assistant", "content": _ANSWER}]
    head, whole = prompter.text(user(_QUESTION), prompt=True), prompter.text(answered, prompt=False)
    before, said, _ = whole.rpartition(_ANSWER)
    if not said or _QUESTION not in head:
        left_out = "the user's" if said else "the assistant's"
        raise ModelError(f"{prompter.name}: its chat template leaves out {left_out} text")
    prompt, turn = prompter.render(user(_QUESTION)), prompter.turns(answered, prompt=False)
    same = next((i for i, (a, b) in enumerate(zip(prompt, turn)) if a != b), len(prompt))  # noqa: B905
    end = next((token for token in turn[same:] if token in stop_ids), None)
    if end is None:
        raise ModelError(
            f"{prompter.name}: its chat template ends the assistant's turn with none of the stop "
            f"tokens {sorted(stop_ids)}; a model trained on it would never stop. Set eos_token_id "
            "in generation_config.json to the token that ends a turn"
        )
    opened = head.removeprefix(before).strip() if head.startswith(before) else ""
    if opened and opened == opening_of(head).strip():
        return AssistantTurn(prompter.fixed(closing_of(opened)), end, "")
    written = before.removeprefix(head)
    opening = prompter.fixed(written) if before.startswith(head) and written.strip() else []
    ours = [*prompt, *opening, *prompter.response(_ANSWER), end]
    difference = "" if ours == turn[: len(ours)] else _difference(prompter, ours, turn)
    return AssistantTurn(opening, end, difference)


def _difference(prompter: Prompter, ours: list[int], turn: list[int]) -> str:
    made, rendered = (prompter.decode(ids)[-_SHOWN:] for ids in (ours, turn))
    return (
        f"the chat template renders an answered turn as ...{rendered!r}, but it is sampled and "
        f"trained as ...{made!r}"
    )
