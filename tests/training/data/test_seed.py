from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from core.config import Config, EftSection, EftSourceSection, IftSection
from core.errors import DataError
from core.records import Example, RankedPrompt
from core.stages import Ref, Stage
from tests.training.making import Made, interrupted, made, shared_data, tree, write_jsonl
from training.data.seed import ift_order, select_ift, select_ranked

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

IFT, RANKED = Ref(1, Stage.IFT), Ref(1, Stage.RANKED)
GOOD_AND_BAD = [("a bad reply", 1), ("a good reply", 0)]


def config(ift: Path | str, eft: Path | str, *, seed: int = 0, **more: Any) -> Config:
    """Return a configuration; `more` goes to the EFT source, except the IFT section's own names."""
    own = {name: more.pop(name) for name in ("max_examples", "max_share") if name in more}
    return Config(
        seed=seed,
        ift=IftSection(source=str(ift), **own),
        eft=EftSection(source=EftSourceSection(path=str(eft), **more)),
    )


def ift_of(folder: Path, settings: Config) -> Made:
    return made(folder, IFT, lambda out: select_ift(settings, out))


def ranked_of(folder: Path, settings: Config, ift: Sequence[Example] = ()) -> Made:
    return made(folder, RANKED, lambda out: select_ranked(settings, list(ift), out))


def dropped(result: Made) -> int:
    return sum(n for name, n in result.counts.items() if name.startswith("dropped_"))


@pytest.fixture
def thirty(tmp_path: Path) -> Path:
    """Return thirty trees with two ranked replies each."""
    rows = [tree(f"t{i:02}", f"Question number {i}?", GOOD_AND_BAD) for i in range(30)]
    return write_jsonl(tmp_path / "thirty.trees.jsonl", rows)


def test_ift_examples_are_first_turns_with_their_rank_0_reply(tmp_path: Path) -> None:
    rows = [
        tree("t1", "One?", GOOD_AND_BAD),
        tree("t2", "Two?", [("never ranked", None)]),
        tree("t3", "Three?", [("the best was deleted", 1)]),
        tree("t4", "Four?", []),
    ]
    path = write_jsonl(tmp_path / "trees.jsonl", rows)
    result = ift_of(tmp_path, config(path, "other"))
    assert result.rows == [Example("t1", "One?", "a good reply")]
    # 4 threads: 1 kept, 3 without a reply of rank 0.
    assert result.counts["dropped_no_rank_0_reply"] == 3
    assert len(result.rows) + dropped(result) == 4


def test_the_ift_sample_has_the_asked_size_and_follows_the_seed(
    tmp_path: Path, thirty: Path
) -> None:
    first = ift_of(tmp_path / "a", config(thirty, "other", max_examples=5, seed=7))
    again = ift_of(tmp_path / "b", config(thirty, "other", max_examples=5, seed=7))
    other = ift_of(tmp_path / "c", config(thirty, "other", max_examples=5, seed=8))
    assert len(first.rows) == len(other.rows) == 5
    assert first.content == again.content
    assert {row.key for row in first.rows} != {row.key for row in other.rows}
    assert first.counts["dropped_over_max_examples"] == 25  # 30 - 5
    # A sample, not the head of the file.
    assert {row.key for row in first.rows} != {f"t{i:02}" for i in range(5)}


def test_fewer_examples_than_asked_for_are_all_taken(tmp_path: Path, thirty: Path) -> None:
    result = ift_of(tmp_path, config(thirty, "other", max_examples=31))
    assert len(result.rows) == 30
    assert dropped(result) == 0


def test_ift_leaves_a_share_of_a_common_source_to_eft(tmp_path: Path, thirty: Path) -> None:
    # 30 usable prompts, at most 80 % of them IFT: 24; the other 6 are EFT's.
    settings = config(thirty, thirty, max_examples=3200)
    ift = ift_of(tmp_path, settings)
    ranked = ranked_of(tmp_path, settings, ift.rows)
    assert (len(ift.rows), len(ranked.rows)) == (24, 6)
    assert not {row.prompt for row in ift.rows} & {row.prompt for row in ranked.rows}
    assert ranked.counts["dropped_also_in_ift"] == 24
    assert len(ift.rows) + dropped(ift) == len(ranked.rows) + dropped(ranked) == 30


