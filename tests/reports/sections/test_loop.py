from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from core.reader import RunReader
from core.records import (
    AnswerLogProb,
    Candidate,
    Flag,
    JudgeExample,
    Judgment,
    Measurement,
    OrderAgreement,
    Prompt,
)
from core.stages import Ref, Stage, evaluation_ref, model_ref
from core.store import Built
from reports.sections.loop import data as data_tables
from reports.sections.loop import judging as judge_tables
from reports.sections.loop import sections, seed
from reports.sections.loop import training as curves
from reports.sections.loop import training as training_log
from tests.reports.runs import RunBuilder, score
from tests.reports.trained import ledger, trained

if TYPE_CHECKING:
    from pathlib import Path

    from reports.document import Table

BETA = 0.1


def cells(table: Table | None, label: str) -> list[float | str | None]:
    """Return the values (or words, or reasons) of one line of a table."""
    assert table is not None
    row = next(row for row in table.rows if row.label == label)
    return [c.value if c.value is not None else c.text or c.reason for c in row.cells]


def prompts(*rejected: str | None) -> list[Prompt]:
    return [Prompt(f"c{n}/t0", f"text {n}", why, n) for n, why in enumerate(rejected)]


def test_prompts_are_counted_by_why_they_were_rejected(tmp_path: Path) -> None:
    rows = prompts(None, "too_short", "similar_to_pool", None, "too_short")
    table = data_tables.prompts(RunBuilder(tmp_path).rows(Ref(2, Stage.PROMPTS), rows).open(), 2)
    assert cells(table, "kept") == [2, 40.0]
    assert cells(table, "rejected: too short") == [2, 40.0]
    assert cells(table, "rejected: similar to pool") == [1, 20.0]
    assert cells(table, "written in all") == [5, 100.0]
    assert {cell.rows for row in table.rows for cell in row.cells} == {"prompts/iter2", ""}


def test_outcomes_of_the_ledger_add_up_to_the_kept_prompts(tmp_path: Path) -> None:
    built = RunBuilder(tmp_path).rows(Ref(2, Stage.PROMPTS), prompts(None, None, None, "empty"))
    rows = [ledger("c0/t0", "pair"), ledger("c1/t0", "tie"), ledger("c2/t0", "tie")]
    table = data_tables.ledger(built.rows(Ref(2, Stage.PAIRS), rows).open(), 2)
    assert cells(table, "pair") == [1, pytest.approx(100 / 3)]
    assert cells(table, "tie") == [2, pytest.approx(200 / 3)]
    assert cells(table, "prompts in all") == [3, 100.0]
    assert table.notes == ("The outcomes add up to the 3 kept prompts.",)


def test_a_ledger_that_lacks_a_prompt_says_so(tmp_path: Path) -> None:
    built = RunBuilder(tmp_path).rows(Ref(2, Stage.PROMPTS), prompts(None, None))
    table = data_tables.ledger(built.rows(Ref(2, Stage.PAIRS), [ledger("c0/t0", "tie")]).open(), 2)
    assert table.notes == ("The outcomes are 1, not the 2 kept prompts.",)


def test_the_score_gap_of_pairs_says_whose_answers_they_are(tmp_path: Path) -> None:
    # The ledger's pairs have 4 against 2: a gap of 2. One has 5 against 1.
    own = replace(ledger("a", "pair"), chosen_by="M2", rejected_by="M2")
    past = replace(own, key="b", rejected_by="M1", chosen_score=5.0, rejected_score=1.0)
    built = RunBuilder(tmp_path).rows(Ref(3, Stage.PAIRS), [own, past, ledger("c", "tie")])
    table = data_tables.gaps(built.open(), 3)
    assert cells(table, "all pairs") == [2, 3.0]
    assert cells(table, "chosen of M2, rejected of M1") == [1, 4.0]
    assert cells(table, "chosen of M2, rejected of M2") == [1, 2.0]
    plain = RunBuilder(tmp_path / "plain").rows(Ref(2, Stage.PAIRS), [ledger("a", "pair")])
    assert [row.label for row in data_tables.gaps(plain.open(), 2).rows] == ["all pairs"]


