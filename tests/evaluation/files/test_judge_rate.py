from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from evaluation.__main__ import app
from evaluation.files.judge_accuracy import Labelled, read_labels, read_verdicts
from evaluation.files.judge_rate import corrected_report
from tests.reproductions.votes import read_votes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from judges.replies import Winner


def test_the_samples_are_apart_and_ties_are_no_wins() -> None:
    items = [
        Labelled("1", "A", ("A",)), Labelled("2", "A", ("tie",)), Labelled("3", "B", ("A",)),
        Labelled("4", "tie", ("B",)), Labelled("5", None, ("A", "tie")),
        Labelled("6", None, ("A", "B")), Labelled("7", None, (None,)),
    ]  # fmt: skip
    found = corrected_report(items)
    assert (found["labels"], found["n_unread"]) == (4, 1)
    # Without a label: one for A (A and a tie), one whose orders disagree.
    assert (found["judge"]["value"], found["judge"]["n"]) == (50.0, 2)
    assert found["people"]["value"] == 50.0
    assert found["judge_right_on_wins"]["value"] == 50.0
    assert found["judge_right_on_losses"]["value"] == 50.0
    assert "no more than by chance" in found["corrected"]["reason"]


def test_the_command_reads_labels_beside_the_verdicts(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"item": str(at), "label": ("A" if at < 10 else "B") if at < 20 else None,
         "ab": "A" if at < 9 or 12 > at >= 10 or at >= 40 else "B"}
        for at in range(60)
    ]  # fmt: skip
    path = tmp_path / "verdicts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    done = CliRunner().invoke(app, ["judge-rate", "--verdicts", str(path), "--json"])
    found = json.loads(done.stdout)
    # q₁ = 9/10, q₀ = 8/10, p = 20 of 40: (0.5 + 0.8 − 1) / 0.7.
    assert found["corrected"]["value"] == pytest.approx(100 * 0.3 / 0.7)
    assert found["corrected"]["low"] < 100 * 0.3 / 0.7 < found["corrected"]["high"]
    assert found["labels"] == 20


def held(items: Sequence[Labelled], *, labels: int, rounds: int) -> float:
    """Return the share of random parts with labels after which the others' rate is covered.

    The others' labels are hidden from the correction, and say what is right.
    """
    chosen, covered = random.Random(0), 0
    for _ in range(rounds):
        shown = {item.key for item in chosen.sample(list(items), labels)}
        rest = [item for item in items if item.key not in shown]
        truth = 100 * sum(item.label == "A" for item in rest) / len(rest)
        hidden = [i if i.key in shown else i._replace(label=None) for i in items]
        found = corrected_report(hidden)["corrected"]
        covered += found["low"] <= truth <= found["high"]
    return covered / rounds


def test_the_corrected_rate_of_gpt_35_covers_pandalms_people(shared: Path) -> None:
    folder = shared / "data" / "pandalm"
    labels = read_labels(folder / "testset-v1.json.gz")
    verdicts = folder / "gpt-3.5-turbo-testset-v1.json.gz"
    items = [item for item in read_verdicts(verdicts, labels) if item.label]
    # The parts are of one finite set, whose own sampling error the interval includes: it is wide.
    assert held(items, labels=300, rounds=60) >= 0.92


def test_the_corrected_rate_of_gpt_4_covers_mt_benchs_people(shared: Path) -> None:
    folder = shared / "data" / "mt_bench"
    people: dict[Any, Counter[str | None]] = defaultdict(Counter)
    for vote in read_votes(folder / "human_votes.jsonl"):
        people[vote.item][vote.winner] += 1
    items = []
    for verdict in read_votes(folder / "gpt4_pair_verdicts.jsonl"):
        if verdict.item in people:
            (most, count), *_ = people[verdict.item].most_common()
            if 2 * count > people[verdict.item].total():
                first = verdict.item.models[0]
                sides: list[Winner] = [
                    "tie" if winner is None else "A" if winner == first else "B"
                    for winner in (most, verdict.winner)
                ]
                items.append(Labelled(str(verdict.item), sides[0], (sides[1],)))
    assert len(items) > 1000
    assert held(items, labels=300, rounds=60) >= 0.92