def test_the_share_does_not_apply_when_the_sources_differ(tmp_path: Path, thirty: Path) -> None:
    assert len(ift_of(tmp_path, config(thirty, "other", max_share=0.1)).rows) == 30


def test_the_same_prompt_in_another_file_is_an_overlap_too(tmp_path: Path, thirty: Path) -> None:
    # Another id, another format, white space around: it is the same text.
    ift = [Example("another id", "  Question number 3?\n", "x")]
    ranked = ranked_of(tmp_path, config("other", thirty), ift)
    assert len(ranked.rows) == 29
    assert ranked.counts["dropped_also_in_ift"] == 1
    assert "Question number 3?" not in {row.prompt for row in ranked.rows}


def test_a_prompt_that_comes_twice_is_used_once_and_counted(tmp_path: Path) -> None:
    rows = [
        tree("t1", "One?", GOOD_AND_BAD),
        tree("t1", "One?", GOOD_AND_BAD),  # the same tree again
        tree("t2", "One? ", GOOD_AND_BAD),  # the same words under another id
        tree("t3", "Three?", GOOD_AND_BAD),
    ]
    path = write_jsonl(tmp_path / "trees.jsonl", rows)
    ift, ranked = ift_of(tmp_path, config(path, "o")), ranked_of(tmp_path, config("o", path))
    for result in (ift, ranked):
        assert [row.key for row in result.rows] == ["t1", "t3"]
        assert result.counts["dropped_repeated_prompt"] == 2
        assert len(result.rows) + dropped(result) == 4


def test_the_ift_sample_is_full_although_prompts_repeat(tmp_path: Path) -> None:
    rows = [tree(f"t{i % 4}", f"Question {i % 4}?", GOOD_AND_BAD) for i in range(80)]
    path = write_jsonl(tmp_path / "trees.jsonl", rows)
    # Four different prompts, twenty times each: a sample of four has all of them.
    assert len(ift_of(tmp_path, config(path, "other", max_examples=4)).rows) == 4


def test_ranked_prompts_need_the_asked_number_of_ranked_replies(tmp_path: Path) -> None:
    rows = [
        tree("t1", "One?", [("a", 0)]),
        tree("t2", "Two?", [("a", 0), ("b", 1)]),
        tree("t3", "Three?", [("c", 2), ("a", 0), ("b", 1), ("d", None)]),
        tree("t4", "Four?", [("a", 0), ("b", None)]),
    ]
    path = write_jsonl(tmp_path / "trees.jsonl", rows)
    two = ranked_of(tmp_path / "2", config("other", path))
    three = ranked_of(tmp_path / "3", config("other", path, min_replies=3))
    assert [row.key for row in two.rows] == ["t2", "t3"]
    assert [row.key for row in three.rows] == ["t3"]
    assert two.counts["dropped_too_few_ranked_replies"] == 2
    assert three.counts["dropped_too_few_ranked_replies"] == 3
    assert two.counts["replies"] == 5  # 2 + 3; the unranked "d" is none
    assert [reply.text for reply in two.rows[1].replies] == ["a", "b", "c"]


def test_a_quarter_is_held_out_where_the_file_names_no_split(tmp_path: Path, thirty: Path) -> None:
    settings = config("other", thirty, max_prompts=8)
    result = ranked_of(tmp_path / "a", settings)
    assert [row.split for row in result.rows].count("eval") == 2  # 0.25 · 8
    assert result.counts["eval_prompts"] == 2
    assert result.counts["dropped_over_max_prompts"] == 22
    assert result.content == ranked_of(tmp_path / "b", settings).content
    none = ranked_of(tmp_path / "c", config("other", thirty, eval_share=0.0))
    everything = ranked_of(tmp_path / "d", config("other", thirty, eval_share=1.0))
    assert {row.split for row in none.rows} == {"train"}
    assert {row.split for row in everything.rows} == {"eval"}


def test_a_split_that_the_file_names_is_kept(tmp_path: Path) -> None:
    rows = [
        tree(f"t{i}", f"Question {i}?", GOOD_AND_BAD, split="eval" if i == 3 else "train")
        for i in range(8)
    ]
    path = write_jsonl(tmp_path / "trees.jsonl", rows)
    result = ranked_of(tmp_path, config("other", path, eval_share=0.9))
    assert [row.key for row in result.rows if row.split == "eval"] == ["t3"]


