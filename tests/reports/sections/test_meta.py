from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core.config import Config
from core.records import JudgePair, Judgment, Verdict
from core.stages import Ref, Stage
from core.store import Built
from reports.sections import variants
from reports.sections.loop import meta
from tests.reports.runs import RunBuilder

if TYPE_CHECKING:
    from pathlib import Path

JUDGMENTS = [
    Judgment(f"p/a/j{n}", "p/a", "p", n, f"Score: {s}", s, None, 2) for n, s in enumerate((1, 5))
]
VERDICTS = [
    Verdict("p/a/m0-1/ab", "p", "p/a/j0", "p/a/j1", "B"),
    Verdict("p/a/m0-1/ba", "p", "p/a/j0", "p/a/j1", "B"),
    Verdict("q/a/m0-1/ab", "q", "p/a/j0", "p/a/j1", "A"),
    Verdict("q/a/m0-1/ba", "q", "p/a/j0", "p/a/j1", None, "no_score"),
]
PAIRS = [
    JudgePair("p", "Judge <b>this</b>", "pair", "p/a", ("p/a/j0", "p/a/j1"), (1.0, 5.0),
              ((0.0, 0.0), (1.0, 0.0)), (-7.0, 7.0), "p/a/j1", "p/a/j0", "Score: 5", "Score: 1"),
    JudgePair("q", "", "not_disputed"),
]  # fmt: skip


def test_the_meta_judges_biases_and_the_outcomes_are_in_the_report(tmp_path: Path) -> None:
    built = RunBuilder(tmp_path).rows(Ref(2, Stage.JUDGMENTS), JUDGMENTS)
    assert meta.tables(built.open(), 2) == []
    built.rows(Ref(2, Stage.META_VERDICTS), VERDICTS)
    weights = Built(facts={"position_weights": [0.25, 0.75]})
    built.rows(Ref(2, Stage.JUDGE_PAIRS), PAIRS, built=weights)
    health, outcomes = meta.tables(built.open(), 2)
    values = {row.label: (row.cells[0].value, row.cells[0].n) for row in health.rows}
    # Three of four can be read; the first shown won in "ba" and in "q"; 5 beat 1 twice of three.
    assert values == {
        "share of replies with a readable winner": (0.75, 4),
        "winner was shown first (no position bias: 0.5)": (pytest.approx(2 / 3), 3),
        "winner gave the higher score (no score bias: 0.5)": (pytest.approx(2 / 3), 3),
        "winner changes with the order": (0.0, 1),
    }
    assert [(row.label, row.cells[0].value) for row in outcomes.rows[:2]] == [
        ("pair", 1), ("not disputed", 1)
    ]  # fmt: skip
    assert outcomes.notes[0].startswith("A win counts 0.250 where the winner was shown first")
    group = meta.rows(built.open(), 2, 10)
    assert group is not None
    assert group.key == "judge_pairs/iter2" and group.total == 2
    assert dict(group.items[0].parts)["The chosen judgment"] == "Score: 5"


def test_a_run_names_the_variant_it_follows_and_its_published_shape(tmp_path: Path) -> None:
    plain = RunBuilder(tmp_path / "plain").config().open()
    assert list(variants.sections(plain)) == []
    built = RunBuilder(tmp_path / "meta").config(iteration={3: {"judge_pairs": {"enabled": True}}})
    (section,) = variants.sections(built.open())
    assert "not comparable with this run's numbers" in section.paragraphs[0]
    assert section.paragraphs[1].startswith("Meta-Rewarding (Wu et al. 2024), in iteration 3: ")
    (table,) = section.tables
    last = table.rows[-1]
    assert (last.label, last.kind) == ("iteration 4", "published")
    assert [c.published and c.published.value for c in last.cells] == [39.44, 35.49]
    assert all(cell.value is None for row in table.rows for cell in row.cells)
    assert variants.variants_of(Config()) == {}


def test_every_published_variant_has_what_its_table_needs() -> None:
    known = variants.load_variants()
    assert known.keys() == variants._USED.keys()
    for entry in known.values():
        assert all(len(values) == len(entry["columns"]) for _, values in entry["rows"])
