"""The benchmarks' facts, and the addresses of their results."""

from __future__ import annotations

from typing import get_args

import pytest

from core import evaluation_config
from core.benchmarks import BENCHMARKS, Subject
from core.records import Score
from core.stages import Ref, Stage, evaluation_ref

ADDRESSES = {
    "M2/mt_bench": Subject("mt_bench", ("M2",)),
    "M2/nlp/piqa": Subject("nlp", ("M2",), part="piqa"),
    "head_to_head/M2-M1": Subject("head_to_head", ("M2", "M1")),
    "M2/head_to_head": Subject("head_to_head", ("M2",)),
    "human/M3-sft": Subject("human", ("M3", "sft")),
    "self_judge/iter3": Subject("self_judge", iteration=3),
    "contamination/iter2": Subject("contamination", iteration=2),
}


@pytest.mark.parametrize(("address", "subject"), ADDRESSES.items())
def test_a_subject_prints_the_address_it_was_parsed_from(address: str, subject: Subject) -> None:
    assert Subject.parse(address) == subject
    assert subject.address == address


@pytest.mark.parametrize(
    "address", ["tags/alpaca_eval", "judge", "", "M2", "M2/other", "self_judge/iterx", "human/M2"]
)
def test_other_addresses_are_no_subject(address: str) -> None:
    assert Subject.parse(address) is None


def test_a_subject_is_named_by_its_model_matchup_or_iteration() -> None:
    names = [subject.name for subject in ADDRESSES.values()]
    assert names == ["M2", "M2", "M2-M1", "M2", "M3-sft", "iter3", "iter2"]


def test_a_subject_knows_its_artifacts_and_those_of_training() -> None:
    assert Subject("agreement", ("M1",)).ref(Stage.RANKED) == Ref(1, Stage.RANKED)
    assert Subject("self_judge", iteration=3).ref(Stage.PAIRS) == Ref(3, Stage.PAIRS)
    assert Subject("mt_bench", ("M1",)).ref(Stage.SCORES) == evaluation_ref(
        "M1/mt_bench", Stage.SCORES
    )


def test_every_configured_benchmark_has_facts_and_a_section() -> None:
    configured = set(get_args(evaluation_config.Benchmark))
    assert set(BENCHMARKS) == configured | {"human"}
    without_settings = {"truth"}
    sections = set(evaluation_config.EvaluationSection.model_fields)
    assert configured - sections == without_settings


def test_benchmarks_without_a_mean_over_items_have_no_items() -> None:
    assert Subject("contamination", iteration=2).items(lambda _: [1, 2]) == {}


def test_rates_of_agreement_are_shares_and_not_percent() -> None:
    agreement = BENCHMARKS["agreement"]
    assert {agreement.unit_of(key) for key in ("tie_rate", "parse_rate", "spearman")} == {"share"}
    assert agreement.unit_of("pairwise_accuracy") == agreement.unit_of("exact_match") == "percent"


def test_a_benchmark_without_listed_headlines_takes_the_score_s_word() -> None:
    nlp = BENCHMARKS["nlp"]
    assert nlp.headline == "value"
    assert nlp.is_headline(Score("acc", 1.0, 1, detail={"headline": True}))
    assert not nlp.is_headline(Score("acc", 1.0, 1))
    assert BENCHMARKS["mt_bench"].is_headline(Score("turn_1", 1.0, 1))


def test_unit_of_a_score_follows_its_key() -> None:
    alpaca = BENCHMARKS["alpaca_eval"]
    assert alpaca.unit_of("win_rate/length/1 paragraph") == "percent"
    assert alpaca.unit_of("length_controlled_win_rate") == "percent"
    assert alpaca.unit_of("avg_length") == "characters"
    assert BENCHMARKS["mt_bench"].unit_of("overall") == "points"
    assert BENCHMARKS["head_to_head"].unit_of("sign_test") == "p_value"
    assert BENCHMARKS["agreement"].unit_of("kendall_tau") == "share"
    assert BENCHMARKS["self_judge"].unit_of("mean_difference") == "points"
    assert BENCHMARKS["human"].unit_of("people/agreement") == "share"
