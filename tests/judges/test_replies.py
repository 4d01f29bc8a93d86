from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from judges.replies import Parsed, Reason, parse_ranking, parse_score

if TYPE_CHECKING:
    from pathlib import Path

FIXED = settings(derandomize=True, deadline=None, max_examples=300)

# Free text alone almost never spells "Score:"; pieces of real replies glued together do.
_PIECES = st.sampled_from(
    [
        *(
            "Score",
            "score",
            "**Score:**",
            "Score: ",
            "__Score__:",
            "scoreboard: 3",
            ":",
            "'Score: 5'",
        ),
        *("0", "3", "5", "45", "-1", "3.5", ".5", "1e5", "9" * 5000, "four", "<total points>", "½"),
        *(
            " ",
            "\n",
            "\t",
            "**",
            "_",
            "`",
            ".",
            ",",
            "-",
            "–",
            "+",
            "=",
            "/",
            "/5",
            " out of 5",
            " or ",
        ),
        *(
            "{'model': 'model_1', 'rank': 1}",
            '{"model": "model_2", "rank": "2"}',
            "'model': 'model_1'",
        ),
        *("'rank': ", "[", "]", "import os; os.abort()"),
    ]
)
TEXTS = st.one_of(st.text(), st.lists(st.one_of(_PIECES, st.text(max_size=3))).map("".join))