def test_lengths_are_in_characters_and_paired(tmp_path: Path) -> None:
    answers = [
        Candidate("p/a0", "p", 0, "x" * 30, 1, "length"),
        Candidate("p/a1", "p", 1, "x" * 10, 1, "stop"),
        Candidate("q/a0", "q", 0, "", 0, "too_long"),
    ]
    pairs = [ledger("p", "pair", "x" * 30, "x" * 10), ledger("q", "pair", "x" * 50, "x" * 20)]
    built = RunBuilder(tmp_path).rows(Ref(2, Stage.CANDIDATES), answers)
    table = data_tables.lengths(built.rows(Ref(2, Stage.PAIRS), pairs).open(), 2)
    # One of the two answers is cut by the token limit: 50 %.
    assert cells(table, "candidates") == [20.0, 50.0]
    assert cells(table, "chosen") == [40.0, 0.0]
    assert cells(table, "rejected") == [15.0, 0.0]
    # 20 and 30 characters longer.
    assert cells(table, "chosen − rejected (paired)")[0] == 25.0


def test_checkpoints_are_told_with_wins_ties_losses_and_gaps(tmp_path: Path) -> None:
    def verdict(step: int, winner: str | None) -> dict[str, object]:
        return {"kind": "verdict", "step": step, "verdict": {"winner": winner}}

    answers: list[dict[str, object]] = [{"kind": "answer", "step": n} for n in (200, 400)]
    verdicts = [verdict(400, winner) for winner in ("B", "B", "tie", "A", None)]
    log = [*answers, *verdicts]
    results = trained(RunBuilder(tmp_path), [0.1], kept=400, log=log).open()
    table = curves.early_stopping(results, 2)
    # B is the later checkpoint. 2 better and 1 worse: the exact sign test gives 1.
    assert cells(table, "step 400") == ["step 200", 2, 1, 1, 1, 1.0, "kept"]
    assert cells(table, "step 200")[0] == "none: the first"
    without = trained(RunBuilder(tmp_path / "b"), [0.1]).open()
    assert curves.early_stopping(without, 2) is None


def test_whether_the_kept_checkpoint_beats_its_start_is_told(tmp_path: Path) -> None:
    log: list[dict[str, object]] = [{"kind": "answer", "step": n} for n in (0, 200)]
    for strength, words in ((-0.5, "not better than M1: log-odds -0.50"), (1.0, "better than M1")):
        run = trained(RunBuilder(tmp_path / words), [0.1], kept=200, strength=strength, log=log)
        table = curves.early_stopping(run.open(), 2)
        assert table is not None
        assert table.notes[1:] == (
            "Step 0 is M1, from which training starts.",
            f"The kept step is judged {words.split(':')[0]}: log-odds {strength:.2f} along the "
            "chain.",
        )


def test_health_stands_beside_its_limits_and_a_broken_one_is_said(tmp_path: Path) -> None:
    measured = [
        Measurement("parse_rate", 0.25, 120, {"no_score": 80.0, "empty": 10.0}),
        Measurement("score_mean", 3.0, 30),
        Measurement("score_entropy_bits", 2.0, 30),
        Measurement("tie_rate", None, 0),
        Measurement("draw_variance", 1.0, 10),
        Measurement("length_correlation", 0.1, 30),
    ]
    built = RunBuilder(tmp_path).config(health={"min_parse_rate": 0.5})
    results = built.rows(Ref(2, Stage.HEALTH), measured).open()
    table = judge_tables.health(results, 2)
    assert cells(table, "share of replies with a readable score") == [0.25, "≥ 0.5"]
    assert cells(table, "share of prompts with all scores tied") == ["nothing to measure", "≤ 0.9"]
    assert table.notes[0] == "Unreadable replies by reason: no score 80, empty 10."
    (said,) = judge_tables.broken_limits(results, 2)
    assert said.startswith(
        "M1 as a judge breaks a limit: readable judge replies: 25.0% (limit 50%)"
    )


