from __future__ import annotations

import argparse
import gzip
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from core.errors import DataError
from core.evaluation_config import MtBenchSection
from core.records import Generation
from evaluation.mt_bench.fastchat_files import (
    read_judgments,
    report,
    write_answers,
    write_judgments,
)
from evaluation.mt_bench.questions import load_questions
from tests.evaluation.mt_bench.fastchat_answers import read_answers
from tests.evaluation.mt_bench.test_scores import grade
from tests.training.making import write_jsonl

if TYPE_CHECKING:
    from pathlib import Path

GEMINI = "gpt-4_single.gemini-1.5-flash.jsonl"
MAMBA = "gpt-4_single.mambainllama.jsonl.gz"
ORPO = "gpt-4_single.mistral-orpo.jsonl"


@pytest.fixture(scope="module")
def recorded(shared: Path) -> Path:
    return shared / "data" / "mt_bench"


def row(**changes: Any) -> dict[str, Any]:
    plain = {
        "question_id": 81,
        "model": "m",
        "judge": ["gpt-4", "single-v1"],
        "user_prompt": "?",
        "judgment": "Rating: [[7]]",
        "score": 7,
        "turn": 1,
        "tstamp": 1.5,
    }
    return {**plain, **changes}


def test_the_published_scores_of_six_mamba_models_are_reproduced(recorded: Path) -> None:
    found = report(recorded / MAMBA)
    published = {
        "mamba_0_5_dpo_ep1": (7.12, 7.1219),
        "mamba_0_5_dpo_ep3": (7.31, 7.3125),
        "mamba_0_75_dpo_ep1": (7.03, 7.0344),
        "mamba_0_75_dpo_ep3": (6.58, 6.5812),
        "mamba_0_875_dpo_ep1": (6.39, 6.3875),
        "mamba_0_875_dpo_ep3": (6.37, 6.3688),
    }
    assert set(found) == set(published)
    for model, (rounded, exact) in published.items():
        assert found[model]["overall"] == pytest.approx(exact, abs=5.1e-5)
        assert found[model]["overall"] == pytest.approx(rounded, abs=0.005)
        assert (found[model]["n"], found[model]["n_unparsed"]) == (160, 0)
        assert found[model]["n_reparse_mismatch"] == 0


def test_gemini_has_its_recorded_turns(recorded: Path) -> None:
    (found,) = report(recorded / GEMINI).values()
    assert found["overall"] == 8.76875  # MANIFEST: 8.7688, 9.0750, 8.4625
    assert (found["turn_1"], found["turn_2"]) == (9.075, 8.4625)
    assert (found["n_duplicates"], found["n_absent"], found["judge"]) == (0, 0, "gpt-4")


def test_failures_and_duplicates_are_counted_and_named(recorded: Path) -> None:
    found = report(recorded / ORPO)
    for model, value in (("capybara", 6.8187), ("mix", 6.0031), ("trl", 7.1656)):
        one = found[f"mistral-orpo-{model}"]
        assert one["overall"] == pytest.approx(value, abs=1e-4)
        assert (one["n"], one["n_unparsed"], one["n_duplicates"]) == (160, 0, 0)
    twice = found["mistral-orpo"]
    assert (twice["n"], twice["n_unparsed"], twice["unparsed"]) == (319, 1, {"no_score": 1})
    assert twice["n_duplicates"] == len(set(twice["duplicates"])) == 160
    # The 160 further rows judged other answers: two runs under one name, nearly a point apart,
    # which is no disagreement of the judge with itself.
    assert twice["n_other_answers"] == 160
    assert (twice["turn_sd"], twice["overall_sd"]) == (None, None)
    first, second = twice["overall_by_draw"]
    assert (first, second) == (pytest.approx(5.39, abs=0.005), pytest.approx(6.31, abs=0.005))


@pytest.mark.parametrize("name", [GEMINI, MAMBA, ORPO])
def test_every_recorded_score_is_what_the_judges_words_say(recorded: Path, name: str) -> None:
    found = read_judgments(recorded / name, load_questions(MtBenchSection()))
    assert found
    assert [f.judgment.key for f in found if f.judgment.score != f.recorded] == []


