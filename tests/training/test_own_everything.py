"""A stranger's path: the README's file with one's own model, chats, reward model and rubric."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from core.config import load_config
from core.reader import RunReader
from core.stages import Ref, Stage, model_ref
from core.store import Store
from tests import loop
from tests.conftest import ROOT
from tests.engines.rewarding import make_reward_model

_OWN = ("/models/my-sft", "chats.jsonl", "/models/my-reward", "my_rubric.md")
_MOST_LINES = 20
RUBRIC = """<!--
Scores: 1 to 7
Form: Rating: [[<score>]]
-->
How helpful is the response? Conclude with "Rating: [[<your rating>]]", from 1 to 7.

Instruction: <INSTRUCTION_HERE>

Response: <RESPONSE_HERE>
"""
# Sizes for a model of two layers; nothing else differs from what the README shows.
SMALL = (
    "iterations=2", "engine.device=cpu", "engine.dtype=float32", "prompts.count=6",
    "candidates.n=3", "candidates.max_new_tokens=12", "judge.reading=expected", "judge.draws=1",
    "judge.max_new_tokens=24", "dpo.precision=fp32", "dpo.batch_size=2", "dpo.micro_batch_size=2",
    "dpo.lr=1e-3", "dpo.max_length=256", "dpo.early_stopping.every_steps=1",
    "health.action=warn", "dpo.early_stopping.max_prompts=2", "dpo.early_stopping.max_new_tokens=8",
    "evaluation.models=[\"M1\",\"M2\"]", "evaluation.benchmarks=[\"ifeval\"]",
    "evaluation.ifeval.data=sample",
    "evaluation.ifeval.limit=3", "evaluation.ifeval.max_new_tokens=8",
)  # fmt: skip


def shown() -> str:
    """The README's configuration that names everything of one's own."""
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    found: str
    (found,) = [block for block in blocks if all(f'"{name}"' in block for name in _OWN)]
    return found


def chats(folder: Path) -> Path:
    """Conversations of two turns with a system turn, and of one."""
    rows: list[dict[str, object]] = []
    for n in range(4):
        first = {"role": "user", "content": f"What is {n} plus {n}?"}
        answer = {"role": "assistant", "content": str(2 * n)}
        system = {"role": "system", "content": "Be brief."}
        again = {"role": "user", "content": f"And {n} times {n}?"}
        rows.append({"messages": [system, first, answer, again, {**answer}]})
        rows.append({"messages": [{"role": "user", "content": f"Name {n + 1} fruits."}, answer]})
    file = folder / "chats.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture(scope="module")
def mine(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The README's file with paths of this machine, and the settings of sizes."""
    folder = tmp_path_factory.mktemp("stranger")
    rubric = folder / "my_rubric.md"
    rubric.write_text(RUBRIC)
    reward = make_reward_model(tiny, folder / "reward")
    text = shown()
    for name, own in zip(_OWN, (tiny, chats(folder), reward, rubric), strict=True):
        text = text.replace(f'"{name}"', json.dumps(str(own)))
    file = folder / "mine.toml"
    file.write_text(text)
    settings = [word for s in (*SMALL, f"out_dir={folder}") for word in ("--set", s)]
    return file, settings


def run(package: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    done = loop.main(package, *words)
    assert done.returncode == 0, done.stderr
    return done


def test_the_configuration_is_short_and_valid(mine: tuple[Path, list[str]]) -> None:
    assert len(shown().splitlines()) <= _MOST_LINES
    load_config(mine[0])


@pytest.mark.slow
def test_own_chats_rubric_model_and_reward_model_make_a_run(
    mine: tuple[Path, list[str]], tiny: Path
) -> None:
    file, settings = mine
    plan = run("training", "--config", file, *settings, "--dry-run").stdout
    run("training", "--config", file, *settings)
    folder = file.parent / "mine"
    store = Store(folder)

    # M1 is the given model, byte for byte, and nothing was trained before it.
    weights = store.model(model_ref(1)) / "model.safetensors"
    assert weights.read_bytes() == (tiny / "model.safetensors").read_bytes()
    assert not store.exists(model_ref(0))
    made = {name for name in store.artifacts() if name.startswith(("iter0/", "iter1/"))}
    assert made == {"iter1/model"}
    assert "off" in plan

    # Prompts are the users' turns of the conversations, with the turns before them.
    prompts = store.read(Ref(2, Stage.PROMPTS))
    assert len([prompt for prompt in prompts if prompt.kept]) == 6
    assert {prompt.text.split()[0] for prompt in prompts} <= {"What", "And", "Name"}
    later = [prompt for prompt in prompts if prompt.text.startswith("And")]
    assert all(
        [turn["role"] for turn in p.before] == ["system", "user", "assistant"] for p in later
    )

    # The reward model scores each answer once, in reals beyond the rubric's range of whole points.
    judgments = store.read(Ref(2, Stage.JUDGMENTS))
    scores = [judgment.score for judgment in judgments if judgment.score is not None]
    assert len(judgments) == 18
    assert any(score != round(score) for score in scores)
    pairs = [row for row in store.read(Ref(2, Stage.PAIRS)) if row.outcome == "pair"]
    assert pairs
    assert all(row.chosen_score in scores and row.rejected_score in scores for row in pairs)

    # The rubric judged checkpoints, and is part of M2's key by its bytes.
    key = store.manifest(model_ref(2)).key
    assert any("my_rubric" in name for name in key.inputs)
    assert store.manifest(model_ref(2)).counts

    run("evaluation", "run", "--config", file, *settings)
    run("reports", "build", "--run", folder)
    assert (folder / "report" / "report.html").is_file()
    results = RunReader(folder)
    assert {"M1", "M2"} <= {model for model in results.models if results.scores(f"{model}/ifeval")}


@pytest.mark.slow
def test_a_changed_rubric_makes_the_judged_training_stale_and_no_answer(
    mine: tuple[Path, list[str]],
) -> None:
    file, settings = mine
    (file.parent / "my_rubric.md").write_text(RUBRIC.replace("helpful", "truthful"))
    done = loop.main("training", "--config", file, *settings)
    assert done.returncode == 2
    assert "iter2/model" in done.stderr
    assert "my_rubric" in done.stderr
