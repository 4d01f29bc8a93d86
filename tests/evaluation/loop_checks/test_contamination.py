from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from core.evaluation_config import ContaminationSection
from core.records import Flag
from core.stages import Stage, evaluation_ref
from core.store import Built, Key, Store
from evaluation.benchmark import EvaluationItem
from evaluation.loop_checks.contamination import (
    find_overlaps,
    scores,
    shared_ngrams,
    similar_texts,
    words,
)

SECTION = ContaminationSection()
REF = evaluation_ref("contamination/iter2", Stage.FLAGS)
TEXT = "one two three four five six seven eight nine ten"


def ngrams(prompt: str, item: str, n: int = 8) -> float | None:
    """The amount that the pair shares, None for no overlap."""
    found = list(shared_ngrams([prompt], [item], SECTION.model_copy(update={"ngram": n})))
    assert len(found) <= 1
    return found[0].amount if found else None


def find(store: Store, prompts: list[tuple[str, str]], items: list[EvaluationItem]) -> Built:
    with store.begin(REF, Key({}, {}, 0)) as out:
        built = find_overlaps(prompts, items, SECTION, out)
        out.commit(lambda row: row.key, built)
    return built


def test_the_amount_counts_the_ngrams_in_common() -> None:
    assert ngrams(TEXT, TEXT) == 3  # ten words hold three runs of eight
    assert ngrams(TEXT, f"before {TEXT} after") == 3
    assert ngrams(TEXT, TEXT.replace("five", "5")) is None  # no run of eight is left
    assert ngrams(TEXT, TEXT.replace("one", "1").replace("two", "2")) == 1


def test_case_punctuation_and_unicode_form_do_not_hide_an_overlap() -> None:
    assert ngrams(TEXT, TEXT.upper().replace(" ", ", ") + "!") == 3
    assert words("Café—ＡＢＣ, don't_stop") == ("café", "abc", "don", "t", "stop")
    assert ngrams("где находится самая высокая гора в мире сегодня",
                  "Где находится самая высокая гора в мире сегодня?") == 1  # fmt: skip


@pytest.mark.parametrize(
    ("short", "found"),
    [
        ("two three four five", 1),  # four words in a row of the other
        ("two three four", None),  # three are no evidence
        ("two three four six", None),  # not in a row
        ("two three four five six seven eight", 1),  # one short of eight
        ("", None),
    ],
)
def test_a_text_shorter_than_n_must_lie_in_the_other_as_a_whole(
    short: str, found: float | None
) -> None:
    assert ngrams(TEXT, short) == found
    assert ngrams(short, TEXT) == found


def test_two_equal_short_texts_match_and_two_different_ones_do_not() -> None:
    assert ngrams("what is the time", "What is the time?") == 1
    assert ngrams("what is the time", "what is the date") is None
    assert ngrams("what is the time now", "what is the time") == 1


WORDS = st.lists(st.sampled_from("abc"), max_size=9).map(" ".join)


@given(prompt=WORDS, item=WORDS, n=st.integers(1, 7))
@settings(max_examples=400)
def test_the_index_finds_what_comparing_every_run_finds(prompt: str, item: str, n: int) -> None:
    def runs(tokens: Sequence[str], size: int) -> set[tuple[str, ...]]:
        return {tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1)}

    a, b = prompt.split(), item.split()
    expected: int | None = len(runs(a, n) & runs(b, n)) or None
    size = min(len(a), len(b))
    if 4 <= size < n and runs(a, size) & runs(b, size):
        expected = 1
    assert ngrams(prompt, item, n) == expected


TEXTS = st.lists(st.lists(st.sampled_from("abcdef"), max_size=8).map(" ".join), max_size=6)


@given(prompts=TEXTS, items=TEXTS, threshold=st.sampled_from([0.3, 0.5, 0.7, 1.0]))
@settings(max_examples=200, deadline=None)
def test_pruning_loses_no_pair_that_rouge_score_finds(
    prompts: list[str], items: list[str], threshold: float
) -> None:
    scorer = RougeScorer(["rougeL"])
    expected = {
        (p, i)
        for p, prompt in enumerate(prompts)
        for i, item in enumerate(items)
        if scorer.score(item, prompt)["rougeL"].fmeasure >= threshold
    }
    section = SECTION.model_copy(update={"rouge_threshold": threshold})
    assert {(o.prompt, o.item) for o in similar_texts(prompts, items, section)} == expected