def test_judgments_of_ones_own_questions_are_read(tmp_path: Path) -> None:
    questions = tmp_path / "question.jsonl"
    own = [
        {"question_id": 1, "category": "tax law", "turns": ["One turn?"]},
        {"question_id": 2, "category": "writing", "turns": ["First?", "Second?"]},
    ]
    write_jsonl(questions, own)
    judged = [row(question_id=1), row(question_id=2, judgment="Rating: [[4]]", score=4)]
    write_jsonl(tmp_path / "own_single.jsonl", judged)
    for place in (questions, tmp_path):
        found = report(tmp_path / "own_single.jsonl", place)["m"]
        assert (found["overall"], found["n"], found["n_absent"]) == (5.5, 2, 1)
        assert found["by_category"] == {"tax law": 7.0, "writing": 4.0}
    with pytest.raises(DataError, match=r"question 1 is not among the 80 .*--questions FILE"):
        report(tmp_path / "own_single.jsonl")
    write_jsonl(tmp_path / "second.jsonl", [row(question_id=1, turn=2)])
    with pytest.raises(DataError, match=r"turn: expected 1\.\.1, found 2"):
        report(tmp_path / "second.jsonl", questions)
    write_jsonl(questions, [*own, own[0]])
    with pytest.raises(DataError, match=r"question\.jsonl:3: question_id 1 was used before"):
        report(tmp_path / "own_single.jsonl", questions)


def fastchat_says(path: Path, capsys: pytest.CaptureFixture[str]) -> list[dict[str, float]]:
    """Run FastChat's own show_result; return its three tables: turn 1, turn 2, average."""
    from fastchat.llm_judge.show_result import display_result_single

    arguments = argparse.Namespace(
        input_file=str(path), bench_name="mt_bench", judge_model="gpt-4", model_list=None
    )
    capsys.readouterr()
    display_result_single(arguments)
    tables = capsys.readouterr().out.split("##########")[2::2]
    lines = re.compile(r"^(\S+)(?: +[12])? +([0-9.]+)$", re.MULTILINE)
    return [{model: float(value) for model, value in lines.findall(table)} for table in tables]


@pytest.mark.parametrize("name", [GEMINI, MAMBA, ORPO])
def test_fastchats_own_code_agrees_on_what_it_recorded_and_on_what_we_write(
    recorded: Path, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported = tmp_path / "gpt-4_single.jsonl"
    questions = load_questions(MtBenchSection())
    write_judgments(exported, [f.judgment for f in read_judgments(recorded / name, questions)])
    ours = report(recorded / name)
    for path in (recorded / name, exported):
        turn_1, turn_2, average = fastchat_says(path, capsys)
        assert set(turn_1) == set(turn_2) == set(average) == set(ours)
        for model, one in ours.items():
            # It prints six decimals.
            assert turn_1[model] == pytest.approx(one["turn_1"], abs=1e-5)
            assert turn_2[model] == pytest.approx(one["turn_2"], abs=1e-5)
            assert average[model] == pytest.approx(one["overall"], abs=1e-5)
    assert report(exported) == ours


def test_fastchat_agrees_where_a_score_is_missing_and_a_turn_was_judged_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judgments = [
        grade(81, 1, 4.0),
        grade(81, 1, 8.5, draw=1),
        grade(81, 2, None, unparsed="failed"),
        grade(82, 1, 9.0),
        grade(82, 2, 3.0),
    ]
    path = tmp_path / "ours.jsonl"
    write_judgments(path, judgments)
    turn_1, turn_2, average = fastchat_says(path, capsys)
    # Turn 1: 4, 8.5 and 9, together 21.5. Turn 2: 3 alone. All: 24.5 over 4.
    assert turn_1 == {"M1": pytest.approx(21.5 / 3, abs=1e-5)}
    assert (turn_2, average) == ({"M1": 3.0}, {"M1": 6.125})


def test_written_judgments_have_fastchats_fields(recorded: Path, tmp_path: Path) -> None:
    path = tmp_path / "ours.jsonl"
    write_judgments(path, [grade(81, 1, 8.0), grade(81, 2, 8.5), grade(82, 1, None)])
    ours = [json.loads(line) for line in path.read_text().splitlines()]
    theirs = json.loads((recorded / GEMINI).read_text().splitlines()[0])
    assert all(list(one) == list(theirs) for one in ours)
    assert [one["score"] for one in ours] == [8, 8.5, -1]
    assert ours[0]["judge"] == ["gpt-4", "single-v1"]


def test_a_score_that_the_words_contradict_is_a_mismatch(tmp_path: Path) -> None:
    rows = [
        row(),
        row(turn=2, score=9),  # the words say 7
        row(question_id=82, score=-1),  # ... and here too
        row(question_id=83, judgment="No idea.", score=-1),
        row(question_id=84, judgment="Rating: [[12]]", score=12),  # off the scale: no grade
    ]
    (found,) = report(write_jsonl(tmp_path / "j.jsonl", rows)).values()
    assert found["n_reparse_mismatch"] == 2
    assert (found["overall"], found["n"], found["n_unparsed"]) == (7.0, 3, 2)
    assert found["unparsed"] == {"no_score": 1, "out_of_range": 1}
    assert found["n_absent"] == 155


def test_the_report_is_json_and_has_all_categories(tmp_path: Path) -> None:
    found = report(write_jsonl(tmp_path / "j.jsonl", [row(), row(question_id=111, score=7)]))
    assert json.loads(json.dumps(found)) == found
    by_category = found["m"]["by_category"]
    assert len(by_category) == 8
    assert (by_category["writing"], by_category["math"], by_category["stem"]) == (7.0, 7.0, None)
    assert (found["m"]["math_coding_reasoning"], found["m"]["rest"]) == (7.0, 7.0)
    assert found["m"]["turn_2"] is None


def test_judges_are_never_mixed_in_one_table(tmp_path: Path) -> None:
    rows = [row(), row(turn=2, judge=["gpt-4-1106-preview", "single-v1-multi-turn"])]
    path = write_jsonl(tmp_path / "j.jsonl", rows)
    with pytest.raises(DataError, match=r"more than one judge \(gpt-4, gpt-4-1106-preview\)"):
        report(path)
    # ... neither between models.
    other = [row(), row(model="n", judge=["gpt-4o", "single-v1"])]
    with pytest.raises(DataError, match=r"gpt-4, gpt-4o"):
        report(write_jsonl(path, other))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"question_id": 7}, r"j.jsonl:2: question 7 is not among the 80"),
        ({"question_id": None}, "question_id: expected a whole number, found None"),
        ({"turn": 3}, r"turn: expected 1\.\.2, found 3"),
        ({"score": "7"}, 'score is "7", expected a finite number'),
        ({"score": None}, "score is null"),
        ({"judge": "gpt-4"}, r"judge: expected \[model, prompt\], found 'gpt-4'"),
        ({"judgment": None}, "judgment: expected text, found None"),
        ({"model": 1}, "model: expected text, found 1"),
    ],
)
def test_a_malformed_judgment_is_named(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        report(write_jsonl(tmp_path / "j.jsonl", [row(), row(**changes)]))


def test_a_damaged_or_empty_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl.gz"
    whole = gzip.compress((json.dumps(row()) + "\n").encode() * 50)
    path.write_bytes(whole)
    assert report(path)["m"]["n"] == 50
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"j.jsonl.gz.* gzip"):
        report(path)
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    with pytest.raises(DataError, match="no rows"):
        report(empty)


