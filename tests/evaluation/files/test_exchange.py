from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.benchmarks import SCORING
from core.errors import DataError, StaleArtifact
from core.stages import Stage, evaluation_ref
from core.store import Store
from evaluation.files.exchange import folder_name
from tests.evaluation.imports import import_results


def annotation_file(path: Path, preferences: list[float | None], model: str = "mine") -> Path:
    rows = [
        {
            "instruction": f"Question {number}?",
            "output_1": "The reference's answer.",
            "output_2": "An answer.",
            "generator_1": "gpt4_1106_preview",
            "generator_2": model,
            "annotator": "weighted_alpaca_eval_gpt4_turbo",
            "preference": preference,
            "raw_completion": None,
        }
        for number, preference in enumerate(preferences)
    ]
    path.write_text(json.dumps(rows))
    return path


def test_an_annotation_file_becomes_artifacts_that_say_where_they_came_from(tmp_path: Path) -> None:
    file = annotation_file(tmp_path / "mine.json", [1.0, 2.0, 1.25, None])
    # (0 + 100 + 25) / 3 = 41.67; the annotation without a preference is missing.
    assert import_results(tmp_path / "run", [file]) == [
        "mine alpaca_eval: win_rate 41.6667 (n=3, 1 missing)"
    ]
    store = Store(tmp_path / "run")
    manifest = store.manifest(evaluation_ref("mine/alpaca_eval", Stage.ANNOTATIONS))
    assert manifest.facts["imported"] == "mine.json"
    assert manifest.facts["reference"] == "gpt4_1106_preview"
    assert manifest.rows == 4
    scores = store.manifest(evaluation_ref("mine/alpaca_eval", Stage.SCORES))
    made_from = {"eval/mine/alpaca_eval/annotations": manifest.sha256}
    assert scores.key.inputs == SCORING | made_from


def test_importing_the_same_file_again_changes_nothing(tmp_path: Path) -> None:
    file = annotation_file(tmp_path / "mine.json", [1.0, 2.0])
    first = import_results(tmp_path / "run", [file])
    ref = evaluation_ref("mine/alpaca_eval", Stage.SCORES)
    made = Store(tmp_path / "run").paths.manifest(ref).read_bytes()
    assert import_results(tmp_path / "run", [file]) == first
    assert Store(tmp_path / "run").paths.manifest(ref).read_bytes() == made


def test_another_file_of_the_same_model_is_refused_and_replaced_on_request(tmp_path: Path) -> None:
    import_results(tmp_path / "run", [annotation_file(tmp_path / "a.json", [1.0, 2.0])])
    other = annotation_file(tmp_path / "b.json", [2.0, 2.0])
    with pytest.raises(StaleArtifact, match=r"was imported from another file than .*b\.json"):
        import_results(tmp_path / "run", [other])
    assert import_results(tmp_path / "run", [other], redo=True) == [
        "mine alpaca_eval: win_rate 100.0000 (n=2)"
    ]


def test_a_file_that_cannot_be_read_leaves_no_artifact(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text('[{"instruction": 1}]')
    with pytest.raises(DataError, match=r"broken\.json"):
        import_results(tmp_path / "run", [broken])
    assert not list((tmp_path / "run").rglob("*.manifest.json"))


def test_a_models_name_is_a_safe_folder() -> None:
    assert folder_name("text_davinci_001") == "text_davinci_001"
    assert folder_name("org/model v1.5") == "org_model_v1.5"
    assert folder_name("../../etc") == "_.._etc"  # no separator is left, so it leads nowhere
    assert folder_name("..") == "_"


def test_recorded_mt_bench_judgments_have_the_published_score(shared: Path, tmp_path: Path) -> None:
    # MANIFEST.md: gemini-1.5-flash 8.7688 overall, 9.0750 and 8.4625 by turn.
    file = shared / "data" / "mt_bench" / "gpt-4_single.gemini-1.5-flash.jsonl"
    assert import_results(tmp_path / "run", judgments=[file]) == [
        "gemini-1.5-flash mt_bench: overall 8.7688 (n=160)"
    ]
    ref = evaluation_ref("gemini-1.5-flash/mt_bench", Stage.SCORES)
    found = {score.key: score.value for score in Store(tmp_path / "run").read(ref)}
    assert found["turn_1"] == pytest.approx(9.0750)
    assert found["turn_2"] == pytest.approx(8.4625)


def test_a_file_of_several_models_gives_each_its_own_artifacts(
    shared: Path, tmp_path: Path
) -> None:
    file = shared / "data" / "mt_bench" / "gpt-4_single.mistral-orpo.jsonl"
    said = import_results(tmp_path / "run", judgments=[file])
    # One model was judged twice (320 rows, one of them −1); all rows are there, none is lost.
    assert said == [
        "mistral-orpo mt_bench: overall 5.8589 (n=319, 1 missing)",
        "mistral-orpo-capybara mt_bench: overall 6.8187 (n=160)",
        "mistral-orpo-mix mt_bench: overall 6.0031 (n=160)",
        "mistral-orpo-trl mt_bench: overall 7.1656 (n=160)",
    ]
