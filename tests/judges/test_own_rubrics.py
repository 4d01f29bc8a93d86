from __future__ import annotations

import math
from pathlib import Path

import pytest

from core.config import JudgeSection
from core.errors import ConfigError, DataError
from engines.engine import Continuation, Logprob
from judges.asking import Reply
from judges.pairwise import AnswerPair, pair_prompt
from judges.pointwise import JudgedAnswer, judge_answers
from judges.replies import SCORE, ScoreForm, parse_score
from judges.rubrics import load_rubric, rubric_source
from judges.rubrics.pair_rubrics import load_pair_rubric, pair_rubric_source
from tests.engines.scripted import ScriptedEngine

RATING = """<!--
Scores: 1 to 10
Form: Rating: [[<score>]]
Any other line is for people.
-->

Rate the response. Conclude with "Rating: [[<number>]]".

Instruction: <INSTRUCTION_HERE>
Response: <RESPONSE_HERE>
"""
PAIR = """<!--
Verdicts: [[A]] | [[B]] | [[C]]
-->
Instruction: <INSTRUCTION_HERE>
A: <RESPONSE_A_HERE>
B: <RESPONSE_B_HERE>
Which is better? Say [[A]], [[B]] or [[C]] for a tie.
"""
ANSWER = JudgedAnswer("p0/c0", "p0", "What is 2+2?", "It is 4.")


def written(folder: Path, text: str, name: str = "mine.md") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def message_of(folder: Path, text: str) -> str:
    with pytest.raises(DataError) as caught:
        load_rubric(written(folder, text))
    return str(caught.value)


def test_a_file_says_range_form_and_what_to_ask(tmp_path: Path) -> None:
    rubric = load_rubric(written(tmp_path, RATING))
    assert (rubric.name, rubric.scale, rubric.form) == ("mine", (1, 10), ScoreForm("Rating", True))
    assert rubric.render("Q", "R") == (
        'Rate the response. Conclude with "Rating: [[<number>]]".\n\nInstruction: Q\nResponse: R'
    )
    assert rubric.criteria == 'Rate the response. Conclude with "Rating: [[<number>]]".'


def test_without_a_form_a_reply_ends_with_score(tmp_path: Path) -> None:
    text = RATING.replace("Form: Rating: [[<score>]]\n", "").replace("Rating:", "Score:")
    assert load_rubric(written(tmp_path, text)).form == SCORE


def test_judgments_are_read_in_the_form_and_range_of_the_file(tmp_path: Path) -> None:
    replies = ["Good. Rating: [[7]]", "Score: 4", "Rating: [[11]]", "**Rating:** [[ 3"]
    engine = ScriptedEngine(lambda messages, draw: replies[draw])
    section = JudgeSection(rubric=written(tmp_path, RATING), draws=4)
    found = list(judge_answers(engine, [ANSWER], section, seed=0))
    assert [(j.score, j.unparsed) for j in found] == [
        (7.0, None), (None, "no_score"), (None, "out_of_range"), (3.0, None)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("reply", "cut", "score"),
    [
        ("Rating: [[4]] first, then Rating: [[9]]", False, 9.0),
        ("rating : [[8]]/10", False, 8.0),
        ("Rating: [[8]] out of 5", False, 8.0),  # behind the brackets it is prose
        ("Rating: [[1", True, None),  # it may have become a 10
        ("Rating: [[7-8]]", False, None),
        ("Rating: [[<number>]]", False, None),
        ("My overrating: [[7]]", False, None),
    ],
)
def test_scores_in_brackets(reply: str, cut: bool, score: float | None) -> None:
    form = ScoreForm("Rating", brackets=True)
    assert parse_score(reply, low=1, high=10, cut=cut, form=form).value == score


@pytest.mark.parametrize("form", [SCORE, ScoreForm("Rating", True), ScoreForm("Final mark")])
@pytest.mark.parametrize("score", [1.0, 2.5, 10.0])
def test_what_a_form_writes_it_reads(form: ScoreForm, score: float) -> None:
    assert parse_score(form.write(score), low=1, high=10, form=form).value == score


def test_the_expected_score_is_weighed_behind_the_forms_words(tmp_path: Path) -> None:
    chances = {"7]]": 0.25, "9]]": 0.5}

    def score(request: Continuation) -> Logprob:
        assert request.given == "Fine.\n\nRating: [["
        return Logprob(math.log(chances.get(request.continuation, 1e-12)), 1, greedy=False)

    engine = ScriptedEngine(lambda messages, draw: "Fine.", score=score)
    section = JudgeSection(rubric=written(tmp_path, RATING), draws=1, reading="expected")
    (judgment,) = judge_answers(engine, [ANSWER], section, seed=0)
    assert judgment.score == pytest.approx((0.25 * 7 + 0.5 * 9) / 0.75)  # 25/3


