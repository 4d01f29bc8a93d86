from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from core.config import JudgeSection
from core.errors import JudgeFailed
from core.records import Candidate, Judgment, LedgerRow, Prompt, Score
from core.stages import Stage, evaluation_ref
from core.store import Built, Key, Store
from evaluation.loop_checks.self_judge import scores, subjects
from judges.asking import Ask, Reply
from judges.candidate_judges import ExternalRubricJudge, write_judgments
from judges.pointwise import JudgedAnswer
from judges.rubrics import load_rubric

REF = evaluation_ref("self_judge/iter2", Stage.EXTERNAL_JUDGMENTS)
SECTION = JudgeSection()


def judged(subject: str, *draws: float | None) -> list[Judgment]:
    return [
        Judgment(f"{subject}/j{n}", subject, subject.partition("/")[0], n, "", score,
                 None if score is not None else "no_score", 0)
        for n, score in enumerate(draws)
    ]  # fmt: skip


def rows(**means: float | None) -> list[Judgment]:
    """One judgment each; "p0_a1" is answer a1 of prompt p0."""
    return [j for key, mean in means.items() for j in judged(key.replace("_", "/"), mean)]


def by_name(found: list[Score]) -> dict[str, Score]:
    return {row.key: row for row in found}


def pair(prompt: str, chosen: str, rejected: str) -> LedgerRow:
    return LedgerRow(prompt, "?", "pair", (), (), chosen_key=f"{prompt}/{chosen}",
                     rejected_key=f"{prompt}/{rejected}")  # fmt: skip


OWN = [*judged("p0/a0", 5.0, 5.0, None), *rows(p0_a1=3.0, p1_a0=4.0, p1_a1=4.0)]
EXTERNAL = rows(p0_a0=3.0, p0_a1=2.0, p1_a0=1.0, p1_a1=2.0)


def test_the_difference_of_the_means_is_own_minus_external() -> None:
    # Own 5, 3, 4, 4 against 3, 2, 1, 2; (2 + 1 + 3 + 2) / 4 = 2.
    found = by_name(scores(OWN, EXTERNAL, scale=(0.0, 5.0), seed=0))
    assert (found["mean_own"].value, found["mean_external"].value) == (4.0, 2.0)
    difference = found["mean_difference"]
    assert (difference.value, difference.n, difference.missing) == (2.0, 4, 0)
    # Two prompts, whose sums are 3 and 5: only ±8 is as far from 0, in 2 of 4 patterns.
    assert difference.detail == {"p_value": 0.5, "prompts": 2}
    assert difference.low is not None and difference.low < 0


def test_order_is_compared_within_prompts_and_ties_are_left_out() -> None:
    # p0: both put a0 first. p1: tied by the self-judge. Pairs across prompts do not count.
    score = by_name(scores(OWN, EXTERNAL, scale=(0.0, 5.0), seed=0))["order_agreement"]
    assert (score.value, score.n, score.detail) == (100.0, 1, {"ties": 1})
    reversed_ = rows(p0_a0=1.0, p0_a1=2.0, p1_a0=1.0, p1_a1=2.0)
    assert by_name(scores(OWN, reversed_, scale=(0.0, 5.0), seed=0))["order_agreement"].value == 0.0


def test_spearman_is_over_answers() -> None:
    # Own ranks (4, 1, 2.5, 2.5), external (4, 2.5, 1, 2.5): around 2.5: 2.25 + 0 + 0 + 0 over
    # √(4.5 · 4.5).
    score = by_name(scores(OWN, EXTERNAL, scale=(0.0, 5.0), seed=0))["spearman"]
    assert score.value == pytest.approx(0.5)
    same = by_name(scores(OWN, OWN, scale=(0.0, 5.0), seed=0))
    assert same["spearman"].value == pytest.approx(1.0)
    assert (same["mean_difference"].value, same["order_agreement"].value) == (0.0, 100.0)


def test_a_pair_is_confirmed_if_the_external_judge_scores_the_chosen_answer_higher() -> None:
    external = rows(
        p0_a0=3.0, p0_a1=2.0, p1_a0=1.0, p1_a1=2.0, p2_a0=2.0, p2_a1=2.0, p3_a0=None, p3_a1=1.0
    )
    # Confirmed, reversed, tied, unreadable, never asked; and a prompt without a pair.
    ledger = [pair(f"p{n}", "a0", "a1") for n in range(5)]
    ledger.append(LedgerRow("p6", "?", "tie", (), ()))
    score = by_name(scores([], external, ledger, scale=(0.0, 5.0), seed=0))["pairs_confirmed"]
    assert (score.value, score.n, score.missing) == (50.0, 2, 1)
    assert score.detail == {"confirmed": 1, "reversed": 1, "ties": 1}


def test_an_answer_without_a_score_by_one_judge_is_missing_and_not_0() -> None:
    own = rows(p0_a0=4.0, p0_a1=None, p1_a0=4.0, p9_a0=5.0)
    external = rows(p0_a0=3.0, p0_a1=3.0, p1_a0=None)
    found = by_name(scores(own, external, scale=(0.0, 5.0), seed=0))
    # Shared: p0/a0. Missing: p0/a1 and p1/a0. p9 was not in the external judge's sample.
    for name in ("mean_own", "mean_external", "mean_difference"):
        assert (found[name].n, found[name].missing) == (1, 2)
    assert found["mean_difference"].value == 1.0


def test_nothing_in_common_has_reasons_instead_of_numbers() -> None:
    for row in scores([], [], scale=(0.0, 5.0), seed=0):
        assert row.value is None and row.reason and row.low is None


