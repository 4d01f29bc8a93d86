from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from tests.web.explorer.made import Markup


def rows(client: TestClient, address: str) -> list[list[str]]:
    answer = client.get(address)
    assert answer.status_code == 200, answer.text
    return Markup(answer.text).cells


def test_prompts_say_whether_they_were_kept_and_why_not(client: TestClient) -> None:
    assert rows(client, "/iteration/2/prompts") == [
        ["Name a **fish**.", "kept", "0", "16"],
        ["Name a tree!", "similar to pool", "0", "12"],
        ["Count to three.", "kept", "0", "15"],
    ]


def test_prompts_can_be_filtered_searched_and_ordered(client: TestClient) -> None:
    def names(query: str) -> list[str]:
        return [row[0] for row in rows(client, f"/iteration/2/prompts?{query}")]

    assert names("outcome=similar_to_pool") == ["Name a tree!"]
    assert names("outcome=no_such_outcome") == []
    assert names("q=NAME") == ["Name a **fish**.", "Name a tree!"]
    assert names("q=name+fish") == ["Name a **fish**."]
    assert names("outcome=kept&order=longest") == ["Name a **fish**.", "Count to three."]


def test_judgments_are_filtered_by_cause_and_ordered_by_length_and_score(
    client: TestClient,
) -> None:
    assert rows(client, "/iteration/2/judgments?outcome=no_score") == [
        ["Who knows?", "c0/t0/a1", "none: no score", "10"]
    ]
    longest = rows(client, "/iteration/2/judgments?order=longest")
    assert longest[0][0] == "Right and complete, and long enough. Score: 5"
    assert len(longest) == 8
    lowest = rows(client, "/iteration/2/judgments?order=lowest")
    # One reply without a score comes last in both directions: it is not the lowest.
    assert [row[2] for row in lowest] == ["1", "3", "3", "3", "3", "3", "5", "none: no score"]
    highest = rows(client, "/iteration/2/judgments?order=highest")
    assert [row[2] for row in highest][::7] == ["5", "none: no score"]


def test_answers_whose_judgments_disagree_are_found(client: TestClient) -> None:
    # a0 has 5 and 3; a1 has 1 and nothing readable, which is no disagreement; t2 has 3 throughout.
    assert rows(client, "/iteration/2/judgments?show=disagreement") == [
        ["A trout, of the river kind.", "5, 3", "2"]
    ]


@pytest.mark.parametrize(
    ("query", "prompts"),
    [
        ("", ["Name a **fish**.", "Count to three."]),
        ("outcome=tie", ["Count to three."]),
        ("order=closest", ["Name a **fish**.", "Count to three."]),  # a tie has no gap
        ("order=longest", ["Name a **fish**.", "Count to three."]),
        ("q=whales", ["Name a **fish**."]),
    ],
)
def test_pairs_are_filtered(client: TestClient, query: str, prompts: list[str]) -> None:
    assert [row[0] for row in rows(client, f"/iteration/2/pairs?{query}")] == prompts


def test_a_pairs_line_has_its_scores_gap_and_lengths(client: TestClient) -> None:
    assert rows(client, "/iteration/2/pairs?outcome=pair") == [
        ["Name a **fish**.", "pair", "4, 1", "4", "1", "3", "27 and 6"]
    ]


def test_a_prompts_page_has_its_call_candidates_judgments_and_pair(client: TestClient) -> None:
    page = client.get("/iteration/2/prompt?key=c0/t0").text
    told = [
        "Name a <strong>fish</strong>.",
        "1. Name a fish.\n2. Name a tree!",  # the generator's words
        "1. Name a tree.",  # the example it was shown
        "A trout, of the river kind.",
        "The run&#39;s judge, reply 1: score 5",
        "Right and complete, and long enough. Score: 5",
        "The run&#39;s judge, reply 2: no score<",
        "The run&#39;s judge: 1 (1 of 2 read)",  # the mean of the one reply that could be read
        "The external judge: 4 (1 of 1 read)",
        "The mean scores are 3 apart.",
        "mt_bench 81",  # the evaluation item it overlaps with
    ]
    assert [words for words in told if words not in page] == []
    assert page.count("cut by the token limit") == 3  # the call, the candidate, the rejected side
    assert page.count(">chosen<") == page.count(">rejected<") == 1


def test_a_prompt_without_a_pair_says_why(client: TestClient) -> None:
    tie = client.get("/iteration/2/prompt?key=c0/t2").text
    assert ">tie<" in tie and ">mean scores 3, 3<" in tie
    rejected = client.get("/iteration/2/prompt?key=c0/t1").text
    assert "the prompt was rejected, so no candidates were sampled" in rejected
    assert "Name a tree." in rejected