def agreeing(built: RunBuilder) -> RunReader:
    """Three prompts: the same order, the reverse, none by one of the judges."""
    texts = [Prompt(key, f"text {key}", None, 0) for key in "pqr"]
    answers = [
        Candidate(f"{key}/a{draw}", key, draw, f"{key}{draw}", 1, "stop")
        for key in "pqr"
        for draw in (0, 1)
    ]
    scores = {
        Stage.JUDGMENTS: {"p": (1, 2), "q": (1, 2), "r": (1, 2)},
        Stage.PREVIOUS_JUDGMENTS: {"p": (3, 4), "q": (4, 3), "r": (5, 5)},
    }
    for stage, each in scores.items():
        rows = [
            Judgment(f"{key}/a{draw}/j0", f"{key}/a{draw}", key, 0, "", float(score), None, 1)
            for key, both in each.items()
            for draw, score in enumerate(both)
        ]
        built.rows(Ref(2, stage), rows)
    found = [("p", 1.0), ("q", -1.0), ("r", None)]
    built.rows(Ref(2, Stage.CONSISTENCY), [OrderAgreement(key, tau, 2) for key, tau in found])
    built.rows(Ref(2, Stage.HEALTH), [Measurement("parse_rate", 1.0, 6)])
    return built.rows(Ref(2, Stage.PROMPTS), texts).rows(Ref(2, Stage.CANDIDATES), answers).open()


def test_consistency_with_the_model_before_stands_with_the_judges_health(tmp_path: Path) -> None:
    results = agreeing(RunBuilder(tmp_path))
    name = "consistency with M0's order of the same answers, (τ + 1)/2"
    table = judge_tables.health(results, 2)
    # C of the two prompts that both put in an order: (1 + 0)/2; the third is missing, not 0.
    (row,) = (row for row in table.rows if row.label == name)
    cell = row.cells[0]
    assert (cell.value, cell.n, cell.missing) == (0.5, 2, 1)
    assert cell.low is not None
    assert cell.high is not None
    assert cell.low < 0.5 < cell.high
    shown = judge_tables.consistency_rows(results, 2, 10)
    assert shown is not None
    assert shown.key == cell.rows
    assert [item.cells for item in shown.items] == [
        ("text p", "1.00", "1.00, 2.00", "3.00, 4.00"),
        ("text q", "−1.00", "1.00, 2.00", "4.00, 3.00"),
        ("text r", "–", "1.00, 2.00", "5.00, 5.00"),
    ]


def test_a_run_that_did_not_compare_judges_shows_no_consistency(tmp_path: Path) -> None:
    results = RunBuilder(tmp_path).rows(Ref(2, Stage.HEALTH), [Measurement("x", 1.0, 1)]).open()
    assert judge_tables.consistency(results, 2) is None
    assert judge_tables.consistency_rows(results, 2, 10) is None


def test_the_confidence_of_a_pair_is_shown_with_it(tmp_path: Path) -> None:
    sure = replace(ledger("a", "pair", "x", "y"), confidence=0.75)
    results = RunBuilder(tmp_path).rows(Ref(2, Stage.PAIRS), [sure, ledger("b", "pair")]).open()
    (found,) = data_tables.rows(results, 2, 10)
    parts = [dict(item.parts) for item in found.items]
    assert [part.get("Probability that this order is right") for part in parts] == ["0.75", None]


def test_the_share_of_pairs_that_the_implicit_reward_confirms_is_said(tmp_path: Path) -> None:
    built = RunBuilder(tmp_path).rows(Ref(2, Stage.PROMPTS), prompts(*[None] * 4))
    rows = [ledger("a", "pair", "x", "y"), ledger("b", "reward_disagrees"), ledger("c", "tie")]
    built.rows(Ref(2, Stage.PAIRS), [*rows, ledger("d", "reward_disagrees")])
    (note,) = data_tables.ledger(built.open(), 2).notes
    assert "implicit" not in note  # the filter was off
    built.rows(Ref(2, Stage.IMPLICIT_REWARDS), [AnswerLogProb("k", "k", "current", -1.0, 1)])
    table = data_tables.ledger(built.open(), 2)
    assert cells(table, "reward disagrees")[0] == 2
    assert table.notes[1] == (
        "The implicit reward, log M1/M0, orders 1 of 3 pairs by score, 33%, as the judge does; the "
        "others were left out."
    )


def test_flagged_prompts_are_listed_and_counted(tmp_path: Path) -> None:
    flags = [
        Flag(f"c{n}/x", f"c{n}", "text", "gsm8k", str(n), "t", "ngram", 3.0) for n in range(30)
    ]
    address = "contamination/iter2"
    built = RunBuilder(tmp_path).rows(evaluation_ref(address, Stage.FLAGS), flags)
    detail = {
        "flagged": {"gsm8k": 30},
        "compared": {"gsm8k": 1319, "mt_bench": 80},
        "left_out": ["alpaca_eval", "mmlu"],
    }
    built.scores(address, score("flagged", 60.0, 50, detail=detail))
    results = built.open()
    sets = (
        "Compared with: gsm8k (1319 items), mt_bench (80 items). Not compared, because their items "
        "are on the hub: alpaca_eval, mmlu."
    )
    shares, listed = judge_tables.contamination(results, 2)
    assert shares.notes == (sets,)
    assert len(listed.rows) == 20
    assert listed.notes[-1] == "The first 20 of 30."
    assert judge_tables.flagged_by_benchmark(results, 2) == (
        f"Contamination: 30 of 50 kept prompts overlap with an evaluation item (gsm8k 30). {sets}"
    )


