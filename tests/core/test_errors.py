import errno
import inspect
from pathlib import Path

import pytest

from core import errors
from core.errors import (
    ConfigError,
    DataError,
    NothingToTrain,
    SrlmError,
    StageFailed,
    StorageError,
    UnhealthyJudge,
    disk_errors_named,
)

WHERE = Path("runs/quickstart/iter2/pairs.jsonl")


class SafetensorError(Exception):
    """Stands for the exception types of libraries written in Rust."""


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM]
)
def test_a_disk_that_refuses_is_a_storage_error_naming_path_reason_and_remedy(number: int) -> None:
    cause = OSError(number, "the kernel's words")
    with pytest.raises(StorageError) as caught, disk_errors_named(WHERE):
        raise cause
    message = str(caught.value)
    assert message.startswith(f"{WHERE}: the kernel's words.")
    assert "Nothing that was finished is lost" in message
    assert "run the same command again" in message
    assert caught.value.__cause__ is cause


@pytest.mark.parametrize(
    "error",
    [
        SafetensorError("Error while serializing: I/O error: No space left on device"),
        RuntimeError("PytorchStreamWriter failed: No space left on device"),
        SafetensorError("IoError(Os { code: 28 }) (os error 28)"),
        # PyO3 builds OSError from the words alone, so `errno` is None.
        OSError("No space left on device (os error 28)"),
    ],
    ids=["safetensors", "torch", "os-error-28", "oserror-without-number"],
)
def test_a_full_disk_is_recognised_in_the_words_of_libraries(error: Exception) -> None:
    with pytest.raises(StorageError) as caught, disk_errors_named(WHERE):
        raise error
    assert str(caught.value).startswith(f"{WHERE}: No space left on device.")
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file or directory"),
        OSError(errno.EIO, "Input/output error"),
        OSError("no number"),
        ValueError("a row was added twice"),
        DataError("seed.jsonl", 3, "not valid JSON"),
    ],
)
def test_other_errors_pass_through_unchanged(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, disk_errors_named(WHERE):
        raise error
    assert caught.value is error


def test_an_interruption_is_not_an_error_of_the_disk() -> None:
    with pytest.raises(KeyboardInterrupt), disk_errors_named(WHERE):
        raise KeyboardInterrupt("No space left on device")


def test_the_innermost_path_is_kept_when_writers_are_nested() -> None:
    manifest = Path("runs/quickstart/iter2/pairs.manifest.json")
    with (
        pytest.raises(StorageError) as caught,
        disk_errors_named(WHERE),
        disk_errors_named(manifest),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert str(caught.value).startswith(f"{manifest}: ")


def test_work_without_an_error_is_left_alone() -> None:
    with disk_errors_named(WHERE):
        done = 1 + 1
    assert done == 2


def test_expected_errors_end_with_code_2_and_a_stage_that_says_stop_with_1() -> None:
    codes = {
        name: kind.exit_code
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, SrlmError)
    }
    assert codes == {
        "SrlmError": 2,
        "ConfigError": 2,
        "DataError": 2,
        "ModelError": 2,
        "MissingArtifact": 2,
        "StaleArtifact": 2,
        "RunLocked": 2,
        "StorageError": 2,
        "StageFailed": 1,
        "Diverged": 1,
        "UnhealthyJudge": 1,
        "NothingToTrain": 1,
        "NotRecorded": 2,
        "JudgeFailed": 1,
        "WorkersLost": 1,
        "BudgetSpent": 1,
        "EvaluationFailed": 1,
        "SweepFailed": 1,
    }


def test_every_error_is_in_the_tree_at_the_top_of_the_module() -> None:
    tree = [line.lstrip("│├└─ ").split(" ")[0] for line in (errors.__doc__ or "").splitlines()]
    for name, kind in inspect.getmembers(errors, inspect.isclass):
        if issubclass(kind, SrlmError):
            assert name in tree


def test_what_stops_a_run_can_be_caught_apart_from_what_a_user_got_wrong() -> None:
    assert issubclass(UnhealthyJudge, StageFailed)
    assert issubclass(NothingToTrain, StageFailed)
    assert not issubclass(ConfigError, StageFailed)


def test_a_message_that_quotes_much_keeps_its_place_and_its_remedy() -> None:
    error = DataError("seed.jsonl", 3, f"text is {'x' * 6000!r}, expected a number; do this")
    assert len(str(error)) == 1000
    assert str(error).startswith("seed.jsonl:3: text is 'xxx")
    assert str(error).endswith("xxx', expected a number; do this")
    assert str(ConfigError("x" * 1000)) == "x" * 1000


def test_a_data_error_begins_with_path_and_line() -> None:
    assert str(DataError("seed.jsonl", 17, "score 'six'")) == "seed.jsonl:17: score 'six'"
    assert str(DataError(Path("a/b.jsonl"), None, "empty")) == "a/b.jsonl: empty"
