from __future__ import annotations

import math

import pytest

from core.config import JudgeSection
from core.records import Verdict
from core.reductions import combine, winner_of
from engines.engine import Continuation, Logprob
from judges.asking import Ask, Reply
from judges.backends.local_judge import LocalJudge
from judges.distribution import RATING, WINNER, distribution, points, read_distribution
from judges.pairwise import AnswerPair, judge_orders, pair_prompt
from judges.pointwise import JudgedAnswer, judge_answers
from tests.engines.scripted import ScriptedEngine

ADDITIVE = points(0, 5)
ANSWER = JudgedAnswer("p0/c0", "p0", "What is 2+2?", "It is 4.")
EXPECTED = JudgeSection(reading="expected", draws=1)


def weighing(words: str, **probabilities: float) -> ScriptedEngine:
    """A judge that says `words`; what it is asked to weigh has these probabilities."""
    seen = probabilities

    def score(request: Continuation) -> Logprob:
        probability = seen.get(f"p{request.continuation.rstrip(']')}", 1e-9)
        return Logprob(math.log(probability), 1, greedy=False)

    return ScriptedEngine(lambda _messages, _draw: words, score=score)


def test_the_score_is_the_mean_over_the_probabilities_of_all_scores() -> None:
    # 0.2·3 + 0.6·4 = 3.0 of a mass of 0.8: 3.75
    engine = weighing("Fine.\n\nScore: 4", p3=0.2, p4=0.6)
    (judgment,) = judge_answers(engine, [ANSWER], EXPECTED, seed=0)
    assert judgment.score == pytest.approx(3.75)
    assert judgment.chances == {"0": 0, "1": 0, "2": 0, "3": 0.25, "4": 0.75, "5": 0}
    assert judgment.in_words == judgment.said == 4.0
    assert judgment.reply == "Fine.\n\nScore: 4"
    assert judgment.unparsed is None


def test_words_without_a_score_are_continued_to_one_and_kept_as_they_are() -> None:
    asked: list[Continuation] = []

    def score(request: Continuation) -> Logprob:
        asked.append(request)
        return Logprob(math.log(0.9 if request.continuation == "2" else 0.01), 1, greedy=False)

    engine = ScriptedEngine(lambda _messages, _draw: "I like it.", score=score)
    (judgment,) = judge_answers(engine, [ANSWER], EXPECTED, seed=0)
    assert {request.given for request in asked} == {"I like it.\n\nScore: "}
    assert judgment.reply == "I like it."
    assert judgment.said is None
    # (0 + 1 + 3 + 4 + 5) · 0.01 + 2 · 0.9 = 1.93 of 0.95
    assert judgment.score == pytest.approx(1.93 / 0.95)


def test_a_judge_that_would_say_something_else_has_no_score() -> None:
    engine = weighing("Fine.\n\nScore: 4", p3=0.2, p4=0.2)
    (judgment,) = judge_answers(engine, [ANSWER], EXPECTED, seed=0)
    assert (judgment.score, judgment.unparsed) == (None, "no_verdict_token")
    assert judgment.said == 4.0


@pytest.mark.parametrize(
    ("form", "words", "begin"),
    [
        (ADDITIVE, "Good.\n\nScore: 4", "Good.\n\nScore: "),
        (ADDITIVE, "Score: 1, no: **Score:** 2", "Score: 1, no: **Score:** "),
        (ADDITIVE, "Good", "Good\n\nScore: "),
        (ADDITIVE, "", "Score: "),
        (ADDITIVE, "Good. Score:", "Good. Score:"),
        (ADDITIVE, "<think>Score: 3 seems", "<think>Score: 3 seems\n</think>\n\nScore: "),
        (ADDITIVE, "<think>Score: 3</think>Good", "<think>Score: 3</think>Good\n\nScore: "),
        (RATING, "Rating: [[7]]", "Rating: [["),
        (RATING, "See [[link]].", "See [[link]].\n\nRating: [["),
        (WINNER, "Both. [[C]]", "Both. [["),
    ],
)  # fmt: skip
def test_the_verdict_is_read_behind_the_last_lead(form: object, words: str, begin: str) -> None:
    assert form.begin(words) == begin  # type: ignore[attr-defined]


