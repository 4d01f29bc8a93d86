from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config import Config, EftConstructionSection, EftSection, EftSelectionSection
from core.records import JudgeExample, Judgment, RankedPrompt, Reply
from core.sources.reader import read_threads
from core.sources.source import Source
from core.sources.thread import ranked_replies
from core.stages import Ref, Stage
from judges.replies import parse_score
from tests.training.making import Made, interrupted, judgment, made
from training.data.eft import (
    ScoredReply,
    adopt,
    construct,
    first_agreeing,
    rule,
    without_excess,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


JUDGED, BUILT, EFT = (
    Ref(1, Stage.EFT_JUDGMENTS),
    Ref(1, Stage.EFT_CONSTRUCTED),
    Ref(1, Stage.EFT),
)


def ranked(key: str, *ranks: int, split: Any = "train") -> RankedPrompt:
    """Return a prompt whose replies have the given human ranks; reply i is `{key}/r{i}`."""
    replies = tuple(Reply(f"{key}/r{i}", f"reply {i}", rank) for i, rank in enumerate(ranks))
    return RankedPrompt(key, f"Question {key}?", replies, split)


def scored(ranks: Sequence[int], scores: Sequence[float]) -> list[ScoredReply]:
    return [
        ScoredReply(Reply(f"p/r{i}", "x", rank), judgment(f"p/r{i}", 0, score))
        for i, (rank, score) in enumerate(zip(ranks, scores, strict=True))
    ]


def judge_all(prompt: RankedPrompt, *scores: float | None) -> list[Judgment]:
    """Judge the replies of a prompt once each; None is unreadable."""
    return [
        judgment(reply.key, 0, score) for reply, score in zip(prompt.replies, scores, strict=True)
    ]


def build(
    folder: Path,
    prompts: Sequence[RankedPrompt],
    judgments: Sequence[Judgment],
    *,
    draws: int = 1,
    seed: int = 0,
    **settings: Any,
) -> Made:
    section = EftSelectionSection(**{"balance_scores": False, **settings})
    eft = EftSection(selection=section, construction=EftConstructionSection(draws=draws))
    config = Config(eft=eft, seed=seed)
    return made(folder, BUILT, lambda out: construct(prompts, judgments, config, out))


def dropped(result: Made) -> int:
    return sum(n for name, n in result.counts.items() if name.startswith("dropped_"))


@pytest.mark.parametrize(
    ("ranks", "scores", "strict", "no_inversion"),
    [
        ((0, 1, 2), (5, 3, 1), True, True),
        ((2, 0, 1), (1, 5, 3), True, True),  # the same in another order of the list
        ((0, 1, 2), (5, 3, 3), False, True),  # a tie is no inversion
        ((0, 1, 2), (3, 3, 3), False, False),  # all equal says nothing about the order
        ((0, 1), (2, 4), False, False),
        ((0, 1, 2), (5, 1, 3), False, False),  # best is right, the rest inverted
        ((0, 1, 2), (1, 3, 5), False, False),
        ((0, 0, 1), (5, 3, 1), True, True),  # equal ranks are not compared with each other
        ((0, 0, 1), (5, 3, 3), False, True),  # ... but each with the worse: 3 > 3 fails strict
        ((0, 0, 1), (5, 2, 3), False, False),  # 2 < 3 is an inversion
        ((0, 1, 1), (3, 2, 4), False, False),
        ((0, 0), (5, 3), False, False),  # one rank only: there is no order to agree with
        ((0, 7), (4, 3.5), True, True),  # gaps between ranks (deleted replies) are no matter
    ],
)
def test_agreement_compares_every_better_rank_with_every_worse_one(
    ranks: tuple[int, ...], scores: tuple[float, ...], strict: bool, no_inversion: bool
) -> None:
    options = [[one] for one in scored(ranks, scores)]
    assert (first_agreeing(options, "strict") is not None) is strict
    assert (first_agreeing(options, "no_inversion") is not None) is no_inversion


def agrees(combination: Sequence[ScoredReply], agreement: str) -> bool:
    """Compare every better-ranked reply with every worse one, as the rule says it."""
    several = [(a, b) for a in combination for b in combination if a.reply.rank < b.reply.rank]
    above = [(a.judgment.score or 0) - (b.judgment.score or 0) for a, b in several]
    if agreement == "strict":
        return bool(above) and min(above) > 0
    return bool(above) and min(above) >= 0 and len({s.judgment.score for s in combination}) > 1


_DRAWN = st.lists(
    st.tuples(st.integers(0, 3), st.lists(st.integers(0, 5), min_size=1, max_size=4, unique=True)),
    min_size=2,
    max_size=5,
)


@given(_DRAWN, st.sampled_from(["strict", "no_inversion"]))
def test_the_first_combination_of_draws_that_agrees_is_found(
    drawn: list[tuple[int, list[int]]], agreement: str
) -> None:
    drawn = sorted(drawn, key=lambda one: one[0])
    options = [
        [ScoredReply(Reply(f"p/r{i}", "x", rank), judgment(f"p/r{i}", d, s))
         for d, s in enumerate(scores)]
        for i, (rank, scores) in enumerate(drawn)
    ]  # fmt: skip
    every = (list(combination) for combination in itertools.product(*options))
    assert first_agreeing(options, agreement) == next(
        (combination for combination in every if agrees(combination, agreement)), None
    )


def test_the_search_ends_where_there_are_too_many_combinations_to_try() -> None:
    # 11 scores of each of 60 replies: 11^60 combinations, and no strict order of 60 by 11 scores.
    scores = [point / 2 for point in range(11)]
    options = [
        [ScoredReply(Reply(f"p/r{i}", "x", i), judgment(f"p/r{i}", d, s))
         for d, s in enumerate(scores)]
        for i in range(60)
    ]  # fmt: skip
    assert first_agreeing(options, "strict") is None
    found = first_agreeing(options, "no_inversion")
    # The first draws are the lowest scores, so the best reply takes 0.5, all others 0.
    assert found is not None
    assert [one.judgment.score for one in found] == [0.5] + [0.0] * 59


def test_kept_and_dropped_replies_add_up(tmp_path: Path) -> None:
    good, bad, lone, partly = (
        ranked("good", 0, 1, 2),
        ranked("bad", 0, 1),
        ranked("lone", 0, 1),
        ranked("partly", 0, 1, 2),
    )
    judgments = [
        *judge_all(good, 5, 3, 1),  # agrees: 3 kept
        *judge_all(bad, 2, 4),  # inverted: 2 dropped
        *judge_all(lone, 4, None),  # 1 unreadable, and its partner has nothing to be compared with
        *judge_all(partly, 4, None, 2),  # 1 unreadable, the other 2 agree
    ]
    result = build(tmp_path, [good, bad, lone, partly], judgments)
    assert {row.key: row.score for row in result.rows} == {
        "good/r0/constructed": 5.0,
        "good/r1/constructed": 3.0,
        "good/r2/constructed": 1.0,
        "partly/r0/constructed": 4.0,
        "partly/r2/constructed": 2.0,
    }
    assert result.counts["replies"] == 10  # 3 + 2 + 2 + 3
    assert result.counts["dropped_order_disagrees"] == 2
    assert result.counts["dropped_unparsed"] == 2
    assert result.counts["dropped_fewer_than_two_scored"] == 1
    assert result.counts["prompts_agreeing"] == 2
    assert result.counts["kept"] + dropped(result) == result.counts["replies"]


def test_a_score_of_zero_is_a_score(tmp_path: Path) -> None:
    prompt = ranked("p", 0, 1)
    result = build(tmp_path, [prompt], judge_all(prompt, 3, 0))
    assert [row.score for row in result.rows] == [3.0, 0.0]
    assert result.counts["score_0"] == 1


def test_the_rule_is_the_configured_one(tmp_path: Path) -> None:
    prompt = ranked("p", 0, 1, 2)
    judgments = judge_all(prompt, 4, 4, 2)
    strict = build(tmp_path / "strict", [prompt], judgments)
    loose = build(tmp_path / "loose", [prompt], judgments, agreement="no_inversion")
    assert (len(strict.rows), len(loose.rows)) == (0, 3)
    assert strict.counts["dropped_order_disagrees"] == 3


def test_the_target_is_the_judges_own_words(tmp_path: Path) -> None:
    prompt = ranked("p", 0, 1)
    words = "\n It answers the question.\n\nScore: 4 \n"
    judgments = [judgment("p/r0", 0, 4, words), judgment("p/r1", 0, 1)]
    result = build(tmp_path, [prompt], judgments)
    assert result.rows[0] == JudgeExample(
        "p/r0/constructed",
        "Question p?",
        "reply 0",
        "It answers the question.\n\nScore: 4",
        4.0,
        "constructed",
    )


def test_the_target_is_what_was_said_after_the_thought(tmp_path: Path) -> None:
    words = "<think>Score: 2, or more?</think>\n\nIt answers.\nScore: 4"
    judgments = [judgment("p/r0", 0, 4, words), judgment("p/r1", 0, 1)]
    result = build(tmp_path, [ranked("p", 0, 1)], judgments)
    assert result.rows[0].target == "It answers.\nScore: 4"


def test_the_first_combination_of_draws_that_agrees_is_kept(tmp_path: Path) -> None:
    prompt = ranked("p", 0, 1)
    judgments = [
        judgment("p/r0", 0, None),
        judgment("p/r0", 1, 2),
        judgment("p/r0", 2, 4),
        judgment("p/r1", 0, 3),
        judgment("p/r1", 1, 1),
        judgment("p/r1", 2, 1),
    ]
    # The first readable draws are 2 against 3, which disagrees; 2 against draw 1's 1 agrees.
    result = build(tmp_path / "three", [prompt], judgments, draws=3)
    assert [(row.key, row.score) for row in sorted(result.rows, key=lambda row: row.key)] == [
        ("p/r0/constructed", 2.0),
        ("p/r1/constructed", 1.0),
    ]
    assert dropped(result) == 0
    # With one draw there is only one combination.
    one = build(tmp_path / "one", [prompt], judgments)
    assert one.counts["dropped_unparsed"] == 1


def test_a_readable_draw_that_was_cut_is_no_target(tmp_path: Path) -> None:
    whole = judgment("p/r0", 0, 4)
    judgments = [dataclasses.replace(whole, cut=True), judgment("p/r0", 1, 5, "Good. Score: 5")]
    judgments += [judgment("p/r1", draw, 1) for draw in (0, 1)]
    result = build(tmp_path, [ranked("p", 0, 1)], judgments, draws=2)
    assert {row.score for row in result.rows} == {5.0, 1.0}


def test_only_examples_from_several_draws_depend_on_how_they_are_chosen() -> None:
    def of(draws: int) -> dict[str, str]:
        return rule(Config(eft=EftSection(construction=EftConstructionSection(draws=draws))))

    assert of(1) == {}
    assert of(2) == of(8) != {}


def test_fewer_examples_than_asked_for_are_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompt = ranked("p", 0, 1)
    build(tmp_path / "few", [prompt], judge_all(prompt, 4, 2), max_examples=3)
    warned = " ".join(capsys.readouterr().err.split())
    assert "warning: 2 EFT examples, fewer than eft.selection.max_examples = 3;" in warned
    assert "eft.construction.draws" in warned
    build(tmp_path / "enough", [prompt], judge_all(prompt, 4, 2), max_examples=2)
    # Where M1 gets written examples, the yield of construction is only reported.
    build(tmp_path / "unused", [prompt], judge_all(prompt, 4, 2), source="written")
    assert "warning" not in capsys.readouterr().err


def examples(*scores: float) -> list[JudgeExample]:
    return [JudgeExample(str(i), "p", "r", "t", s, "written") for i, s in enumerate(scores)]


def test_balancing_drops_only_the_excess_of_the_most_common_score() -> None:
    # 4 five times, 3 twice, 2 once: three of the fours go, the first two stay, order is kept.
    kept = without_excess(examples(4, 3, 4, 4, 2, 3, 4, 4))
    assert [(e.key, e.score) for e in kept] == [("0", 4), ("1", 3), ("2", 4), ("4", 2), ("5", 3)]


@pytest.mark.parametrize("scores", [(), (4,), (4, 4, 4), (4, 3), (4, 4, 3, 3, 1)])
def test_balancing_leaves_alone_what_has_no_excess(scores: tuple[float, ...]) -> None:
    assert without_excess(examples(*scores)) == examples(*scores)


def test_balanced_examples_are_counted_by_score(tmp_path: Path) -> None:
    # Four prompts judged (4, 2), one (5, 4), one (5, 3): 4 five times, 2 four times, 5 twice, 3
    # once. One 4 goes.
    prompts = [ranked(f"p{i}", 0, 1) for i in range(6)]
    scores = [(4, 2)] * 4 + [(5, 4), (5, 3)]
    judgments = [j for p, (a, b) in zip(prompts, scores, strict=True) for j in judge_all(p, a, b)]
    result = build(tmp_path, prompts, judgments, balance_scores=True)
    assert result.counts["dropped_most_common_score"] == 1
    assert Counter(row.score for row in result.rows) == {4: 4, 2: 4, 5: 2, 3: 1}
    assert {n: c for n, c in result.counts.items() if n.startswith("score_")} == {
        "score_2": 4,
        "score_3": 1,
        "score_4": 4,
        "score_5": 2,
    }
    assert result.counts["kept"] + dropped(result) == result.counts["replies"] == 12


def test_at_most_max_examples_are_kept_and_which_follows_the_seed(tmp_path: Path) -> None:
    prompts = [ranked(f"p{i}", 0, 1) for i in range(20)]
    judgments = [j for p in prompts for j in judge_all(p, 4, 2)]
    first, again, other = (
        build(tmp_path / name, prompts, judgments, max_examples=7, seed=seed)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert len(first.rows) == len(other.rows) == first.counts["kept"] == 7
    assert first.counts["dropped_over_max_examples"] == 33
    assert first.content == again.content
    assert first.content != other.content


def test_a_killed_construction_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    prompts = [ranked(f"p{i}", 0, 1) for i in range(6)]
    judgments = [j for p in prompts for j in judge_all(p, 4, 2)]
    whole = build(tmp_path / "whole", prompts, judgments, max_examples=7)
    interrupted(tmp_path / "killed", BUILT, whole.rows[2:5])
    resumed = build(tmp_path / "killed", prompts, judgments, max_examples=7)
    assert (resumed.content, resumed.counts) == (whole.content, whole.counts)


def test_adopting_takes_the_constructed_examples_as_they_are(tmp_path: Path) -> None:
    rows = examples(4, 2, 1)
    result = made(tmp_path, EFT, lambda out: adopt(rows, out))
    assert result.rows == rows
    assert result.counts == {"kept": 3}


def test_written_examples_end_with_their_score_and_parse_back_to_it(tmp_path: Path) -> None:
    replies = (
        Reply("p/r0", "good", 0, 4.0, " Mostly right.\n"),
        Reply("p/r1", "half", 1, 2.5, 'It even says "Score: 5" itself.'),
        Reply("p/r2", "bad", 2, 0.0, "Wrong."),
        Reply("p/r3", "no score", 3, None, "Who knows."),
        Reply("p/r4", "no words", 4, 1.0, None),
    )
    selection = EftSelectionSection(balance_scores=False)
    config = Config(eft=EftSection(selection=selection))
    prompts = [RankedPrompt("p", "Question?", replies)]
    result = made(tmp_path, EFT, lambda out: written(prompts, config, out))
    assert {row.key: row.target for row in result.rows} == {
        "p/r0/written": "Mostly right.\n\nScore: 4",
        "p/r1/written": 'It even says "Score: 5" itself.\n\nScore: 2.5',
        "p/r2/written": "Wrong.\n\nScore: 0",
    }
    for row in result.rows:
        assert parse_score(row.target, low=0, high=5).value == row.score
    assert result.counts["dropped_no_written_score"] == 2
    assert result.counts["kept"] + dropped(result) == result.counts["replies"] == 5


def test_every_packaged_justification_becomes_an_example_that_parses_back(tmp_path: Path) -> None:
    threads = read_threads(Source("sample", "eft"), language="en")
    prompts = [RankedPrompt(t.key, t.prompt, ranked_replies(t)) for t in threads]
    selection = EftSelectionSection(balance_scores=False, max_examples=None)
    config = Config(eft=EftSection(selection=selection))
    result = made(tmp_path, EFT, lambda out: written(prompts, config, out))
    assert len(result.rows) == sum(len(p.replies) for p in prompts) == 245
    for row in result.rows:
        assert parse_score(row.target, low=0, high=5).value == row.score
