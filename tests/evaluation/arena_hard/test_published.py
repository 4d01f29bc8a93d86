"""Arena-Hard's published numbers, by command line, from its own files."""

from __future__ import annotations

import csv
import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from evaluation.__main__ import app

if TYPE_CHECKING:
    from pathlib import Path


def run(*words: object) -> Any:
    done = CliRunner().invoke(app, ["arena-hard", *map(str, words), "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture
def arena(shared: Path) -> Path:
    return shared / "data" / "arena_hard"


def test_23_published_win_rates_follow_from_the_ratings(arena: Path) -> None:
    file = arena / "bootstrap_stats_arena_hard_bt.jsonl.gz"
    rates = run("--ratings", file, "--baseline", "gpt-4-0314")["win_rates"]
    with (arena / "arena_hard_leaderboard_20240731.csv").open(encoding="utf-8") as opened:
        published = {row["model"]: float(row["score"]) for row in csv.DictReader(opened)}
    both = rates.keys() & published.keys()
    near = [model for model in both if abs(rates[model] - published[model]) <= 0.011]
    # The two others were judged again between the ratings and the leaderboard.
    assert len(near) == 23
    assert rates["gpt-4-0125-preview"] == pytest.approx(77.96, abs=0.011)
    assert rates["gemma-2b-it"] == pytest.approx(3.00, abs=0.011)
    assert rates["gpt-4-0314"] == 50.0


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("arena_hard", 79.89),
        ("mt_bench", 34.33),
        ("alpaca_LC", 87.89),
        ("alpaca", 71.05),
        ("20k_votes", 68.95),
        ("arena_hard_distribution_elo", 69.13),
    ],
)
def test_separability_is_the_published_one(arena: Path, name: str, published: float) -> None:
    found = run("--ratings", arena / f"bootstrap_stats_{name}.jsonl.gz")
    assert found["separability"] == pytest.approx(published, abs=0.005)


def test_the_style_of_all_750_answers_is_the_recorded_one(arena: Path) -> None:
    file = arena / "v2.0" / "o3-mini-2025-01-31.jsonl.gz"
    found = run("--answers", file)["o3-mini-2025-01-31"]["each"]
    with gzip.open(file, "rt", encoding="utf-8") as opened:
        recorded = {row["uid"]: row["metadata"] for row in map(json.loads, opened)}
    assert len(recorded) == 750
    for question, noted in recorded.items():
        assert found[question] == {
            "length": noted["token_len"],
            "headers": sum(noted["header_count"].values()),
            "ordered": noted["list_count"]["ordered"],
            "unordered": noted["list_count"]["unordered"],
            "bold": sum(noted["bold_count"].values()),
        }


def test_recorded_judgments_give_rates_by_category_raw_and_at_equal_style(
    arena: Path, tmp_path: Path
) -> None:
    # Judgments are not published with the data: these say that the longer answer is better. All of
    # the wins follow from length then, and at equal style there is no finite fit.
    answers = [arena / "v0.1" / f"{model}.jsonl.gz" for model in ("gpt-4-0314", "gpt-4-0613")]
    lengths = []
    for path in answers:
        with gzip.open(path, "rt", encoding="utf-8") as opened:
            lengths.append(
                {
                    row["question_id"]: row["choices"][0]["turns"][0]["token_len"]
                    for row in map(json.loads, opened)
                }
            )
    rows = []
    for question, own in lengths[1].items():
        longer = own > lengths[0][question]
        games = [{"score": "B>>A" if longer else "A>B"}, {"score": "A>B" if longer else "B>A"}]
        rows.append({"question_id": question, "model": "gpt-4-0613", "judge": "l", "games": games})
    file = tmp_path / "judgments.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    given = [word for path in answers for word in ("--answers", path)]
    found = run("--judgments", file, *given)["arena-hard-v0.1"]["gpt-4-0613"]
    longer = sum(row["games"][0]["score"] == "B>>A" for row in rows)
    # Weight 4 of each longer answer, all won; weight 2 of each other one, all lost.
    expected = 100 * 4 * longer / (4 * longer + 2 * (len(rows) - longer))
    assert found["win_rate"]["value"] == pytest.approx(expected)
    assert found["style_controlled_win_rate"]["value"] is None
    assert "separates wins from losses" in found["style_controlled_win_rate"]["reason"]


def test_what_cannot_be_answered_is_refused_with_what_to_give(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["arena-hard"])
    assert "give --judgments" in str(done.exception)
    file = tmp_path / "r.jsonl"
    file.write_text('{"model": "a", "score": 1, "lower": 0, "upper": 2}\n', encoding="utf-8")
    done = CliRunner().invoke(app, ["arena-hard", "--ratings", str(file), "--baseline", "b"])
    assert "--baseline b: not among the rated models (a, …)" in str(done.exception)
    assert run("--ratings", file) == {"models": 1, "separability": None}
