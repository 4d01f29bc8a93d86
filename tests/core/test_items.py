from __future__ import annotations

from pathlib import Path

import pytest

from core.reader import RunReader
from core.records import (
    Annotation,
    ItemScore,
    Judgment,
    RankedPrompt,
    Reply,
    TurnJudgment,
    Verdict,
)
from core.stages import Ref, Stage, evaluation_ref
from core.store import Built, Key, Store


def put(folder: Path, ref: Ref, *rows: object) -> None:
    with Store(folder).begin(ref, Key({}, {}, 0)) as out:
        for row in rows:
            out.add(row)  # type: ignore[arg-type]
        out.commit(lambda row: row.key, Built())


def opened(folder: Path) -> RunReader:
    (folder / "eval").mkdir(parents=True, exist_ok=True)
    return RunReader(folder)


def annotation(key: str, preference: float | None) -> Annotation:
    missing = None if preference is not None else "failed"
    return Annotation(key, key, "a", "b", "ref", "M1", "judge", preference, missing, "")


def test_an_alpaca_item_is_its_preference_in_percent(tmp_path: Path) -> None:
    rows = [annotation("p1", 2.0), annotation("p2", 1.25), annotation("p3", 0.0)]
    ref = evaluation_ref("M1/alpaca_eval", Stage.ANNOTATIONS)
    put(tmp_path, ref, *rows, annotation("p4", None))
    found = opened(tmp_path).items("M1/alpaca_eval")["win_rate"]
    # The package writes a draw as 0; an annotation that failed is no item.
    assert found.values == {"p1": 100.0, "p2": 25.0, "p3": 50.0}
    assert found.scale == (0.0, 100.0)
    assert found.clusters is None


def test_a_head_to_head_item_needs_both_orders(tmp_path: Path) -> None:
    def order(key: str, winner: str | None) -> Verdict:
        prompt = key.split("/", maxsplit=1)[0]
        return Verdict(key, prompt, "M2", "M1", winner, None if winner else "no_json")  # type: ignore[arg-type]

    ref = evaluation_ref("head_to_head/M2-M1", Stage.VERDICTS)
    put(
        tmp_path, ref,
        order("p1/ab", "A"), order("p1/ba", "A"),  # agreed: M2 wins
        order("p2/ab", "A"), order("p2/ba", "B"),  # disagreed: a tie
        order("p3/ab", "B"), order("p3/ba", None),  # one unread: no item
        order("p4/ab", "B"), order("p4/ba", "B"),
    )  # fmt: skip
    found = opened(tmp_path).items("head_to_head/M2-M1")["net"]
    assert found.values == {"p1": 100.0, "p2": 0.0, "p4": -100.0}


def test_two_turns_of_a_question_are_one_cluster(tmp_path: Path) -> None:
    def graded(question: int, turn: int, score: float | None) -> TurnJudgment:
        key = f"{question}/{turn}"
        why = None if score else "no_rating"
        return TurnJudgment(
            key, question, "math", turn, 0, "M1", "judge", "single-v1", "", "", score, why
        )

    ref = evaluation_ref("M1/mt_bench", Stage.TURN_JUDGMENTS)
    put(tmp_path, ref, graded(81, 1, 7.0), graded(81, 2, 4.0), graded(82, 1, None))
    found = opened(tmp_path).items("M1/mt_bench")["overall"]
    assert found.values == {"81/1/0": 7.0, "81/2/0": 4.0}
    assert found.clusters == {"81/1/0": "81", "81/2/0": "81"}


def test_mmlus_macro_average_is_the_mean_of_its_weighed_items(tmp_path: Path) -> None:
    # a: 1 of 1 right; b: 1 of 3. Micro 2/4; macro (1 + 1/3) / 2 = 2/3. Weights 4/(2·1), 4/(2·3).
    ref = evaluation_ref("M1/nlp/mmlu", Stage.ITEMS)
    right = {"mmlu_a/0": 1.0, "mmlu_b/0": 1.0, "mmlu_b/1": 0.0, "mmlu_b/2": 0.0}
    rows = [ItemScore(k, k[:6], k[7:], {"acc": v}, {}) for k, v in right.items()]
    put(tmp_path, ref, *rows)
    found = opened(tmp_path).items("M1/nlp/mmlu")
    assert sum(found["acc"].values.values()) / 4 == 50.0
    macro = found["acc_macro"]
    assert macro.values["mmlu_a/0"] == 200.0
    assert sum(macro.values.values()) / 4 == pytest.approx(200 / 3)
    assert macro.scale == (0.0, 200.0)


def test_a_metric_that_is_no_share_is_not_in_percent(tmp_path: Path) -> None:
    ref = evaluation_ref("M1/nlp/truthfulqa_gen", Stage.ITEMS)
    rows = [ItemScore(f"t/{v}", "t", str(v), {"bleu": v}, {}) for v in (-3.0, 31.0)]
    put(tmp_path, ref, *rows)
    found = opened(tmp_path).items("M1/nlp/truthfulqa_gen")["bleu"]
    assert (found.values, found.scale) == ({"t/-3.0": -3.0, "t/31.0": 31.0}, (-3.0, 31.0))


def test_an_nlp_item_has_every_metric_of_its_task(tmp_path: Path) -> None:
    ref = evaluation_ref("M1/nlp/piqa", Stage.ITEMS)
    put(
        tmp_path, ref,
        ItemScore("piqa/0", "piqa", "0", {"acc": 1.0, "acc_norm": 0.0}, {}),
        ItemScore("piqa/1", "piqa", "1", {"acc": 0.0, "acc_norm": 0.0}, {}),
    )  # fmt: skip
    found = opened(tmp_path).items("M1/nlp/piqa")
    assert found["acc"].values == {"piqa/0": 100.0, "piqa/1": 0.0}
    assert found["acc_norm"].values == {"piqa/0": 0.0, "piqa/1": 0.0}


def test_pairs_of_replies_count_ties_as_half_and_leave_out_the_unscored(tmp_path: Path) -> None:
    replies = tuple(Reply(f"r{n}", "text", rank) for n, rank in enumerate([0, 1, 1, 2]))
    put(tmp_path, Ref(1, Stage.RANKED), RankedPrompt("q", "?", replies, "eval"))

    def judged(reply: str, score: float | None) -> Judgment:
        return Judgment(f"{reply}/j0", reply, "q", 0, "", score, None if score else "no_score", 1)

    ref = evaluation_ref("M1/agreement", Stage.RANKED_JUDGMENTS)
    put(tmp_path, ref, judged("r0", 4.0), judged("r1", 4.0), judged("r2", 5.0), judged("r3", None))
    found = opened(tmp_path).items("M1/agreement")
    # r0 is ranked above r1 (tied scores: half) and r2 (wrong way round); r1 and r2 share a rank;
    # r3 has no score.
    assert found["pairwise_accuracy/ties_half"].values == {"r0 > r1": 50.0, "r0 > r2": 0.0}
    assert found["pairwise_accuracy/ties_half"].clusters == {"r0 > r1": "q", "r0 > r2": "q"}
    assert found["parse_rate"].values == {"r0/j0": 1.0, "r1/j0": 1.0, "r2/j0": 1.0, "r3/j0": 0.0}


@pytest.mark.parametrize("benchmark", ["self_judge", "contamination"])
def test_benchmarks_that_are_no_mean_over_items_have_none(tmp_path: Path, benchmark: str) -> None:
    assert opened(tmp_path).items(f"{benchmark}/iter2") == {}
