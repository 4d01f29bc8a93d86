from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from core.config import load_config
from core.stages import project_root
from reports.sections.variants import load_variants, sections, variants_of
from tests.reports.runs import RunBuilder

if TYPE_CHECKING:
    from pathlib import Path

CONFIGS = sorted((project_root() / "configs" / "variants").glob("*.toml"))


@pytest.mark.parametrize(
    ("key", "settings"),
    [
        ("iterative_rpo", {"dpo": {"nll_weight": 1.0}}),
        ("tulu3_dpo", {"dpo": {"loss": "sigmoid_norm", "beta": 5.0}}),
        ("cream", {"pairs": {"consistency": "prompt"}}),
        ("scir", {"pairs": {"filter": "implicit_reward"}}),
        ("temporal", {"pairs": {"rejected_from": "past"}}),
        ("temporal", {"pairs": {"chosen_from": "future"}}),
    ],
)
def test_the_settings_of_a_variant_make_the_report_name_it(
    key: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    (section,) = sections(RunBuilder(tmp_path).config(**settings).open())
    known = load_variants()[key]
    assert section.paragraphs[1:] == (f"{known['title']}, in iterations 2, 3: {known['what']}",)
    # A variant without published numbers shows none.
    assert len(section.tables) == bool(known["rows"])


def test_creams_published_shape_is_the_one_of_the_reference_sheet(tmp_path: Path) -> None:
    # Self-rewarding falls 49.25 → 40.08, CREAM 50.51; consistency .46 → .92.
    built = RunBuilder(tmp_path).config(pairs={"consistency": "mean"})
    (section,) = sections(built.open())
    (table,) = section.tables
    assert [[c.published and c.published.value for c in row.cells] for row in table.rows] == [
        [49.25],
        [40.08],
        [50.51],
    ]
    assert ".46 to .92" in table.notes[0]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_variant_is_recognised_by_its_settings(path: Path) -> None:
    config = load_config(path)
    assert config.run == path.stem
    assert path.stem.removesuffix("-8b").replace("-", "_") in variants_of(config)
