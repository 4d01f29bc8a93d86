from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from core.errors import JudgeFailed
from core.records import Generation, Score, Verdict
from core.stages import Stage, evaluation_ref
from evaluation.head_to_head.benchmark import Side, judge_matchup, scores
from judges.asking import Reply
from judges.backends.local_judge import LocalJudge
from judges.pairwise import pair_prompt
from tests.engines.scripted import ScriptedEngine
from tests.training.making import interrupted, made

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from core.records import Message
    from core.store import Built, Partial
    from judges.asking import Ask, Judge
    from tests.training.making import Made

REF = evaluation_ref("head_to_head/M2-M1", Stage.VERDICTS)
FIRST = "[{'model': 'model_1', 'rank': 1}, {'model': 'model_2', 'rank': 2}]"
SECOND = "[{'model': 'model_1', 'rank': 2}, {'model': 'model_2', 'rank': 1}]"


def side(name: str, **texts: str) -> Side:
    return Side(name, {k: Generation(k, k, f"prompt {k}", t, 1, "stop") for k, t in texts.items()})


def prefers_good() -> ScriptedEngine:
    """Prefers the answer that says "good"; without one, whatever is shown first."""

    def reply(messages: Sequence[Message], draw: int) -> str:
        _, first, second = messages[-1]["content"].split('"answer": """')
        return SECOND if "good" in second and "good" not in first else FIRST

    return ScriptedEngine(reply)


def judged(
    folder: Path, judge: Judge, left: Side, right: Side, *, allowed_failures: float = 0.0
) -> Made:
    def make(out: Partial) -> Built:
        prompt = pair_prompt("alpaca_eval")
        return judge_matchup(judge, left, right, prompt, allowed_failures=allowed_failures, out=out)

    return made(folder, REF, make)


def by_key(found: Sequence[Score]) -> Mapping[str, Score]:
    return {score.key: score for score in found}


M2 = side("M2", a="good one", b="bad", c="same", d="so so")
M1 = side("M1", a="bad one", b="good", c="same", d="well")


def test_each_prompt_is_judged_in_both_orders_and_equal_answers_are_a_tie_unasked(
    tmp_path: Path,
) -> None:
    engine = prefers_good()
    found = judged(tmp_path, LocalJudge(engine, "judge", seed=0), M2, M1)
    assert [(v.key, v.winner) for v in found.rows] == [
        ("a/ab", "A"),
        ("a/ba", "A"),
        ("b/ab", "B"),
        ("b/ba", "B"),
        ("c", "tie"),
        ("d/ab", "A"),  # nobody is good: the first shown wins, in both orders
        ("d/ba", "B"),
    ]
    assert len(engine.calls) == 6


def test_rates_are_percentages_of_prompts_not_of_orders(tmp_path: Path) -> None:
    rows = judged(tmp_path, LocalJudge(prefers_good(), "judge", seed=0), M2, M1).rows
    lengths = {key: (len(M2.answers[key].text), len(M1.answers[key].text)) for key in "abcd"}
    found = by_key(scores(rows, lengths))
    # a: win, b: loss, c and d: ties.
    assert [found[k].value for k in ("win", "tie", "lose", "net")] == [25.0, 50.0, 25.0, 0.0]
    assert [found[k].n for k in ("win", "tie", "lose")] == [4, 4, 4]
    assert found["sign_test"].value == 1.0
    assert found["sign_test"].detail == {"wins": 1, "ties": 2, "losses": 1}
    # Of the three comparisons that were asked about, d flipped with the position.
    assert found["judge/flip_rate"].value == pytest.approx(1 / 3)


def orders_of(winners: str) -> list[Verdict]:
    """Two agreeing orders per letter: W (left wins), L, T, or ? (unreadable in one order)."""
    sides = {"W": "A", "L": "B", "T": "tie"}
    rows = []
    for at, letter in enumerate(winners):
        for order in ("ab", "ba"):
            winner = sides.get(letter) if letter != "?" or order == "ab" else None
            winner = "A" if letter == "?" and order == "ab" else winner
            reason = None if winner else "no_score"
            key = f"p{at}"
            rows.append(Verdict(f"{key}/{order}", key, "M2", "M1", winner, reason, ("",)))  # type: ignore[arg-type]
    return rows


def rates(winners: str) -> Mapping[str, Score]:
    lengths = {f"p{at}": (1, 1) for at in range(len(winners))}
    return by_key(scores(orders_of(winners), lengths))


def test_all_wins_all_losses_and_all_ties() -> None:
    perfect, worst, ties = rates("WWWWWW"), rates("LLLLLL"), rates("TTTT")
    assert (perfect["win"].value, perfect["lose"].value, perfect["net"].value) == (100, 0, 100)
    assert (worst["win"].value, worst["lose"].value, worst["net"].value) == (0, 100, -100)
    # Six heads in a row of a fair coin, two-sided: 2 / 2^6.
    assert perfect["sign_test"].value == pytest.approx(2 / 64)
    assert worst["sign_test"].value == pytest.approx(2 / 64)
    assert (ties["tie"].value, ties["sign_test"].value) == (100, 1.0)


