from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from core.config import Config, PairsSection
from core.records import AnswerLogProb, OrderAgreement
from core.reductions import MeanScore
from core.stages import Ref, Stage
from tests.training.making import Made, candidate, interrupted, judgment, made, prompt
from training.data.pairs import ScoredCandidate, choose, ledger_row, select_pairs, shuffled

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from core.records import Candidate, Judgment, LedgerRow

PAIRS = Ref(2, Stage.PAIRS)


def ledger(
    scores: Sequence[float | None], texts: Sequence[str] | None = None, **settings: Any
) -> LedgerRow:
    """Return the ledger row of one prompt whose draw i has the mean score `scores[i]`."""
    texts = texts or [f"answer {i}" for i in range(len(scores))]
    candidates = [candidate("p", i, text) for i, text in enumerate(texts)]
    means = {f"p/a{i}": MeanScore(s, 0 if s is None else 3, 3) for i, s in enumerate(scores)}
    return ledger_row(prompt("p"), candidates, means, PairsSection(**settings))


def items(*scores_and_lengths: tuple[float, int]) -> list[ScoredCandidate]:
    """Return candidates with a score and a text of so many characters, in draw order."""
    return [
        ScoredCandidate(candidate("p", i, "x" * length), score)
        for i, (score, length) in enumerate(scores_and_lengths)
    ]


def test_the_highest_score_is_chosen_and_the_lowest_rejected() -> None:
    row = ledger([3.0, 4.5, 1.5, 2.0])
    assert row.outcome == "pair"
    assert (row.chosen_key, row.chosen, row.chosen_score) == ("p/a1", "answer 1", 4.5)
    assert (row.rejected_key, row.rejected, row.rejected_score) == ("p/a2", "answer 2", 1.5)
    assert row.scores == (3.0, 4.5, 1.5, 2.0)
    assert row.draws_parsed == (3, 3, 3, 3)


def test_of_equal_scores_the_earliest_draw_is_taken_whatever_order_they_come_in() -> None:
    candidates = [candidate("p", i, f"answer {i}") for i in range(4)]
    means = {f"p/a{i}": MeanScore(s, 3, 3) for i, s in enumerate([2.0, 5.0, 2.0, 5.0])}
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 3, 0, 1]):
        row = ledger_row(prompt("p"), [candidates[i] for i in order], means, PairsSection())
        assert (row.chosen_key, row.rejected_key) == ("p/a1", "p/a0")
        assert row.scores == (2.0, 5.0, 2.0, 5.0)


def test_an_unscored_candidate_is_never_the_rejected_one() -> None:
    row = ledger([4.0, None, 3.0, None])
    assert (row.chosen_key, row.rejected_key) == ("p/a0", "p/a2")
    assert row.scores == (4.0, None, 3.0, None)
    assert row.draws_parsed == (3, 0, 3, 0)


def test_a_score_of_zero_is_a_score() -> None:
    row = ledger([0.0, None, 1.0])
    assert (row.outcome, row.chosen_score, row.rejected_score) == ("pair", 1.0, 0.0)


@pytest.mark.parametrize(
    ("scores", "outcome"),
    [
        ([5.0, 5.0, 5.0, 5.0], "tie"),
        ([0.0, 0.0], "tie"),
        ([4.0, None, 4.0, None], "tie"),
        ([None, None, None], "unscored"),
        ([None, 3.0, None], "one_scored"),
        ([], "no_candidates"),
    ],
)
def test_a_prompt_without_a_pair_says_why(scores: list[float | None], outcome: str) -> None:
    row = ledger(scores)
    assert row.outcome == outcome
    assert row.scores == tuple(scores)
    assert (row.chosen, row.rejected, row.chosen_key, row.rejected_key) == (None,) * 4
    assert (row.chosen_score, row.rejected_score) == (None, None)


def test_a_prompt_too_long_to_answer_has_no_candidates() -> None:
    candidates = [candidate("p", i, "", "too_long") for i in range(4)]
    row = ledger_row(prompt("p"), candidates, {}, PairsSection())
    assert row.outcome == "no_candidates"
    assert row.scores == (None,) * 4


def test_best_and_worst_that_say_the_same_are_no_pair() -> None:
    assert ledger([4.0, 2.0], ["Yes.", " Yes.\n"]).outcome == "identical_answers"
    # The two in the middle do not count: best and worst differ.
    assert ledger([4.0, 3.0, 3.0, 2.0], ["Yes.", "So", "So", "No."]).outcome == "pair"


@pytest.mark.parametrize(
    ("scores", "margin", "outcome"),
    [
        ((4.0, 3.0), 0.9, "pair"),
        ((4.0, 3.0), 1.0, "tie"),  # "no more than this" includes the margin itself
        ((4.0, 3.0), 1.1, "tie"),
        # Means of three draws that differ by exactly one: 7/3 - 4/3 is 1.0000000000000002 in
        # floating point, and still one.
        ((7 / 3, 4 / 3), 1.0, "tie"),
        ((7 / 3, 4 / 3), 0.99, "pair"),
    ],
)
def test_scores_within_the_margin_are_a_tie(
    scores: tuple[float, float], margin: float, outcome: str
) -> None:
    assert ledger(scores, min_margin=margin).outcome == outcome