def test_answers_to_one_prompt_are_one_cluster() -> None:
    own, external = [], []
    for n in range(40):
        for answer in ("a0", "a1"):
            own += judged(f"p{n}/{answer}", float(n % 5))
            external += judged(f"p{n}/{answer}", 2.0)
    twice = by_name(scores(own, external, scale=(0.0, 5.0), seed=0))["mean_difference"]
    once = by_name(scores(own[::2], external[::2], scale=(0.0, 5.0), seed=0))["mean_difference"]
    assert (twice.n, once.n) == (80, 40)
    assert (twice.low, twice.high) == (once.low, once.high)


class ScriptedJudge:
    """Replies by the key's words; counts what it was asked."""

    name = "scripted"
    identity = "scripted-judge"

    def __init__(self, **finishes: str) -> None:
        self.finishes = {key.replace("_", "/"): finish for key, finish in finishes.items()}
        self.asked: list[Ask] = []

    def ask(self, asks: Sequence[Ask]) -> Iterator[Reply]:
        for ask in reversed(asks):
            self.asked.append(ask)
            finish = self.finishes.get(ask.key, "stop")
            text = "Fair.\nScore: 3" if finish == "stop" else ""
            yield Reply(ask.key, text, finish, tokens_out=4, failure="HTTP 500")  # type: ignore[arg-type]


ANSWERS = [JudgedAnswer(f"p{n}/a0", f"p{n}", f"Question {n}", f"Answer {n}") for n in range(3)]


def run(judge: ScriptedJudge, store: Store, *, draws: int = 1, allowed: float = 0.0) -> Built:
    with store.begin(REF, Key({}, {}, 0)) as out:
        external = ExternalRubricJudge(
            judge, SECTION, reading="words", allowed_failures=allowed, draws=draws
        )
        built = write_judgments(external, ANSWERS, title="external", out=out)
        out.commit(lambda row: row.key, built)
    return built


def test_the_external_judge_sees_the_same_rubric_with_the_same_settings(tmp_path: Path) -> None:
    judge, store = ScriptedJudge(), Store(tmp_path)
    built = run(judge, store, draws=2)
    assert (built.counts, built.engine) == ({"parsed": 6}, "scripted-judge")
    first = min(judge.asked, key=lambda ask: ask.key)
    prompt = load_rubric("additive").render("Question 0", "Answer 0")
    assert first == Ask("p0/a0/j0", ({"role": "user", "content": prompt},), 256, 0.7, 0.9, 0)
    assert sorted((ask.key, ask.draw) for ask in judge.asked)[:2] == [("p0/a0/j0", 0),
                                                                      ("p0/a0/j1", 1)]  # fmt: skip
    found = store.read(REF)
    assert found[0] == Judgment("p0/a0/j0", "p0/a0", "p0", 0, "Fair.\nScore: 3", 3.0, None, 4)
    assert len(found) == 6


def test_refusals_and_prompts_that_do_not_fit_are_outcomes_with_their_reason(
    tmp_path: Path,
) -> None:
    judge = ScriptedJudge(p0_a0_j0="refused", p1_a0_j0="too_long")
    store = Store(tmp_path)
    built = run(judge, store)
    assert built.counts == {"parsed": 1, "unparsed_refused": 1, "unparsed_prompt_too_long": 1}
    assert [(j.score, j.unparsed) for j in store.read(REF)] == [
        (None, "refused"), (None, "prompt_too_long"), (3.0, None),
    ]  # fmt: skip


def test_failed_requests_stop_the_stage_and_only_they_are_asked_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(JudgeFailed, match="1 of 3 judge requests failed"):
        run(ScriptedJudge(p1_a0_j0="failed"), store)
    again = ScriptedJudge()
    assert run(again, store).counts == {"parsed": 3}
    assert [ask.key for ask in again.asked] == ["p1/a0/j0"]


def test_accepted_failures_are_judgments_without_a_score(tmp_path: Path) -> None:
    store = Store(tmp_path)
    built = run(ScriptedJudge(p1_a0_j0="failed"), store, allowed=0.5)
    assert built.counts == {"parsed": 2, "unparsed_failed": 1}
    failed: Judgment = store.read(REF)[1]
    assert (failed.key, failed.score, failed.unparsed) == ("p1/a0/j0", None, "failed")


def test_a_sample_takes_whole_prompts_up_to_the_limit() -> None:
    prompts = [Prompt(f"p{n}", f"Question {n}", None, 0) for n in range(10)]
    candidates = [
        Candidate(f"p{n}/a{d}", f"p{n}", d, f"Answer {d}", 2, "stop")
        for n in range(10) for d in range(4)
    ]  # fmt: skip
    chosen = subjects(prompts, candidates, 10, seed=0)
    assert len(chosen) == 8  # two prompts of four; a third would be over ten
    assert [s.key for s in chosen] == sorted(f"{k}/a{d}" for k in {s.prompt_key for s in chosen}
                                             for d in range(4))  # fmt: skip
    assert subjects(prompts, candidates[::-1], 10, seed=0) == chosen
    assert subjects(prompts, candidates, 10, seed=1) != chosen
    assert len(subjects(prompts, candidates, None, seed=0)) == 40
    assert len(subjects(prompts, candidates, 3, seed=0)) == 4  # at least one prompt
    assert subjects([], [], 10, seed=0) == []


def test_a_candidate_that_was_never_sampled_is_not_judged() -> None:
    candidates = [Candidate("p0/a0", "p0", 0, "", 0, "too_long"),
                  Candidate("p0/a1", "p0", 1, "cut answ", 2, "length")]  # fmt: skip
    chosen = subjects([Prompt("p0", "Why?", None, 0)], candidates, None, seed=0)
    assert chosen == [JudgedAnswer("p0/a1", "p0", "Why?", "cut answ")]
