"""The errors that this project raises on purpose.

SrlmError                 exit code 2, printed as one line without a traceback
├── ConfigError           a configuration file, key or value
├── DataError             a data file: says path and line
├── ModelError            a model folder that cannot be used
├── MissingArtifact       a stage needs an artifact that has not been made
├── StaleArtifact         an artifact was made from other inputs or settings
├── RunLocked             another process is working on the same run
├── StorageError          the disk refused a write (full, read-only)
├── NotRecorded           a replayed cassette lacks the requested reply
└── StageFailed           exit code 1: the command completed but reports a failure
    ├── Diverged          training became NaN or infinite
    ├── UnhealthyJudge    the judge's scores are too poor to build preference pairs from
    ├── NothingToTrain    every row of a training set was dropped
    ├── JudgeFailed       requests to a judge failed after all retries; the others are kept
    ├── WorkersLost       Ray engine workers died repeatedly; finished rows are kept
    ├── BudgetSpent       the money limit is reached; what was paid for is kept
    ├── EvaluationFailed  one or more benchmarks failed; the others are done
    └── SweepFailed       one or more runs of a sweep failed; the others are done
"""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_LONGEST = 1000
_TAIL = 300


def shortened(message: str) -> str:
    """Return a message of at most 1,000 characters: what it quotes from a file may be of any size.

    The beginning says what and where, the end what to do.
    """
    if len(message) <= _LONGEST:
        return message
    return f"{message[: _LONGEST - _TAIL - 3]} … {message[-_TAIL:]}"


class SrlmError(Exception):
    """Base of all expected errors; the message says what, where and what to do."""

    exit_code = 2

    def __init__(self, message: str = "") -> None:
        """Build the error; a message that quotes much is shortened."""
        super().__init__(shortened(message))


class ConfigError(SrlmError):
    """A configuration file, key or value is wrong."""


class DataError(SrlmError):
    """A data file is missing or malformed; the message begins with path and line."""

    def __init__(self, path: Path | str, line: int | None, what: str) -> None:
        """Build `path:line: what`; `line` counts from 1, None for the whole file."""
        super().__init__(f"{path}:{line}: {what}" if line is not None else f"{path}: {what}")


class ModelError(SrlmError):
    """A model folder cannot be loaded or lacks something the system needs."""


class MissingArtifact(SrlmError):
    """An artifact that a stage reads has not been made yet."""


class StaleArtifact(SrlmError):
    """An artifact exists but was made from other inputs or settings."""


class RunLocked(SrlmError):
    """Another process holds the lock of this run folder."""


class StorageError(SrlmError):
    """The disk refused a write."""


class StageFailed(SrlmError):
    """A stage completed, but its result means that the run must stop."""

    exit_code = 1


class Diverged(StageFailed):
    """A loss, gradient or weight of a training became NaN or infinite; the model is not kept."""


class UnhealthyJudge(StageFailed):
    """The judge's scores are below the configured limits."""


class NothingToTrain(StageFailed):
    """Every row of a training set was dropped, so there is nothing to train on."""


class NotRecorded(SrlmError):
    """A replayed cassette lacks the requested reply."""


class JudgeFailed(StageFailed):
    """Requests to a judge failed after all retries; replies received are kept."""


class WorkersLost(StageFailed):
    """Ray engine workers died repeatedly; finished rows are kept."""


class BudgetSpent(StageFailed):
    """Another request would go over the money limit; what was paid for is kept."""


class EvaluationFailed(StageFailed):
    """One or more benchmarks failed; the others are done."""


class SweepFailed(StageFailed):
    """One or more runs of a sweep failed; the others are done."""


_LONGEST_REASON = 300


def first_line(error: BaseException) -> str:
    """Return what an exception says in one line of readable length, or its type."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return line[:_LONGEST_REASON] or type(error).__name__


_DISK_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


@contextmanager
def disk_errors_named(path: Path) -> Iterator[None]:
    """Turn a disk's refusal while writing `path` into a StorageError that names it.

    Libraries written in Rust and C++ report a full disk in their own exception types, so the
    message is searched as well as the error number.
    """
    try:
        yield
    except SrlmError:  # already names a path, closer to the cause
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _DISK_ERRNOS:
            reason = error.strerror or str(error)
        elif "No space left" in str(error) or "os error 28" in str(error):
            reason = "No space left on device"  # also for an OSError without an error number
        else:
            raise
        message = (
            f"{path}: {reason}. Nothing that was finished is lost: free space or fix the rights "
            "(or set out_dir to another disk), then run the same command again"
        )
        raise StorageError(message) from error