def read(reply: str, *, cut: bool = False) -> Parsed[float]:
    return parse_score(reply, low=0.0, high=5.0, cut=cut)


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("Score: 4", 4.0),
        ("Score: 0", 0.0),
        ("Score: 5", 5.0),
        ("Score:4", 4.0),
        ("Score : 4", 4.0),
        ("Score: +4", 4.0),
        ("Score: 4.0", 4.0),
        ("Score: 3.5", 3.5),
        ("Total score: 2", 2.0),
        ("score: 3", 3.0),
        ("SCORE: 3", 3.0),
        ("**Score:** 4/5", 4.0),
        ("**Score**: 4", 4.0),
        ("**Score: 3.5**", 3.5),
        ("__Score:__ 2", 2.0),
        ("_Score: 2_", 2.0),
        ("`Score: 1`", 1.0),
        ('"Score: 4"', 4.0),
        ("Score: **4** / **5**", 4.0),
        ("Score: 4/5", 4.0),
        ("Score: 4 / 5.", 4.0),
        ("Score: 4/5.0", 4.0),
        ("Score: 4 out of 5", 4.0),
        ("Score: **4** out of 5 points", 4.0),
        ("I would give it a Score: 4.5.", 4.5),
        ("Score: 4. The answer is complete.", 4.0),
        ("Score: 4, because 5 would be too kind.", 4.0),
        ("**Score:**\n\n4", 4.0),
        ("It is helpful.\n\nScore: 4\n", 4.0),
        # A list of reasons behind the score is not a second score ("4 - 1").
        ("Score: 4\n- 1 point for relevance", 4.0),
        # A colon with prose behind it names no score, so the earlier one stays.
        ("Score: 4\nExplanation of the score: the answer is short.", 4.0),
        ("Score: 4\nReasons for the score:\n1. It is relevant.\n2. It is short.", 4.0),
        # Of several, the last.
        ("Score: 1\nScore: 2\nScore: 3", 3.0),
        ("The user wrote 'Score: 5' into the answer.\nScore: 2", 2.0),
        ("Score: 3-4? No.\nScore: 3", 3.0),
        ("Score: four, that is, Score: 4", 4.0),
        ("Score: Score: 0", 0.0),
    ],
)
def test_a_readable_reply_gives_the_score_it_states(reply: str, value: float) -> None:
    assert read(reply) == Parsed(value, None)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "empty"),
        (" \n\t", "empty"),
        ("The answer is helpful.", "no_score"),
        ("4", "no_score"),
        ("4/5", "no_score"),
        ("I award 4 points.", "no_score"),
        ("Score 4", "no_score"),
        ("scoreboard: 3", "no_score"),
        ("underscore: 3", "no_score"),
        ("my_score: 3", "no_score"),
        ("Scores: 3", "no_score"),
        ("Score:", "no_score"),
        ("Score: <total points>", "no_score"),
        ("Score: four", "no_score"),
        ("Score: .5", "no_score"),
        ("Score: 1e5", "no_score"),
        ("Score: 4th", "no_score"),
        ("Score: 4½", "no_score"),
        ("Score: 3,5", "no_score"),  # a decimal comma: neither 3 nor certainly 3.5
        ("Score: 1.2.3", "no_score"),
        ("Score: 1_000", "no_score"),
        # The 1 numbers a list; it is not the score.
        ("Score:\n1. It is relevant.\n2. It is short.", "no_score"),
        ("**Score:**\n\n  1) It is relevant.", "no_score"),
        ("Score: 6", "out_of_range"),
        ("Score: 5.5", "out_of_range"),
        ("Score: 45", "out_of_range"),
        ("Score: 100", "out_of_range"),
        ("Score: -1", "out_of_range"),
        ("Score: " + "9" * 5000, "out_of_range"),
        ("Score: 4/10", "wrong_scale"),
        ("Score: 4 out of 10", "wrong_scale"),
        ("Score: 4/50", "wrong_scale"),
        ("Score: 4/5.5", "wrong_scale"),
        ("Score: 8/10", "wrong_scale"),
        ("Score: 3-4", "ambiguous"),
        ("Score: 3 - 4", "ambiguous"),
        ("Score: 3–4", "ambiguous"),
        ("Score: 3—4", "ambiguous"),
        ("Score: 3 to 4", "ambiguous"),
        ("Score: 3 or 4", "ambiguous"),
        ("Score: **3** or **4**", "ambiguous"),
        ("Score: 3-4/5", "ambiguous"),
        ("Score: 3/5 or 4/5", "ambiguous"),
        ("Score: 1+1+1 = 3", "ambiguous"),  # points added up aloud: not a score of 1
        # The last one counts although it is unusable: the first may be a quotation.
        ("'Score: 5'. Score: 6", "out_of_range"),
        ("'Score: 5'. Score: 4/10", "wrong_scale"),
        ("'Score: 5'. Score: 3 or 4", "ambiguous"),
        ("'Score: 5'. Score: four", "no_score"),
        ("'Score: 5'. Score: <total points>", "no_score"),
        ("'Score: 5'. Score: 1e5", "no_score"),
        ("'Score: 5'. Score: <2>", "no_score"),
        ("'Score: 5'. Score:", "no_score"),
    ],
)
def test_an_unreadable_reply_gives_a_reason_and_no_number(reply: str, reason: Reason) -> None:
    assert read(reply) == Parsed(None, reason)


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        # The next token could have been another digit: 4, or 45, or 4.5.
        ("Score: 4", Parsed(None, "cut_off")),
        ("Score: 4 ", Parsed(None, "cut_off")),
        ("Score: 4.", Parsed(None, "cut_off")),
        ("Score: 3.5", Parsed(None, "cut_off")),
        # Nothing is missing from these.
        ("Score: 4/5", Parsed(4.0, None)),
        ("Score: 4 out of 5", Parsed(4.0, None)),
        ("**Score: 4**", Parsed(4.0, None)),
        ("Score: 4\nThe answer", Parsed(4.0, None)),
        # The reply ends before its score.
        ("The answer is helpful and", Parsed(None, "cut_off")),
        ("Score:", Parsed(None, "cut_off")),
        ("The answer claims 'Score: 5'. Score: ", Parsed(None, "cut_off")),
        ("Score: 4/10", Parsed(None, "wrong_scale")),
        ("", Parsed(None, "cut_off")),
    ],
)
def test_a_reply_cut_off_where_the_score_may_go_on_is_refused(
    reply: str, score: Parsed[float]
) -> None:
    assert read(reply, cut=True) == score


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("Score: 0", Parsed(None, "out_of_range")),
        ("Score: 0.9", Parsed(None, "out_of_range")),
        ("Score: 1", Parsed(1.0, None)),
        ("Score: 5/5", Parsed(5.0, None)),
        ("Score: 5.1", Parsed(None, "out_of_range")),
    ],
)
def test_the_1_to_5_rubric_refuses_what_lies_outside_it(reply: str, score: Parsed[float]) -> None:
    assert parse_score(reply, low=1.0, high=5.0) == score


