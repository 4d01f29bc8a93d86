from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from core.config import Config
from core.errors import DataError
from core.records import Example, PromptCall
from core.stages import Ref, Stage, project_root
from tests.engines.scripted import ScriptedEngine
from tests.training.making import made
from tools import verifiable
from training.data.prompts import Known, ask, filter_prompts, take

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from core.records import Prompt


def config(source: object, count: int) -> Config:
    return Config.model_validate({"prompts": {"source": str(source), "count": count}})


def taken(
    folder: Path, source: object, count: int, *, k: int = 2, earlier: tuple[str, ...] = ()
) -> list[Prompt]:
    seeds = [Example("s", "Seed prompt", "!")]
    made_of = Ref(k, Stage.PROMPTS)
    return made(
        folder,
        made_of,
        lambda out: take(Known(seeds, earlier), config(source, count), k=k, out=out),
    ).rows


def written(folder: Path, *rows: Mapping[str, object]) -> Path:
    path = folder / "prompts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_prompts_are_a_seeded_sample_without_those_seen_before(tmp_path: Path) -> None:
    rows = [{"prompt": f"Question {n}?"} for n in range(6)]
    source = written(tmp_path, *rows, {"prompt": "Seed prompt"}, {"prompt": "Question 1?"})
    first = taken(tmp_path, source, 3)
    assert len({p.text for p in first}) == 3
    assert all(p.kept for p in first)
    second = taken(tmp_path, source, 9, k=3, earlier=tuple(p.text for p in first))
    assert {p.text for p in first} | {p.text for p in second} == {r["prompt"] for r in rows}
    assert not {p.text for p in first} & {p.text for p in second}


def test_prompts_of_other_splits_are_left_out(tmp_path: Path) -> None:
    source = written(
        tmp_path,
        {"key": "a", "prompt": "Train?", "split": "train"},
        {"key": "b", "prompt": "Held out?", "split": "test"},
    )
    assert [p.key for p in taken(tmp_path, source, 9)] == ["a"]


def test_a_source_without_a_new_prompt_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no prompt is left for iteration 2"):
        taken(tmp_path, written(tmp_path, {"prompt": "Seed prompt"}), 9)


def test_the_packaged_files_are_what_their_script_writes() -> None:
    for name, rows in verifiable.files().items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        assert (verifiable.FOLDER / name).read_text(encoding="utf-8") == text, name


def test_every_packaged_score_follows_from_the_checkers_decision() -> None:
    from judges.verifiers.ifeval import check

    rows = [row for name, found in verifiable.files().items() for row in found if "ift" not in name]
    trees = [row for row in rows if isinstance(row["prompt"], dict)]
    kinds: Counter[bool] = Counter()
    for tree in trees:
        text, names, arguments = (
            tree["prompt"]["text"], tree["instruction_id_list"], tree["kwargs"]
        )  # fmt: skip
        for reply in tree["prompt"]["replies"]:
            (followed,) = check(text, names, arguments, reply["text"]).strict
            assert followed == (reply["score"] == 5), (text, reply["text"])
            assert followed == (reply["rank"] == 0)
            kinds[followed] += 1
    assert kinds[True] == kinds[False] == len(trees)


def test_no_held_out_instruction_is_about_a_topic_of_training() -> None:
    folder = project_root() / "data" / "verifiable"
    lines = (folder / "held_out.jsonl").read_text(encoding="utf-8").splitlines()
    held_out = [json.loads(line)["prompt"] for line in lines]
    topics = verifiable.WORLD["training"]["topics"] | verifiable.WORLD["training"]["categories"]
    words = {word for prompt in held_out for word in prompt.lower().replace(".", " ").split()}
    assert len(held_out) >= 128
    assert not words & {topic.split()[-1] for topic in topics}


# ----- a source and self-instruction together


def mixed(source: Path, share: float, count: int = 4) -> Config:
    prompts = {"source": str(source), "source_share": share, "count": count, "max_calls": 8}
    return Config.model_validate({"prompts": prompts})


def invented(messages: object, draw: int) -> str:
    """Return two tasks of a call, the first of them one of the file's."""
    return "Task 3: Name the longest river of Asia.\nTask 4: Explain how tides come about."


def test_a_share_comes_from_the_source_and_the_rest_is_written(tmp_path: Path) -> None:
    river, tides = "Name the longest river of Asia.", "Explain how tides come about."
    source = written(tmp_path, {"prompt": river}, {"prompt": "Question number 1?"})
    settings, known = mixed(source, 0.5), Known([Example("s", "Seed prompt", "!")], [])
    engine = ScriptedEngine(invented)
    calls = made(
        tmp_path, Ref(2, Stage.PROMPT_CALLS), lambda out: ask(engine, known, settings, k=2, out=out)
    )
    result = made(
        tmp_path,
        Ref(2, Stage.PROMPTS),
        lambda out: filter_prompts(calls.rows, known, settings, k=2, out=out),
    )
    # Half of 4 are the file's two. Every call writes the river, which is one of them, and tides,
    # which are new once: 3 of 4, after all 8 calls.
    taken = [row.text for row in result.rows if row.key.startswith("source/") and row.call == -1]
    assert sorted(taken) == [river, "Question number 1?"]
    decided = {(row.text, row.rejected) for row in result.rows if row.call >= 0}
    assert decided == {(river, "similar_to_pool"), (tides, None), (tides, "similar_to_pool")}
    assert calls.counts == {"calls": 8, "kept": 1}
    assert result.counts == {"kept": 3, "rejected_similar_to_pool": 15, "taken": 2, "left": 0}


def test_a_source_with_fewer_prompts_than_its_share_leaves_more_to_write(tmp_path: Path) -> None:
    source = written(tmp_path, {"prompt": "Question number 1?"}, {"prompt": "Seed prompt"})
    settings, known = mixed(source, 0.9, count=3), Known([Example("s", "Seed prompt", "!")], [])
    calls = made(
        tmp_path,
        Ref(2, Stage.PROMPT_CALLS),
        lambda out: ask(ScriptedEngine(invented), known, settings, k=2, out=out),
    )
    result = made(
        tmp_path,
        Ref(2, Stage.PROMPTS),
        lambda out: filter_prompts(calls.rows, known, settings, k=2, out=out),
    )
    assert sorted(row.text for row in result.rows if row.kept) == [
        "Explain how tides come about.", "Name the longest river of Asia.", "Question number 1?"
    ]  # fmt: skip
    assert calls.counts["calls"] == 8  # all rows of a round are asked for


def test_a_source_that_has_run_dry_leaves_all_to_write(tmp_path: Path) -> None:
    source = written(tmp_path, {"prompt": "Seed prompt"})
    settings, known = mixed(source, 0.5), Known([Example("s", "Seed prompt", "!")], [])
    result = made(
        tmp_path,
        Ref(2, Stage.PROMPTS),
        lambda out: filter_prompts(
            [PromptCall("c0", 0, ("Seed prompt",), invented([], 0), 9, "stop")],
            known, settings, k=2, out=out,
        ),
    )  # fmt: skip
    assert result.counts == {"kept": 2, "skipped_seen_before": 1}


def test_a_share_without_a_source_is_refused() -> None:
    with pytest.raises(ValueError, match="source_share is set but source is 'self'"):
        Config.model_validate({"prompts": {"source_share": 0.5}})
