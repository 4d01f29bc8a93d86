from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.data_loader import BatchSamplerShard, SeedableRandomSampler
from accelerate.utils import FullyShardedDataParallelPlugin
from accelerate.utils.launch import prepare_multi_gpu_env, prepare_simple_launcher_cmd_env
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.utils.data import BatchSampler

from core.config import (
    Config,
    DpoSection,
    EarlyStoppingSection,
    JudgeSection,
    LaunchSection,
)
from core.errors import ConfigError, NothingToTrain, SrlmError
from core.sources.thread import Thread
from engines.embedded import make_tiny
from engines.models import load_model
from tests.conftest import ROOT
from tests.engines.scripted import ScriptedEngine
from tests.training import together
from tests.training.objectives import loss_by_hand, tokens_of
from training.launch import command as launch_command
from training.launch import launch
from training.launch.processes import MARK, SameOrder, keep_sums_in_fp32
from training.launch.worker import Marked
from training.trainers import dpo, trl_loop
from training.trainers.early_stopping import CheckpointJudge

SHIPPED = {
    # name: processes, machines, on CPU
    "one-gpu": (1, 1, False),
    "ddp-cpu": (2, 1, True),
    "fsdp-cpu": (2, 1, True),
    "fsdp-8": (8, 1, False),
    "fsdp-two-nodes": (16, 2, False),
}
LAUNCHED = LaunchSection(config="ddp-cpu")


# --- Configurations


def test_every_shipped_file_is_one_that_is_documented() -> None:
    there = {path.stem for path in (ROOT / "configs" / "accelerate").glob("*.yaml")}
    assert there == set(SHIPPED)
    documented = LaunchSection.model_fields["config"].description or ""
    assert set(re.findall(r'"([^"]+)"', documented)) == {*SHIPPED, "none"}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_file_is_read_by_accelerate_with_the_processes_it_promises(name: str) -> None:
    place = launch_command.layout(LaunchSection(config=name))
    assert (place.processes, place.machines, place.on_cpu) == SHIPPED[name]


def job_file(folder: Path, **sections: Any) -> Path:
    path = folder / "job.json"
    path.write_text(together.job(folder, folder, **sections).model_dump_json())
    return path


def parsed(folder: Path, section: LaunchSection, **training: Any) -> Namespace:
    """What accelerate makes of our command: its own parser, its own check, its own defaults."""
    words = launch_command.command(
        section, launch_command.layout(section), job_file(folder, **training)
    )
    arguments, _, _ = _validate_launch_command(launch_command_parser().parse_args(words[3:]))
    assert (arguments.training_script, arguments.module) == ("training.launch.worker", True)
    return arguments  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", ["fsdp-8", "fsdp-cpu", "fsdp-two-nodes"])
def test_an_fsdp_file_gives_accelerate_what_large_models_need(name: str, tmp_path: Path) -> None:
    section = LaunchSection(config=name, main_process_ip="10.0.0.1")
    arguments = parsed(tmp_path, section)
    assert arguments.use_fsdp
    given = prepare_multi_gpu_env(arguments)
    # One process reads the weights, each keeps its share, and each writes its own to checkpoints.
    assert given["FSDP_CPU_RAM_EFFICIENT_LOADING"] == "true"
    assert given["FSDP_SYNC_MODULE_STATES"] == "true"
    assert given["FSDP_VERSION"] == "2"
    assert given["FSDP_RESHARD_AFTER_FORWARD"] == "true"
    assert given["FSDP_STATE_DICT_TYPE"] == "SHARDED_STATE_DICT"
    assert given["FSDP_AUTO_WRAP_POLICY"] == "TRANSFORMER_BASED_WRAP"
    assert arguments.use_cpu is SHIPPED[name][2]


def test_one_gpu_is_the_first_of_those_that_are_visible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    arguments = parsed(tmp_path, LaunchSection(config="one-gpu"))
    _, given = prepare_simple_launcher_cmd_env(arguments)
    assert given["CUDA_VISIBLE_DEVICES"] == "3"
    assert not arguments.multi_gpu


def test_processes_wait_for_each_other_as_long_as_the_settings_say(
    tiny: Path, tmp_path: Path
) -> None:
    section = LaunchSection(config="ddp-cpu", timeout_s=7200)
    launched = launch.Launch(section, together.job(tiny, tmp_path))
    given = trl_loop.arguments(launched.job, schedule="cosine", checkpoint_steps=1)
    assert given["ddp_timeout"] == 7200