def test_the_only_scale_accepted_is_that_of_the_rubric() -> None:
    assert parse_score("Score: 7/10", low=1.0, high=10.0) == Parsed(7.0, None)
    assert parse_score("Score: 4/5", low=1.0, high=10.0) == Parsed(None, "wrong_scale")


@FIXED
@given(reply=TEXTS, cut=st.booleans())
def test_any_reply_gives_either_a_score_in_range_or_a_reason(reply: str, cut: bool) -> None:
    score = read(reply, cut=cut)
    assert (score.value is None) != (score.unparsed is None)
    if score.value is not None:
        assert 0.0 <= score.value <= 5.0
    else:
        assert score.unparsed in get_args(Reason)


# A newline ends every form above ("3-", "4/", "Score:"), so nothing glues to the final line.
@FIXED
@given(before=TEXTS, k=st.integers(0, 5))
@example(before="Score: 5", k=0)
@example(before="Score: 3 -", k=4)
@example(before="Score:", k=1)
@example(before="**Score", k=2)
def test_a_score_on_the_last_line_wins_whatever_precedes_it(before: str, k: int) -> None:
    assert read(f"{before}\nScore: {k}") == Parsed(float(k), None)
    assert read(f"{before}\nScore: {k}", cut=True) == Parsed(None, "cut_off")
    # Cut after a whole score, unless another one says that the last may be missing.
    whole = read(f"{before}\n**Score:** {k}/5", cut=True)
    assert whole in (Parsed(float(k), None), Parsed(None, "cut_off"))
    if "core" not in before.lower():
        assert whole.value == k


@FIXED
@given(before=TEXTS, k=st.integers(0, 5))
def test_a_number_with_no_score_in_front_never_counts(before: str, k: int) -> None:
    nameless = before.replace("c", "").replace("C", "")  # no "score" is spelt without a c
    assert read(f"{nameless}\n{k}").value is None


@FIXED
@given(k=st.integers(0, 5), after=TEXTS)
def test_words_after_the_score_that_name_no_other_do_not_change_it(k: int, after: str) -> None:
    nameless = after.replace("c", "").replace("C", "")
    assert read(f"Score: {k}\nThat is all: {nameless}") == Parsed(float(k), None)


def ranks(first: str, second: str) -> str:
    return f"[{{'model': 'model_1', 'rank': {first}}}, {{'model': 'model_2', 'rank': {second}}}]"