def test_ten_points_without_brackets_cannot_be_weighed(tmp_path: Path) -> None:
    # The probability of the token "1" would hold that of "10".
    text = RATING.replace("[[<score>]]", "<score>")
    section = JudgeSection(rubric=written(tmp_path, text), draws=1, reading="expected")
    with pytest.raises(ConfigError, match=r"cannot tell a 1 from a 10.*\[\[<score>\]\]"):
        list(judge_answers(ScriptedEngine(lambda m, d: "x"), [ANSWER], section, seed=0))


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("<!--\n", "", "mine.md:1: expected a comment at the top: '<!--', 'Scores: 1 to 5', '-->'"),
        ("Scores: 1 to 10\n", "", "mine.md:1: the header has 0 ranges; expected one line 'Scores:"),
        ("1 to 10", "10 to 1", "mine.md:2: 'Scores: 10 to 1': expected one line 'Scores: LOW to"),
        ("1 to 10", "a to b", "mine.md:2: 'Scores: a to b': expected one line 'Scores: LOW to"),
        ("1 to 10", "0 to 999", "mine.md:2: 'Scores: 0 to 999': expected"),
        ("[[<score>]]", "<points>", "mine.md:3: 'Form: Rating: <points>': expected one, like"),
        ("Form: Rating", "Form: Grade", "mine.md:7: the text never asks for 'Grade: [[<score>]]'"),
        ("<RESPONSE_HERE>", "it", "mine.md:7: <RESPONSE_HERE> occurs 0 times in the text"),
        ("on: <INS", "on: <INSTRUCTION_HERE> <INS", "<INSTRUCTION_HERE> occurs 2 times"),
        ("Rate the", "<ANSWER_HERE>\nRate the", "mine.md:7: unknown field <ANSWER_HERE>; expected"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_what_was_expected(
    tmp_path: Path, before: str, after: str, message: str
) -> None:
    assert before in RATING
    assert message in message_of(tmp_path, RATING.replace(before, after))


def test_files_that_are_no_rubrics_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.md: no such rubric"):
        load_rubric(str(tmp_path / "absent.md"))
    assert "mine.md: a rubric has at most 200,000 bytes" in message_of(tmp_path, "x" * 200_001)
    (tmp_path / "latin.md").write_bytes(b"<!--\n\xe9")
    with pytest.raises(DataError, match=r"latin\.md:2: not UTF-8 at byte 5"):
        load_rubric(str(tmp_path / "latin.md"))


def test_text_range_and_form_are_part_of_the_key_but_notes_are_not(tmp_path: Path) -> None:
    def key(text: str) -> dict[str, str]:
        return rubric_source(written(tmp_path, text))

    first = key(RATING)
    assert first.keys() == {"rubric:mine"}
    assert key(RATING.replace("for people", "for nobody")) == first
    assert key(RATING.replace("1 to 10", "1 to 9")) != first
    assert key(RATING.replace("[[<score>]]", "<score>")) != first
    assert key(RATING.replace("Rate the", "Grade the")) != first


def test_a_pair_rubric_shows_both_answers_and_reads_the_last_verdict(tmp_path: Path) -> None:
    prompt = pair_prompt(written(tmp_path, PAIR))
    item = AnswerPair("p0", "Q <RESPONSE_A_HERE>", "m2", "m1", "one <RESPONSE_B_HERE>", "two")
    (message,) = prompt.messages(item)
    assert message["content"].startswith(
        "Instruction: Q <RESPONSE_A_HERE>\nA: one <RESPONSE_B_HERE>\nB: two\nWhich"
    )
    for text, winner in (("[[A]] or [[B]]? [[B]]", "B"), ("**[[C]]**", "tie"), ("A", None)):
        assert prompt.read(Reply("k", text, "stop")).value == winner
    assert prompt.read(Reply("k", "[[A]] or [[B]]", "length")).unparsed == "cut_off"


def test_verdicts_of_words_in_several_spellings(tmp_path: Path) -> None:
    lines = "Verdicts: Winner: Judgement A | Winner: Judgement B\n"
    text = PAIR.replace("Verdicts: [[A]] | [[B]] | [[C]]\n", lines + lines.replace("gem", "gm"))
    text = text.replace("Say [[A]], [[B]] or [[C]] for a tie.", 'End "Winner: Judgement A" or so.')
    rubric = load_pair_rubric(written(tmp_path, text))
    for reply in ("Winner: Judgement B", "winner:  **judgment b**.", "**Winner:**\nJudgment B"):
        assert rubric.read(reply).value == "B"
    assert rubric.read("Winner: Judgement Both").unparsed == "no_score"
    form = rubric.form
    assert (form.lead, form.verdicts, form.close) == ("Winner: Judgement ", {"A": 1, "B": 0}, "")
    assert form.begin("I think so.") == "I think so.\n\nWinner: Judgement "


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("Verdicts: [[A]] | [[B]] | [[C]]\n", "", "mine.md:1: the header has no verdicts"),
        (" | [[B]] | [[C]]", "", "mine.md:2: 'Verdicts: [[A]]': expected 'Verdicts: FIRST | SEC"),
        ("| [[B]] |", "| [[a]] |", "names one twice"),
        ("<RESPONSE_B_HERE>", "two", "mine.md:4: <RESPONSE_B_HERE> occurs 0 times"),
        ("[[A]], [[B]] or [[C]]", "who", "mine.md:4: the text never asks for [[A]] or [[B]]"),
    ],
)
def test_a_mistake_in_a_pair_rubric_is_named(
    tmp_path: Path, before: str, after: str, message: str
) -> None:
    assert before in PAIR
    with pytest.raises(DataError) as caught:
        load_pair_rubric(written(tmp_path, PAIR.replace(before, after)))
    assert message in str(caught.value)


def test_a_pair_rubric_is_part_of_the_key_by_its_content(tmp_path: Path) -> None:
    first = pair_rubric_source(written(tmp_path, PAIR))
    assert pair_rubric_source(written(tmp_path, PAIR.replace("better", "best"))) != first
    assert pair_rubric_source("alpaca_eval") == {}