def test_a_candidates_score_is_the_mean_of_its_readable_draws(tmp_path: Path) -> None:
    candidates = [candidate("p", i, f"answer {i}") for i in range(3)]
    judgments = [
        judgment("p/a0", 0, 4),
        judgment("p/a0", 1, None),
        judgment("p/a0", 2, 2),  # (4 + 2) / 2 = 3, two of three read
        judgment("p/a1", 0, 3),
        judgment("p/a1", 1, 3),
        judgment("p/a1", 2, 2),  # 8 / 3 = 2.667: below 3, though with a zero for the unread
        judgment("p/a2", 0, None),  # draw above, a0 would have 2 and lose
        judgment("p/a2", 1, None),
        judgment("p/a2", 2, None),
    ]
    result = made(
        tmp_path,
        PAIRS,
        lambda out: select_pairs([prompt("p")], candidates, judgments, Config(), out),
    )
    (row,) = result.rows
    assert row.scores == (3.0, pytest.approx(8 / 3), None)
    assert row.draws_parsed == (2, 3, 0)
    assert (row.chosen_key, row.rejected_key) == ("p/a0", "p/a1")


def every_outcome() -> tuple[list[Any], list[Candidate], list[Judgment]]:
    """Return seven prompts, two of which give pairs and five of which give one reason each."""
    scores: dict[str, list[float | None]] = {
        "pair1": [5, 1],
        "pair2": [2, 3],
        "tie": [4, 4],
        "unscored": [None, None],
        "one": [3, None],
        "same": [4, 2],
        "long": [],
    }
    candidates = [
        candidate(key, i, "the same" if key == "same" else f"{key} {i}")
        for key, found in scores.items()
        for i in range(len(found))
    ]
    candidates.append(candidate("long", 0, "", "too_long"))
    judgments = [
        judgment(f"{key}/a{i}", 0, score)
        for key, found in scores.items()
        for i, score in enumerate(found)
    ]
    return [prompt(key) for key in scores], candidates, judgments


def select(folder: Path) -> Made:
    prompts, candidates, judgments = every_outcome()
    return made(
        folder,
        PAIRS,
        lambda out: select_pairs(prompts, candidates, judgments, Config(), out),
    )


def test_the_ledgers_counts_add_up_to_the_prompts(tmp_path: Path) -> None:
    result = select(tmp_path)
    assert result.counts == {
        "pair": 2,
        "tie": 1,
        "unscored": 1,
        "one_scored": 1,
        "identical_answers": 1,
        "no_candidates": 1,
    }
    assert sum(result.counts.values()) == len(result.rows) == 7
    assert sorted(row.key for row in result.rows) == sorted(p.key for p in every_outcome()[0])


def test_a_killed_selection_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    whole = select(tmp_path / "whole")
    interrupted(tmp_path / "killed", PAIRS, whole.rows[1:4])
    resumed = select(tmp_path / "killed")
    assert (resumed.content, resumed.counts) == (whole.content, whole.counts)


def test_length_control_takes_the_shortest_good_and_the_longest_bad_answer() -> None:
    # max 5, min 1, rho 0.25. Good: at least 0.75·5 + 0.25·1 = 4. Bad: at most 0.75·1 + 0.25·5 = 2.
    found = items((5, 30), (4, 10), (3.9, 2), (2.1, 99), (2, 40), (1, 20))
    choice = choose(found, PairsSection(choice="length_controlled", rho=0.25))
    assert (choice.chosen.score, len(choice.chosen.candidate.text)) == (4, 10)
    assert (choice.rejected.score, len(choice.rejected.candidate.text)) == (2, 40)
    # Best against worst would not look at length.
    plain = choose(found, PairsSection())
    assert (plain.chosen.score, plain.rejected.score) == (5, 1)


@pytest.mark.parametrize(
    ("rho", "chosen", "rejected"),
    [
        (0.0, 5.0, 1.0),  # good ≥ 5, bad ≤ 1
        (0.2, 5.0, 1.0),  # good ≥ 4.2, bad ≤ 1.8
        (0.3, 4.0, 2.0),  # good ≥ 3.8, bad ≤ 2.2
        (0.49, 4.0, 2.0),  # good ≥ 3.04, bad ≤ 2.96: the 3 is in neither band
    ],
)
def test_wider_bands_reach_further_from_the_ends(
    rho: float, chosen: float, rejected: float
) -> None:
    found = items((5, 50), (4, 40), (3, 1), (3, 999), (2, 60), (1, 30))
    choice = choose(found, PairsSection(choice="length_controlled", rho=rho))
    assert (choice.chosen.score, choice.rejected.score) == (chosen, rejected)


