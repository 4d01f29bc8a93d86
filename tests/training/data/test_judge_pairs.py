"""Meta-Rewarding's judge pairs: the four-judgment example by hand, and every reason for no pair."""

from __future__ import annotations

import math
import tempfile
from itertools import combinations
from pathlib import Path
from typing import Literal

import pytest

from core.config import Config
from core.records import Candidate, JudgePair, Judgment, Prompt, Verdict
from core.stages import Ref, Stage
from judges.backends.local_judge import LocalJudge
from judges.health import measure_meta_judge
from judges.meta.battles import battles, position_weights
from judges.meta.bradley_terry import strengths
from judges.rubrics import load_rubric
from tests.engines.scripted import ScriptedEngine
from tests.training.making import Killed, dying_after, made
from training.data.judge_pairs import compare_judgments, disputed_answers, select_judge_pairs

A, B, C, D = KEYS = tuple(f"p0/a0/j{n}" for n in range(4))
VERDICTS, PAIRS = Ref(2, Stage.META_VERDICTS), Ref(2, Stage.JUDGE_PAIRS)
PROMPTS = [Prompt("p0", "What is rain?", None, 0), Prompt("p1", "What is snow?", None, 0)]
CANDIDATES = [Candidate(f"{p}/a0", p, 0, f"Answer of {p}", 3, "stop") for p in ("p0", "p1")]
Winner = Literal["A", "B", "tie"]


def verdicts(a: str, b: str, ab: Winner, ba: Winner) -> list[Verdict]:
    """Both orders of one comparison, each from the side of `a`."""
    key, prompt = f"{a}-{b}", a[:2]
    return [Verdict(f"{key}/{o}", prompt, a, b, w) for o, w in (("ab", ab), ("ba", ba))]


def judgments(prompt: str, scores: tuple[float, ...], length: int = 0) -> list[Judgment]:
    subject, dots = f"{prompt}/a0", "." * length
    return [
        Judgment(f"{subject}/j{n}", subject, prompt, n, f"{n}{dots} Score: {s:g}", s, None, 3)
        for n, s in enumerate(scores)
    ]


# a beats b and c in both orders, b beats c in both; of d and each of the others the one shown first
# wins. Of another prompt's only verdict the second wins.
EXAMPLE = [
    *verdicts(A, B, "A", "A"), *verdicts(A, C, "A", "A"), *verdicts(B, C, "A", "A"),
    *verdicts(A, D, "A", "B"), *verdicts(B, D, "A", "B"), *verdicts(C, D, "A", "B"),
    *verdicts("p1/a0/j0", "p1/a0/j1", "B", "tie"),
]  # fmt: skip


def test_the_position_weights_of_the_example() -> None:
    # First shown won: 3 of a, b against c (orders ab) + 6 against d = 9; second: 3 (orders ba) + 1.
    weights = position_weights(EXAMPLE)
    assert weights == pytest.approx((4 / 13, 9 / 13))  # ω₁ = win₂nd/(win₁st + win₂nd), ω₂
    assert position_weights([v for v in EXAMPLE if v.winner == "tie"]) is None


def test_the_battle_matrix_of_the_example() -> None:
    weights = position_weights(EXAMPLE)
    assert weights is not None
    w = 4 / 13  # of each win of a first one against d; ω₁ + ω₂ = 1 for two wins in both positions
    matrix = battles(KEYS, [v for v in EXAMPLE if v.prompt_key == "p0"], weights)
    expected = [[0, 1, 1, w], [0, 0, 1, w], [0, 0, 0, w], [w, w, w, 0]]
    assert [value for row in matrix for value in row] == pytest.approx(
        [value for row in expected for value in row]
    )


def test_the_strengths_of_the_example() -> None:
    # By symmetry ε_b = ε_d = 0 and ε_c = −ε_a. With u = exp(ε_a) a's wins are those expected:
    #   2 + ω = (1 + 2ω)·u/(1+u) + u²/(1+u²)     against b and, twice ω, d; against c
    # With ω = 4/13: 30/13 on the left; u = 5 gives 21/13·5/6 + 25/26 = 105/78 + 75/78 = 30/13.
    w = 4 / 13
    found = strengths([[0, 1, 1, w], [0, 0, 1, w], [0, 0, 0, w], [w, w, w, 0]])
    assert found == pytest.approx([math.log(5), 0, -math.log(5), 0], abs=1e-4)