def generation(question: int, turn: int, text: str, finish: str = "stop") -> Generation:
    return Generation(f"{question}/t{turn}", str(question), "", text, 0, finish, turn)


def test_answers_survive_being_written_and_read(tmp_path: Path, recorded: Path) -> None:
    theirs = recorded / "answers.gemini-1.5-flash.jsonl"
    answers = read_answers(theirs)
    assert len(answers) == 160
    path = tmp_path / "gemini.jsonl"
    write_answers(path, reversed(answers), model="gemini-1.5-flash")
    assert sorted(read_answers(path), key=lambda a: a.key) == sorted(answers, key=lambda a: a.key)
    first, other = (json.loads(p.read_text().splitlines()[0]) for p in (path, theirs))
    assert list(first) == list(other)
    assert first["choices"] == other["choices"]


def test_a_turn_without_an_answer_is_fastchats_error(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    answers = [
        generation(81, 1, "", "too_long"),
        generation(81, 2, "", "not_asked"),
        generation(82, 1, "cut", "length"),
    ]
    write_answers(path, answers, model="m")
    turns = [json.loads(line)["choices"][0]["turns"] for line in path.read_text().splitlines()]
    assert turns == [["$ERROR$", "$ERROR$"], ["cut", "$ERROR$"]]
    assert [(a.key, a.text, a.finish) for a in read_answers(path)] == [
        ("81/t1", "", "failed"),
        ("81/t2", "", "failed"),
        ("82/t1", "cut", "stop"),
        ("82/t2", "", "failed"),
    ]


def test_a_question_answered_twice_is_an_error(tmp_path: Path) -> None:
    one = {"question_id": 81, "choices": [{"index": 0, "turns": ["a", "b"]}]}
    with pytest.raises(DataError, match=r"m.jsonl:2: question 81 is answered a second time"):
        read_answers(write_jsonl(tmp_path / "m.jsonl", [one, one]))