def test_a_source_without_usable_prompts_is_an_error_that_says_why(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "trees.jsonl", [tree("t1", "One?", [("a", None)])])
    with pytest.raises(DataError, match=r"trees\.jsonl: no first turn in 'en' has a rank-0 reply"):
        ift_of(tmp_path, config(path, "other"))
    with pytest.raises(
        DataError, match=r"no prompt is left .* 2 or more .*\(dropped_too_few_ranked_replies 1\)"
    ):
        ranked_of(tmp_path, config("other", path))


def test_a_killed_selection_resumes_to_the_same_bytes(tmp_path: Path, thirty: Path) -> None:
    settings = config(thirty, thirty, max_examples=12)
    ift = ift_of(tmp_path / "whole", settings)
    ranked = ranked_of(tmp_path / "whole", settings, ift.rows)
    interrupted(tmp_path / "killed", IFT, ift.rows[3:7])
    interrupted(tmp_path / "killed", RANKED, ranked.rows[:5])
    resumed = ift_of(tmp_path / "killed", settings)
    assert resumed.content == ift.content
    assert resumed.counts == ift.counts
    resumed = ranked_of(tmp_path / "killed", settings, ift.rows)
    assert resumed.content == ranked.content
    assert resumed.counts == ranked.counts


def test_prompts_with_one_reply_become_ift_before_those_that_eft_can_use(tmp_path: Path) -> None:
    rows = [
        tree(f"t{i:02}", f"Question number {i}?", GOOD_AND_BAD if i % 2 else GOOD_AND_BAD[1:])
        for i in range(20)
    ]
    path = write_jsonl(tmp_path / "trees.jsonl", rows)
    settings = config(path, path, max_examples=12, seed=5)
    ift = ift_of(tmp_path / "one", settings)
    single = {f"t{i:02}" for i in range(0, 20, 2)}
    # All 10 prompts with one reply, and 2 of the 10 with two; EFT gets the other 8.
    assert {row.key for row in ift.rows} > single
    assert len(ift.rows) == 12
    assert len(ranked_of(tmp_path / "one", settings, ift.rows).rows) == 8
    # Another source for EFT: IFT is a plain sample, as in earlier releases.
    plain = ift_of(tmp_path / "two", config(path, "other", max_examples=12, seed=5))
    assert not {row.key for row in plain.rows} > single
    assert (ift_order(settings), ift_order(config(path, "other"))) == (
        {"first": "fewer than 2 ranked replies"},
        {},
    )


def test_real_answer_rows_split_into_ift_and_eft_without_overlap(tmp_path: Path) -> None:
    path = shared_data("oasst/oasst2_ranked_first_turns.jsonl")
    settings = config(path, path, seed=3)
    ift = ift_of(tmp_path, settings)
    ranked = ranked_of(tmp_path, settings, ift.rows)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    best = {line["question"] for line in lines if line["rank"] == 0}
    # 797 prompts have a reply of rank 0; 80 % of them are 637.6, rounded 638.
    assert len(best) == 797
    assert len(ift.rows) == 638
    prompts = {row.prompt for row in ift.rows}
    assert prompts < best
    assert not {p.strip() for p in prompts} & {row.prompt.strip() for row in ranked.rows}
    # Each of the 2,293 prompts is kept or counted as dropped, in both artifacts.
    assert len(ift.rows) + dropped(ift) == 2293
    assert len(ranked.rows) + dropped(ranked) == 2293
    # 548 prompts have two or more ranked replies; what is not IFT is EFT.
    assert len(ranked.rows) + ranked.counts["dropped_also_in_ift"] == 548
    assert ranked.counts["eval_prompts"] == round(0.25 * len(ranked.rows))
    assert ift.content == ift_of(tmp_path / "again", settings).content


def test_real_trees_that_repeat_are_used_once(tmp_path: Path) -> None:
    path = shared_data("oasst/oasst2_english.trees.jsonl")
    result = ranked_of(tmp_path, config("other", path))
    # 49 trees with two or more ranked replies, one of which (burritos) is in the file twice.
    assert len(result.rows) == 48
    assert result.counts["dropped_repeated_prompt"] == 1
    assert len(result.rows) + dropped(result) == 207
    assert all(isinstance(row, RankedPrompt) and len(row.replies) >= 2 for row in result.rows)
