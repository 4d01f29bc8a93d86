from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.config import load_config
from core.errors import StaleArtifact, UnhealthyJudge
from core.stages import SFT_BASELINE, Ref, Stage, model_ref
from core.store import Store
from tests import loop
from tests.conftest import ROOT
from training.iterate import iterate
from training.plan.plan import plan
from training.run import open_run


@pytest.fixture
def copy(smoke_run: Path, tmp_path: Path) -> Path:
    """A copy of the smoke run to be changed: its out_dir."""
    shutil.copytree(smoke_run, tmp_path / "smoke", copy_function=shutil.copy2)
    return tmp_path


def test_every_model_is_a_safetensors_folder_that_transformers_loads(smoke_run: Path) -> None:
    store = Store(smoke_run)
    for ref in [model_ref(0), SFT_BASELINE, model_ref(1), model_ref(2), model_ref(3)]:
        folder = store.model(ref)
        assert list(folder.glob("*.safetensors")) and not list(folder.glob("*.bin"))
        model = AutoModelForCausalLM.from_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        assert tokenizer.chat_template
        assert torch.isfinite(model(torch.tensor([[5, 6]])).logits).all()
        assert store.manifest(ref).sha256


def test_each_iteration_has_pairs_from_real_judgments_and_moves_the_model(smoke_run: Path) -> None:
    store = Store(smoke_run)
    for k in (2, 3):
        manifest = store.manifest(Ref(k, Stage.PAIRS))
        assert manifest.counts["pair"] >= 1
        assert sum(manifest.counts.values()) == manifest.rows
        judgments = {j.key: j for j in store.read(Ref(k, Stage.JUDGMENTS))}
        for row in store.read(Ref(k, Stage.PAIRS)):
            if row.outcome != "pair":
                continue
            # The score in the ledger is the mean of the judge's own words.
            found = [j for j in judgments.values() if j.subject_key == row.chosen_key]
            readable = [j.score for j in found if j.score is not None]
            assert row.chosen_score == pytest.approx(sum(readable) / len(readable))
            for judgment in found:
                if judgment.score is not None:
                    assert f"{judgment.score:g}" in judgment.reply
        assert store.manifest(model_ref(k)).sha256 != store.manifest(model_ref(k - 1)).sha256


def test_the_reference_and_the_judge_are_the_model_that_made_the_data(smoke_run: Path) -> None:
    store = Store(smoke_run)
    for k in (2, 3):
        made_by = store.manifest(model_ref(k - 1)).sha256
        inputs = store.manifest(model_ref(k)).key.inputs
        assert inputs[str(model_ref(k - 1))] == made_by
        assert "iter0/base" not in inputs
        for stage in (Stage.CANDIDATES, Stage.JUDGMENTS):
            manifest = store.manifest(Ref(k, stage))
            assert manifest.engine is not None
            assert made_by in manifest.engine


def test_m1_reads_its_own_judgments_better_than_m0(smoke_run: Path) -> None:
    store = Store(smoke_run)
    before = store.manifest(Ref(0, Stage.PROBE))
    judged = store.manifest(Ref(2, Stage.JUDGMENTS))
    assert before.counts["parsed"] == 0
    assert judged.rows is not None
    assert judged.counts["parsed"] / judged.rows > 0.1


def test_every_number_leads_back_to_its_source_through_manifests(smoke_run: Path) -> None:
    found = loop.manifests(smoke_run)
    reached, waiting = set(), ["iter3/model"]
    while waiting:
        name = waiting.pop()
        if name in reached or name not in found:
            continue
        reached.add(name)
        for parent, digest in found[name]["key"]["inputs"].items():
            if parent in found:
                assert found[parent]["sha256"] == digest
                waiting.append(parent)
    wanted = {"iter3/pairs", "iter2/judgments", "iter1/eft", "iter1/ift", "iter0/base"}
    assert wanted <= reached


def test_nothing_was_sampled_twice(smoke_run: Path) -> None:
    calls = loop.calls(smoke_run)
    assert len(calls) == len(set(calls))


def test_checkpoints_were_judged_and_the_best_one_kept(smoke_run: Path) -> None:
    lines = [
        json.loads(line)
        for k in (2, 3)
        for line in (smoke_run / f"iter{k}" / "model.checkpoints.jsonl").read_text().splitlines()
    ]
    assert any(line["kind"] == "answer" for line in lines)
    for k in (2, 3):
        facts = Store(smoke_run).manifest(model_ref(k)).facts
        assert 0 < facts["kept_step"] <= facts["steps"]