@pytest.mark.parametrize(
    ("reply", "preferred"),
    [
        ("[{'model': 'model_1', 'rank': 1}, {'model': 'model_2', 'rank': 2}]", 1),
        ("[{'model': 'model_1', 'rank': 2}, {'model': 'model_2', 'rank': 1}]", 2),
        # Listed best first instead of by name: the name decides, not the place.
        ("[{'model': 'model_2', 'rank': 1}, {'model': 'model_1', 'rank': 2}]", 2),
        ("[{'model': 'model_2', 'rank': 2}, {'model': 'model_1', 'rank': 1}]", 1),
        ('[{"model": "model_1", "rank": 2}, {"model": "model_2", "rank": 1}]', 2),
        ("[{'model': 'model_1', 'rank': '1'}, {'model': 'model_2', 'rank': '2'}]", 1),
        ("[\n  {'model' : 'model_1',\n   'rank' : 1},\n  {'model':'model_2','rank':2}\n]", 1),
        ("Here is my ranking:\n```python\n" + ranks("2", "1") + "\n```\nI hope this helps.", 2),
    ],
)
def test_a_ranking_names_the_output_with_rank_1(reply: str, preferred: int) -> None:
    read_back = parse_ranking(reply)
    assert (read_back.value, read_back.unparsed) == (preferred, None)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("model_1 is better.", "no_score"),
        ("I am sorry, I cannot rank models.", "no_score"),
        ("[('model_1', 1), ('model_2', 2)]", "no_score"),
        ("[{'model': 'model_1', 'rank': 1}]", "ambiguous"),  # model_2 is missing
        ("[{'model': 'model_1', 'rank': 1}, {'model': 'model_1', 'rank': 2}]", "ambiguous"),
        ("[{'model': 'model_1', 'rank': 1}, {'model': 'model_3', 'rank': 2}]", "ambiguous"),
        (ranks("1", "2") + ", {'model': 'model_3', 'rank': 3}]", "ambiguous"),
        # Two rankings, be it one quoted from an answer: not ours to choose between, even if equal.
        (ranks("1", "2") + ranks("2", "1"), "ambiguous"),
        (ranks("1", "2") + ranks("1", "2"), "ambiguous"),
        (ranks("1", "1"), "out_of_range"),  # equal ranks
        (ranks("2", "2"), "out_of_range"),
        (ranks("0", "1"), "out_of_range"),
        (ranks("1", "3"), "out_of_range"),
        (ranks("1", "20"), "out_of_range"),
        (ranks("1", "9" * 5000), "out_of_range"),
    ],
)
def test_an_unreadable_ranking_gives_a_reason_and_no_preference(reply: str, reason: Reason) -> None:
    assert parse_ranking(reply) == Parsed(None, reason)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Let me think about", Parsed(None, "cut_off")),
        ("[{'model': 'model_1', 'rank': 1}, {'model': 'mod", Parsed(None, "cut_off")),
        (ranks("1", "2") + "\n\nModel 1 is", Parsed(1, None)),
        (ranks("1", "2") + ranks("2", "1"), Parsed(None, "ambiguous")),
    ],
)
def test_a_ranking_cut_off_before_both_ranks_is_refused(reply: str, expected: Parsed[int]) -> None:
    assert parse_ranking(reply, cut=True) == expected


def test_a_reply_that_looks_like_code_is_searched_and_never_run(tmp_path: Path) -> None:
    trap = tmp_path / "executed"
    call = f"__import__('pathlib').Path({str(trap)!r}).touch()"
    inside = f"[{{'model': 'model_1', 'rank': {call}}}, {{'model': 'model_2', 'rank': 2}}]"
    # In the first only model_2's rank can be read; the second holds a whole ranking as well.
    assert parse_ranking(inside) == Parsed(None, "ambiguous")
    assert parse_ranking(f"{call}\n{ranks('2', '1')}") == Parsed(2, None)
    assert parse_ranking(call) == Parsed(None, "no_score")
    assert not trap.exists()


@FIXED
@given(reply=TEXTS, cut=st.booleans())
def test_any_reply_gives_either_a_preference_or_a_reason(reply: str, cut: bool) -> None:
    choice = parse_ranking(reply, cut=cut)
    assert (choice.value is None) != (choice.unparsed is None)
    assert choice.value in {None, 1, 2}


@FIXED
@given(before=st.text(), after=st.text(), first=st.sampled_from(["1", "2"]))
def test_prose_around_a_ranking_does_not_change_it(before: str, after: str, first: str) -> None:
    reply = before + ranks(first, "1" if first == "2" else "2") + after
    assert parse_ranking(reply) == Parsed(1 if first == "1" else 2, None)
