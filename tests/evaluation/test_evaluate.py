"""The whole suite on a smoke run, with real engines; and what it does when something goes wrong."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from core.config import load_config
from core.errors import ConfigError, EvaluationFailed, MissingArtifact
from core.records import Score
from core.stages import Ref, Stage, evaluation_ref, model_ref
from core.store import Store
from evaluation.alpaca_eval.files import read_annotations
from evaluation.files.exchange import export
from evaluation.mt_bench.fastchat_files import report
from evaluation.suite import Outcome, evaluate, matching, raise_failures
from evaluation.summary import notes, plan_table, results_tables
from tests import loop
from tests.conftest import ROOT
from tests.loop import evaluation_in


@pytest.fixture
def copy(evaluated: Path, tmp_path: Path) -> Path:
    """A copy to be changed: its out_dir."""
    shutil.copytree(evaluated / "smoke", tmp_path / "smoke", copy_function=shutil.copy2)
    return tmp_path


def scores(out_dir: Path, address: str) -> dict[str, Score]:
    rows = Store(out_dir / "smoke").read(evaluation_ref(address, Stage.SCORES))
    return {row.key: row for row in rows}


def manifests(out_dir: Path) -> dict[str, str]:
    found = (out_dir / "smoke" / "eval").rglob("*.manifest.json")
    return {str(path): json.loads(path.read_text())["finished_at"] for path in found}


def test_every_benchmark_has_scores_for_every_model(evaluated: Path) -> None:
    for model in ("M0", "M1", "M2"):
        for benchmark in ("nlp/piqa", "nlp/nq_open", "agreement", "alpaca_eval", "mt_bench"):
            found = scores(evaluated, f"{model}/{benchmark}")
            assert found, (model, benchmark)
            # A number is there with the items behind it, or it is missing with a reason.
            for score in found.values():
                assert (score.value is None) == (score.reason is not None), (model, score)
    win = scores(evaluated, "head_to_head/M2-M1")["win"]
    assert win.n + win.missing == 4
    for k in (2, 3):
        assert scores(evaluated, f"contamination/iter{k}")
        assert scores(evaluated, f"self_judge/iter{k}")
    # The seed data (IFT and EFT) too: each prompt once, against every set that is on this machine.
    store = Store(evaluated / "smoke")
    seed = {row.prompt for at in (Stage.IFT, Stage.EFT) for row in store.read(Ref(1, at))}
    flagged = scores(evaluated, "contamination/iter1")["flagged"]
    assert flagged.n == len(seed)
    assert flagged.detail is not None
    assert flagged.detail["left_out"] == ["ifeval"]
    assert {"head_to_head", "alpaca_eval", "mt_bench", "piqa"} <= set(flagged.detail["compared"])


def test_the_reference_against_itself_is_even(evaluated: Path) -> None:
    # M0 is the reference of the smoke configuration: every answer is its own, so all are draws.
    found = scores(evaluated, "M0/alpaca_eval")["win_rate"]
    assert (found.value, found.n) == (50.0, 6)


def test_the_first_tokens_of_a_random_judge_are_no_verdicts(evaluated: Path) -> None:
    # Two tokens of 1,024 have about 0.2 % of the probability.
    found = scores(evaluated, "head_to_head/M2-M1")
    mass = found["judge/verdict_mass"]
    assert mass.value is not None and mass.value < 0.1
    assert (found["judge/parse_rate"].value, found["judge/parse_rate"].n) == (0.0, mass.n)
    assert found["judge/parse_rate"].detail == {"no_verdict_token": float(mass.n)}
    assert found["win"].missing == mass.n / 2 > 0
    annotated = scores(evaluated, "M1/alpaca_eval")
    assert annotated["win_rate"].missing == annotated["verdict_mass"].n > 0
    assert annotated["length_controlled_win_rate"].value is None


def test_a_second_call_does_nothing_in_seconds(copy: Path) -> None:
    before = manifests(copy)
    calls = loop.calls(copy / "smoke")
    began = time.monotonic()
    raise_failures(evaluate(evaluation_in(copy)))
    assert time.monotonic() - began < 20  # seen: 2; the first takes a minute
    assert manifests(copy) == before
    assert loop.calls(copy / "smoke") == calls


def test_every_number_leads_through_manifests_to_the_weights(evaluated: Path) -> None:
    store = Store(evaluated / "smoke")
    chain, ref = [], evaluation_ref("M2/mt_bench", Stage.SCORES)
    names = {str(evaluation_ref("M2/mt_bench", s)): s for s in Stage}
    while True:
        chain.append(str(ref))
        inputs = store.manifest(ref).key.inputs
        below = [name for name in inputs if name in names]
        if not below:
            break
        ref = evaluation_ref("M2/mt_bench", names[below[0]])
    assert chain == [
        "eval/M2/mt_bench/scores",
        "eval/M2/mt_bench/turn_judgments",
        "eval/M2/mt_bench/answers",
    ]
    weights = store.manifest(model_ref(2)).sha256
    assert store.manifest(ref).key.inputs["iter2/model"] == weights
    judged = store.manifest(evaluation_ref("M2/mt_bench", Stage.TURN_JUDGMENTS))
    assert judged.key.inputs["iter1/model"] == store.manifest(model_ref(1)).sha256  # the judge


def test_another_model_under_the_same_name_is_stale_and_not_served_from_a_cache(copy: Path) -> None:
    folder = copy / "smoke" / "iter2"
    manifest = folder / "model.manifest.json"
    told = json.loads(manifest.read_text())
    told["sha256"] = "0" * 64  # as if M2 had been trained again
    manifest.write_text(json.dumps(told))
    outcomes = evaluate(evaluation_in(copy))
    failed = {o.job.name for o in outcomes if o.failure}
    assert "M2 × mt_bench" in failed
    assert "M1 × mt_bench" not in failed
    assert "iter2/model was" in str([o.failure for o in outcomes if o.failure])
    with pytest.raises(EvaluationFailed, match="--redo stale"):
        raise_failures(outcomes)


def test_a_failed_benchmark_leaves_the_others_done(copy: Path) -> None:
    evaluate_again = evaluation_in(copy, "evaluation.alpaca_eval.annotator=nobody")
    outcomes = evaluate(evaluate_again)
    failed = {o.job.subject.benchmark for o in outcomes if o.failure}
    assert failed == {"alpaca_eval"}
    done = {o.job.subject.benchmark for o in outcomes if not o.failure}
    assert done == {
        "nlp", "agreement", "mt_bench", "head_to_head", "self_judge", "contamination"
    }  # fmt: skip


def test_redo_rebuilds_what_it_names_and_asks_the_judge_for_nothing_new(copy: Path) -> None:
    before = manifests(copy)
    calls = loop.calls(copy / "smoke")
    was = scores(copy, "M1/mt_bench")
    raise_failures(evaluate(evaluation_in(copy), redo="M1/mt_bench"))
    changed = {path for path, when in manifests(copy).items() if before[path] != when}
    assert all("/M1/mt_bench/" in path for path in changed)
    assert scores(copy, "M1/mt_bench") == was
    # Generations and judge replies come from their caches.
    assert loop.calls(copy / "smoke") == calls


def test_what_an_nlp_task_generated_is_not_generated_again(copy: Path) -> None:
    # lm-eval hands out items at a task's end: after a kill before it, the cache has the answers.
    was, calls = scores(copy, "M1/nlp/nq_open"), loop.calls(copy / "smoke")
    raise_failures(evaluate(evaluation_in(copy), redo="M1/nlp/nq_open"))
    assert scores(copy, "M1/nlp/nq_open") == was
    assert loop.calls(copy / "smoke") == calls


def test_redo_of_what_is_not_there_is_said(copy: Path) -> None:
    with pytest.raises(ConfigError, match="no evaluation artifact of that name"):
        evaluate(evaluation_in(copy), redo="M7")


@pytest.mark.parametrize("dry", [["--dry-run"], []])
def test_a_model_that_the_run_lacks_is_refused_with_those_it_has(
    evaluated: Path, dry: list[str]
) -> None:
    words = [
        "--config",
        str(loop.SMOKE),
        "--set",
        f"out_dir={evaluated}",
        "--models",
        "M1,M9",
        *dry,
    ]
    done = loop.main("evaluation", "run", *words)
    assert done.returncode == 2
    assert "has no M9; it has M0, sft, M1, M2, M3" in done.stderr


@pytest.mark.parametrize("dry", [["--dry-run"], []])
@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("head_to_head.prompts=EMPTY", "empty.jsonl: the file is empty"),
        ("alpaca_eval.prompts=EMPTY", "empty.jsonl: no rows in this file"),
        ("alpaca_eval.reference=./nowhere.json", "nowhere.json: no such file"),
        ("alpaca_eval.length_control_data=./nowhere", "nowhere"),
        ("mt_bench.questions=./nowhere", "no such file"),
        ("nlp.data_dir=EMPTY", "no such folder"),
    ],
)
def test_benchmark_files_are_checked_before_any_answer_is_made(
    evaluated: Path, tmp_path: Path, setting: str, words: str, dry: list[str]
) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    setting = f"evaluation.{setting.replace('EMPTY', str(empty))}"
    given = ["--set", f"out_dir={evaluated}", "--set", setting, *dry]
    done = loop.main("evaluation", "run", "--config", loop.SMOKE, *given)
    assert done.returncode == 2
    assert words in done.stderr
    assert "×" not in done.stdout + done.stderr


def test_redo_matches_parts_of_addresses(evaluated: Path) -> None:
    store = Store(evaluated / "smoke")
    found = {str(ref) for ref in matching(store, "nlp/piqa")}
    assert found == {
        f"eval/M{k}/nlp/piqa/{stage}" for k in (0, 1, 2) for stage in ("items", "scores")
    }
    assert matching(store, "piq") == []
    assert len(matching(store, "M2")) > 5


def test_models_that_are_not_made_are_left_out_and_none_at_all_is_an_error(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes = evaluate(evaluation_in(copy, 'evaluation.models=["M1","M9"]'))
    assert {o.job.owner for o in outcomes if o.job.subject.benchmark == "nlp"} == {"M1"}
    assert "M9 is not made yet" in capsys.readouterr().err
    with pytest.raises(ConfigError, match=r"none of evaluation\.models is made"):
        evaluate(evaluation_in(copy, 'evaluation.models=["M9"]', 'evaluation.benchmarks=["nlp"]'))


def test_there_must_be_a_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such run"):
        evaluate(evaluation_in(tmp_path))


def test_the_plan_says_what_is_done_and_bounds_what_the_judge_is_asked(copy: Path) -> None:
    shutil.rmtree(copy / "smoke" / "eval" / "head_to_head")
    table = plan_table(evaluation_in(copy))
    rows = {
        str(name): (str(state), str(requests))
        for name, state, requests in zip(*(c.cells for c in table.columns[:3]), strict=True)
    }
    # Four prompts in both orders.
    assert rows["M2 against M1 × head_to_head"] == ("runs", "8")
    assert rows["M1 × mt_bench"] == ("done", "")
    assert rows["in all"][1] == "8"


def test_the_tables_show_value_n_and_failures(evaluated: Path) -> None:
    outcomes = evaluate(evaluation_in(evaluated))
    broken = Outcome(outcomes[0].job, (), 0.0, "it broke")
    models, matchups, iterations = results_tables([broken, *outcomes[1:]])
    rows = {str(row[0]): row[1:] for row in zip(*(c.cells for c in models.columns), strict=True)}
    assert rows["nlp piqa acc_norm"][0] == "failed"
    assert rows["alpaca_eval win_rate"][0] == "50.00 (6)"  # M0 is its own reference
    assert list(matchups.columns[0].cells) == ["M2 against M1"]
    assert [column.header for column in iterations.columns][1:] == [
        "iteration 1", "iteration 2", "iteration 3",
    ]  # fmt: skip


def test_limits_judge_and_sample_data_stand_beside_the_numbers() -> None:
    section = load_config(ROOT / "configs" / "quickstart.toml").evaluation
    text = "\n".join(notes([], section))
    assert "Judge: M1 (model)." in text
    assert "mt_bench 4" in text
    assert "Not comparable with published numbers" in text


def test_an_evaluation_of_a_run_without_m1_names_what_the_judge_needs(
    smoke_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(smoke_run, tmp_path / "smoke", copy_function=shutil.copy2)
    Store(tmp_path / "smoke").remove([model_ref(1)])
    config = evaluation_in(
        tmp_path, 'evaluation.models=["M0"]', 'evaluation.benchmarks=["mt_bench"]'
    )
    (outcome,) = evaluate(config)
    assert outcome.failure is not None
    assert outcome.failure.startswith("M1: not made yet")
    assert not (tmp_path / "smoke" / "eval" / "M0" / "mt_bench" / "scores.jsonl").exists()


def test_a_runs_results_are_exported_so_that_fastchat_and_alpaca_eval_read_them(
    evaluated: Path, tmp_path: Path
) -> None:
    written = export(evaluation_in(evaluated), tmp_path)
    names = {path.relative_to(tmp_path).as_posix() for path in written}
    assert "mt_bench/model_answer/M1.jsonl" in names
    assert "mt_bench/model_judgment/M1_single.jsonl" in names  # judged by M1
    assert "alpaca_eval/M2/annotations.json" in names
    read = read_annotations(tmp_path / "alpaca_eval" / "M2" / "annotations.json")
    stored = Store(evaluated / "smoke").read(evaluation_ref("M2/alpaca_eval", Stage.ANNOTATIONS))
    assert {r.instruction: r.preference for r in read} == {
        r.instruction: r.preference for r in stored
    }
    found = report(tmp_path / "mt_bench" / "model_judgment" / "M1_single.jsonl")
    # Three models, eight questions of two turns; whatever could not be read is counted.
    assert found.keys() == {"M0", "M1", "M2"}
    assert all(m["n"] + m["n_unparsed"] == 16 for m in found.values())


def test_there_must_be_something_to_export(smoke_run: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingArtifact, match="no MT-Bench or AlpacaEval results yet"):
        export(evaluation_in(smoke_run.parent), tmp_path)