def test_running_again_makes_nothing_and_takes_seconds(copy: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in (copy / "smoke").rglob("*") if p.is_file()}
    began = time.monotonic()
    done = loop.run(copy)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 10  # the promise made to people: seconds, not minutes
    after = {p: p.stat().st_mtime_ns for p in (copy / "smoke").rglob("*") if p.is_file()}
    changed = {p.name for p in before if after[p] != before[p]}
    assert changed <= {".lock", "config.json"}
    assert "M3" in done.stdout and "judge parse rate" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_changed_setting_is_stale_until_redone(copy: Path) -> None:
    stale = loop.run(copy, "--set", "pairs.min_margin=0.5")
    assert stale.returncode == 2
    assert "iter2/pairs was made with other settings" in stale.stderr
    assert "pairs.min_margin was 0.0, is 0.5" in stale.stderr
    assert "--redo iter2/pairs" in stale.stderr


def test_a_setting_of_one_iteration_leaves_the_others_current(copy: Path) -> None:
    stale = loop.run(copy, "--set", "iteration.3.pairs.min_margin=0.5")
    assert stale.returncode == 2
    assert "iter3/pairs was made with other settings" in stale.stderr
    assert "pairs.min_margin was 0.0, is 0.5" in stale.stderr
    plan = loop.run(copy, "--dry-run", "--set", "iteration.3.pairs.min_margin=0.5")
    lines = {line.split("│")[1].strip(): line for line in plan.stdout.splitlines() if "│" in line}
    assert "done" in lines["iter2/pairs"]
    assert "stale" in lines["iter3/pairs"]
    # Where it says what the iteration was made with, nothing is made, whatever the run's value is.
    same = ("iteration.2.pairs.min_margin=0.0", "iteration.3.pairs.min_margin=0.0")
    words = [word for setting in ("pairs.min_margin=0.5", *same) for word in ("--set", setting)]
    before = loop.manifests(copy / "smoke")
    done = loop.run(copy, *words)
    assert done.returncode == 0, done.stderr
    assert loop.manifests(copy / "smoke") == before


def test_an_iteration_is_made_with_its_own_settings(copy: Path) -> None:
    settings = ("iteration.3.candidates.n=3", "iteration.3.dpo.beta=0.2")
    words = [word for setting in settings for word in ("--set", setting)]
    before = loop.manifests(copy / "smoke")
    done = loop.run(copy, "--redo", "iter3/candidates", *words)
    assert done.returncode == 0, done.stderr
    after = loop.manifests(copy / "smoke")
    assert after["iter3/candidates"]["key"]["config"]["candidates"]["n"] == 3
    assert after["iter3/candidates"]["rows"] == after["iter3/prompts"]["counts"]["kept"] * 3
    assert after["iter3/model"]["facts"]["beta"] == 0.2
    assert after["iter2/model"] == before["iter2/model"]
    assert before["iter3/candidates"]["key"]["config"]["candidates"]["n"] == 4


def test_redo_rebuilds_the_stage_and_what_follows_and_nothing_before(copy: Path) -> None:
    before = loop.manifests(copy / "smoke")
    asked = len(loop.calls(copy / "smoke"))
    done = loop.run(copy, "--iter", "2", "--redo", "pairs", "--set", "pairs.min_margin=0.01")
    assert done.returncode == 0, done.stderr
    after = loop.manifests(copy / "smoke")
    # The next iteration's candidates come from the model that was redone; its prompts do not.
    assert "iter3/candidates" not in after
    assert "iter0/probe" in after
    for name in ("iter1/model", "iter2/candidates", "iter2/judgments"):
        assert after[name]["finished_at"] == before[name]["finished_at"]
    assert after["iter2/pairs"]["key"]["config"]["pairs"]["min_margin"] == 0.01
    new = [call for call in loop.calls(copy / "smoke")[asked:] if call[0] != "iter2/model"]
    assert new == []


def test_a_changed_weight_byte_upstream_is_noticed_by_name(copy: Path) -> None:
    weights = copy / "smoke" / "iter1" / "model" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    done = loop.run(copy)
    assert done.returncode == 2
    assert "iter1/model was altered" in done.stderr
    assert "model.safetensors" in done.stderr


def test_the_dry_run_prints_the_plan_and_makes_nothing(copy: Path) -> None:
    store = Store(copy / "smoke")
    store.remove([Ref(3, Stage.JUDGMENTS)])
    names = sorted(p.as_posix() for p in copy.rglob("*"))
    done = loop.run(copy, "--dry-run")
    assert done.returncode == 0
    lines = {
        line.split("│")[1].strip(): line for line in done.stdout.splitlines() if "iter" in line
    }
    assert "done" in lines["iter3/candidates"]
    assert "runs" in lines["iter3/judgments"]
    # 10 prompts x 4 candidates x 3 draws = 120 rows of at most 120 tokens.
    assert "120" in lines["iter3/judgments"] and "14,400" in lines["iter3/judgments"]
    assert sorted(p.as_posix() for p in copy.rglob("*")) == names


def test_an_unhealthy_judge_stops_the_run_with_an_explanation(copy: Path) -> None:
    config = load_config(
        ROOT / "configs" / "smoke.toml",
        [f"out_dir={copy}", "health.action=stop", "health.min_parse_rate=1.0"],
    )
    with (
        open_run(config) as run,
        pytest.raises(UnhealthyJudge, match=r"limit 100%.*health\.action"),
    ):
        iterate(run, 3)


