"""Head-to-head, AlpacaEval, MT-Bench, NLP, human rankings and the self-judge, page by page."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from tests.web.explorer.made import Markup
from tests.web.explorer.test_loop import rows


@pytest.mark.parametrize(
    ("show", "questions"),
    [
        ("all", ["Question 0?", "Question 1?", "Question 2?", "Question 3?"]),
        ("flips", ["Question 0?"]),  # M2 wins when shown first, M1 when shown first
        ("half", []),  # one order of question 2 cannot be read: nothing is known of it
        ("unparsed", ["Question 2?"]),
        ("ties", ["Question 0?", "Question 3?"]),
    ],
)
def test_comparisons_are_filtered_by_how_the_orders_ended(
    client: TestClient, show: str, questions: list[str]
) -> None:
    found = rows(client, f"/head-to-head?show={show}")
    assert [row[0] for row in found] == questions


def test_a_comparisons_line_has_both_orders_and_the_joint_verdict(client: TestClient) -> None:
    flip, win, unread, alone = rows(client, "/head-to-head?model=M2-M1")
    # "rather longer 0 " has 16 characters.
    assert flip[1:] == ["M2 against M1", "tie", "M2 wins", "M1 wins", "16"]
    assert win[2:5] == ["M2 wins", "M2 wins", "M2 wins"]
    assert unread[2:5] == ["no verdict: empty", "tie", "no verdict: empty"]
    assert alone[2:5] == ["tie", "–", "–"]


def test_the_longest_answers_come_first_if_asked(client: TestClient) -> None:
    found = rows(client, "/head-to-head?order=longest")
    assert [row[0][-2] for row in found] == ["3", "2", "1", "0"]  # n has n letters more


def test_a_prompt_shows_every_answer_and_both_orders_of_every_verdict(client: TestClient) -> None:
    page = client.get("/head-to-head/prompt?key=p0").text
    told = ["Question 0?", "short 0", "rather longer 0", "M2 shown first: M2 wins",
            "M1 shown first: M1 wins", "the judge flips"]  # fmt: skip
    assert [words for words in told if words not in page] == []
    assert "the judge flips" not in client.get("/head-to-head/prompt?key=p1").text
    assert "decided without the judge" in client.get("/head-to-head/prompt?key=p3").text


def test_annotations_are_filtered_by_outcome(client: TestClient) -> None:
    assert rows(client, "/alpaca-eval?model=M2") == [
        ["Do i0.", "M2", "win", "1.9", "22"],
        ["Do i1.", "M2", "draw", "0", "22"],  # 0 is how the package writes a draw
        ["Do i2.", "M2", "refused", "–", "22"],
    ]
    assert [row[0] for row in rows(client, "/alpaca-eval?outcome=draw")] == ["Do i1."]
    page = client.get("/alpaca-eval").text
    assert "M1: not evaluated yet" not in page
    assert "M1: M1 is not trained yet" in page


def test_an_instruction_shows_the_reference_the_model_and_the_judges_words(
    client: TestClient,
) -> None:
    page = client.get("/alpaca-eval/prompt?key=i0").text
    told = ["Do i0.", "The reference (gpt4)", "The reference says so.", "M2 says i0.",
            "win against gpt4", "The judge&#39;s reply (weighted by judge)"]  # fmt: skip
    assert [words for words in told if words not in page] == []


def test_grades_that_disagree_or_are_unread_are_found(client: TestClient) -> None:
    disagreeing = rows(client, "/mt-bench?show=disagreement")
    assert [(row[2], row[5]) for row in disagreeing] == [("1", "7"), ("1", "9")]
    unread = rows(client, "/mt-bench?show=unparsed")
    assert unread == [["Fine.", "81", "2", "writing", "M2", "none: no score", "5"]]
    assert "M1: failed: the judge went away" in client.get("/mt-bench").text


def test_a_question_shows_both_turns_with_their_grades(client: TestClient) -> None:
    page = client.get("/mt-bench/question?key=81").text
    told = ["Turn 1?", "Turn 2?", "Answer 1.", "Answer 2.", "grade 7", "grade 9",
            "gpt-4 with single-v1, reply 1: none: no score"]  # fmt: skip
    assert [words for words in told if words not in page] == []


@pytest.mark.parametrize(
    ("show", "items"),
    [
        ("all", [["piqa/0", "right", "right"], ["piqa/1", "wrong", "right"]]),
        ("differ", [["piqa/1", "wrong", "right"]]),
        ("right", [["piqa/0", "right", "right"]]),
        ("wrong", []),
    ],
)
def test_items_are_right_or_wrong_for_each_model(
    client: TestClient, show: str, items: list[list[str]]
) -> None:
    assert rows(client, f"/nlp/piqa?show={show}") == items


def test_an_items_choices_are_marked(client: TestClient) -> None:
    page = Markup(client.get("/nlp/piqa/item?key=piqa/1").text)
    marked = "left (-1.50)\nright (-0.50) ← the right answer, the most probable"
    assert page.texts.count(marked) == 2  # one card per model


def test_scores_against_human_rankings_count_only_pairs_that_humans_order(
    client: TestClient,
) -> None:
    # Ranks 0, 1, 1 with scores 2, 1, 4: best against worst is right, best against bad is wrong,
    # and the two of one rank are not compared.
    line = ["Which is best?", "3", "2, 1, 4", "1 of 2"]
    assert rows(client, "/agreement") == [line]
    assert rows(client, "/agreement?show=wrong") == [line]
    assert rows(client, "/agreement?show=unparsed") == []
    page = client.get("/agreement/prompt?key=r").text
    assert page.index("the best") < page.index("M2, reply 1: score 2") < page.index("the worst")


def test_answers_on_which_the_judges_differ_come_first(client: TestClient) -> None:
    trout = ["A trout, of the river kind.", "4", "1", "3"]
    whales = ["Whales", "1", "4", "-3"]
    three = ["One, two, three.", "3", "3", "0"]
    assert rows(client, "/iteration/2/self-judge") == [trout, whales, three]
    assert rows(client, "/iteration/2/self-judge?show=apart") == [trout, whales]
    # The external judge scores the rejected answer (4) above the chosen one (1).
    assert rows(client, "/iteration/2/self-judge?show=reversed") == [trout, whales]
    assert rows(client, "/iteration/2/self-judge?show=unparsed") == []
