"""Sweeps: which runs share what, what a failure stops, and real ones on the tiny model."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from core.config import Config, load_config
from core.errors import RunLocked, SweepFailed
from core.making import locked
from core.reader import RunReader
from core.stages import Paths, Ref, Stage, model_ref, order_of, stages_of
from core.store import Store
from core.sweep import Sweep, load_sweep
from tests import loop
from tests.conftest import ROOT
from tests.engines.rewarding import make_reward_model
from training.plan.plan import plan
from training.plan.sharing import Other, shared, with_links
from training.sweep import Ended, raise_failures, run_sweep

REFS = [Ref(k, stage) for k in range(4) for stage in stages_of(k)]


def smoke(*settings: str) -> Config:
    return load_config(loop.SMOKE, [*settings])


def up_to(last: Ref) -> set[Ref]:
    return {ref for ref in REFS if order_of(ref) <= order_of(last)}


@pytest.mark.parametrize(
    ("setting", "last"),
    [
        ("pairs.control=swapped", Ref(2, Stage.PAST_JUDGMENTS)),
        ("iteration.3.pairs.control=swapped", Ref(3, Stage.PAST_JUDGMENTS)),
        ("dpo.beta=0.2", Ref(2, Stage.JUDGE_PAIRS)),
        ("candidates.n=5", Ref(2, Stage.PROMPTS)),
        ("iteration.3.judge_pairs.enabled=true", Ref(3, Stage.PAIRS)),
        ("m1.use_eft=false", Ref(1, Stage.EFT)),
        ("sft.lr=1e-3", Ref(1, Stage.RANKED)),
        ("evaluation.models=['M1']", model_ref(3)),
        ("engine.max_batch_rows=2", model_ref(3)),
    ],
)
def test_runs_share_all_before_the_first_stage_that_reads_another_setting(
    setting: str, last: Ref
) -> None:
    assert shared(smoke(), smoke(setting), REFS) == up_to(last)


def test_a_measurement_that_nothing_is_made_from_parts_no_runs() -> None:
    probes = {Ref(0, Stage.PROBE), Ref(1, Stage.PROBE)}
    assert shared(smoke(), smoke("probe.max_prompts=1"), REFS) == set(REFS) - probes


def test_variants_that_measure_consistency_share_what_they_are_made_from() -> None:
    measured = {
        Ref(k, stage) for k in (2, 3) for stage in (Stage.PREVIOUS_JUDGMENTS, Stage.CONSISTENCY)
    }
    assert shared(smoke(), smoke("health.consistency=true"), REFS) == set(REFS) - measured


def test_other_seeds_share_nothing() -> None:
    assert shared(smoke(), smoke("seed=2"), REFS) == set()


def test_a_plan_links_what_is_made_elsewhere_or_will_be(tmp_path: Path) -> None:
    config = smoke(f"out_dir={tmp_path}", "dpo.beta=0.2")
    made = Other(tmp_path / "made", smoke())
    for ref in up_to(Ref(2, Stage.JUDGMENTS)):
        manifest = Paths(made.folder).manifest(ref)
        manifest.parent.mkdir(parents=True, exist_ok=True)
        manifest.touch()
    rows = with_links(config, plan(config, 3), [made])
    linked = {row.ref for row in rows if row.state == f"linked: {made.folder}"}
    assert linked == up_to(Ref(2, Stage.JUDGMENTS))
    # A run that has made nothing yet links nothing, unless the sweep makes it first.
    later = Other(tmp_path / "later", smoke())
    assert not [r for r in with_links(config, plan(config, 3), [later]) if "linked" in r.state]
    rows = with_links(config, plan(config, 3), [later._replace(wanted=True), made])
    linked = {row.ref for row in rows if row.state == f"linked: {later.folder}"}
    assert linked == up_to(Ref(2, Stage.PAIRS)) & {row.ref for row in rows}


TEXT = """
sweep = "try"
base = "{base}"
seeds = [1, 2]
evaluate = ["ifeval", "truth"]
[settings]
out_dir = "{out}"
[variants]
plain = {{}}
swapped = {{ pairs.control = "swapped" }}
"""


def two_by_two(folder: Path, text: str = TEXT, **more: object) -> Sweep:
    file = folder / "sweep.toml"
    file.write_text(text.format(base=loop.SMOKE, out=folder / "runs", **more))
    return load_sweep(file)


class Calls:
    """What a sweep ran: package, run and seed of each command; exit codes as told."""

    def __init__(self, codes: dict[tuple[str, str], int] | None = None) -> None:
        self.codes, self.seen = codes or {}, list[tuple[str, str]]()

    def __call__(self, words: Sequence[str]) -> int:
        (name,) = (w.removeprefix("run=").strip('"') for w in words if w.startswith("run="))
        folder = Path(words[-1 if "--only" not in words else -3])
        (folder / name).mkdir(parents=True, exist_ok=True)
        self.seen.append((words[0], name))
        return self.codes.get((words[0], name), 0)


def test_each_run_is_trained_then_evaluated_seed_by_seed(tmp_path: Path) -> None:
    calls = Calls()
    found = run_sweep(two_by_two(tmp_path), call=calls)
    names = ["plain-seed1", "swapped-seed1", "plain-seed2", "swapped-seed2"]
    assert calls.seen == [(package, n) for n in names for package in ("training", "evaluation")]
    assert not any(one.failed for one in found)
    raise_failures(two_by_two(tmp_path), found)


def test_a_failing_run_does_not_stop_the_others(tmp_path: Path) -> None:
    sweep = two_by_two(tmp_path)
    calls = Calls({("training", "plain-seed1"): 2, ("evaluation", "swapped-seed1"): 1})
    found = run_sweep(sweep, call=calls)
    assert [one.failed for one in found] == [True, True, False, False]
    assert ("evaluation", "plain-seed1") not in calls.seen
    with pytest.raises(SweepFailed, match=r"2 of 4 runs failed; .*plain, seed 1 \(FAILED") as error:
        raise_failures(sweep, found)
    assert error.value.exit_code == 1
    assert "swapped, seed 1 (FAILED: evaluation ended with exit code 1" in str(error.value)


def test_a_run_that_stopped_for_a_reason_is_evaluated_as_far_as_it_came(tmp_path: Path) -> None:
    calls = Calls({("training", "plain-seed1"): 1})
    found = run_sweep(two_by_two(tmp_path), call=calls)
    assert ("evaluation", "plain-seed1") in calls.seen
    assert found[0].failed


def test_fail_fast_stops_at_the_first_failure_and_says_what_was_not_begun(tmp_path: Path) -> None:
    sweep, calls = two_by_two(tmp_path), Calls({("training", "swapped-seed1"): 2})
    found = run_sweep(sweep, fail_fast=True, call=calls)
    assert [one.run.name for one in found] == ["plain, seed 1", "swapped, seed 1"]
    with pytest.raises(SweepFailed, match="1 of 4 runs failed, 2 were not begun"):
        raise_failures(sweep, found)


def test_two_processes_do_not_run_one_sweep(tmp_path: Path) -> None:
    sweep = two_by_two(tmp_path)
    with locked(sweep.folder / ".lock"), pytest.raises(RunLocked):
        run_sweep(sweep, call=Calls())


def test_a_dry_run_shows_what_each_run_makes_and_shares_and_writes_nothing(tmp_path: Path) -> None:
    two_by_two(tmp_path)
    done = loop.main("training", "sweep", tmp_path / "sweep.toml", "--dry-run")
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.replace("│", " ").split())
    assert "4 runs" in text
    # iter0 has 2 stages, iter1 6 of which the constructed EFT is on, iter2 7: up to its health 5.
    assert "plain-seed1" in text and "plain-seed2" in text
    assert not (tmp_path / "runs").exists()


def test_the_command_ends_with_what_went_wrong(tmp_path: Path) -> None:
    done = loop.main("training", "sweep", tmp_path / "none.toml")
    assert (done.returncode, "no such sweep file" in done.stderr) == (2, True)
    two_by_two(tmp_path)
    done = loop.main("training", "sweep", tmp_path / "sweep.toml", "--redo", "pairs")
    assert (done.returncode, "only 'stale'" in done.stderr) == (2, True)


SMALL = """
sweep = "try"
base = "{base}"
evaluate = ["ifeval", "truth"]
[settings]
out_dir = "{out}"
iterations = 2
sft.epochs = 2
improvement.judge = "{reward}"
prompts = {{ source = "verifiable", count = 8 }}
candidates.n = 2
dpo.early_stopping.enabled = false
evaluation.models = ["M1", "M2"]
evaluation.ifeval = {{ data = "verifiable", limit = 4, max_new_tokens = 16 }}
[variants]
plain = {{}}
swapped = {{ pairs.control = "swapped" }}
"""
ONCE = {Ref(2, Stage.PAIRS), model_ref(2)}


Command = Callable[..., list[str]]


@pytest.fixture(scope="module")
def command(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """The command of a small sweep in a folder; a reward model always finds a better answer."""
    reward = make_reward_model(tiny, tmp_path_factory.mktemp("reward") / "model")

    def words(folder: Path, *extra: str) -> list[str]:
        two_by_two(folder, SMALL, reward=reward)
        return [sys.executable, "-m", "training", "sweep", str(folder / "sweep.toml"), *extra]

    return words


def ended(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)


def whole(folder: Path) -> tuple[Store, Store]:
    return Store(folder / "runs/try/plain-seed0"), Store(folder / "runs/try/swapped-seed0")


@pytest.fixture(scope="module")
def swept(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep of two variants; never change its files."""
    folder = tmp_path_factory.mktemp("swept")
    done = ended(command(folder))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_variants_share_every_artifact_with_the_same_key(swept: Path) -> None:
    plain, swapped = whole(swept)
    assert plain.artifacts().keys() == swapped.artifacts().keys()
    for name, ref in plain.artifacts().items():
        same = plain.paths.artifact(ref)
        if not same.is_file():
            same /= "model.safetensors"
        other = swapped.paths.root / same.relative_to(plain.paths.root)
        same_key = plain.manifest(ref).key == swapped.manifest(ref).key
        assert same.samefile(other) is same_key, name
        # Numbers made from M2's answers may be the same: of a tiny model they can be equal.
        if ref in ONCE or name == "eval/M2/ifeval/answers":
            assert not same_key, name
        elif ref.iteration and not name.startswith("eval/"):
            assert same_key, name
    # M1's evaluation too: nothing was asked of a model for it.
    assert "eval/M1/ifeval/scores" in plain.artifacts()
    assert {call[0] for call in loop.calls(swapped.paths.root)} == {"eval/M2/ifeval/answers"}