def test_a_chance_judge_is_no_difference() -> None:
    found = rates("WL" * 20)
    assert (found["win"].value, found["lose"].value, found["net"].value) == (50, 50, 0)
    interval = found["net"]
    assert interval.low is not None and interval.high is not None
    assert interval.low < 0 < interval.high
    assert found["sign_test"].value == 1.0


def test_an_order_that_could_not_be_read_is_missing_and_not_a_tie() -> None:
    found = rates("WW?L")
    assert (found["win"].n, found["win"].missing) == (3, 1)
    assert found["win"].value == pytest.approx(200 / 3)
    assert found["tie"].value == 0
    assert found["win"].detail == {"no_score": 1}


def test_nothing_to_measure_is_said_and_not_zero() -> None:
    for found in (rates(""), rates("???")):
        assert found["win"].value is None
        assert found["sign_test"].value is None
        assert found["win"].reason == "no verdict could be read"
    assert rates("???")["win"].missing == 3


def test_one_prompt_says_next_to_nothing() -> None:
    found = rates("W")
    # Modified Wilson, 1 of 1: with 5.13 expected successes in a hundred, one is as rare as 5 %.
    assert (found["win"].value, found["win"].high) == (100, 100)
    assert found["win"].low == pytest.approx(-100 * math.log(0.95), abs=0.01)
    # Of so few comparisons the net has the win rate's interval: 2 · 5.13 − 100.
    assert (found["net"].value, found["net"].high) == (100, 100)
    assert found["net"].low == pytest.approx(-100 - 200 * math.log(0.95), abs=0.01)


def test_the_net_of_ties_alone_is_not_certain() -> None:
    # Tango's interval without a win or loss: ±z²/(8 + z²).
    net = rates("TTTTTTTT")["net"]
    assert net.low == pytest.approx(-32.441, abs=1e-3)
    assert net.high == pytest.approx(32.441, abs=1e-3)


def test_the_papers_m3_against_the_baseline_is_a_difference_at_n_256() -> None:
    # Figure 3: 62.5 / 27.7 / 9.8 percent of 256 prompts are 160, 71 and 25.
    found = rates("W" * 160 + "T" * 71 + "L" * 25)
    assert [round(found[k].value or 0, 1) for k in ("win", "tie", "lose")] == [62.5, 27.7, 9.8]
    assert found["net"].low is not None and found["net"].low > 40
    assert found["sign_test"].value is not None and found["sign_test"].value < 1e-20


def test_the_two_orders_of_a_prompt_do_not_narrow_the_interval() -> None:
    # Wilson, 4 of 8 prompts: 21.5 to 78.5. Were the 16 orders counted, 8 of 16: 28.0 to 72.0.
    found = rates("WLWLWLWL")["win"]
    assert found.n == 8
    assert found.low == pytest.approx(21.52, abs=0.01)
    assert found.high == pytest.approx(78.48, abs=0.01)


def test_a_prompt_that_one_model_could_not_answer_is_not_judged(tmp_path: Path) -> None:
    silent = Generation("b", "b", "prompt b", "", 0, "too_long")
    left = Side("M2", {**M2.answers, "b": silent})
    engine = prefers_good()
    found = judged(tmp_path, LocalJudge(engine, "judge", seed=0), left, M1)
    (row,) = [v for v in found.rows if v.prompt_key == "b"]
    assert (row.winner, row.unparsed) == (None, "no_answer")
    assert not any(key.startswith("b/") for key, _ in engine.calls)


def test_a_killed_matchup_asks_only_for_the_orders_it_lacks(tmp_path: Path) -> None:
    whole = judged(tmp_path / "whole", LocalJudge(prefers_good(), "judge", seed=0), M2, M1)
    interrupted(tmp_path / "killed", REF, whole.rows[:3])
    engine = prefers_good()
    resumed = judged(tmp_path / "killed", LocalJudge(engine, "judge", seed=0), M2, M1)
    assert resumed.content == whole.content
    assert sorted(key for key, _ in engine.calls) == ["b/ba", "d/ab", "d/ba"]


class Broken:
    """A judge whose requests about prompt b fail for good."""

    name = identity = "broken"

    def ask(self, asks: Sequence[Ask]) -> Iterator[Reply]:
        for ask in asks:
            failed = ask.key.startswith("b/")
            yield Reply(ask.key, "" if failed else FIRST, "failed" if failed else "stop")


def test_failed_requests_stop_the_matchup_and_keep_what_came(tmp_path: Path) -> None:
    with pytest.raises(JudgeFailed, match="2 of 6 judge requests failed"):
        judged(tmp_path, Broken(), M2, M1)
    engine = prefers_good()  # the judge is back: only b is asked
    judged(tmp_path, LocalJudge(engine, "judge", seed=0), M2, M1)
    assert sorted(key for key, _ in engine.calls) == ["b/ab", "b/ba"]


def test_failures_within_the_allowance_are_counted_as_missing(tmp_path: Path) -> None:
    found = judged(tmp_path, Broken(), M2, M1, allowed_failures=0.5)
    assert found.counts["failed"] == 2
    result = by_key(scores(found.rows, dict.fromkeys("abcd", (1, 1))))
    assert result["win"].missing == 1
    assert result["win"].detail == {"failed": 1}
