from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from core.errors import ConfigError, DataError, MissingArtifact, StaleArtifact
from core.stages import Stage, evaluation_ref
from core.store import Store
from evaluation.human.prepare import (
    StudySize,
    links,
    prepare_comparison,
    prepare_ranking,
)
from evaluation.human.study import StudyFolder, StudyItem, read_links, read_study
from tests.evaluation.human.studies import (
    compared_run,
    comparison,
    ranked_run,
    write_answers,
)


def test_both_models_answers_to_the_same_prompts_are_copied_a_first(tmp_path: Path) -> None:
    study = read_study(comparison(tmp_path / "run", n=2))
    assert study.models == ("M3", "sft")
    assert sorted(study.items, key=lambda item: item.item) == [
        StudyItem(
            f"p{at}",
            f"Question {at}?",
            (f"the third says Question {at}?", f"the baseline says Question {at}?"),
            (f"p{at}", f"p{at}"),
        )
        for at in (0, 1)
    ]
    store = Store(tmp_path / "run")
    assert study.inputs == {
        f"eval/{name}/head_to_head/answers": store.manifest(
            evaluation_ref(f"{name}/head_to_head", Stage.ANSWERS)
        ).sha256
        for name in ("M3", "sft")
    }


def test_the_sample_follows_from_the_seed(tmp_path: Path) -> None:
    def sampled(name: str, seed: int) -> list[str]:
        run = compared_run(tmp_path / name, 40)
        folder = prepare_comparison(run, "M3", "sft", StudySize(8, 1, seed))
        return sorted(item.item for item in read_study(folder).items)

    one = sampled("one", 0)
    assert len(set(one)) == 8
    assert one == sampled("same", 0)
    assert one != sampled("other", 1)


def test_prompts_without_an_answer_of_both_are_left_out_and_counted(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_answers(run, "M3", dict.fromkeys(("p0", "p1", "p2"), ("q", "a")), p1="too_long")
    write_answers(run, "sft", dict.fromkeys(("p0", "p1", "p3", "p4"), ("q", "b")))
    study = read_study(prepare_comparison(run, "M3", "sft", StudySize(1, 1)))
    assert [item.item for item in study.items] == ["p0"]
    assert study.available == 1
    # p1 was too long for M3; p2 only M3 has answered, p3 and p4 only sft.
    assert study.left_out == {"answered_by_one_only": 3, "prompt_too_long_for_a_model": 1}
    with pytest.raises(ConfigError, match=r"N=2: only 1 prompts .+ give N=1 or fewer"):
        prepare_comparison(run, "M3", "sft", StudySize(2, 1))


def test_each_annotator_gets_a_secret_of_192_bits_that_only_the_owner_can_read(
    tmp_path: Path,
) -> None:
    folder = comparison(tmp_path / "run")
    tokens = read_links(folder)
    assert list(tokens) == ["annotator-1", "annotator-2", "annotator-3"]
    assert len(set(tokens.values())) == 3
    assert all(len(token) == 32 for token in tokens.values())  # 24 bytes in base64
    assert stat.S_IMODE(folder.links.stat().st_mode) == 0o600
    assert not any(token in folder.info.read_text() for token in tokens.values())
    assert links(folder, "http://x")[1] == (
        "annotator-2",
        f"http://x/study/{tokens['annotator-2']}",
    )


def test_preparing_again_changes_nothing_and_other_settings_are_refused(tmp_path: Path) -> None:
    folder = comparison(tmp_path / "run")
    before = folder.info.read_bytes(), folder.links.read_bytes()
    run = folder.run
    assert (
        prepare_comparison(run, "M3", "sft", StudySize(4, 3)).path.resolve()
        == folder.path.resolve()
    )
    for other, said in (
        (StudySize(3, 3), "N was 4, is 3"),
        (StudySize(4, 2), "ANNOTATORS was 3, is 2"),
        (StudySize(4, 3, 1), "SEED was 0, is 1"),
    ):
        with pytest.raises(StaleArtifact, match=f"{said}.+never overwritten"):
            prepare_comparison(run, "M3", "sft", other)
    assert (folder.info.read_bytes(), folder.links.read_bytes()) == before


def test_answers_made_anew_are_another_study(tmp_path: Path) -> None:
    folder = comparison(tmp_path / "run")
    Store(folder.run).remove([evaluation_ref("sft/head_to_head", Stage.ANSWERS)])
    write_answers(folder.run, "sft", {f"p{at}": (f"Question {at}?", "new") for at in range(4)})
    with pytest.raises(StaleArtifact, match="eval/sft/head_to_head/answers was"):
        prepare_comparison(folder.run, "M3", "sft", StudySize(4, 3))


def test_what_is_missing_or_makes_no_sense_is_said_with_what_to_do(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(ConfigError, match="no such run"):
        prepare_comparison(run, "M3", "sft", StudySize())
    write_answers(run, "M3", {"p0": ("q", "a")})
    with pytest.raises(
        MissingArtifact, match=r"no head-to-head answers of sft.+--only head_to_head"
    ):
        prepare_comparison(run, "M3", "sft", StudySize())
    with pytest.raises(ConfigError, match="M3 against itself"):
        prepare_comparison(run, "M3", "M3", StudySize())
    with pytest.raises(ConfigError, match=r"'\.\./M1' is not a model of a run"):
        prepare_comparison(run, "../M1", "M3", StudySize())
    write_answers(run, "sft", {"p0": ("another question", "a")})
    with pytest.raises(DataError, match="different prompts under the key 'p0'"):
        prepare_comparison(run, "M3", "sft", StudySize(1))
    write_answers(run, "M1", {"p0": ("q", "b")})
    with pytest.raises(ConfigError, match="expected 1 or more of each"):
        prepare_comparison(run, "M3", "M1", StudySize(1, 0))


def test_without_a_study_there_are_no_links(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    with pytest.raises(MissingArtifact, match="no study here"):
        read_links(folder)
    folder.links.write_text(json.dumps(["annotator-1"]))
    with pytest.raises(DataError, match=r"links\.json: Input should be an object"):
        read_links(folder)


def test_candidates_to_rank_are_different_and_not_empty(tmp_path: Path) -> None:
    texts = {"p0": ["one", "two", "one", " "], "p1": ["same", "same"], "p2": ["x", "y", "z"]}
    run = ranked_run(tmp_path / "run", texts)
    study = read_study(prepare_ranking(run, 2, StudySize(2, 1)))
    assert (study.kind, study.models, study.iteration) == ("ranking", (), 2)
    assert {item.item: (item.texts, item.keys) for item in study.items} == {
        "p0": (("one", "two"), ("p0/c0", "p0/c1")),
        "p2": (("x", "y", "z"), ("p2/c0", "p2/c1", "p2/c2")),
    }
    assert study.left_out == {"fewer_than_two_different_candidates": 1}
    with pytest.raises(ConfigError, match="iteration 1 samples no candidates"):
        prepare_ranking(run, 1, StudySize())
    with pytest.raises(MissingArtifact, match="iter3/prompts: not made yet"):
        prepare_ranking(run, 3, StudySize())