def test_flags_name_prompt_item_and_amount_and_counts_add_up(tmp_path: Path) -> None:
    prompts = [
        ("c0/t0", f"Say {TEXT}"),
        ("c0/t1", "Write a story about a cat."),
        ("c1/t0", "Name a river"),
    ]
    items = [
        EvaluationItem("gsm8k", "17", f"{TEXT} eleven twelve thirteen fourteen fifteen sixteen"),
        EvaluationItem("mt_bench", "81", "Write a story about the cat"),
        EvaluationItem("piqa", "0", "something else entirely different from all"),
    ]
    store = Store(tmp_path)
    built = find(store, prompts, items)
    assert built.counts == {
        "prompts": 3, "items": 3, "flagged": 2,
        "flagged_gsm8k": 1, "flagged_mt_bench": 1, "flagged_piqa": 0,
    }  # fmt: skip
    # Rouge of the first pair: 10 common of 11 and 16: 20/27 = 0.741; of the second: 10/12.
    flags: list[Flag] = store.read(REF)
    assert [(f.key, f.kind, f.overlap) for f in flags] == [
        ("c0/t0/ngram/gsm8k/17", "ngram", 3.0),
        ("c0/t0/rouge/gsm8k/17", "rouge", pytest.approx(20 / 27)),
        ("c0/t1/rouge/mt_bench/81", "rouge", pytest.approx(10 / 12)),
    ]
    assert (flags[0].prompt, flags[0].text) == (prompts[0][1], items[0].text)
    compared = {"gsm8k": 1, "mt_bench": 1, "piqa": 1}
    shares = {row.key: row for row in scores(flags, 3, compared=compared, left_out=["mmlu"])}
    assert shares["flagged"].value == pytest.approx(200 / 3)
    assert shares["flagged"].detail == {
        "flagged": {"gsm8k": 1, "mt_bench": 1},
        "compared": compared,
        "left_out": ["mmlu"],
    }
    assert shares["equal"].value == 0.0
    assert shares["ngram"].value == pytest.approx(100 / 3)
    assert shares["rouge"].value == pytest.approx(200 / 3)


@pytest.mark.parametrize(
    ("prompt", "item"),
    [
        ("请解释一下什么是光合作用。", "请解释一下什么是光合作用？"),
        ("日本の首都はどこですか", "日本の首都はどこですか？"),
        ("Кто ты?", "кто ты"),  # three words and more are needed for an n-gram
        ("ＷＨＯ are  you?!", "who are you"),
        ("किताब क्या है", "किताब क्या है?"),
        ("Say hi.", "say hi"),
    ],
)
def test_the_same_text_is_flagged_in_any_script_and_at_any_length(
    tmp_path: Path, prompt: str, item: str
) -> None:
    store = Store(tmp_path)
    built = find(store, [("p", prompt)], [EvaluationItem("mt_bench", "81", item)])
    assert built.counts["flagged"] == 1
    assert ("equal", 1.0) in [(flag.kind, flag.overlap) for flag in store.read(REF)]


@pytest.mark.parametrize(
    ("prompt", "item"),
    [("请解释光合作用", "请解释相对论"), ("का", "कि"), ("What is C++?", "What is C?"), ("", "!?")],
)
def test_another_text_is_not_the_same(tmp_path: Path, prompt: str, item: str) -> None:
    store = Store(tmp_path)
    find(store, [("p", prompt)], [EvaluationItem("mt_bench", "81", item)])
    assert "equal" not in {flag.kind for flag in store.read(REF)}


def test_a_killed_search_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    prompts = [(f"p{n}", f"{TEXT} {n}") for n in range(4)]
    items = [EvaluationItem("b", "0", TEXT)]
    whole, killed = Store(tmp_path / "whole"), Store(tmp_path / "killed")
    built = find(whole, prompts, items)

    with killed.begin(REF, Key({}, {}, 0)) as out:
        for row in whole.read(REF)[:3]:
            out.add(row)
    assert find(killed, prompts, items).counts == built.counts
    assert killed.paths.artifact(REF).read_bytes() == whole.paths.artifact(REF).read_bytes()


def test_nothing_checked_is_no_share(tmp_path: Path) -> None:
    assert find(Store(tmp_path), [], []).counts == {"prompts": 0, "items": 0, "flagged": 0}
    for row in scores([], 0, compared={}, left_out=[]):
        assert (row.value, row.reason) == (None, "no prompts")
    # None of 20 has an interval that does not end at 0: z²/(20 + z²) = 16.1 %.
    clean = scores([], 20, compared={}, left_out=[])[0]
    assert (clean.value, clean.low) == (0.0, 0.0)
    assert clean.high == pytest.approx(16.11, abs=0.01)


def test_copied_items_are_found_among_real_ones(shared: Path) -> None:
    folder = shared / "data" / "benchmarks"
    lines = (folder / "gsm8k.test.jsonl").read_text().splitlines()
    items = [
        EvaluationItem("gsm8k", str(n), json.loads(x)["question"]) for n, x in enumerate(lines)
    ]
    copied = random.Random(0).sample(range(len(items)), 30)
    source = shared / "data" / "self_instruct" / "seed_tasks.jsonl"
    seeds = [json.loads(line)["instruction"] for line in source.read_text().splitlines()]
    prompts = [items[at].text.lower() for at in copied] + seeds
    texts = [item.text for item in items]
    for found in (shared_ngrams(prompts, texts, SECTION), similar_texts(prompts, texts, SECTION)):
        pairs = {(overlap.prompt, overlap.item) for overlap in found}
        assert {(place, at) for place, at in enumerate(copied)} <= pairs
        assert all(prompt < 30 for prompt, _ in pairs)  # no seed task is a maths problem
