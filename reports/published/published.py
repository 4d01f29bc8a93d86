"""Published results, read from paper.toml: each number with its source.

Whether a number is comparable with one of a run is decided by reports/published/comparable.py.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from core.errors import DataError
from reports.document import Published

_FILE = Path(__file__).parent / "paper.toml"


class PublishedTable(BaseModel):
    """Results from one source: a row of values per model or matchup, in the order of `columns`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    benchmark: str
    """A benchmark's name, or "training_data"."""
    kind: Literal["paper", "leaderboard", "recorded"] = "paper"
    """The paper's models, other systems, or models with recorded judgments (by their files' names).
    """
    source: str
    """The paper's table or figure, or another publication."""
    columns: tuple[str, ...]
    """Keys of scores; of NLP the tasks."""
    rows: dict[str, tuple[float, ...]]
    """By model, or matchup ("M2-M1")."""
    title: str = ""
    """Of the table in the report's section on the paper; empty if it is not shown there."""
    head: str = "model"
    """Title of its first column."""
    digits: tuple[int, ...] = ()
    """Printed digits by column; empty: 2."""

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        for name, values in self.rows.items():
            if len(values) != len(self.columns):
                raise ValueError(
                    f"row {name!r} has {len(values)} values, expected {len(self.columns)}"
                )
        if self.digits and len(self.digits) != len(self.columns):
            raise ValueError(f"digits: expected {len(self.columns)} numbers")
        return self


class Sizes(BaseModel):
    """How many prompts, questions and annotators the published results rest on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    head_to_head_prompts: int
    human_prompts: int
    human_annotators: int
    alpaca_eval_prompts: int
    mt_bench_questions: int


class PublishedResults(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    sizes: Sizes
    tables: tuple[PublishedTable, ...]
    leaderboard_names: dict[str, str]
    """Names in recorded annotation files and those in Table 1."""
    categories: dict[str, int]
    """Table 6: prompts of AlpacaEval by category."""
    nlp_items: dict[str, int]
    """Items of each NLP task's evaluation split."""


def read_published(path: Path) -> PublishedResults:
    """Read a file of published results.

    Raises:
        DataError: it is not TOML (with the line), or an entry is not as described above (with the
            entry's place, benchmark and source).
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise DataError(path, None, f"not TOML: {error}") from None
    try:
        return PublishedResults.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        place, where = first["loc"], ".".join(map(str, first["loc"]))
        if place[:1] == ("tables",) and len(place) > 1:
            entry = raw["tables"][place[1]]
            names = ", ".join(str(entry.get(name, "?")) for name in ("benchmark", "source"))
            where = f"{where} ({names})"
        message = first["msg"].removeprefix("Value error, ")
        raise DataError(path, None, f"{where}: {message}") from None


PAPER = read_published(_FILE)
SIZES = PAPER.sizes


def rows_of(benchmark: str, column: str, kind: str = "paper") -> dict[str, float]:
    """Return one column of a benchmark by row; {} if nothing is published."""
    return {
        row: values[table.columns.index(column)]
        for table in PAPER.tables
        if (table.benchmark, table.kind) == (benchmark, kind) and column in table.columns
        for row, values in table.rows.items()
    }


def of_paper(benchmark: str, subject: str, key: str) -> Published | None:
    """Return the paper's number for a model, or a matchup as "M2-M1"; None if it gives none.

    `key`: of the score ("win_rate", "category/math"); for nlp the task.
    """
    return _find(benchmark, "paper", subject, key)


def of_recorded(benchmark: str, model: str, key: str) -> Published | None:
    """Return the number published for a model with recorded judgments; None if there is none.

    `model` is the file's name for it ("claude-2", "gemini-1.5-flash"). The paper's own models are
    not found here, so a file that calls its model "M1" is not taken for the paper's.
    """
    found = _find(benchmark, "recorded", model, key)
    title = PAPER.leaderboard_names.get(model, "")
    return found or _find(benchmark, "leaderboard", title, key)


def _find(benchmark: str, kind: str, row: str, column: str) -> Published | None:
    for table in PAPER.tables:
        is_it = (table.benchmark, table.kind) == (benchmark, kind) and column in table.columns
        if is_it and row in table.rows:
            return Published(table.rows[row][table.columns.index(column)], table.source)
    return None
