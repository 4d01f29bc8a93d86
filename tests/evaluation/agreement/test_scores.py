from __future__ import annotations

import pytest

from core.records import Judgment, RankedPrompt, Reply, Score
from evaluation.agreement.benchmark import baselines, scores
from evaluation.agreement.order_metrics import ScoredReplies


def prompt(key: str, *texts: str) -> RankedPrompt:
    """Replies in the humans' order, best first."""
    replies = (Reply(f"{key}/{rank}", text, rank) for rank, text in enumerate(texts))
    return RankedPrompt(key, f"Question {key}", tuple(replies), "eval")


def judged(subject: str, *draws: float | None) -> list[Judgment]:
    return [
        Judgment(f"{subject}/j{n}", subject, subject.partition("/")[0], n, "", score,
                 None if score is not None else "no_score", 0)
        for n, score in enumerate(draws)
    ]  # fmt: skip


def by_name(rows: list[Score]) -> dict[str, Score]:
    return {row.key: row for row in rows}


TWO = [prompt("a", "long answer", "short"), prompt("b", "no", "maybe", "certainly")]


def test_a_judge_that_agrees_with_the_humans_has_all_of_table_4() -> None:
    judgments = [
        *judged("a/0", 5.0), *judged("a/1", 2.0),
        *judged("b/0", 5.0), *judged("b/1", 3.0), *judged("b/2", 1.0),
    ]  # fmt: skip
    found = by_name(scores(TWO, judgments, seed=0))
    assert [(k, s.value, s.n) for k, s in found.items()] == [
        ("pairwise_accuracy", 100.0, 4),
        ("five_best", 100.0, 2),
        ("exact_match", 100.0, 2),
        ("spearman", pytest.approx(1.0), 2),
        ("kendall_tau", pytest.approx(1.0), 2),
        ("tie_rate", 0.0, 4),
        ("parse_rate", 1.0, 5),
        ("judge_noise", None, 0),
    ]
    beside = found["pairwise_accuracy"].detail
    assert beside is not None
    assert beside["pairwise_accuracy/ties_half"] == 100.0
    # Length orders a's pair rightly and b's three wrongly.
    assert (beside["always_4"], beside["length"]) == (None, 25.0)


def test_what_is_perfect_is_the_highest_score_of_the_rubric() -> None:
    # On a scale of 10, 5 is not perfect: only b has a reply with 10, and it is the humans' best.
    judgments = [
        *judged("a/0", 5.0), *judged("a/1", 2.0),
        *judged("b/0", 10.0), *judged("b/1", 5.0), *judged("b/2", 1.0),
    ]  # fmt: skip
    best = by_name(scores(TWO, judgments, seed=0, perfect=10.0))["five_best"]
    assert (best.value, best.n) == (100.0, 1)


def test_a_tie_is_not_the_humans_order() -> None:
    # a is in order, b has its first two replies tied: without b it would be 100 %.
    judgments = [
        *judged("a/0", 5.0), *judged("a/1", 2.0),
        *judged("b/0", 4.0), *judged("b/1", 4.0), *judged("b/2", 1.0),
    ]  # fmt: skip
    exact = by_name(scores(TWO, judgments, seed=0))["exact_match"]
    assert (exact.value, exact.n, exact.missing) == (50.0, 2, 0)
    assert exact.detail is not None and exact.detail["exact_match/ties_excluded"] == 100.0


def test_draws_are_averaged_and_unreadable_ones_left_out() -> None:
    # a/0: (5 + 3) / 2 = 4 over two of three draws; as a 0 the third would make it 2.67 < 3.
    judgments = [*judged("a/0", 5.0, None, 3.0), *judged("a/1", 3.0, 3.0, 3.0)]
    found = by_name(scores(TWO[:1], judgments, seed=0))
    assert (found["pairwise_accuracy"].value, found["pairwise_accuracy"].missing) == (100.0, 0)
    assert found["parse_rate"].value == pytest.approx(5 / 6)
    assert found["parse_rate"].detail == {"no_score": 1}
    assert found["five_best"].value is None  # a mean of 4 is not perfect
    assert found["five_best"].reason == "no reply has the perfect score"


def test_replies_without_a_score_are_counted_as_missing() -> None:
    # b/0 cannot be read, b/2 was never judged: one pair is left in a, none in b.
    judgments = [
        *judged("a/0", 4.0),
        *judged("a/1", 2.0),
        *judged("b/0", None),
        *judged("b/1", 3.0),
    ]
    found = by_name(scores(TWO, judgments, seed=0))
    assert (found["pairwise_accuracy"].n, found["pairwise_accuracy"].missing) == (1, 2)
    assert (found["exact_match"].n, found["exact_match"].missing) == (1, 1)
    assert (found["kendall_tau"].n, found["kendall_tau"].value) == (1, 1.0)


def test_without_any_judgment_there_is_a_reason_and_no_number() -> None:
    for row in scores(TWO, [], seed=0):
        assert row.value is None and row.low is None
        assert row.reason
    assert all(row.reason for row in scores([], [], seed=0))


def test_the_baselines_of_the_same_data_are_at_chance() -> None:
    prompts = [
        ScoredReplies(str(n), ((0.0, float(n % 6)), (1.0, float((n * 7 + 1) % 6))))
        for n in range(60)
    ]
    lengths = {p.prompt_key: [10, 20] for p in prompts}
    found = baselines(prompts, lengths, seed=0)
    assert list(found) == ["always_4", "shuffled", "length"]
    assert found["always_4"]["pairwise_accuracy/ties_half"] == 50.0
    assert found["shuffled"]["pairwise_accuracy/ties_excluded"] == pytest.approx(50, abs=2)
    assert found["shuffled"]["kendall_tau/per_prompt"] == pytest.approx(0, abs=0.03)
    # Every six scores once: two different ones tie with 1/6 when dealt (less for taking one away).
    assert found["shuffled"]["tie_rate"] == pytest.approx(1 / 6, abs=0.02)
    assert found["length"]["pairwise_accuracy/ties_wrong"] == 0.0  # the longer is always second
    assert found["length"]["five_best"] is None
    assert baselines(prompts, lengths, seed=0) == found
    assert "length" not in baselines(prompts, None, seed=0)


def test_shuffling_keeps_the_missing_scores_where_they_are() -> None:
    prompts = [
        ScoredReplies("a", ((0.0, 5.0), (1.0, None))),
        ScoredReplies("b", ((0.0, 5.0), (1.0, 1.0))),
    ]
    found = baselines(prompts, None, seed=0)["shuffled"]
    assert found["scored_rate"] == 0.75
    # b gets (5, 5), (5, 1) or (1, 5), a third each: 1 in 3 is a tie.
    assert found["tie_rate"] == pytest.approx(1 / 3, abs=0.1)