def test_another_seed_is_stale_not_silently_mixed(copy: Path) -> None:
    config = load_config(ROOT / "configs" / "smoke.toml", [f"out_dir={copy}", "seed=2"])
    with open_run(config) as run, pytest.raises(StaleArtifact, match="seed was 1, is 2"):
        iterate(run, 1)


def test_an_ift_only_judge_is_configuration_and_reuses_everything_before_it(copy: Path) -> None:
    before = loop.manifests(copy / "smoke")
    out = loop.run(copy, "--iter", "2", "--redo", "judgments", "--set", "improvement.judge=sft")
    after = loop.manifests(copy / "smoke")
    judged = after["iter2/judgments"]
    assert judged["key"]["inputs"]["iter1/sft"] == before["iter1/sft"]["sha256"]
    assert after["iter2/candidates"] == before["iter2/candidates"]
    # The baseline never learnt to write a score, so the run either finds pairs or says why not.
    assert out.returncode == 0 or (out.returncode == 1 and "no preference pairs" in out.stderr)


def test_the_positive_only_ablation_trains_from_m0_on_seed_data_and_perfect_answers(
    copy: Path,
) -> None:
    from training.models import perfect

    done = loop.run(
        copy, "--iter", "2", "--redo", "iter2/model", "--set", "improvement.method=positive_only",
        "--set", "sft.epochs=12",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    store = Store(copy / "smoke")
    config = load_config(ROOT / "configs" / "smoke.toml", [f"out_dir={copy}"])
    with open_run(config) as run:
        positives = len(perfect(run, 2))
    manifest = store.manifest(model_ref(2))
    assert manifest.counts["rows"] == 16 + 64 + positives
    assert manifest.key.inputs["iter0/base"] == store.manifest(model_ref(0)).sha256


PREVIOUS = (
    "iteration.3.judge.draws=8",  # one in five replies of the tiny model is readable
    "iteration.3.pairs.consistency=prompt",
    "iteration.3.pairs.filter=implicit_reward",
)


def test_pairs_depend_on_the_model_before_only_where_a_setting_says_so(copy: Path) -> None:
    planned = plan(load_config(loop.SMOKE, [f"out_dir={copy}", *PREVIOUS]), 3)
    states = {str(row.ref): row.state for row in planned}
    for stage in ("previous_judgments", "consistency", "implicit_rewards"):
        assert f"iter2/{stage}" not in states
        assert states[f"iter3/{stage}"] == "runs"
    assert states["iter2/pairs"] == "done"
    assert states["iter3/pairs"].startswith("stale: ")
    settings = [word for setting in PREVIOUS for word in ("--set", setting)]
    assert loop.run(copy, *settings).returncode == 2  # stale
    done = loop.run(copy, *settings, "--redo", "stale")
    assert done.returncode == 0, done.stderr
    store = Store(copy / "smoke")
    # M2 answered and judged; M1 judges the same answers again.
    again, judged = Ref(3, Stage.PREVIOUS_JUDGMENTS), Ref(3, Stage.JUDGMENTS)
    assert store.manifest(model_ref(1)).sha256 in (store.manifest(again).engine or "")
    assert {j.key for j in store.read(again)} == {j.key for j in store.read(judged)}
    rewards = Ref(3, Stage.IMPLICIT_REWARDS)
    assert {f"iter{k}/model" for k in (1, 2)} <= store.manifest(rewards).key.inputs.keys()
    ledger = store.read(Ref(3, Stage.PAIRS))
    own = {row.key: row.consistency for row in store.read(Ref(3, Stage.CONSISTENCY))}
    pairs = [row for row in ledger if row.outcome == "pair"]
    assert pairs
    assert all(own[row.key] in (row.confidence, None) for row in pairs)
    # Iteration 2 has none of it, and nothing was asked twice.
    assert not store.exists(Ref(2, Stage.PREVIOUS_JUDGMENTS))
    calls = [call for call in loop.calls(copy / "smoke") if "previous" in call[0]]
    assert calls
    assert len(calls) == len(set(calls))


def test_measuring_consistency_leaves_every_artifact_current(copy: Path) -> None:
    before = loop.manifests(copy / "smoke")
    done = loop.run(copy, "--set", "health.consistency=true")
    assert done.returncode == 0, done.stderr
    after = loop.manifests(copy / "smoke")
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {
        f"iter{k}/{name}" for k in (2, 3) for name in ("previous_judgments", "consistency")
    }


def test_judges_without_an_order_end_the_run_with_what_to_set(copy: Path) -> None:
    # M0, iteration 2's earlier judge, writes no score at all.
    ended = loop.run(copy, "--set", "pairs.consistency=mean", "--redo", "stale")
    assert ended.returncode == 1
    assert "pairs.consistency: there is no prompt" in ended.stderr