def test_two_machines_meet_where_the_settings_or_the_environment_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    section = LaunchSection(config="fsdp-two-nodes")
    with pytest.raises(ConfigError, match=r"needs 2 machines.*launch.main_process_ip"):
        launch_command.check_launch(Config(launch=section))
    monkeypatch.setenv("MASTER_ADDR", "10.0.0.7")
    first = parsed(tmp_path, section)
    assert (first.main_process_ip, first.main_process_port) == ("10.0.0.7", 29500)
    assert (first.num_machines, first.num_processes, first.machine_rank) == (2, 16, 0)
    monkeypatch.setenv("MASTER_PORT", "29777")
    assert parsed(tmp_path, section).main_process_port == 29777
    given = section.model_copy(update={"main_process_ip": "h0", "main_process_port": 4000})
    asked = parsed(tmp_path, given)
    assert (asked.main_process_ip, asked.main_process_port) == ("h0", 4000)
    words = launch_command.command(given, launch_command.layout(given), job_file(tmp_path), rank=1)
    assert words[words.index("--machine_rank") + 1] == "1"


@pytest.mark.parametrize(("precision", "expected"), [("bf16", "bf16"), ("fp32", "no")])
def test_the_runs_precision_counts_and_not_the_files(
    tmp_path: Path, precision: str, expected: str
) -> None:
    theirs = tmp_path / "mine.yaml"
    text = (ROOT / "configs" / "accelerate" / "ddp-cpu.yaml").read_text()
    theirs.write_text(text.replace("mixed_precision: 'no'", "mixed_precision: fp16"))
    training = together.SFT.model_copy(update={"precision": precision})
    arguments = parsed(tmp_path, LaunchSection(config=str(theirs)), sft=training)
    assert prepare_multi_gpu_env(arguments)["ACCELERATE_MIXED_PRECISION"] == expected


