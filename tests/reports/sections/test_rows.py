from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core.reader import RunReader
from core.records import (
    Candidate,
    Flag,
    ItemScore,
    Judgment,
    Prompt,
    PromptCall,
    RankedPrompt,
    Reply,
    TurnJudgment,
)
from core.stages import Ref, Stage, evaluation_ref
from reports.sections import groups
from reports.sections.items import excerpt, key_order, text_or_note
from tests.reports.runs import RunBuilder
from tests.reports.trained import ledger

if TYPE_CHECKING:
    from pathlib import Path

    from reports.document import Item, RowGroup

HOSTILE = "</pre><script>alert(1)</script> {{x}} \\textbf{y} | `z`"


def parts(item: Item) -> dict[str, str]:
    return dict(item.parts)


def only(results: RunReader, key: str) -> Item:
    (item,) = groups(results)[key].items
    return item


def test_a_run_without_artifacts_has_no_rows(tmp_path: Path) -> None:
    assert groups(RunBuilder(tmp_path).open()) == {}


def item_score(key: str, **metrics: float) -> ItemScore:
    task, _, number = key.partition("/")
    return ItemScore(key, task, number, metrics, {"text": "t", "target": "u", "prediction": {}})


def test_many_rows_are_cut_in_the_order_of_their_keys_and_counted_in_full(tmp_path: Path) -> None:
    rows = [item_score(f"piqa/{n}", acc=1.0) for n in (10, 2, 0, 1, 11)]
    ref = evaluation_ref("M1/nlp/piqa", Stage.ITEMS)
    found = groups(RunBuilder(tmp_path).rows(ref, rows).open(), most=3)["M1/nlp/piqa"]
    # As numbers, not as text: 2 before 10.
    assert [item.key for item in found.items] == ["piqa/0", "piqa/1", "piqa/2"]
    assert (found.total, found.artifact) == (5, "eval/M1/nlp/piqa/items")


def test_keys_are_ordered_by_the_numbers_in_them() -> None:
    assert sorted(["c10/t0", "c2/t1", "c2/t0", "b"], key=key_order) == [
        "b", "c2/t0", "c2/t1", "c10/t0",
    ]  # fmt: skip


def test_choices_name_the_right_one_and_the_model_s(tmp_path: Path) -> None:
    detail = {
        "choices": ["one", "two", "three"],
        "logprobs": [-3.0, -1.0, -2.0],
        "target": 2,
        "prediction": 1,
        "prediction_norm": 2,
    }
    row = ItemScore("piqa/0", "piqa", "0", {"acc": 0.0, "acc_norm": 1.0}, detail)
    ref = evaluation_ref("M1/nlp/piqa", Stage.ITEMS)
    item = only(RunBuilder(tmp_path).rows(ref, [row]).open(), "M1/nlp/piqa")
    assert item.cells == ("piqa 0", "wrong", "right")
    assert item.parts == (
        (
            "Choices with log-probabilities",
            "one (−3.00)\ntwo (−1.00) ← the most probable\n"
            "three (−2.00) ← the right answer, the most probable per character",
        ),
    )


def test_generated_text_stands_with_how_it_was_read_and_what_is_right(tmp_path: Path) -> None:
    detail = {
        "text": "12 km",
        "target": ["12", "twelve"],
        "prediction": {"strict": "", "loose": "12"},
    }
    row = ItemScore("nq/0", "nq", "0", {"exact_match,loose": 1.0}, detail)
    ref = evaluation_ref("M1/nlp/nq", Stage.ITEMS)
    item = only(RunBuilder(tmp_path).rows(ref, [row]).open(), "M1/nlp/nq")
    assert item.parts == (
        ("Generated text", "12 km"),
        ("Read as (strict)", "(nothing)"),
        ("Read as (loose)", "12"),
        ("Right answer", "12\ntwelve"),
    )


def test_an_item_without_a_metric_is_missing_and_not_wrong(tmp_path: Path) -> None:
    rows = [item_score("nq/0", acc=1.0), item_score("nq/1", acc=0.0, other=0.5)]
    ref = evaluation_ref("M1/nlp/nq", Stage.ITEMS)
    found = groups(RunBuilder(tmp_path).rows(ref, rows).open())["M1/nlp/nq"]
    assert found.columns == ("item", "acc", "other")
    assert [item.cells[1:] for item in found.items] == [("right", "missing"), ("wrong", "0.50")]