@pytest.mark.slow
def test_a_sweep_killed_anywhere_ends_like_one_that_was_not(
    swept: Path, command: Command, tmp_path: Path
) -> None:
    def begun(folder: str, ref: Ref) -> Callable[[], bool]:
        paths = Paths(tmp_path / "runs/try" / folder)
        scratch = [paths.manifest(ref), paths.partial(ref), paths.work(ref)]
        return lambda: any(path.exists() for path in scratch)

    moments = [
        ("plain-seed0", Ref(1, Stage.SFT), 1.0),
        ("plain-seed0", Ref(2, Stage.JUDGMENTS), 0.1),
        ("swapped-seed0", Ref(1, Stage.SFT), 0.0),  # among the links
    ]
    killed = 0
    for name, ref, delay_s in moments:
        log = tmp_path / "killed.log"
        killed += loop.killed_once(command(tmp_path), begun(name, ref), log, delay_s)
    assert killed >= 2
    # The last kill took the command that was running along: nothing holds a lock.
    done = ended(command(tmp_path))
    assert done.returncode == 0, done.stderr
    for one, other in zip(whole(swept), whole(tmp_path), strict=True):
        assert one.artifacts().keys() == other.artifacts().keys()
        for ref in one.artifacts().values():
            assert one.manifest(ref).sha256 == other.manifest(ref).sha256, ref
            other.verify(ref, rehash=True)
    repeated = Counter(call for store in whole(tmp_path) for call in loop.calls(store.paths.root))
    assert sum(times - 1 for times in repeated.values()) <= killed