def test_ratings_of_two_digits_are_options_of_their_own() -> None:
    assert RATING.options()[0] == "1]]"
    assert RATING.options()[-1] == "10]]"
    # 0.5·1 + 0.5·10
    found = distribution(RATING, {"1": 0.5, "10": 0.5})
    assert found is not None
    assert found.mean == 5.5


def test_an_apis_token_at_the_verdict_is_read() -> None:
    top = [{"token": " 4", "logprob": math.log(0.75)}, {"token": " 5", "logprob": math.log(0.25)}]
    content = [
        {"token": "Good. Score:", "logprob": 0.0, "top_logprobs": []},
        {"token": " 4", "logprob": math.log(0.75), "top_logprobs": top},
    ]
    reply = Reply("k", "Good. Score: 4", "stop", logprobs={"content": content})
    read = read_distribution(reply, ADDITIVE).value
    assert read is not None
    assert read.mean == pytest.approx(4.25)
    assert read_distribution(Reply("k", "Score: 4", "stop"), ADDITIVE).unparsed == "no_logprobs"
    silent = Reply("k", "Good.", "stop", logprobs={"content": content})
    assert read_distribution(silent, ADDITIVE).unparsed == "no_score"


def test_a_local_judges_ratings_hold_the_distribution() -> None:
    judge = LocalJudge(weighing("It is good. Rating: [[8]]", p8=0.6, p9=0.3), "M1", seed=0)
    ask = Ask("q", ({"role": "user", "content": "?"},), 32, form=RATING)
    (reply,) = judge.ask([ask])
    assert reply.text == "It is good. Rating: [[8]]"
    read = read_distribution(reply, RATING).value
    assert read is not None
    # (0.6·8 + 0.3·9) / 0.9
    assert read.mean == pytest.approx(7.5 / 0.9)


def test_a_form_is_part_of_a_requests_identity_and_no_form_leaves_it_as_it_was() -> None:
    plain = Ask("q", ({"role": "user", "content": "?"},), 32)
    assert "form" not in plain.identity("judge")
    with_form = Ask("q", plain.messages, 32, form=RATING)
    assert with_form.identity("judge") == plain.identity("judge") | {"form": "rating"}


def order(name: str, chance: float) -> Verdict:
    return Verdict(f"k/{name}", "k", "M2", "M1", winner_of(chance), chance=chance)


@pytest.mark.parametrize(
    ("ab", "ba", "winner"),
    [(0.9, 0.2, "A"), (0.6, 0.3, "B"), (0.75, 0.25, "tie"), (0.9, 0.9, "A")],
)
def test_the_chances_of_both_orders_are_averaged(ab: float, ba: float, winner: str) -> None:
    # 0.9 and 0.2 disagree about the winner: a tie in words, 0.55 for A here.
    both = combine(order("ab", ab), order("ba", ba))
    assert both.winner == winner
    assert both.chance == pytest.approx((ab + ba) / 2)


def test_a_preference_for_the_first_position_cancels() -> None:
    def score(request: Continuation) -> Logprob:
        shown_first = str(request.context).index("good") < str(request.context).index("bad")
        first = 0.9 if shown_first else 0.7  # prefers the first position, and a little the good one
        return Logprob(
            math.log(first if request.continuation == "m" else 1 - first), 1, greedy=False
        )

    judge = LocalJudge(ScriptedEngine(lambda *_: "", score=score), "M1", seed=0)
    item = AnswerPair("k", "Say something.", "M2", "M1", "good", "bad")
    prompt = pair_prompt("first_token", "expected")
    ab, ba = sorted(judge_orders(judge, [item], prompt, failures=[]), key=lambda v: v.key)
    assert (ab.winner, ba.winner) == ("A", "B")
    # (0.9 + (1 − 0.7)) / 2
    assert combine(ab, ba).chance == pytest.approx(0.6)
    assert combine(ab, ba).winner == "A"


def test_an_apis_verdict_is_not_read_out_of_an_unfinished_thought() -> None:
    top = [{"token": "3", "logprob": math.log(0.9)}]
    content = [
        {"token": "<think>Score: ", "logprob": 0.0, "top_logprobs": []},
        {"token": "3", "logprob": math.log(0.9), "top_logprobs": top},
    ]
    reply = Reply("k", "<think>Score: 3", "length", logprobs={"content": content})
    assert read_distribution(reply, ADDITIVE).unparsed == "cut_off"
