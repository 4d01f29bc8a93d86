from __future__ import annotations

from core.records import Candidate, Generation
from core.stages import Stage, evaluation_ref
from web.explorer.pages import Text, answer_card, answer_texts

REF = evaluation_ref("M1/head_to_head", Stage.ANSWERS)


def test_a_thought_is_shown_apart_from_the_answer_after_it() -> None:
    row = Generation("k", "k", "Why?", "So.", 9, "stop", thought="<think>Hm.</think>")
    assert answer_card("M1", row, REF).texts == (
        Text("", "So."),
        Text("Thought, no part of the answer", "<think>Hm.</think>"),
    )
    plain = Candidate("k", "p", 0, "So.", 1, "stop")
    assert answer_texts("Answer", plain) == (Text("Answer", "So."),)