def test_long_curves_are_averaged_and_keep_their_mean_and_end() -> None:
    curve = training_log.Curve(list(range(1, 1001)), [float(n) for n in range(1, 1001)])
    thin = curve.thinned()
    assert len(thin.steps) == len(thin.values) <= 400
    assert thin.steps[-1] == 1000
    assert thin.values[0] == 2.0  # the mean of 1, 2 and 3
    assert curve.ends == (125.5, 875.5)
    assert training_log.Curve([1, 2], [3.0, 4.0]).thinned() == ([1, 2], [3.0, 4.0])


def test_values_that_are_not_finite_are_no_points(tmp_path: Path) -> None:
    results = trained(RunBuilder(tmp_path), [0.1, float("nan"), float("inf"), 0.4]).open()
    assert training_log.curves(results, model_ref(2))["rewards/chosen"] == ([1, 4], [0.1, 0.4])


def judged(key: str, *points: float | None) -> list[Judgment]:
    return [
        Judgment(f"{key}/j{n}", key, "p", n, "r", point, None if point is not None else "empty", 1)
        for n, point in enumerate(points)
    ]


def test_the_histogram_counts_candidates_and_not_replies(tmp_path: Path) -> None:
    rows = [*judged("p/a0", 5.0, 4.0), *judged("p/a1", 1.0, None), *judged("p/a2", None, None)]
    built = RunBuilder(tmp_path).rows(Ref(2, Stage.JUDGMENTS), rows)
    found = curves.of_scores(built.rows(Ref(2, Stage.PAIRS), [ledger("p", "pair")]).open(), 2)
    assert found is not None
    # Means 4.5 and 1.0; the third has none and is no 0.
    assert found.description == (
        "Candidates by mean score, to the nearest half point: 1.0: 1, 4.5: 1. "
        "Mean 2.75 (n = 2, 1 without a score)."
    )


def test_scores_without_bounds_and_of_a_lost_rubric_have_a_histogram_of_their_own_range(
    tmp_path: Path,
) -> None:
    rows = [*judged("p/a0", -3.0), *judged("p/a1", 9.0), *judged("p/a2", 8.9)]
    ref, pairs = Ref(2, Stage.JUDGMENTS), Ref(2, Stage.PAIRS)
    ways: tuple[tuple[dict[str, object], dict[str, object]], ...] = (
        ({"scale": None}, {}),  # a reward model
        ({}, {"judge.rubric": "/nowhere/mine.md"}),  # made before its file went
    )
    for name, (facts, config) in zip("ab", ways, strict=True):
        built = RunBuilder(tmp_path / name)
        built.rows(ref, rows, config=dict(config), built=Built(facts=dict(facts)))
        found = curves.of_scores(built.rows(pairs, [ledger("p", "pair")]).open(), 2)
        assert found is not None
        # Steps of (9 + 3) / 12 = 1 from the lowest: 8.9 is nearest to 9.
        assert found.description == (
            "Candidates by mean score, to the nearest 12th of the range: −3.0: 1, 9.0: 2. "
            "Mean 4.97 (n = 3, 0 without a score)."
        )
    own = RunBuilder(tmp_path / "c").rows(ref, rows[1:], built=Built(facts={"scale": [1, 10]}))
    found = curves.of_scores(own.rows(pairs, [ledger("p", "pair")]).open(), 2)
    assert found is not None and "nearest half point: 9.0: 2" in found.description


def test_who_judged_is_named_as_people_know_them(tmp_path: Path) -> None:
    ref = Ref(2, Stage.JUDGMENTS)
    for at, (name, shown) in enumerate(
        (
            ("self", "M1"),
            ("M0", "M0"),
            ("/models/Skywork-Reward", "Skywork-Reward"),
            ("verifier", "A program that knows what is right"),
            ("external", "gpt-4"),
        )
    ):
        built = Built(facts={"judge": "gpt-4"} if name == "external" else {})
        run = RunBuilder(tmp_path / str(at))
        run.rows(ref, judged("p/a0", 1.0), config={"improvement.judge": name}, built=built)
        assert data_tables.own_judge(run.open(), 2) == shown


