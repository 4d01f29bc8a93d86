from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from core.errors import DataError, MissingArtifact, StaleArtifact
from core.reader import RunReader
from core.records import Prompt
from core.stages import Ref, Stage
from core.store import Store
from tests.reports.runs import RunBuilder
from tests.web.explorer.made import PROMPTS, altered
from web.explorer.index.index import Index


def prompt(number: int, text: str = "", rejected: str | None = None) -> Prompt:
    return Prompt(f"c{number}", text or "x" * (number + 1), rejected, number)


def made(folder: Path, *rows: Prompt) -> Store:
    return RunBuilder(folder).rows(PROMPTS, rows).store


def opened(store: Store) -> closing[Index]:
    (store.paths.root / "iter0").mkdir(exist_ok=True)
    return closing(Index(RunReader(store.paths.root)))


def test_rows_are_found_by_key_outcome_order_and_page(tmp_path: Path) -> None:
    store = made(tmp_path, *(prompt(n, rejected="short" if n < 2 else None) for n in range(5)))
    with opened(store) as index:
        assert index.row(PROMPTS, "c3") == prompt(3)
        assert index.row(PROMPTS, "c9") is None
        assert index.outcomes(PROMPTS) == {"kept": 3, "short": 2}
        page: dict[str, Any] = {"order": "length DESC", "limit": 2, "offset": 1}
        longest, total = index.page([PROMPTS], "outcome = ?", ("kept",), **page)
        assert ([row.key for _, row in longest], total) == (["c3", "c2"], 3)
        assert [row.key for row in index.select_keys(PROMPTS, ["c4", "zz", "c0"])] == ["c4", "c0"]


def test_a_rebuilt_artifact_is_indexed_again(tmp_path: Path) -> None:
    store = made(tmp_path, prompt(0))
    with opened(store) as index:
        assert index.outcomes(PROMPTS) == {"kept": 1}
        store.remove([PROMPTS])
        with pytest.raises(MissingArtifact, match="iter2/prompts: not made yet"):
            index.outcomes(PROMPTS)
        made(tmp_path, prompt(0, "other words"), prompt(1))
        assert index.outcomes(PROMPTS) == {"kept": 2}
        assert index.row(PROMPTS, "c0") == prompt(0, "other words")


def test_a_file_that_was_altered_behind_its_manifest_is_refused(tmp_path: Path) -> None:
    store = made(tmp_path, prompt(0, "true"))
    path = store.paths.artifact(PROMPTS)
    path.write_bytes(path.read_bytes().replace(b"true", b"lies"))
    with opened(store) as index, pytest.raises(StaleArtifact, match=r"the bytes of .* changed"):
        index.number(PROMPTS)


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (b"\xff", "jsonl:2: not UTF-8 at byte"),
        (b'"', "jsonl:2: not valid JSON"),
        (b'", "surprise": "', "jsonl:2: surprise: unknown field"),
        (b'", "call": ' + b"[" * 100_000, "jsonl:2: JSON nested too deeply"),
    ],
)
def test_a_damaged_line_is_named_and_leaves_nothing_behind(
    tmp_path: Path, new: bytes, said: str
) -> None:
    store = made(tmp_path, prompt(0), prompt(1, "HERE"))
    altered(store, PROMPTS, b"HERE", new)
    with opened(store) as index:
        with pytest.raises(DataError, match=said):
            index.number(PROMPTS)
        assert index.query("SELECT count(*) FROM rows") == [(0,)]


def test_half_a_character_becomes_its_replacement_and_other_escapes_stay(tmp_path: Path) -> None:
    store = made(tmp_path, prompt(0, "HERE"))
    altered(store, PROMPTS, b"HERE", rb"\ud800 \ud83d\ude00 \\ud800 \u0000")
    with opened(store) as index:
        (row,) = index.select(PROMPTS)
        assert row.text == "\ufffd \U0001f600 \\ud800 \0"


def test_threads_read_an_artifact_once(tmp_path: Path) -> None:
    store = made(tmp_path, *(prompt(n) for n in range(200)))
    numbers = []
    with opened(store) as index:
        threads = [
            threading.Thread(target=lambda: numbers.append(index.number(PROMPTS))) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert numbers == [1] * 8
        assert index.outcomes(PROMPTS) == {"kept": 200}


def test_a_model_folder_has_no_rows(tmp_path: Path) -> None:
    built = RunBuilder(tmp_path)
    (tmp_path / "iter2").mkdir()
    built.model("M2")
    with opened(built.store) as index, pytest.raises(TypeError, match="is a model"):
        index.number(Ref(2, Stage.MODEL))