def test_without_a_band_length_only_decides_among_equals() -> None:
    rng = random.Random(4)
    for _ in range(300):
        count = rng.randint(2, 6)
        found = items(*((rng.randint(0, 15) / 3, rng.randint(1, 9)) for _ in range(count)))
        choice = choose(found, PairsSection(choice="length_controlled", rho=0.0))
        plain = choose(found, PairsSection())
        assert choice.chosen.score == plain.chosen.score == max(i.score for i in found)
        assert choice.rejected.score == plain.rejected.score == min(i.score for i in found)
        for item in found:
            if item.score == choice.chosen.score:
                assert len(choice.chosen.candidate.text) <= len(item.candidate.text)
            if item.score == choice.rejected.score:
                assert len(choice.rejected.candidate.text) >= len(item.candidate.text)


def test_length_control_of_all_equal_scores_is_a_tie() -> None:
    row = ledger([3.0, 3.0, 3.0], ["a", "bb", "ccc"], choice="length_controlled", rho=0.2)
    assert row.outcome == "tie"


# ----- controls: runs that should not learn


def test_shuffled_scores_stay_within_their_prompt() -> None:
    by_prompt = {"p": [candidate("p", n, "?") for n in range(4)], "q": [candidate("q", 0, "?")]}
    means = {f"p/a{n}": MeanScore(float(n), 1, 1) for n in range(4)}
    means["q/a0"] = MeanScore(9.0, 1, 1)
    dealt = shuffled(means, by_prompt, seed=0)
    assert sorted(dealt[f"p/a{n}"].mean or 0.0 for n in range(4)) == [0.0, 1.0, 2.0, 3.0]
    assert dealt["q/a0"].mean == 9.0
    orders = {
        tuple(shuffled(means, by_prompt, seed=seed)[f"p/a{n}"].mean for n in range(4))
        for seed in range(20)
    }
    assert len(orders) > 5


def test_swapped_pairs_reject_the_best_answer() -> None:
    answers = [candidate("p", 0, "good"), candidate("p", 1, "bad")]
    means = {"p/a0": MeanScore(5.0, 1, 1), "p/a1": MeanScore(1.0, 1, 1)}
    row = ledger_row(prompt("p"), answers, means, PairsSection(control="swapped"))
    assert (row.chosen, row.rejected) == ("bad", "good")
    assert (row.chosen_score, row.rejected_score) == (1.0, 5.0)


# --- What another model says about the pairs


def selected(tmp_path: Path, settings: dict[str, Any], **evidence: Any) -> Made:
    """Return the ledger of prompts p and q: a1 is chosen and a0 rejected in both, r is a tie."""
    answers = [candidate(key, draw, f"{key}{draw}") for key in "pqr" for draw in (0, 1)]
    scores = [judgment(c.key, 0, 2.0 if c.prompt_key == "r" else 1.0 + c.draw) for c in answers]
    config = Config(pairs=PairsSection(**settings))
    return made(
        tmp_path,
        PAIRS,
        lambda out: select_pairs(
            [prompt("p"), prompt("q"), prompt("r")], answers, scores, config, out, **evidence
        ),
    )


def test_a_pair_is_as_sure_as_the_two_judges_agree_on_its_prompt(tmp_path: Path) -> None:
    agreements = [OrderAgreement("p", 1.0, 2), OrderAgreement("q", -0.5, 2)]
    agreements.append(OrderAgreement("r", None, 2))
    found = selected(tmp_path / "own", {"consistency": "prompt"}, agreements=agreements)
    assert [row.confidence for row in found.rows] == [1.0, 0.25, None]  # r has no pair
    found = selected(tmp_path / "mean", {"consistency": "mean"}, agreements=agreements)
    assert [row.confidence for row in found.rows] == [0.625, 0.625, None]


def test_a_ledger_without_consistency_has_the_bytes_it_always_had(tmp_path: Path) -> None:
    assert b"confidence" not in selected(tmp_path, {}).content


def log_probs(rewards: dict[str, float]) -> list[AnswerLogProb]:
    now = [AnswerLogProb(f"{key}/c", key, "current", r - 7, 1) for key, r in rewards.items()]
    return [*now, *(AnswerLogProb(f"{key}/p", key, "previous", -7.0, 1) for key in rewards)]


def test_pairs_that_the_implicit_reward_orders_otherwise_are_left_out(tmp_path: Path) -> None:
    learned = {"p/a0": -1.0, "p/a1": 0.5, "q/a0": 0.5, "q/a1": -1.0, "r/a0": 0.0, "r/a1": 1.0}
    found = selected(tmp_path, {"filter": "implicit_reward"}, log_probs=log_probs(learned))
    assert [row.outcome for row in found.rows] == ["pair", "reward_disagrees", "tie"]
    assert found.counts == {"pair": 1, "reward_disagrees": 1, "tie": 1}
    assert found.rows[1].chosen is None
    # Equal rewards are no preference.
    learned["p/a0"] = 0.5
    again = selected(tmp_path / "2", {"filter": "implicit_reward"}, log_probs=log_probs(learned))
    assert again.counts == {"reward_disagrees": 2, "tie": 1}
