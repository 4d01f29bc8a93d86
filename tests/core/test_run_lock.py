import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.errors import RunLocked
from core.making import locked
from core.stages import project_root

HOLDER = """
import sys, time
from pathlib import Path
from core.making import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def held_by_another_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(
        command, cwd=project_root(), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_second_process_is_told_who_works_on_the_run_until_kill_9_frees_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "quickstart" / ".lock"
    with held_by_another_process(path) as holder:
        with pytest.raises(RunLocked) as caught, locked(path):
            pytest.fail("two processes hold one run")
        assert str(caught.value) == (
            f"{path.parent}: another process (pid {holder.pid}) is working on this run; "
            "wait for it, stop it, or use another run name"
        )
        holder.send_signal(signal.SIGKILL)
        assert holder.wait() == -signal.SIGKILL
        with locked(path):
            assert path.read_text() == str(os.getpid())


def test_the_refused_process_does_not_overwrite_the_holders_name(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with locked(path):
        for _ in range(2):
            with pytest.raises(RunLocked, match=f"pid {os.getpid()}"), locked(path):
                pytest.fail("the lock was given twice")


def test_the_lock_is_free_again_after_the_work_and_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with locked(path):
        pass
    with pytest.raises(RuntimeError, match="model crashed"), locked(path):
        raise RuntimeError("model crashed")
    with locked(path):
        assert path.exists()


def test_an_old_longer_process_id_leaves_no_digits_behind(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    path.write_text("9999999999999999")
    with locked(path):
        assert path.read_text() == str(os.getpid())


def test_a_holder_that_has_not_named_itself_yet_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with locked(path):
        path.write_bytes(b"")
        with pytest.raises(RunLocked, match="pid unknown"), locked(path):
            pytest.fail("the lock was given twice")


def test_two_runs_do_not_block_each_other(tmp_path: Path) -> None:
    with locked(tmp_path / "a" / ".lock"), locked(tmp_path / "b" / ".lock"):
        names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["a", "b"]


def test_programs_started_by_the_holder_do_not_keep_the_lock(tmp_path: Path) -> None:
    # A helper that outlives the run (a server, say) must not lock people out.
    path = tmp_path / ".lock"
    with locked(path):
        command = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
        helper = subprocess.Popen(command, close_fds=False, stdout=subprocess.PIPE, text=True)
    try:
        assert helper.stdout is not None
        assert helper.stdout.readline() == "up\n"  # files are closed once the program runs
        with locked(path):
            assert helper.poll() is None
    finally:
        helper.kill()
        helper.communicate()
