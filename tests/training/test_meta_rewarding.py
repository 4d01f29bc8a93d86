"""Meta-Rewarding inside the loop: its stages are planned, made and stale like all others."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from core.config import Config
from core.errors import ConfigError, DataError
from core.stages import Ref, Stage, model_ref
from core.store import Built, Store
from tests import loop
from training.preflight import check_files

VERDICTS, PAIRS = Ref(2, Stage.META_VERDICTS), Ref(2, Stage.JUDGE_PAIRS)
ON = ("--set", "iteration.2.judge_pairs.enabled=true")


@pytest.fixture
def copy(smoke_run: Path, tmp_path: Path) -> Path:
    shutil.copytree(smoke_run, tmp_path / "smoke", copy_function=shutil.copy2)
    return tmp_path


def states(printed: str) -> dict[str, str]:
    cells = [line.split("│") for line in printed.splitlines() if line.startswith("│ iter")]
    return {row[1].strip(): row[3].strip() for row in cells}


def test_one_iteration_trains_its_judge_and_the_other_does_not(copy: Path) -> None:
    store = Store(copy / "smoke")
    plan = states(loop.run(copy, "--dry-run", *ON).stdout)
    assert (plan["iter2/meta_verdicts"], plan["iter2/judge_pairs"]) == ("runs", "runs")
    assert "iter3/meta_verdicts" not in plan and "iter3/judge_pairs" not in plan
    assert plan["iter2/pairs"] == "done"

    made = loop.manifests(copy / "smoke")
    done = loop.run(copy, "--iter", "2", "--redo", "iter2/model", *ON)
    assert done.returncode == 0, done.stderr
    assert loop.manifests(copy / "smoke")["iter2/judgments"] == made["iter2/judgments"]
    # Every two judgments of an answer, in both orders, by M1; one row for every prompt.
    manifest = store.manifest(VERDICTS)
    verdicts = store.read(VERDICTS)
    assert verdicts
    assert {v.key[-3:] for v in verdicts} == {"/ab", "/ba"}
    assert manifest.key.inputs["iter1/model"] == store.manifest(model_ref(1)).sha256
    kept = store.manifest(Ref(2, Stage.PROMPTS)).counts["kept"]
    assert sum(store.manifest(PAIRS).counts.values()) == kept
    assert store.manifest(PAIRS).counts.get("pair", 0) == 0  # the tiny model names no winner
    actor = store.manifest(Ref(2, Stage.PAIRS)).counts["pair"]
    assert store.manifest(model_ref(2)).counts["pairs"] == actor
    assert {"iter2/judge_pairs", "iter2/pairs"} <= store.manifest(model_ref(2)).key.inputs.keys()

    # As a meta-judge would have it that can say who wins: the first draw, in either order.
    with_winners = [replace(v, winner="A", unparsed=None) for v in verdicts]
    store.remove([VERDICTS, PAIRS, model_ref(2)])
    with store.begin(VERDICTS, manifest.key) as out:
        out.add_missing(with_winners)
        out.commit(lambda row: row.key, Built())
    done = loop.run(copy, "--iter", "2", *ON)
    assert done.returncode == 0, done.stderr
    rows = [row for row in store.read(PAIRS) if row.outcome == "pair"]
    assert len(rows) == len({v.prompt_key for v in verdicts}) >= 1
    assert all(row.chosen_key == row.judgments[0] for row in rows)
    # DPO was given both kinds together.
    assert store.manifest(model_ref(2)).counts["pairs"] == actor + len(rows)

    # A limit on length concerns the pairs, not the verdicts; what follows is stale.
    limit = ("--set", "iteration.2.judge_pairs.max_characters=1")
    stale = loop.run(copy, "--iter", "2", *ON, *limit)
    assert stale.returncode == 2
    assert "iter2/judge_pairs was made with other settings" in stale.stderr
    asked = len(loop.calls(copy / "smoke"))
    again = loop.run(copy, "--iter", "2", "--redo", "judge_pairs", *ON, *limit)
    assert again.returncode == 0, again.stderr
    assert store.manifest(PAIRS).counts["too_long"] == len(rows)
    assert store.manifest(model_ref(2)).counts["pairs"] == actor
    new = {stage for stage, *_ in loop.calls(copy / "smoke")[asked:]}
    assert new <= {"iter2/model"}  # its checkpoints; no judgment is compared again


def check(**sections: object) -> None:
    given = {"judge_pairs": {"enabled": True}, "dpo": {"early_stopping": {"enabled": False}}}
    fixed = {
        "ift": {"source": "sample"}, "eft": {"source": {"path": "sample"}},
        "prompts": {"source": "sample"}, "model": {"base": "tiny"},
    }  # fmt: skip
    check_files(Config.model_validate(fixed | given | sections), 2)


def test_what_judge_pairs_need_is_said_before_anything_is_made(tmp_path: Path) -> None:
    check()
    refused = "judge_pairs.enabled trains M_k on different judgments of one answer by M_{k-1}"
    for sections, what in (
        ({"improvement": {"judge": "sft"}}, "improvement.judge = 'self', not 'sft'"),
        ({"improvement": {"method": "positive_only"}}, "improvement.method = 'dpo'"),
        ({"judge": {"draws": 1}}, "judge.draws of 2 or more"),
        ({"judge": {"temperature": 0.0}}, "judge.temperature above 0"),
    ):
        with pytest.raises(ConfigError) as caught:
            check(**sections)
        assert str(caught.value) == f"{refused}: it needs {what}"
    absent = {"enabled": True, "prompt": str(tmp_path / "absent.md")}
    with pytest.raises(DataError, match=r"absent\.md: no such rubric"):
        check(judge_pairs=absent)