def select(
    scores: tuple[float, ...] = (1, 4, 2, 3),
    found: list[Verdict] = EXAMPLE,
    limit: int | None = None,
    length: int = 0,
) -> list[JudgePair]:
    config = Config.model_validate({"judge_pairs": {"enabled": True, "max_characters": limit}})
    rows = [*judgments("p0", scores, length), *judgments("p1", (3, 3))]
    disputed = disputed_answers(PROMPTS, CANDIDATES, rows)
    with tempfile.TemporaryDirectory() as folder:
        result = made(
            Path(folder),
            PAIRS,
            lambda out: select_judge_pairs(PROMPTS, disputed, found, config, out),
        )
    assert sum(result.counts.values()) == len(PROMPTS)
    return result.rows


def test_the_strongest_judgment_is_chosen_and_the_weakest_rejected_whatever_their_scores() -> None:
    row, other = select()
    assert (row.outcome, row.chosen_key, row.rejected_key) == ("pair", A, C)
    assert (row.chosen, row.rejected) == ("0 Score: 1", "2 Score: 2")
    assert row.scores == (1, 4, 2, 3)
    assert row.prompt == load_rubric("additive").render("What is rain?", "Answer of p0")
    assert (other.outcome, other.chosen) == ("not_disputed", None)
    trained = row.for_training()
    assert (trained.prompt, trained.chosen, trained.rejected) == (
        row.prompt, row.chosen, row.rejected
    )  # fmt: skip
    assert (trained.chosen_score, trained.rejected_score) == pytest.approx(
        (math.log(5), -math.log(5)), abs=1e-4
    )


def test_a_chosen_judgment_over_the_limit_gives_no_pair() -> None:
    assert select(limit=30, length=19)[0].outcome == "pair"  # 1 + 19 + 9 characters
    assert select(limit=28, length=19)[0].outcome == "too_long"


def test_a_judge_of_position_alone_gives_no_pair() -> None:
    # The first always wins: ω₁ = 0, so that such wins count nothing.
    blind = [v for a, b in combinations(KEYS, 2) for v in verdicts(a, b, "A", "B")]
    row = select(found=blind)[0]
    assert (row.outcome, set(row.strengths)) == ("no_preference", {0.0})
    assert select(found=[])[0].outcome == "no_preference"


def test_the_meta_judges_biases_of_the_example() -> None:
    # Scores 1, 4, 2, 3 of a, b, c, d. 12 verdicts of p0 and one of p1 (scores equal) name a winner.
    scores = dict(zip(KEYS, (1, 4, 2, 3), strict=True)) | {"p1/a0/j0": 3, "p1/a0/j1": 3}
    found = {m.key: m for m in measure_meta_judge(EXAMPLE, scores)}
    assert (found["first_shown_rate"].value, found["first_shown_rate"].n) == (9 / 13, 13)
    # The higher score wins: b against c twice; against d each once of two: 2 + 3 of 12.
    assert (found["higher_score_rate"].value, found["higher_score_rate"].n) == (5 / 12, 12)
    # Of 6 comparisons decided in both orders, the three with d change with the order.
    assert (found["flip_rate"].value, found["flip_rate"].n) == (0.5, 6)
    empty = measure_meta_judge([], {})
    assert [(m.value, m.n) for m in empty] == [(None, 0)] * 4


def by_number(messages: object, _draw: int) -> str:
    """Prefer the judgment with the lower number, wherever it stands."""
    text = messages[0]["content"]  # type: ignore[index]
    a, b = (text.split(f"Judgement {side}:\n")[1][0] for side in "AB")
    return f"Clear. Winner: Judgement {'A' if a < b else 'B'}"


def compare(folder: Path, engine: ScriptedEngine) -> bytes:
    config = Config.model_validate({"judge_pairs": {"enabled": True}})
    disputed = disputed_answers(PROMPTS, CANDIDATES, judgments("p0", (1, 4, 2, 3)))
    judge = LocalJudge(engine, "M1", seed=0)
    result = made(folder, VERDICTS, lambda out: compare_judgments(judge, disputed, config, out))
    assert len(result.rows) == 12  # 6 pairs of 4 judgments, in both orders
    assert result.manifest.facts["first_shown_rate"] == 0.5
    assert result.counts == {"answers": 1, "parsed": 12}
    return result.content


@pytest.mark.parametrize("replies", [0, 1, 7])
def test_meta_judging_that_was_killed_resumes_to_the_same_bytes(
    tmp_path: Path, replies: int
) -> None:
    whole = compare(tmp_path / "whole", ScriptedEngine(by_number))
    first = ScriptedEngine(dying_after(replies, by_number))
    with pytest.raises(Killed):
        compare(tmp_path / "killed", first)
    second = ScriptedEngine(by_number)
    assert compare(tmp_path / "killed", second) == whole
    assert len(second.calls) == 12 - replies
