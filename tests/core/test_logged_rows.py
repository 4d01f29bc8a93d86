from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from core import jsonl
from core.append_log import AppendLog, LoggedRows
from core.errors import DataError
from core.records import ItemScore, Judgment

HEADER = '{"key": "what the rows depend on"}'


def judgment(number: int, reply: str = "Score: 4") -> Judgment:
    return Judgment(f"c{number}/j0", f"c{number}", "p", 0, reply, 4.0, None, 5)


@contextmanager
def opened(path: Path, record: type = Judgment) -> Iterator[LoggedRows]:
    """The rows below the header of a log, which is written if it is new."""
    with AppendLog(path, read=False) as log:
        lines = log.objects()
        begin, header = next(lines, (0, None))
        rows = LoggedRows(log, record, path)
        rows.load(log.append(HEADER) if header is None else begin, lines)
        yield rows


def written(path: Path, *rows: Judgment) -> Path:
    with opened(path) as out:
        for row in rows:
            out.append(row)
    return path


def test_rows_added_and_rows_found_are_one_mapping_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = written(tmp_path / "log.jsonl", judgment(3), judgment(1))
    with opened(path) as rows:
        rows.append(judgment(2))
        assert list(rows) == ["c3/j0", "c1/j0", "c2/j0"]
        assert list(rows.values()) == [judgment(3), judgment(1), judgment(2)]
        assert dict(rows) == {r.key: r for r in map(judgment, (3, 1, 2))}
        assert list(rows.items()) == [(r.key, r) for r in map(judgment, (3, 1, 2))]
        assert (len(rows), len(rows.values())) == (3, 3)
        assert rows["c2/j0"] == judgment(2)
        assert "c1/j0" in rows and "c9/j0" not in rows
        assert {"c1/j0", "c9/j0"} & rows.keys() == {"c1/j0"}
        assert rows.get("c9/j0") is None
        with pytest.raises(KeyError, match="c9/j0"):
            rows["c9/j0"]


def test_no_rows_are_false_and_have_no_values(tmp_path: Path) -> None:
    with opened(tmp_path / "log.jsonl") as rows:
        assert not rows
        assert list(rows.values()) == []
        assert list(rows.lines(lambda row: row.key)) == []
        rows.append(judgment(0))
        assert rows


def test_rows_of_any_length_are_read_whole_whatever_is_read_ahead(tmp_path: Path) -> None:
    # The window is 2^18 bytes: rows that end just before, at and behind its edge, and longer ones.
    rng = Random(1)
    sizes = [1 << 18, 3, (1 << 18) - 130, 0, 1 << 19, *(rng.randrange(90_000) for _ in range(20))]
    rows = [judgment(n, "é" * (size // 2)) for n, size in enumerate(sizes)]
    with opened(written(tmp_path / "log.jsonl", *rows)) as found:
        assert list(found.values()) == rows
        assert [found[row.key] for row in rows] == rows


def test_lines_come_sorted_as_they_were_written(tmp_path: Path) -> None:
    rows = [judgment(n, "ü\n" * n) for n in (2, 0, 1)]
    with opened(written(tmp_path / "log.jsonl", *rows)) as found:
        by_key = [jsonl.encode(row).encode() + b"\n" for row in sorted(rows, key=lambda r: r.key)]
        assert list(found.lines(lambda row: row.key)) == by_key
        assert list(found.lines(lambda row: -len(row.reply))) == [by_key[2], by_key[1], by_key[0]]
        # Rows that are equal in the order keep that of the file.
        assert list(found.lines(lambda row: 0)) == [by_key[2], by_key[0], by_key[1]]


def test_rows_may_be_looked_up_while_others_are_streamed(tmp_path: Path) -> None:
    rows = [judgment(n, "x" * 1000) for n in range(600)]  # more than one window
    with opened(written(tmp_path / "log.jsonl", *rows)) as found:
        streamed = found.values()
        for at, row in enumerate(streamed):
            assert row == rows[at]
            assert found[rows[-1 - at].key] == rows[-1 - at]
        assert list(streamed) == rows  # a second time


def test_adding_while_streaming_is_refused_as_in_any_mapping(tmp_path: Path) -> None:
    with opened(written(tmp_path / "log.jsonl", judgment(0))) as rows:
        streamed = iter(rows.values())
        assert next(streamed) == judgment(0)
        rows.append(judgment(1))
        with pytest.raises(RuntimeError, match="changed size"):
            next(streamed)


def test_a_key_that_stands_twice_counts_once_and_the_later_row_holds(tmp_path: Path) -> None:
    # A full disk may refuse a row whose bytes are written on closing after all.
    path = written(tmp_path / "log.jsonl", judgment(0), judgment(1))
    with path.open("a") as file:
        file.write(jsonl.encode(judgment(0, "Score: 5")) + "\n")
    with opened(path) as rows:
        assert dict(rows) == {"c0/j0": judgment(0, "Score: 5"), "c1/j0": judgment(1)}
        assert list(rows.values()) == [judgment(0, "Score: 5"), judgment(1)]
        assert len(list(rows.lines(lambda row: row.key))) == 2


def test_a_damaged_row_is_named_by_its_line_when_the_log_is_opened(tmp_path: Path) -> None:
    path = written(tmp_path / "log.jsonl", *map(judgment, range(5)))
    path.write_text(path.read_text().replace('"c3", "prompt_key"', '"c3", "prompt_kex"'))
    with pytest.raises(DataError) as caught, opened(path):
        pytest.fail("damaged rows were accepted")
    # Lines 1 to 4 are the header, c0, c1 and c2.
    assert str(caught.value).startswith(f"{path}:5: prompt_kex: unknown field")


def test_a_row_damaged_under_our_hands_is_named_by_its_line_when_it_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "log.jsonl", *map(judgment, range(3)))
    with opened(path) as rows:
        path.write_bytes(path.read_bytes().replace(b'{"key": "c1', b'["key": "c1'))
        assert rows["c0/j0"] == judgment(0)
        with pytest.raises(DataError) as caught:
            rows["c1/j0"]
        assert str(caught.value).startswith(f"{path}:3: damaged line")
        with pytest.raises(DataError, match=r"log\.jsonl:3: damaged line"):
            list(rows.values())


def test_typed_fields_come_back_as_their_types_and_untyped_ones_as_json_has_them(
    tmp_path: Path,
) -> None:
    row = ItemScore("piqa/0", "piqa", "0", {"acc": 1.0}, {"logprobs": (-1.5, -2.0)})
    with opened(tmp_path / "log.jsonl", ItemScore) as rows:
        rows.append(row)
        assert rows["piqa/0"].metrics == {"acc": 1.0}
        assert rows["piqa/0"].detail == {"logprobs": [-1.5, -2.0]}
