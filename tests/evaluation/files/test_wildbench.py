from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from evaluation.__main__ import app

if TYPE_CHECKING:
    from pathlib import Path


def run(*words: object) -> Any:
    done = CliRunner().invoke(app, ["wildbench", *map(str, words), "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.parametrize("model", ["gemma-2b-it", "gpt-3.5-turbo-0125"])
def test_both_published_scores_are_reproduced(model: str, shared: Path) -> None:
    folder = shared / "data" / "wildbench"
    published = json.loads((folder / "score.json").read_text(encoding="utf-8"))[model]
    found = run("--scores", folder / f"score.gpt-4o.{model}.json.gz")
    assert found["wb_score"] == pytest.approx(published["adjusted_score"], abs=1e-9)
    assert (found["n"], found["missing"]) == (published["total"], 0)
    assert found["low"] < found["wb_score"] < found["high"]


@pytest.mark.parametrize(
    ("table", "models"),
    [("gpt4t-K=-1", 51), ("gpt4t-K=500", 51), ("haiku-K=500", 53), ("llama-K=500", 51)],
)
def test_all_four_published_tables_are_reproduced(table: str, models: int, shared: Path) -> None:
    file = shared / "data" / "wildbench" / f"pairwise-{table}.json"
    published = json.loads(file.read_text(encoding="utf-8"))
    found = run("--rewards", file)
    assert len(found) == models
    for model, row in published.items():
        assert found[model]["wb_reward"] == pytest.approx(row["reward"], abs=1e-12)
        assert found[model]["by_task"] == pytest.approx(row["task_categorized_rewards"], abs=1e-12)


def test_a_score_by_hand_and_what_is_missing(tmp_path: Path) -> None:
    # 8 and 4: a mean of 6, 2·(6 − 5) = 2. "0", "n/a" and null are no scores from 1 to 10.
    rows = [{"session_id": str(at), "score": s} for at, s in enumerate(["8", 4, "0", "n/a", None])]
    path = tmp_path / "scores.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = run("--scores", path)
    assert (found["wb_score"], found["n"], found["missing"]) == (2.0, 2, 3)


def test_a_reward_by_hand(tmp_path: Path) -> None:
    # (2 + 1/2 − 3/2 − 0) / 10, two of the ten undecided.
    counts = {"win_much": 2, "win": 1, "tie": 2, "lose": 3, "lose_much": 0, "total": 10}
    path = tmp_path / "counts.json"
    path.write_text(json.dumps({"m": counts}), encoding="utf-8")
    assert run("--rewards", path) == {"m": {"wb_reward": 0.1, "n": 10, "undecided": 2}}


@pytest.mark.parametrize(
    ("words", "text", "message"),
    [
        ((), "", "exactly one of --scores FILE and --rewards FILE"),
        (("--scores",), '{"session_id": "a"}\n{"session_id": "a"}', ":2: expected"),
        (("--rewards",), "[]", "expected an object: models with their counts"),
        (("--rewards",), '{"m": {"win": 1, "total": 1}}', "m: expected win_much, win, tie"),
        (("--rewards",), '{"m": 3}', "m: expected win_much, win, tie"),
    ],
)
def test_bad_input_is_named(
    words: tuple[str, ...], text: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "file.json"
    path.write_text(text, encoding="utf-8")
    given = [*words, str(path)] if words else []
    done = CliRunner().invoke(app, ["wildbench", *given])
    assert message in str(done.exception)