def test_imported_results_have_no_training_story(tmp_path: Path) -> None:
    assert sections(RunBuilder(tmp_path).scores("M1/alpaca_eval").open()) == []


def test_the_story_of_a_real_run_counts_what_its_artifacts_hold(smoke_run: Path) -> None:
    results = RunReader(smoke_run)
    one, two, three = sections(results)
    assert (one.key, two.key, three.key) == ("iteration_1", "iteration_2", "iteration_3")
    tables = {table.key: table for section in (one, two, three) for table in section.tables}
    for k in (2, 3):
        kept = results.manifest(Ref(k, Stage.PROMPTS)).counts["kept"]
        pairs = results.manifest(Ref(k, Stage.PAIRS)).counts["pair"]
        assert cells(tables[f"iteration_{k}_prompts"], "kept")[0] == kept
        assert cells(tables[f"iteration_{k}_pairs"], "pair")[0] == pairs
        assert cells(tables[f"iteration_{k}_pairs"], "prompts in all")[0] == kept
    drawn = [figure.key for section in (two, three) for figure in section.figures]
    assert drawn == [f"iteration_{k}_{what}" for k in (2, 3) for what in ("scores", "training")]
    assert cells(tables["iteration_1_data"], "IFT examples") == [
        results.manifest(Ref(1, Stage.IFT)).rows
    ]
    # Nothing was evaluated: said, not left out.
    assert "Self-judge against the external judge: unknown; not evaluated yet." in (two.paragraphs)
    assert sections(RunReader(smoke_run)) == [one, two, three]


def test_an_unfinished_iteration_names_what_is_missing(tmp_path: Path) -> None:
    built = RunBuilder(tmp_path).config().rows(Ref(1, Stage.IFT), [])
    results = built.rows(Ref(2, Stage.PROMPTS), prompts(None, "empty")).open()
    first, second = sections(results)
    assert "Not made yet: iter1/ranked, iter1/sft, iter1/eft, iter1/model." in first.paragraphs
    assert "M0 wrote 2 prompts, of which 1 were kept." in second.paragraphs[0]
    assert second.paragraphs[1] == (
        "The iteration is not finished; not made yet: iter2/candidates, iter2/judgments, "
        "iter2/health, iter2/pairs, iter2/model."
    )
    assert [table.key for table in second.tables] == ["iteration_2_prompts"]


def test_fewer_eft_examples_than_asked_for_are_named(tmp_path: Path) -> None:
    examples = [JudgeExample(f"e{i}", "p", "r", "t", 3.0, "constructed") for i in range(2)]
    ref = Ref(1, Stage.EFT)
    for wanted, named in ((3, 1), (2, 0)):
        run = RunBuilder(tmp_path / str(wanted)).rows(Ref(1, Stage.IFT), []).rows(ref, examples)
        run.config(eft={"selection": {"max_examples": wanted}})
        text = " ".join(sections(run.open())[0].paragraphs)
        assert text.count("2 EFT examples, fewer than the 3 asked for") == named


def test_the_yield_of_eft_by_construction_is_told_by_reason(tmp_path: Path) -> None:
    counts = {"replies": 8, "dropped_unparsed": 5, "dropped_order_disagrees": 1, "kept": 2}
    ref = Ref(1, Stage.EFT_CONSTRUCTED)
    results = RunBuilder(tmp_path).rows(ref, [], built=Built(counts=counts)).open()
    table = seed._construction(results)
    assert cells(table, "kept") == [2, 25.0]
    assert cells(table, "dropped: order disagrees") == [1, 12.5]
    assert cells(table, "replies judged") == [8, 100.0]


def test_probes_say_how_m0_and_m1_judge(tmp_path: Path) -> None:
    built = RunBuilder(tmp_path).rows(Ref(0, Stage.PROBE), judged("r", None, None))
    table = seed._judging(built.rows(Ref(1, Stage.PROBE), judged("r", 4.0, None)).open())
    assert cells(table, "M0, evaluation split") == [0.0, "no reply could be read", "empty 2"]
    assert cells(table, "M1, evaluation split") == [50.0, 4.0, "empty 1"]