def test_a_batch_that_cannot_be_split_evenly_is_refused_before_training() -> None:
    uneven = Config(
        launch=LaunchSection(config="fsdp-8"), dpo=DpoSection(batch_size=12, micro_batch_size=1)
    )
    with pytest.raises(ConfigError) as caught:
        launch_command.check_launch(uneven)
    assert str(caught.value) == (
        "dpo.batch_size = 12 sequences per step is not a multiple of dpo.micro_batch_size = 1 x 8 "
        "processes = 8; change one of them, or launch.processes"
    )
    # 12 = 4 processes x 3 micro-batches of 1; sft's 16 = 4 x 4.
    four = LaunchSection(config="fsdp-8", processes=4)
    launch_command.check_launch(uneven.model_copy(update={"launch": four}))


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"config": "fsdp-9"}, "no such file; shipped are none, ddp-cpu, fsdp-8"),
        ({"config": "fsdp-two-nodes", "processes": 3}, "3 processes do not spread evenly over 2"),
        ({"config": str(ROOT / "pyproject.toml")}, "not an accelerate configuration"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_named(section: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        launch_command.layout(LaunchSection(**section))


def test_the_first_version_of_fsdp_is_refused(tmp_path: Path) -> None:
    # Its own defaults: a file of `accelerate config` without the key means version 1.
    text = (ROOT / "configs" / "accelerate" / "fsdp-8.yaml").read_text()
    older = tmp_path / "older.yaml"
    older.write_text(text.replace("  fsdp_version: 2\n", ""))
    with pytest.raises(ConfigError, match="set fsdp_version: 2"):
        launch_command.layout(LaunchSection(config=str(older)))


def test_a_gpu_configuration_without_gpus_is_refused(tmp_path: Path, tiny: Path) -> None:
    with pytest.raises(ConfigError, match=r"'fsdp-8' trains on GPUs, but there is no CUDA device"):
        launch.train_sft(
            together.job(tiny, tmp_path), together.ROWS, LaunchSection(config="fsdp-8")
        )


# --- The same order and the same loss


def global_batches(rows: int, size: int, *, micro: int, ranks: int, epoch: int) -> list[list[int]]:
    """What all processes together see at each step, by accelerate's own dealing."""
    order = SameOrder(rows, seed=7, per_round=micro * ranks)
    order.set_epoch(epoch)
    batches = list(BatchSampler(order, micro, drop_last=False))
    dealt = [
        list(BatchSamplerShard(batches, ranks, rank))  # type: ignore[arg-type]
        for rank in range(ranks)
    ]
    each = size // (micro * ranks)
    steps = range(0, len(dealt[0]), each)
    return [
        sorted(i for rank in dealt for batch in rank[s : s + each] for i in batch) for s in steps
    ]


@pytest.mark.parametrize("epoch", [0, 1])
@pytest.mark.parametrize("rows", [1, 7, 8, 11, 16])
@pytest.mark.parametrize(("micro", "ranks"), [(1, 2), (2, 2), (1, 4), (2, 4)])
def test_each_step_holds_the_rows_of_one_process_and_only_empty_ones_besides(
    rows: int, micro: int, ranks: int, epoch: int
) -> None:
    alone = SeedableRandomSampler(range(rows), data_seed=7)
    alone.set_epoch(epoch)
    one = [sorted(batch) for batch in BatchSampler(alone, 8, drop_last=False)]
    many = global_batches(rows, 8, micro=micro, ranks=ranks, epoch=epoch)
    # Place `rows` is the empty row. No row is missing, and none is seen twice.
    assert [[i for i in batch if i != rows] for batch in many] == one


@pytest.fixture(scope="module")
def alone(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process makes of SFT and DPO."""
    out = tmp_path_factory.mktemp("alone")
    together.train_both(tiny, out)
    return out


def assert_same_training(many: Path, one: Path) -> None:
    ours, theirs = together.steps(many), together.steps(one)
    assert [step["step"] for step in ours] == [1, 2, 3, 4, 5, 6]
    for mine, other in zip(ours, theirs, strict=True):
        assert mine["loss"] == pytest.approx(other["loss"], abs=1e-3)
        # The loss is what the last step's weights make of it; the gradient is what comes next.
        assert mine["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-3)
    a = load_model(many / "work" / "model", torch.float32)
    b = load_model(one / "work" / "model", torch.float32)
    for name, weight in a.named_parameters():
        assert torch.allclose(weight, b.get_parameter(name), atol=1e-3), name


def train_together(name: str, mode: str, base: Path, out: Path) -> None:
    """Run tests/training/together.py as the processes that a launch configuration starts."""
    section = LaunchSection(config=name)
    precision = "bf16" if mode == "bf16" else "fp32"
    training = together.SFT.model_copy(update={"precision": precision})
    words = launch_command.command(
        section, launch_command.layout(section), job_file(out, sft=training)
    )
    words = [*words[: words.index("--module") + 1], "tests.training.together", mode]
    log = out / "log.txt"
    code = launch_command.run_logged([*words, str(base), str(out)], log)
    assert code == 0, log.read_text()[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ddp-cpu", "fsdp-cpu"])
def test_two_processes_train_like_one(name: str, tiny: Path, alone: Path, tmp_path: Path) -> None:
    train_together(name, "fp32", tiny, tmp_path)
    assert_same_training(tmp_path / "sft", alone / "sft")
    assert_same_training(tmp_path / "dpo", alone / "dpo")
    # Pairs per step are 4, 4, 3: an empty pair among them must not change what is logged of them.
    for mine, other in zip(
        together.steps(tmp_path / "dpo"), together.steps(alone / "dpo"), strict=True
    ):
        if mine["step"] % 3:
            for metric in ("rewards/margins", "logps/chosen", "lengths/chosen"):
                assert mine[metric] == pytest.approx(other[metric], abs=1e-3)
        assert mine["rewards/accuracies"] in (0.0, 0.25, 0.5, 0.75, 1.0)
    shards = list((tmp_path / "dpo" / "work" / "checkpoint-6").rglob("*.distcp"))
    # Two of the weights and two of the optimiser: with FSDP no process holds all of either.
    assert len(shards) == (4 if name == "fsdp-cpu" else 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ddp-cpu", "fsdp-cpu"])
def test_empty_pairs_change_no_objective_in_two_processes(
    name: str, tiny: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    make_tiny(other, ["The quick brown fox jumps over the lazy dog. Score: 4"] * 3, seed=9)
    train_together(name, name, tiny, tmp_path)
    tokens = [
        [tokens_of(tiny, other, row.prompt, text or "") for text in (row.chosen, row.rejected)]
        for row in together.PAIRS[:3]
    ]
    for objective, micro in together.CASES[name]:
        section = together.one_step(objective, micro)
        rows = together.UNSURE if objective == "sigmoid" else together.PAIRS[:3]
        each = [
            loss_by_hand(section, chosen, rejected, row.confidence)
            for row, (chosen, rejected) in zip(rows, tokens, strict=True)
        ]
        # One pair per pass: the mean of three. Two: the mean of a pass with two and one with one.
        first, second, third = list(SameOrder(3, seed=0, per_round=4))[:3]
        halves = ((each[first] + each[second]) / 2 + each[third]) / 2
        (step,) = together.steps(tmp_path / f"{objective}-{micro}")
        expected = halves if micro > 1 else sum(each) / 3
        assert step["loss"] == pytest.approx(expected, rel=1e-3, abs=1e-4), (objective, micro)


@pytest.mark.slow
def test_sharded_processes_in_bf16_do_not_round_losses_and_log_probabilities(
    tiny: Path, tmp_path: Path
) -> None:
    alone, many = tmp_path / "alone", tmp_path / "many"
    together.train_bf16(tiny, alone)
    many.mkdir()
    train_together("fsdp-cpu", "bf16", tiny, many)
    # A loss of 7.00 rounded to bf16 moves in steps of 0.03.
    first = [together.steps(folder / "sft")[0]["loss"] for folder in (many, alone)]
    assert first[0] == pytest.approx(first[1], abs=2e-3)
    for mine, other in zip(
        together.steps(many / "dpo"), together.steps(alone / "dpo"), strict=True
    ):
        assert mine["loss"] == pytest.approx(other["loss"], abs=2e-3)
        if mine["step"] % 3:  # the passes of an epoch's last step group the pairs differently
            # Those between -32 and -64 would move in steps of 0.25.
            assert mine["logps/chosen"] == pytest.approx(other["logps/chosen"], abs=0.03)


def test_fsdp_computes_in_bf16_and_adds_up_in_fp32() -> None:
    plugin = FullyShardedDataParallelPlugin(fsdp_version=2)
    accelerator: Any = Namespace(state=Namespace(fsdp_plugin=plugin))
    keep_sums_in_fp32(accelerator)
    assert plugin.mixed_precision_policy is None  # fp32 throughout
    plugin.set_mixed_precision("bf16")
    keep_sums_in_fp32(accelerator)
    assert plugin.mixed_precision_policy == MixedPrecisionPolicy(
        param_dtype=torch.bfloat16, reduce_dtype=torch.float32, output_dtype=None
    )
    keep_sums_in_fp32(Namespace(state=Namespace()))  # type: ignore[arg-type] # not sharded


# --- Kills, deaths and errors

_RUN = """
import sys
from pathlib import Path
from core.config import LaunchSection
from tests.training import together
from tests.training.objectives import loss_by_hand, tokens_of
from training.launch import launch
if __name__ == "__main__":
    base, out = map(Path, sys.argv[1:])
    launch.train_sft(together.job(base, out), together.ROWS, LaunchSection(config="ddp-cpu"))
"""


def processes_naming(folder: Path) -> list[str]:
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return [line for line in listed.stdout.splitlines() if str(folder) in line]


@pytest.mark.slow
def test_a_launch_killed_in_an_epoch_resumes_from_its_checkpoint_to_the_same_losses(
    tiny: Path, alone: Path, tmp_path: Path
) -> None:
    words = [sys.executable, "-c", _RUN, str(tiny), str(tmp_path)]
    mark = tmp_path / "work" / "checkpoint-4" / "srlm_complete"
    with subprocess.Popen(
        words, cwd=ROOT, env=launch_command.environment(), start_new_session=True
    ) as process:
        while not mark.exists():
            assert process.poll() is None
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    # torchrun's processes are in sessions of their own: they must notice by themselves.
    deadline = time.monotonic() + 60
    while processes_naming(tmp_path):
        assert time.monotonic() < deadline, processes_naming(tmp_path)
        time.sleep(0.05)
    assert not (tmp_path / "work" / "model").exists()
    subprocess.run(words, cwd=ROOT, env=launch_command.environment(), check=True)
    log = (tmp_path / "work" / "launch" / "log.txt").read_text()
    # Step 4 is the first of the second epoch: the rest of that epoch must come in its own order.
    assert f"{MARK}  resuming from step 4" in log
    assert_same_training(tmp_path, alone / "sft")


@pytest.mark.slow
def test_an_error_of_the_processes_comes_back_as_what_it_is(tmp_path: Path) -> None:
    # One process of a launch, without accelerate around it; no pairs to train on.
    job = together.job(tmp_path, tmp_path, dpo=together.DPO)
    run = launch.Launch(LAUNCHED, job)
    run.write_rows([])
    path = job.work / "launch" / "job.json"
    path.write_text(job.model_dump_json())
    done = subprocess.run(
        [sys.executable, "-m", "training.launch.worker", str(path)],
        env=launch_command.environment(),
        check=False,
    )
    assert done.returncode == NothingToTrain.exit_code
    error = run.error(done.returncode, path)
    assert type(error) is NothingToTrain
    assert "test: no preference pairs; the ledger" in str(error)


def failed(folder: Path, code: int, *, log: str = "", **raised: str) -> SrlmError:
    """The error that a launch makes of what its processes left."""
    job = together.job(folder, folder, title="M2")
    run = launch.Launch(LAUNCHED, job)
    path = job.work / "launch" / "log.txt"
    path.write_text(log)
    if raised:
        (job.work / "launch" / "error-0.json").write_text(json.dumps(raised))
    return run.error(code, path)


def test_a_death_is_reported_with_the_last_lines_of_the_log(tmp_path: Path) -> None:
    log = "\n".join(["one", "two", "", "Loading", "CUDA out of memory", "Signal 9", ""])
    error = failed(tmp_path, 1, log=log)
    assert "M2: the training processes died (exit code 1)" in str(error)
    assert "ends: Loading | CUDA out of memory | Signal 9; run the same command" in str(error)
    assert error.exit_code == 2


def test_an_expected_error_keeps_its_type_and_an_unexpected_one_its_name(tmp_path: Path) -> None:
    # DataError builds its message from parts, so it cannot be made by its constructor.
    expected = failed(tmp_path, 2, error="DataError", message="rows.jsonl:3: not JSON")
    assert type(expected).__name__ == "DataError"
    assert str(expected) == "rows.jsonl:3: not JSON"
    other = failed(tmp_path, 1, error="RuntimeError", message="shapes differ")
    assert str(other).startswith("M2: RuntimeError: shapes differ; see ")


def test_marked_lines_are_shown_and_everything_is_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = "import sys; from training.launch.worker import Marked; "
    code += "Marked(sys.stdout).write('  half\\n'); "
    code += "print('noise'); sys.exit(3)"
    assert launch_command.run_logged([sys.executable, "-c", code], tmp_path / "log.txt") == 3
    assert (tmp_path / "log.txt").read_text() == f"{MARK}  half\nnoise\n"
    shown = capsys.readouterr().err
    assert "  half" in shown and "noise" not in shown


def test_each_line_is_marked(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as stream:
        Marked(stream).write("a\nb\n")
    assert (tmp_path / "out").read_text() == f"{MARK}a\n{MARK}b\n"


# --- Judged early stopping between launches


def test_training_pauses_for_the_judge_and_stops_where_it_says(tiny: Path, tmp_path: Path) -> None:
    # Checkpoints at steps 2 and 4 of 6; the answers of step 4 are judged worse than those of 2.
    def worth(folder: Path) -> ScriptedEngine:
        found = re.search(r"checkpoint-(\d+)", str(folder))
        step = int(found[1]) if found else 0  # M_t
        assert load_model(folder, torch.float32)  # what is judged is a whole model
        opened.append(step)
        return ScriptedEngine(lambda messages, draw: f"An answer worth {5 - step}", name=str(step))

    def score(messages: Any, draw: int) -> str:
        found = re.search(r"<response>.*worth (\d)", messages[-1]["content"], re.DOTALL)
        return f"Score: {found[1]}" if found else "?"

    opened: list[int] = []
    released: list[int] = []
    section = together.DPO.model_copy(
        update={"early_stopping": EarlyStoppingSection(prompt="pointwise", every_steps=2)}
    )
    job = together.job(tiny, tmp_path, dpo=section, pausing=True)
    judge = CheckpointJudge(
        section.early_stopping,
        JudgeSection(draws=1),
        [Thread("v", "Question?", (), None)],
        seed=0,
        log=tmp_path / "checkpoints.jsonl",
        work=job.work,
        start=job.policy,
        open_judge=lambda: ScriptedEngine(score, name="judge"),
        open_policy=worth,
    )
    work = job.work

    def train_on() -> None:
        dpo.train(job, together.PAIRS)

    launch.train_until_judged(train_on, work, judge, lambda: released.append(len(opened)))
    assert opened == [0, 2, 4]
    assert released == [0, 2]  # before each launch
    assert trl_loop.step_of(trl_loop.last_checkpoint(work)) == 4
    # The same command again, after a kill that came before the model was put together.
    launch.train_until_judged(train_on, work, judge, lambda: released.append(-1))
    assert (opened, released) == ([0, 2, 4], [0, 2])
    result = dpo.choose(dpo.TrainResult.read(work), job, judge)
    assert (result.facts["steps"], result.facts["kept_step"], result.rows) == (4, 2, 11)
    assert result.facts["kept_strength"] < 0  # worth 3, and M_t 5
    kept = load_model(job.model, torch.float32)
    best = load_model(work / "best", torch.float32)
    for name, weight in kept.named_parameters():
        assert torch.equal(weight, best.get_parameter(name))