@pytest.mark.slow
def test_a_second_call_finds_everything_done_and_a_changed_setting_is_stale(
    swept: Path, command: Command
) -> None:
    before = {p: p.stat().st_mtime_ns for p in swept.rglob("*.manifest.json")}
    again = ended(command(swept))
    assert again.returncode == 0, again.stderr
    assert {p: p.stat().st_mtime_ns for p in swept.rglob("*.manifest.json")} == before
    done = ended(command(swept, "--set", "dpo.beta=0.3"))
    assert done.returncode == 1
    assert "2 of 2 runs failed" in done.stderr
    assert "dpo.beta was 0.1, is 0.3" in done.stderr
    assert {p: p.stat().st_mtime_ns for p in swept.rglob("*.manifest.json")} == before
    # The runs have the refused setting in their config.json until they are called with their own.
    assert ended(command(swept)).returncode == 0


@pytest.mark.slow
def test_runs_of_a_sweep_are_ordinary_runs(swept: Path) -> None:
    for store in whole(swept):
        done = loop.main("reports", "build", "--run", store.paths.root, "--out", swept / "report")
        assert done.returncode == 0, done.stderr
        assert RunReader(store.paths.root).scores("M2/ifeval")


@pytest.mark.slow
def test_a_run_redone_makes_its_own_artifacts_and_leaves_the_other_alone(
    swept: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    subprocess.run(["cp", "-al", str(swept), str(folder)], check=True)
    plain, swapped = whole(folder)
    sweep = load_sweep(folder / "sweep.toml", [f"out_dir={folder / 'runs'}"])
    words = [word for s in sweep.runs[1].settings for word in ("--set", s)]
    given = ["--config", str(loop.SMOKE), *words, "--reuse", str(sweep.folder)]
    done = loop.main("training", *given, "--redo", "iter2/candidates")
    assert done.returncode == 0, done.stderr
    candidates = Ref(2, Stage.CANDIDATES)
    assert not plain.paths.artifact(candidates).samefile(swapped.paths.artifact(candidates))
    assert plain.manifest(candidates).sha256 == swapped.manifest(candidates).sha256
    for ref in plain.artifacts().values():
        plain.verify(ref, rehash=True)


def test_how_a_run_ended_is_said_in_words(tmp_path: Path) -> None:
    from training.sweep import outcome

    run = two_by_two(tmp_path).runs[0]
    assert outcome(Ended(run, 0, 0, 3.0)) == "done in 3.0 s"
    assert outcome(Ended(run, -9, None, 3.0)).startswith("FAILED: training ended with exit code -9")
