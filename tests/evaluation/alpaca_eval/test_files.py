from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import DataError
from core.stages import project_root
from evaluation.alpaca_eval.files import (
    instruction_key,
    load_prompts,
    load_reference,
    read_annotations,
    write_annotations,
)
from tests.evaluation.alpaca import annotation

if TYPE_CHECKING:
    from pathlib import Path

GOOD: dict[str, Any] = {
    "instruction": "Say hi",
    "output_1": "Hi.",
    "output_2": "Hello!",
    "generator_1": "ref",
    "generator_2": "M1",
    "annotator": "a",
    "preference": 1.25,
    "raw_completion": {"text": "m"},
}


def written(folder: Path, *rows: object, name: str = "rows.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(list(rows)), encoding="utf-8")
    return path


def test_a_recorded_row_is_read_as_it_is(tmp_path: Path) -> None:
    row = read_annotations(written(tmp_path, GOOD))[0]
    assert (row.key, row.preference, row.missing) == (instruction_key("Say hi"), 1.25, None)
    assert (row.output_1, row.output_2, row.generator_2) == ("Hi.", "Hello!", "M1")
    assert json.loads(row.raw_completion) == {"text": "m"}


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl", "rows.json.gz", "rows.jsonl.gz"])
def test_lists_and_lines_plain_and_compressed_are_the_same(name: str, tmp_path: Path) -> None:
    rows = [GOOD, {**GOOD, "instruction": "Say bye"}]
    text = "\n".join(map(json.dumps, rows)) if ".jsonl" in name else json.dumps(rows)
    raw = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    assert [row.instruction for row in read_annotations(tmp_path / name)] == ["Say hi", "Say bye"]


def test_0_is_a_draw_and_null_is_missing(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        {**GOOD, "preference": 0},
        {**GOOD, "instruction": "b", "preference": None},
        {**GOOD, "instruction": "c", "preference": -1, "missing": "refused"},
    )
    found = [(row.preference, row.missing) for row in read_annotations(path)]
    assert found == [(1.5, None), (None, "not_annotated"), (None, "refused")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"preference": 2.5}, r"rows\.json:2: preference 2\.5 is not in 1\.\.2"),
        ({"preference": 0.5}, r"rows\.json:2: preference 0\.5 is not in 1\.\.2"),
        ({"preference": "1"}, r"rows\.json:2: preference"),
        ({"output_2": None}, r"rows\.json:2: output_2 is NoneType, expected text"),
        ({"instruction": "Say hi"}, r"rows\.json:2: duplicate of row 1"),
        ({"annotator": "b"}, r"rows\.json: 2 different values of annotator \(a, b\)"),
        ({"generator_2": "M2"}, r"2 different values of generator_2 \(M1, M2\)"),
    ],
)
def test_a_bad_row_is_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = written(tmp_path, GOOD, {**GOOD, "instruction": "other", **change})
    with pytest.raises(DataError, match=message):
        read_annotations(path)


@pytest.mark.parametrize(
    "field", ["instruction", "output_1", "output_2", "annotator", "preference"]
)
def test_an_absent_field_is_named(field: str, tmp_path: Path) -> None:
    path = written(tmp_path, {k: v for k, v in GOOD.items() if k != field})
    with pytest.raises(DataError, match=rf"rows\.json:1: {field} is absent"):
        read_annotations(path)


def test_an_absent_raw_completion_is_no_error(tmp_path: Path) -> None:
    path = written(tmp_path, {k: v for k, v in GOOD.items() if k != "raw_completion"})
    assert read_annotations(path)[0].raw_completion == ""


def test_real_files_are_read_whole_and_survive_being_written(shared: Path, tmp_path: Path) -> None:
    source = shared / "data" / "alpaca_eval" / "text_davinci_001.annotations.json.gz"
    rows = read_annotations(source)
    assert len(rows) == 803
    write_annotations(tmp_path / "out.json", rows)
    assert read_annotations(tmp_path / "out.json") == rows
    theirs = json.loads(gzip.decompress(source.read_bytes()))
    ours = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    dropped = {"dataset", "price_per_example", "time_per_example"}
    assert ours == [{k: v for k, v in row.items() if k not in dropped} for row in theirs]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8"), min_size=1),
            st.text(st.characters(codec="utf-8")),
            st.one_of(st.none(), st.floats(1, 2)),
        ),
        min_size=1,
        max_size=8,
        unique_by=lambda row: row[0],
    )
)
def test_any_annotations_are_read_back_as_they_were_written(
    rows: list[tuple[str, str, float | None]],
) -> None:
    import tempfile
    from pathlib import Path as Folder

    found = [annotation(text, value, output_2=output) for text, output, value in rows]
    with tempfile.TemporaryDirectory() as folder:
        path = Folder(folder) / "rows.json"
        write_annotations(path, found)
        assert read_annotations(path) == found


def test_the_805_prompts_are_loaded_in_order_and_keyed_by_their_text(shared: Path) -> None:
    path = str(shared / "data" / "alpaca_eval" / "alpaca_eval.json")
    prompts = load_prompts(path, None)
    assert len({prompt.key for prompt in prompts}) == 805
    assert prompts[0].text.startswith("What are the names of some famous actors")
    assert prompts[0].key == instruction_key(prompts[0].text)
    # The file is sorted by source; a limit must not leave a source out.
    few = load_prompts(path, 50)
    assert len(few) == len(set(few)) == 50
    assert [p.dataset for p in few] == sorted(
        (p.dataset for p in few), key=[p.dataset for p in prompts].index
    )
    assert {p.dataset for p in few} == {p.dataset for p in prompts}
    assert load_prompts(path, 2000) == prompts


def test_the_reference_is_keyed_by_instruction(shared: Path) -> None:
    folder = shared / "data" / "alpaca_eval"
    reference = load_reference(str(folder / "gpt4_1106_preview.outputs.json.gz"))
    prompts = load_prompts(str(folder / "alpaca_eval.json"), None)
    assert set(reference) == {prompt.text for prompt in prompts}
    rows = read_annotations(folder / "claude-2.annotations.json.gz")
    assert all(reference[row.instruction] == row.output_1 for row in rows)


def test_the_sample_has_the_test_split_only() -> None:
    prompts = load_prompts("sample", None)
    assert len(prompts) == 40
    assert len({prompt.key for prompt in prompts}) == 40
    assert len(load_prompts("sample", 16)) == 16
    assert load_prompts("sample", 1) == prompts[:1]


def test_a_prompt_or_reference_without_text_or_given_twice_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rows\.json:2: no instruction"):
        load_prompts(str(written(tmp_path, {"instruction": "a"}, {"output": "b"})), None)
    with pytest.raises(DataError, match=r"rows\.json:2: duplicate of row 1"):
        load_prompts(str(written(tmp_path, {"instruction": "a"}, {"instruction": "a"})), None)
    with pytest.raises(DataError, match=r"rows\.json:1: output is not text"):
        load_reference(str(written(tmp_path, {"instruction": "a"})))
    with pytest.raises(DataError, match="no such file"):
        load_prompts(str(tmp_path / "absent.json"), None)


def test_a_hub_that_cannot_be_reached_is_one_sentence_with_what_to_do(tmp_path: Path) -> None:
    code = (
        "from core.errors import ConfigError\n"
        "from evaluation.alpaca_eval.files import load_prompts\n"
        "try:\n    load_prompts('hub', None)\n"
        "except ConfigError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project_root(),
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("cannot download alpaca_eval.json of the data set tatsu-lab/")
    assert "give a local copy with evaluation.alpaca_eval.prompts" in done.stdout
    assert done.stdout.count("\n") == 1
