from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import pytest

from core.records import Example, JudgeExample, Prompt
from core.stages import Ref, Stage
from reports.sections import training_data as data_distribution
from tests.reports.runs import RunBuilder

if TYPE_CHECKING:
    from pathlib import Path

FOOD = "bread cheese soup apple oven butter salt recipe dinner onion".split()  # noqa: SIM905
CODE = "python loop function list string error class import return test".split()  # noqa: SIM905


def sentences(words: list[str], count: int, seed: int = 1) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(words, k=12)) for _ in range(count)]


def seed_data(folder: Path, texts: list[str]) -> RunBuilder:
    rows = [Example(f"e{n:03}", text, "reply") for n, text in enumerate(texts)]
    return RunBuilder(folder).config().rows(Ref(1, Stage.IFT), rows)


def prompts(built: RunBuilder, texts: list[str], rejected: str | None = None) -> RunBuilder:
    rows = [Prompt(f"c{n:03}/t0", text, rejected, n) for n, text in enumerate(texts)]
    return built.rows(Ref(2, Stage.PROMPTS), rows)


def test_texts_of_a_kind_lie_together() -> None:
    places = data_distribution.project(sentences(FOOD, 25) + sentences(CODE, 25), seed=1)

    def nearest(at: int) -> int:
        others = [other for other in range(50) if other != at]
        return min(others, key=lambda other: math.dist(places[at], places[other]))

    # Food and code share no word; by chance 24 of 49 neighbours would be of the same kind.
    assert sum((nearest(at) < 25) == (at < 25) for at in range(50)) >= 48


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    built = prompts(seed_data(tmp_path, sentences(FOOD, 20)), sentences(CODE, 20))
    first = data_distribution.figure(built.open())
    assert first is not None
    assert data_distribution.figure(built.open()) == first


def test_more_than_200_texts_are_a_seeded_sample_and_counted_in_full(tmp_path: Path) -> None:
    built = prompts(seed_data(tmp_path, sentences(FOOD, 230)), sentences(CODE, 8))
    found = data_distribution.figure(built.open())
    assert found is not None
    assert found.description.endswith("IFT: 200 of 230, AIFT(M1): 8 of 8.")
    assert found.svg.count("<use ") > 208  # a dot per text, and the legend's


def test_small_sets_are_named_as_such(tmp_path: Path) -> None:
    built = prompts(seed_data(tmp_path, sentences(FOOD, 60)), sentences(CODE, 12))
    found = data_distribution.figure(built.open())
    assert found is not None
    assert "Small sets, with a shape mostly due to chance: AIFT(M1) 12." in found.notes
    assert "Too small to show: EFT 0." in found.notes


def test_too_few_texts_give_no_figure(tmp_path: Path) -> None:
    results = prompts(seed_data(tmp_path, sentences(FOOD, 60)), sentences(CODE, 4)).open()
    assert data_distribution.figure(results) is None


def test_rejected_prompts_are_no_training_data(tmp_path: Path) -> None:
    built = prompts(seed_data(tmp_path, sentences(FOOD, 60)), sentences(CODE, 30), "too_short")
    assert data_distribution.figure(built.open()) is None


def test_eft_is_shown_inside_the_judge_s_prompt(tmp_path: Path) -> None:
    rows = [
        JudgeExample(f"r{n}", "bread?", "butter.", "Score: 4", 4.0, "written") for n in range(6)
    ]
    built = seed_data(tmp_path, sentences(FOOD, 6)).rows(Ref(1, Stage.EFT), rows)
    _, eft = data_distribution._text_sets(built.open())
    assert eft.texts[0].startswith("Review the user's question")
    assert "bread?" in eft.texts[0]
    assert "butter." in eft.texts[0]


@pytest.mark.parametrize(
    "texts", [["", " "], ["same words"] * 7, ["same"] * 60 + ["?!"] * 3, ["a b", "c d", "e f"]]
)
def test_odd_texts_have_a_place(texts: list[str]) -> None:
    places = data_distribution.project(texts, seed=1)
    assert len(places) == len(texts)
    assert all(abs(x) < 1e6 and abs(y) < 1e6 for x, y in places)  # NaN is not below anything
