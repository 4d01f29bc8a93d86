from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from core.errors import DataError
from evaluation.files.reply_files import report


def replies(tmp_path: Path, *rows: object) -> Path:
    file = tmp_path / "replies.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return file


def test_every_reply_has_a_score_or_a_reason(tmp_path: Path) -> None:
    file = replies(
        tmp_path,
        {"response": "Good. Score: 4"},
        {"response": "It says Score: 5, but no.\n**Score:** 2/5"},
        {"response": "I cannot say."},
        {"response": "Score: 7"},
        {"response": ""},
    )
    assert report(file, "additive") == [
        {"line": 1, "score": 4.0, "reason": None},
        {"line": 2, "score": 2.0, "reason": None},
        {"line": 3, "score": None, "reason": "no_score"},
        {"line": 4, "score": None, "reason": "out_of_range"},
        {"line": 5, "score": None, "reason": "empty"},
    ]


def test_the_other_forms_are_read_too(tmp_path: Path) -> None:
    ranking = "[{'model': 'model_1', 'rank': 2}, {'model': 'model_2', 'rank': 1}]"
    file = replies(tmp_path, {"response": f"[[8]] {ranking} [[A]] Score: 0"})
    assert report(file, "rating")[0]["score"] == 8
    assert report(file, "ranking")[0]["score"] == 2
    assert report(file, "pair")[0]["score"] == "A"
    assert report(file, "additive")[0]["score"] == 0
    # The multiple-choice rubric of Figure 7 begins at 1.
    assert report(file, "li")[0]["reason"] == "out_of_range"


def test_arena_hards_five_verdicts_are_read(tmp_path: Path) -> None:
    verdicts = ["A>>B", "A>B", "A=B", "B>A", "B>>A"]
    words = [{"response": f"[[A=B]] is for ties. My final verdict: [[{v}]]"} for v in verdicts]
    file = replies(tmp_path, *words, {"response": "[[A>C]]"}, {"response": "so [[A>", "cut": True})
    found = report(file, "arena")
    assert [row["score"] for row in found] == [*verdicts, None, None]
    assert [row["reason"] for row in found[5:]] == ["no_score", "cut_off"]


def test_a_reply_known_to_be_cut_is_not_trusted_to_its_last_digit(tmp_path: Path) -> None:
    file = replies(
        tmp_path,
        {"response": "Score: 4", "cut": True},
        {"response": "Score: 4", "finish": "length"},
    )
    assert [row["reason"] for row in report(file, "additive")] == ["cut_off", "cut_off"]


def test_compressed_files_are_read(tmp_path: Path) -> None:
    file = tmp_path / "replies.jsonl.gz"
    file.write_bytes(gzip.compress(b'{"response": "Score: 3"}\n'))
    assert report(file, "additive") == [{"line": 1, "score": 3.0, "reason": None}]


@pytest.mark.parametrize("row", [{"text": "Score: 4"}, {"response": 4}, {"response": None}])
def test_a_row_without_the_judges_words_is_named(row: object, tmp_path: Path) -> None:
    file = replies(tmp_path, {"response": "Score: 1"}, row)
    with pytest.raises(DataError, match=r'replies\.jsonl:2: "response" is'):
        report(file, "additive")
