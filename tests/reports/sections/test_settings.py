from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from core.records import Candidate, Score
from core.stages import Ref, Stage, evaluation_ref, model_ref
from core.store import Built, Key
from judges.asking import Reply
from judges.backends.cassette import Cassette
from reports.sections import settings
from tests.reports.runs import RunBuilder, imported

if TYPE_CHECKING:
    from pathlib import Path

    from reports.document import Cell, Section

HF = f"transformers/float32/cpu/{'a' * 64}"


def section(run: RunBuilder) -> Section:
    (found,) = settings.sections(run.open())
    return found


def cells(run: RunBuilder, key: str) -> dict[str, dict[str, Cell]]:
    (table,) = (table for table in section(run).tables if table.key == key)
    return {row.label: dict(zip(table.columns, row.cells, strict=True)) for row in table.rows}


def trained(run: RunBuilder, k: int, settings: dict[str, Any], facts: dict[str, Any]) -> None:
    built = run.folder / "built"
    built.mkdir()
    (built / "model.safetensors").write_bytes(b"x")
    run.store.paths.folder(model_ref(k)).mkdir(exist_ok=True)
    run.store.commit_model(model_ref(k), Key({}, settings, 0), built, Built(facts=facts))


def test_a_stage_shows_what_its_manifest_records_and_why_the_rest_is_unknown(
    tmp_path: Path,
) -> None:
    run = RunBuilder(tmp_path)
    rows = [Candidate(f"p{n}/a0", f"p{n}", 0, "words", 5, "stop") for n in range(3)]
    run.rows(Ref(2, Stage.CANDIDATES), rows, built=Built(engine=HF))
    run.rows(Ref(2, Stage.PAIRS), [])
    trained(run, 2, {"dpo": {"precision": "bf16"}}, {"steps": 4})
    found = cells(run, "settings_iteration_2")

    sampled = found["candidate answers"]
    assert [sampled[name].text for name in ("engine", "dtype", "device")] == [
        "transformers", "float32", "cpu",
    ]  # fmt: skip
    assert (sampled["rows"].value, sampled["tokens"].value) == (3, 15)
    model = found["model"]
    assert (model["engine"].text, model["dtype"].text) == ("training", "bf16")
    assert model["device"].reason == model["tokens"].reason == "manifests do not record it"
    pairs = found["preference pairs"]
    assert pairs["engine"].reason is None  # made without a model: not a gap
    assert pairs["tokens"].reason is None
    seconds = {name: line["seconds"].value or 0.0 for name, line in found.items()}
    assert seconds.pop("in all") == pytest.approx(sum(seconds.values()))


def test_training_tokens_are_those_of_the_manifest(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path)
    trained(run, 1, {"sft": {"precision": "fp32"}}, {"tokens": 40881})
    assert cells(run, "settings_iteration_1")["model"]["tokens"].value == 40881


def test_a_benchmark_is_one_line_over_all_models(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config()
    for model in ("M1", "M2"):
        ref = evaluation_ref(f"{model}/alpaca_eval", Stage.ANSWERS)
        run.rows(ref, [], built=Built(engine=f"vllm/0.11.0/bfloat16/cuda/{model}"))
        run.scores(f"{model}/alpaca_eval", Score("win_rate", 50.0, 8))
        run.judged(f"{model}/alpaca_eval", Stage.ANNOTATIONS)
    found = cells(run, "settings_evaluation")
    assert list(found) == ["AlpacaEval 2.0", "in all"]
    line = found["AlpacaEval 2.0"]
    assert line["engine"].text is not None
    assert "vLLM 0.11.0" in line["engine"].text
    assert "gpt-4-1106-preview" in line["engine"].text
    assert (line["dtype"].text, line["device"].text) == ("bfloat16", "cuda")
    assert line["rows"].value == 2  # the two scores


def test_what_judging_cost_is_the_recorded_sum_or_the_reason_why_it_is_unknown(
    tmp_path: Path,
) -> None:
    run = RunBuilder(tmp_path)
    run.rows(Ref(1, Stage.IFT), [])
    assert section(run).paragraphs[-1] == "Cost of judging: none; no judge was asked."
    run.scores("M1/alpaca_eval", Score("win_rate", 50.0, 8))
    run.judged("M1/alpaca_eval", Stage.ANNOTATIONS)
    assert "eval/cassette.sqlite) is absent" in section(run).paragraphs[-1]
    with Cassette(run.store.paths.cassette) as cassette:
        cassette.put({"judge": "j", "n": 1}, Reply("k", "m", "stop"), cost_usd=0.0)
        assert "no price was known" in section(run).paragraphs[-1]
        cassette.put({"judge": "j", "n": 2}, Reply("k", "m", "stop"), cost_usd=1.25)
        cassette.put({"judge": "j", "n": 3}, Reply("k", "m", "stop"), cost_usd=0.5)
    assert section(run).paragraphs[-1].startswith("Cost of judging: 1.75 USD")


def test_versions_are_those_that_manifests_record(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config()
    run.rows(
        evaluation_ref("M1/nlp/piqa", Stage.ITEMS), [], built=Built(facts={"lm_eval": "0.4.13"})
    )
    versions, absent, _ = section(run).paragraphs
    assert versions.endswith("; lm-eval 0.4.13.")
    assert absent.startswith("Not recorded in manifests: the versions of PyTorch")


def test_results_from_elsewhere_have_no_settings(tmp_path: Path) -> None:
    found = imported(tmp_path, "claude-2", Score("win_rate", 17.0, 805))
    assert settings.sections(found.open()) == []
