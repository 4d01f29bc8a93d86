from pathlib import Path

import pytest

from core.errors import ConfigError
from core.stages import (
    EVALUATION_STAGES,
    SPECS,
    Paths,
    Ref,
    Stage,
    evaluation_ref,
    is_model,
    model_ref,
    order_of,
    parse_stage,
    project_root,
    stages_of,
)

EVERY_REF = [Ref(k, stage) for k in range(4) for stage in stages_of(k)]


def message_of(name: str, iteration: int) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_stage(name, iteration)
    return str(caught.value)


def test_every_stage_has_a_spec_and_belongs_to_training_or_to_evaluation() -> None:
    assert set(SPECS) == set(Stage)
    trained = {ref.stage for ref in EVERY_REF}
    assert trained | set(EVALUATION_STAGES) == set(Stage)
    assert trained & set(EVALUATION_STAGES) == set()


def test_evaluation_lies_beside_the_iterations_and_comes_after_them() -> None:
    ref = evaluation_ref("M2/nlp/arc_easy", Stage.ITEMS)
    assert str(ref) == "eval/M2/nlp/arc_easy/items"
    paths = Paths(Path("runs/r"))
    assert paths.artifact(ref) == Path("runs/r/eval/M2/nlp/arc_easy/items.jsonl")
    assert all(order_of(other) < order_of(ref) for other in EVERY_REF)


def test_four_stages_make_models_and_all_others_make_rows() -> None:
    models = {ref for ref in EVERY_REF if is_model(ref)}
    assert {str(ref) for ref in models} == {
        "iter0/base",  # M0
        "iter1/sft",  # the SFT baseline
        "iter1/model",
        "iter2/future",  # one step ahead (Temporal Self-Rewarding)
        "iter2/model",
        "iter3/future",
        "iter3/model",
    }


def test_a_run_goes_from_m0_over_seed_data_and_m1_to_feedback_and_m2() -> None:
    in_order = [str(ref) for ref in sorted(EVERY_REF, key=order_of) if ref.iteration < 3]
    assert in_order == [
        "iter0/base",
        "iter1/ift",
        "iter1/ranked",
        "iter1/sft",
        "iter1/eft_judgments",
        "iter1/eft_constructed",
        "iter1/eft",
        "iter1/model",
        "iter1/probe",
        "iter0/probe",  # M0 judges the evaluation split that iteration 1 made
        "iter2/prompt_calls",
        "iter2/prompts",
        "iter2/candidates",
        "iter2/judgments",
        "iter2/health",
        "iter2/previous_judgments",
        "iter2/consistency",
        "iter2/implicit_rewards",
        "iter2/past_answers",
        "iter2/past_judgments",
        "iter2/future_pairs",
        "iter2/future",
        "iter2/future_answers",
        "iter2/future_judgments",
        "iter2/pairs",
        "iter2/meta_verdicts",
        "iter2/judge_pairs",
        "iter2/model",
    ]


def test_no_two_artifacts_share_a_place_in_the_order() -> None:
    assert len({order_of(ref) for ref in EVERY_REF}) == len(EVERY_REF)


def test_the_probe_of_m0_comes_with_m1s_between_its_model_and_iteration_2() -> None:
    probe = order_of(Ref(0, Stage.PROBE))
    assert order_of(model_ref(1)) < probe < order_of(Ref(2, Stage.PROMPT_CALLS))
    assert order_of(model_ref(0)) < order_of(Ref(1, Stage.IFT)) < probe


def test_m0_is_the_base_stage_and_later_models_are_model_stages() -> None:
    assert [str(model_ref(k)) for k in range(4)] == [
        "iter0/base",
        "iter1/model",
        "iter2/model",
        "iter3/model",
    ]


def test_a_stage_name_is_read_in_the_iteration_asked_for() -> None:
    assert parse_stage("pairs", 2) == Ref(2, Stage.PAIRS)
    assert parse_stage("pairs", 3) == Ref(3, Stage.PAIRS)
    assert parse_stage("eft", 1) == Ref(1, Stage.EFT)


def test_an_iteration_in_the_name_beats_the_one_asked_for() -> None:
    assert parse_stage("iter1/eft", 3) == Ref(1, Stage.EFT)
    assert parse_stage("iter0/probe", 2) == Ref(0, Stage.PROBE)
    assert parse_stage("iter12/model", 2) == Ref(12, Stage.MODEL)


@pytest.mark.parametrize("ref", EVERY_REF, ids=str)
def test_the_written_address_of_every_artifact_is_read_back(ref: Ref) -> None:
    assert parse_stage(str(ref), 1) == ref


def test_a_stage_of_another_iteration_is_refused_with_those_it_has() -> None:
    # `eft` belongs to iteration 1; iteration 2 has feedback stages.
    message = message_of("eft", 2)
    assert message.startswith("--redo 'eft': iteration 2 has no such stage; it has prompt_calls,")
    assert "health, previous_judgments, consistency, implicit_rewards, past_answers" in message
    assert "future_answers, future_judgments, pairs, meta_verdicts, judge_pairs, model" in message
    assert "it has base, probe" in message_of("iter0/model", 2)
    assert "'eft '" in message_of("eft ", 1)


@pytest.mark.parametrize(
    "name", ["iterX/pairs", "iter/pairs", "/pairs", "iter-1/pairs", "iter²/eft"]
)
def test_an_iteration_that_is_no_number_is_refused_with_the_form(name: str) -> None:
    assert message_of(name, 2) == (
        f"--redo {name!r}: expected STAGE or iterK/STAGE, e.g. iter2/pairs"
    )


def test_rows_are_jsonl_models_are_folders_and_both_lie_in_their_iteration() -> None:
    paths = Paths(Path("runs/a"))
    assert paths.artifact(Ref(2, Stage.PAIRS)) == Path("runs/a/iter2/pairs.jsonl")
    assert paths.artifact(Ref(2, Stage.MODEL)) == Path("runs/a/iter2/model")
    assert paths.manifest(Ref(2, Stage.PAIRS)) == Path("runs/a/iter2/pairs.manifest.json")


def test_no_two_files_of_a_run_have_the_same_path() -> None:
    paths = Paths(Path("runs/a"))
    kinds = (
        paths.artifact,
        paths.manifest,
        paths.partial,
        paths.work,
        paths.metrics,
        paths.verdicts,
    )
    found = [kind(ref) for ref in EVERY_REF for kind in kinds]
    found += [paths.config, paths.calls, paths.lock]
    assert len(set(found)) == len(found)


def test_the_project_root_holds_configurations_and_packages() -> None:
    assert (project_root() / "configs" / "quickstart.toml").is_file()
    assert (project_root() / "core" / "stages.py").is_file()


def test_addresses_are_read_and_names_of_sources_are_not() -> None:
    assert Ref.parse("iter2/pairs") == Ref(2, Stage.PAIRS)
    address = evaluation_ref("M2/nlp/arc_easy", Stage.ITEMS)
    assert Ref.parse("eval/M2/nlp/arc_easy/items") == address
    for name in ("rubric:additive", "file:piqa.validation.jsonl", "iterX/pairs", "eval/M1/pairs"):
        assert Ref.parse(name) is None
