"""The packaged sample: what the quickstart relies on."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from core import jsonl
from core.config import Config, EftSection, EftSourceSection, IftSection
from core.sources.reader import read_threads
from core.sources.source import Source
from core.sources.thread import Thread, ranked_replies
from core.stages import Ref, Stage, project_root
from judges.replies import parse_score
from tests.training.making import made
from training.data.seed import select_ift, select_ranked

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = project_root() / "data" / "sample"


def threads_of(name: str) -> list[Thread]:
    return read_threads(Source("sample", name), language="en")


def normal(text: str) -> str:
    return " ".join(text.lower().split())


def test_every_line_of_the_sample_is_a_usable_thread() -> None:
    for name in ("ift", "eft", "prompts"):
        lines = list(jsonl.read_objects(FOLDER / f"{name}.trees.jsonl"))
        assert len(threads_of(name)) == len(lines)
        assert len({thread.key for thread in threads_of(name)}) == len(lines)


def test_there_are_at_least_120_ift_examples_each_with_its_best_reply() -> None:
    threads = threads_of("ift")
    assert len(threads) >= 120
    assert all([reply.rank for reply in thread.replies] == [0] for thread in threads)


def test_there_are_at_least_60_eft_prompts_whose_scores_fall_with_rank() -> None:
    threads = threads_of("eft")
    assert len(threads) >= 60
    for thread in threads:
        replies = ranked_replies(thread)
        assert len(replies) in (3, 4)
        assert [reply.rank for reply in replies] == list(range(len(replies)))
        scores = [reply.score for reply in replies]
        assert None not in scores
        assert scores == sorted(set(scores), reverse=True)  # type: ignore[type-var]
        assert all(reply.justification for reply in replies)


def test_no_score_is_rare_in_the_eft_replies() -> None:
    scores = Counter(r.score for t in threads_of("eft") for r in ranked_replies(t))
    assert set(scores) == {0, 1, 2, 3, 4, 5}
    assert min(scores.values()) >= 30  # 245 replies, six scores: 41 each on average


def test_justifications_leave_the_score_to_the_last_line() -> None:
    # The target is "justification, Score: x": a score inside would be said twice.
    for thread in threads_of("eft"):
        for reply in thread.replies:
            assert parse_score(reply.justification or "", low=0, high=5).unparsed == "no_score"


def test_both_splits_are_there() -> None:
    eft = Counter(thread.split for thread in threads_of("eft"))
    prompts = Counter(thread.split for thread in threads_of("prompts"))
    assert set(eft) == {"train", "eval"}
    assert eft["train"] > eft["eval"] >= 15
    assert set(prompts) == {"test", "validation"}
    assert prompts["test"] >= 32
    assert prompts["validation"] >= 16
    assert all(not thread.replies for thread in threads_of("prompts"))


def test_no_text_is_in_two_parts_of_the_sample() -> None:
    parts = {
        "ift": [t.prompt for t in threads_of("ift")],
        "eft train": [t.prompt for t in threads_of("eft") if t.split == "train"],
        "eft eval": [t.prompt for t in threads_of("eft") if t.split == "eval"],
        "test": [t.prompt for t in threads_of("prompts") if t.split == "test"],
        "validation": [t.prompt for t in threads_of("prompts") if t.split == "validation"],
    }
    where: dict[str, str] = {}
    for part, texts in parts.items():
        for text in texts:
            assert normal(text) not in where, f"{text!r} is in {where[normal(text)]} and {part}"
            where[normal(text)] = part
    replies = [r.text for n in ("ift", "eft") for t in threads_of(n) for r in t.replies]
    assert len({normal(text) for text in replies}) == len(replies)


def test_the_default_sample_configuration_uses_all_of_it(tmp_path: Path) -> None:
    config = Config(
        ift=IftSection(source="sample"), eft=EftSection(source=EftSourceSection(path="sample"))
    )
    ift = made(tmp_path, Ref(1, Stage.IFT), lambda out: select_ift(config, out))
    ranked = made(tmp_path, Ref(1, Stage.RANKED), lambda out: select_ranked(config, ift.rows, out))
    assert len(ift.rows) == len(threads_of("ift"))
    assert len(ranked.rows) == len(threads_of("eft"))
    named = Counter(thread.split for thread in threads_of("eft"))
    assert Counter(row.split for row in ranked.rows) == named


def test_the_readme_says_what_the_sample_is_and_counts_right() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    for name in ("ift", "eft", "prompts"):
        assert f"`{name}.trees.jsonl` | {len(threads_of(name))}" in text
    assert "Apache-2.0" in text
    assert "not Open Assistant data" in text