def test_a_grade_shows_what_the_judge_was_shown_and_said(tmp_path: Path) -> None:
    who = ("M1", "gpt-4", "single-v1")
    rows = [
        TurnJudgment("81/t1/j0", 81, "writing", 1, 0, *who, "shown", HOSTILE, 7.0, None),
        TurnJudgment("81/t2/j0", 81, "writing", 2, 0, *who, "shown", "", None, "empty"),
    ]
    ref = evaluation_ref("M1/mt_bench", Stage.TURN_JUDGMENTS)
    one, two = groups(RunBuilder(tmp_path).rows(ref, rows).open())["M1/mt_bench"].items
    assert one.cells == ("81", "1", "1", "writing", "7.00")
    # Words of models and judges are handed on as they are: escaping is the formats' work.
    assert parts(one)["The judge's reply (gpt-4)"] == HOSTILE
    assert parts(one)["What the judge was shown (single-v1)"] == "shown"
    assert two.cells[-1] == "no score: empty"


def judgments(key: str, prompt: str, *scores: float | None) -> list[Judgment]:
    return [
        Judgment(
            f"{key}/j{n}", key, prompt, n, f"words {n}", score,
            None if score is not None else "no_score", 1,
        )
        for n, score in enumerate(scores)
    ]  # fmt: skip


def test_replies_stand_in_the_humans_order_with_mean_and_words(tmp_path: Path) -> None:
    replies = (Reply("p/r0", "worse", 1), Reply("p/r1", "better", 0), Reply("p/r2", "worst", 2))
    built = RunBuilder(tmp_path).rows(
        Ref(1, Stage.RANKED), [RankedPrompt("p", "question", replies, "eval")]
    )
    rows = [*judgments("p/r0", "p", 3.0, 4.0, None), *judgments("p/r1", "p", None)]
    ref = evaluation_ref("M1/agreement", Stage.RANKED_JUDGMENTS)
    item = only(built.rows(ref, rows).open(), "M1/agreement")
    assert item.cells == ("question", "3", "–, 3.50, –")
    assert [heading for heading, _ in item.parts] == [
        "Prompt",
        "Reply ranked 1 by humans; mean score – (0 of 1 read)",
        "The judge's reply (no score: no_score)",
        "Reply ranked 2 by humans; mean score 3.50 (2 of 3 read)",
        "The judge's reply, reply 1 (score 3.00)",
        "The judge's reply, reply 2 (score 4.00)",
        "The judge's reply, reply 3 (no score: no_score)",
        "Reply ranked 3 by humans; mean score not judged",
        "The judge's reply",
    ]
    assert item.parts[1][1] == "better"


def test_probes_have_rows_of_their_own(tmp_path: Path) -> None:
    built = RunBuilder(tmp_path).rows(Ref(1, Stage.PROBE), judgments("p/r0", "p", 3.0))
    found = groups(built.open())
    assert list(found) == ["probe/M1"]
    assert found["probe/M1"].artifact == "iter1/probe"


def iteration(folder: Path) -> RunBuilder:
    """Iteration 2: two kept prompts with two candidates each, and a rejected prompt."""
    call = PromptCall("c0", 0, ("example one", "example two"), "the call's reply", 9, "stop")
    texts = [
        Prompt("c0/t0", "prompt c0/t0", None, 0),
        Prompt("c0/t1", "prompt c0/t1", None, 0),
        Prompt("c0/t2", "again", "similar_to_pool", 0, "an earlier one"),
    ]
    answers = [
        Candidate(f"c0/t{t}/a{a}", f"c0/t{t}", a, f"answer {t}{a}", 3, "length" if a else "stop")
        for t in (0, 1)
        for a in (0, 1)
    ]
    judged = [
        *judgments("c0/t0/a0", "c0/t0", 4.0, 4.0), *judgments("c0/t0/a1", "c0/t0", 2.0, None),
        *judgments("c0/t1/a0", "c0/t1", 3.0, 3.0), *judgments("c0/t1/a1", "c0/t1", 3.0, 3.0),
    ]  # fmt: skip
    pairs = [ledger("c0/t0", "pair", "answer 00", "answer 01"), ledger("c0/t1", "tie")]
    built = RunBuilder(folder).rows(Ref(2, Stage.PROMPT_CALLS), [call])
    built.rows(Ref(2, Stage.PROMPTS), texts).rows(Ref(2, Stage.CANDIDATES), answers)
    return built.rows(Ref(2, Stage.JUDGMENTS), judged).rows(Ref(2, Stage.PAIRS), pairs)


def test_a_prompt_shows_why_it_was_rejected_and_the_call_that_wrote_it(tmp_path: Path) -> None:
    found = groups(iteration(tmp_path).open())["prompts/iter2"]
    kept, _, rejected = found.items
    assert rejected.cells == ("again", "rejected: similar to pool", "0")
    assert parts(rejected)["Too similar to"] == "an earlier one"
    assert parts(kept)["The generation call: its output"] == "the call's reply"
    shown = parts(kept)["The generation call: its few-shot examples"]
    assert shown == "1. example one\n\n2. example two"
    # A rejected prompt became nothing.
    assert rejected.links == ()


