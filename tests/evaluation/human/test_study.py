from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from core.errors import DataError, MissingArtifact
from evaluation.human.study import StudyFolder, assignment, read_study, study_folders
from tests.evaluation.human.studies import comparison


def sides(folder: StudyFolder, annotator: str) -> dict[str, tuple[int, ...]]:
    return {at.item.item: at.order for at in assignment(read_study(folder), annotator)}


def order(folder: StudyFolder, annotator: str) -> list[str]:
    return [at.item.item for at in assignment(read_study(folder), annotator)]


def test_everybody_sees_every_item_once_in_an_order_of_their_own(tmp_path: Path) -> None:
    folder = comparison(tmp_path / "run", n=12)
    orders = [order(folder, f"annotator-{at}") for at in (1, 2, 3)]
    for one in orders:
        assert sorted(one) == sorted(f"p{at}" for at in range(12))
    # Two of 12! orders are equal by chance once in 479,001,600 times.
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert [at.place for at in assignment(read_study(folder), "annotator-1")] == [*range(1, 13)]


def test_a_stands_on_the_left_for_half_of_the_items_of_each_annotator(tmp_path: Path) -> None:
    folder = comparison(tmp_path / "run", n=12)
    for at in (1, 2, 3):
        assert Counter(sides(folder, f"annotator-{at}").values()) == {(0, 1): 6, (1, 0): 6}


def test_sides_of_one_item_differ_between_annotators(tmp_path: Path) -> None:
    folder = comparison(tmp_path / "run", n=12)
    one, other = sides(folder, "annotator-1"), sides(folder, "annotator-2")
    # 924 = 12 over 6 equally likely choices of sides, so equal ones would be a rare accident.
    assert one != other
    assert list(one.values()) != list(other.values())  # nor do the sides follow the places


def test_with_an_odd_number_one_side_has_one_more_and_not_always_the_same(tmp_path: Path) -> None:
    found = set()
    for seed in range(8):
        folder = comparison(tmp_path / f"run{seed}", n=5, annotators=1, seed=seed)
        found.add(Counter(sides(folder, "annotator-1").values())[0, 1])
    assert found == {2, 3}


def test_the_seed_decides_sides_and_orders(tmp_path: Path) -> None:
    one, same = (comparison(tmp_path / name, n=12, seed=5) for name in ("one", "same"))
    other = comparison(tmp_path / "other", n=12, seed=6)
    assert order(one, "annotator-1") == order(same, "annotator-1")
    assert sides(one, "annotator-1") == sides(same, "annotator-1")
    assert order(one, "annotator-1") != order(other, "annotator-1")


def test_texts_are_shown_in_the_order_of_the_sides(tmp_path: Path) -> None:
    study = read_study(comparison(tmp_path / "run"))
    for at in assignment(study, "annotator-1"):
        a, b = at.item.texts
        assert at.texts == ((a, b) if at.order == (0, 1) else (b, a))


def test_a_study_that_is_not_there_or_damaged_is_said(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "run" / "eval" / "human" / "M3-sft")
    with pytest.raises(MissingArtifact, match="no study here; prepare one with `make human-eval`"):
        read_study(folder)
    folder.path.mkdir(parents=True)
    folder.info.write_text('{"kind": "opinion"}')
    with pytest.raises(DataError, match=r"study\.json: kind: .+ \(expected a study of schema 1\)"):
        read_study(folder)


def test_a_runs_studies_are_found(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert study_folders(run) == []
    folder = comparison(run)
    assert [found.path for found in study_folders(run)] == [folder.path]
    assert folder.run == run.resolve()