def test_links_lead_from_prompt_to_pair_to_judgment_and_back(tmp_path: Path) -> None:
    found = groups(iteration(tmp_path).open())

    def follow(item: Item, label: str) -> Item:
        link = next(link for link in item.links if link.label.startswith(label))
        return next(row for row in found[link.group].items if row.key == link.row)

    prompt = found["prompts/iter2"].items[0]
    pair = follow(prompt, "Its outcome")
    assert pair.cells == ("prompt c0/t0", "pair", "4.00, 2.00", "4.00", "2.00")
    assert parts(pair)["Rejected (score 2.00)"] == "answer 01"
    chosen = follow(pair, "Candidate 1 (chosen)")
    assert chosen.cells == ("prompt c0/t0", "1", "4.00 (2 of 2 read)", "chosen")
    assert follow(chosen, "The resulting pair") == pair
    assert follow(follow(pair, "Candidate 2 (rejected)"), "The prompt") == prompt
    assert follow(pair, "The prompt") == prompt
    tie = found["pairs/iter2"].items[1]
    assert [link.label for link in tie.links[1:]] == [
        f"Candidate {n} (not used) and the judge's replies" for n in (1, 2)
    ]


def test_a_candidate_shows_every_judge_reply(tmp_path: Path) -> None:
    item = groups(iteration(tmp_path).open())["judgments/iter2"].items[1]
    assert item.cells[2] == "2.00 (1 of 2 read)"
    assert parts(item)["Answer"] == "answer 01"
    assert parts(item)["The judge's reply, reply 2 (no score: no_score)"] == "words 1"


def all_links_resolve(found: dict[str, RowGroup]) -> bool:
    shown = {(group.key, item.key) for group in found.values() for item in group.items}
    links = [link for group in found.values() for item in group.items for link in item.links]
    return bool(links) and all((link.group, link.row) in shown for link in links)


def test_no_link_leads_to_a_row_that_was_left_out(tmp_path: Path) -> None:
    results = iteration(tmp_path).open()
    assert all_links_resolve(groups(results))
    first = groups(results, most=1)
    assert all_links_resolve(first)
    assert [group.total for group in first.values()] == [3, 4, 2]
    # Of the pair's candidates only the first is shown.
    assert [link.row for link in first["pairs/iter2"].items[0].links] == ["c0/t0", "c0/t0/a0"]


def test_both_judges_words_stand_side_by_side(tmp_path: Path) -> None:
    built = iteration(tmp_path)
    ref = evaluation_ref("self_judge/iter2", Stage.EXTERNAL_JUDGMENTS)
    built.rows(ref, [*judgments("c0/t0/a0", "c0/t0", 1.0), *judgments("c0/t1/a1", "c0/t1", None)])
    generous, unread = groups(built.open())["self_judge/iter2"].items
    assert generous.cells == ("prompt c0/t0", "4.00", "1.00", "3.00")
    assert "M1's reply, reply 1 (score 4.00)" in parts(generous)
    assert "The external judge's reply (score 1.00)" in parts(generous)
    assert unread.cells[2:] == ("–", "–")
    assert generous.links == ()


def test_a_flag_shows_prompt_and_item(tmp_path: Path) -> None:
    flag = Flag("c0/x", "c0/t0", "the prompt", "gsm8k", "17", "the item", "rouge", 0.75)
    built = iteration(tmp_path).rows(evaluation_ref("contamination/iter2", Stage.FLAGS), [flag])
    item = only(built.open(), "contamination/iter2")
    assert item.cells == ("the prompt", "gsm8k", "17", "ROUGE-L", "0.75")
    assert parts(item) == {"Prompt": "the prompt", "The evaluation item": "the item"}


def test_every_row_of_a_real_run_has_a_cell_per_column(smoke_run: Path) -> None:
    found = groups(RunReader(smoke_run))
    assert {"prompts/iter2", "judgments/iter3", "pairs/iter3", "probe/M0"} <= found.keys()
    for group in found.values():
        assert all(len(item.cells) == len(group.columns) for item in group.items)
        assert len({item.key for item in group.items}) == len(group.items) == group.total
    assert all_links_resolve(found)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("", "(nothing)"), ("\n\n", "(white space only) '\\n\\n'"), (" a ", " a ")],
)
def test_empty_words_are_said_to_be_empty(text: str, shown: str) -> None:
    assert text_or_note(text) == shown


def test_an_excerpt_is_one_line_and_marked_where_it_is_cut() -> None:
    assert excerpt("a\n b\t c") == "a b c"
    assert excerpt("x" * 90) == "x" * 90
    assert excerpt("x" * 91) == "x" * 89 + "…"
    assert excerpt("word " * 100_000).endswith("…")
    assert excerpt("a" + " " * 1000 + "b") == "a…"
