"""When published numbers may stand beside a run's, and what is said where they may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.hashing import sha256_text
from core.records import Annotation, Generation
from core.stages import Ref, Stage, evaluation_ref
from core.store import Built
from reports.document import Published
from reports.published import condition_differences
from reports.published.comparable import (
    PublishedNumbers,
    imported_reasons,
    incomparability_reasons,
    incomplete,
    judge_notes,
    judges_named,
    leaderboard_reasons,
    note,
)
from reports.published.condition_differences import CONDITIONS
from tests.reports.runs import QUESTIONS, RunBuilder, imported, score

HUB = {"hub:alpaca_eval prompts": "h"}
ALPACA = {"evaluation.alpaca_eval.reference": "hub"}
ANNOTATED = {"annotator": "weighted_alpaca_eval_gpt4_turbo"}


def llama(folder: Path, **sections: Any) -> RunBuilder:
    """A run on the paper's base model."""
    return RunBuilder(folder).config(**sections).model("M0", base="meta-llama/Llama-2-70b-hf")


def answers(count: int) -> list[Generation]:
    return [Generation(f"{k:04}", f"{k:04}", "?", "!", 1, "stop") for k in range(count)]


def alpaca(run: RunBuilder, *, judge: str = "gpt-4-1106-preview", count: int = 805) -> RunBuilder:
    """AlpacaEval of M1 as on the leaderboard, unless told otherwise."""
    ref = evaluation_ref("M1/alpaca_eval", Stage.ANSWERS)
    run.rows(ref, answers(count), inputs=HUB)
    address = "M1/alpaca_eval"
    return run.judged(address, Stage.ANNOTATIONS, judge=judge, config=ALPACA, facts=ANNOTATED)


def test_alpaca_eval_under_the_papers_conditions_has_no_obstacle(tmp_path: Path) -> None:
    assert incomparability_reasons(alpaca(llama(tmp_path)).open(), "alpaca_eval") == ()


def test_a_local_copy_of_the_papers_base_model_is_the_papers_base_model(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config().model("M0", base="/data/models/Llama-2-70b-hf")

    assert incomparability_reasons(run.open(), "human") == ()


@pytest.mark.parametrize(
    ("base", "shown"),
    [
        ("meta-llama/Llama-2-70b-chat-hf", "Llama-2-70b-chat-hf"),
        ("meta-llama/Llama-2-7b-hf", "Llama-2-7b-hf"),
        ("/home/somebody/models/gemma", "gemma"),  # where it lies is nobody's business
    ],
)
def test_another_base_model_is_named_without_its_folder(
    tmp_path: Path, base: str, shown: str
) -> None:
    run = RunBuilder(tmp_path).config().model("M0", base=base)

    assert incomparability_reasons(run.open(), "human") == (
        f"the base model is {shown}, not Llama 2 70B",
    )


def test_the_embedded_model_is_named_by_its_origin(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config().model("M0", origin="SmolLM2-135M-Instruct")

    found = incomparability_reasons(run.open(), "human")

    assert found == ("the base model is SmolLM2-135M-Instruct, not Llama 2 70B",)


def test_without_m0_the_configuration_says_which_base_model_it_will_be(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).config(model={"base": "meta-llama/Llama-2-70b-hf"})

    assert incomparability_reasons(run.open(), "human") == ()


def test_another_judge_is_named_beside_the_leaderboards(tmp_path: Path) -> None:
    run = alpaca(llama(tmp_path), judge="gpt-4o")

    expected = ("the judge is gpt-4o, the leaderboard's is gpt-4-1106-preview",)
    assert incomparability_reasons(run.open(), "alpaca_eval") == expected


def test_a_server_that_calls_its_model_gpt_4_is_not_openai(tmp_path: Path) -> None:
    run = llama(tmp_path).judged("M1/mt_bench", Stage.TURN_JUDGMENTS, judge="gpt-4", host="box:80")

    assert incomparability_reasons(run.open(), "mt_bench") == (
        "the judge is gpt-4 at box:80, the paper's is GPT-4",
    )


def test_a_model_of_the_run_is_no_gpt_4(tmp_path: Path) -> None:
    judge = {"judge": {"backend": "model", "model": "M1"}}
    run = llama(tmp_path, evaluation=judge).open()

    assert incomparability_reasons(run, "mt_bench") == (
        "the judge is this run's M1, the paper's is GPT-4",
    )
    assert judges_named(run, "mt_bench") == ("this run's M1",)


def test_fewer_prompts_are_counted(tmp_path: Path) -> None:
    run = alpaca(llama(tmp_path), count=100)

    assert incomparability_reasons(run.open(), "alpaca_eval") == ("100 of 805 prompts are used",)
    assert incomparability_reasons(run.open(), "lengths") == ("100 of 805 prompts are used",)


def test_the_packaged_sample_is_named(tmp_path: Path) -> None:
    ref = evaluation_ref("M1/alpaca_eval", Stage.ANSWERS)
    inputs = {"prompts:prompts.trees.jsonl": "h"}
    run = llama(tmp_path).rows(ref, answers(805), inputs=inputs).open()

    assert incomparability_reasons(run, "lengths") == (
        "the prompts are the packaged sample, not AlpacaEval's",
    )


def test_805_other_prompts_are_not_alpaca_evals(tmp_path: Path) -> None:
    ref = evaluation_ref("M1/alpaca_eval", Stage.ANSWERS)
    run = llama(tmp_path).rows(ref, answers(805), inputs={"prompts:mine.json": "h"}).open()

    assert incomparability_reasons(run, "lengths") == ("the prompts are not AlpacaEval's 805",)


def test_a_local_copy_of_the_805_prompts_is_recognised(tmp_path: Path, shared: Path) -> None:
    import json

    path = shared / "data" / "alpaca_eval" / "alpaca_eval.json"
    texts = [row["instruction"] for row in json.loads(path.read_text(encoding="utf-8"))]
    keys = [sha256_text(text)[:16] for text in texts]
    rows = [Generation(key, key, "?", "!", 1, "stop") for key in keys]
    ref = evaluation_ref("M1/alpaca_eval", Stage.ANSWERS)
    run = llama(tmp_path).rows(ref, rows, inputs={"prompts:alpaca_eval.json": "h"}).open()

    assert incomparability_reasons(run, "lengths") == ()


def test_another_reference_and_another_annotator_are_named(tmp_path: Path) -> None:
    run = llama(tmp_path).judged(
        "M1/alpaca_eval",
        Stage.ANNOTATIONS,
        config={"evaluation.alpaca_eval.reference": "M0"},
        facts={"annotator": "chatgpt_fn"},
    )

    assert leaderboard_reasons(run.open()) == (
        "the reference is M0, AlpacaEval's is gpt4_1106_preview",
        "the annotator is chatgpt_fn, the leaderboard's is weighted_alpaca_eval_gpt4_turbo",
    )


def test_the_base_model_does_not_matter_for_other_systems_numbers(tmp_path: Path) -> None:
    run = alpaca(RunBuilder(tmp_path).config().model("M0", origin="tiny")).open()

    assert leaderboard_reasons(run) == ()
    assert incomparability_reasons(run, "alpaca_eval") == (
        "the base model is tiny, not Llama 2 70B",
    )


def test_mt_bench_with_all_questions_and_gpt_4_has_no_obstacle(tmp_path: Path) -> None:
    run = llama(tmp_path).judged("M1/mt_bench", Stage.TURN_JUDGMENTS, judge="gpt-4-0613")
    ref = evaluation_ref("M1/mt_bench", Stage.ANSWERS)
    inputs = {"mt_bench:question.jsonl": QUESTIONS}
    run.rows(ref, [], inputs=inputs, built=Built(counts={"questions": 80}))

    assert incomparability_reasons(run.open(), "mt_bench") == ()


def test_some_of_the_questions_or_other_ones_are_obstacles(tmp_path: Path) -> None:
    run = llama(tmp_path).judged("M1/mt_bench", Stage.TURN_JUDGMENTS, judge="gpt-4")
    ref = evaluation_ref("M1/mt_bench", Stage.ANSWERS)
    inputs = {"mt_bench:question.jsonl": "another"}
    run.rows(ref, [], inputs=inputs, built=Built(counts={"questions": 8}))

    assert incomparability_reasons(run.open(), "mt_bench") == (
        "the questions are not FastChat's",
        "8 of 80 questions are asked",
    )


def test_the_papers_head_to_head_prompts_are_known_to_nobody(tmp_path: Path) -> None:
    section = {"prompts": "/data/mine.jsonl", "matchups": [["M2", "M1"]]}
    run = llama(tmp_path, evaluation={"head_to_head": section})
    run.judged("head_to_head/M2-M1", Stage.VERDICTS, judge="gpt-4")
    run.scores("head_to_head/M2-M1", score("win", 50.0, 5, 1))

    assert incomparability_reasons(run.open(), "head_to_head") == (
        "the prompts are those of mine.jsonl, not the paper's 256 test prompts",
        "6 prompts are compared, the paper's 256",
    )


def test_a_task_with_all_its_items_stands_beside_the_paper_and_a_part_of_it_does_not(
    tmp_path: Path,
) -> None:
    run = llama(tmp_path, evaluation={"nlp": {"tasks": ["openbookqa", "nq_open"]}})
    run.items("M1/nlp/openbookqa", {f"openbookqa/{k}": 1.0 for k in range(500)})
    run.items("M1/nlp/nq_open", {f"nq_open/{k}": 1.0 for k in range(3)})

    assert incomparability_reasons(run.open(), "nlp/openbookqa") == ()
    assert incomparability_reasons(run.open(), "nlp") == ("nq_open has 3 of 3,610 items",)


def test_packaged_items_are_named_once_for_all_tasks(tmp_path: Path) -> None:
    section = {"tasks": ["piqa", "social_iqa"], "data_dir": "sample"}
    run = llama(tmp_path, evaluation={"nlp": section}).items("M1/nlp/piqa", {}, data="sample")

    expected = ("the items are the packaged sample, not the benchmarks'",)
    assert incomparability_reasons(run.open(), "nlp") == expected


def test_other_ranked_replies_and_another_judge_prompt_are_named(tmp_path: Path) -> None:
    run = llama(tmp_path, judge={"rubric": "li"}, evaluation={"agreement": {"limit": 5}})
    run.rows(Ref(1, Stage.RANKED), [], config={"eft.source": {"path": "sample"}})

    assert incomparability_reasons(run.open(), "agreement") == (
        "the replies are the packaged sample, not Open Assistant's",
        "at most 5 prompts of the evaluation split are used",
        "the judge's prompt is li, the paper's is the additive one",
    )


def test_open_assistants_replies_have_no_obstacle(tmp_path: Path) -> None:
    assert incomparability_reasons(llama(tmp_path).open(), "agreement") == ()


def test_a_benchmark_that_nobody_published_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="contamination"):
        incomparability_reasons(llama(tmp_path).open(), "contamination")


def test_imported_results_stand_beside_what_was_published_of_that_very_model(
    tmp_path: Path,
) -> None:
    run = imported(tmp_path, "claude-2", score("win_rate", 17.2, 805)).open()

    assert imported_reasons(run, "claude-2/alpaca_eval") == ()
    assert leaderboard_reasons(run) == ()
    assert incomparability_reasons(run, "alpaca_eval") == (
        "the results were imported, they are not of models that this run trained",
    )


def test_an_imported_file_may_lack_two_rows_but_not_most(tmp_path: Path) -> None:
    address = "claude-2/alpaca_eval"
    nearly = imported(tmp_path / "a", "claude-2", score("win_rate", 2.8, 803)).open()
    part = imported(tmp_path / "b", "claude-2", score("win_rate", 2.8, 100, 5)).open()

    assert imported_reasons(nearly, address) == ()
    assert imported_reasons(part, address) == ("claude-2.json has 100 of 805 prompts",)


def test_a_runs_own_score_may_lack_1_percent_of_its_items_but_not_most(tmp_path: Path) -> None:
    """685 of 805 annotations missing, and the paper's 9.94 beside what is left of them."""
    most = alpaca(llama(tmp_path / "a")).scores("M1/alpaca_eval", score("win_rate", 9.9, 797, 8))
    beside = PublishedNumbers(most.open(), "alpaca_eval", ("M1",))
    assert beside.published("M1", "win_rate") == Published(9.94, "Table 1")
    assert beside.notes == () == leaderboard_reasons(most.open())

    part = alpaca(llama(tmp_path / "b")).scores("M1/alpaca_eval", score("win_rate", 9.9, 120, 685))
    lacks = "M1/alpaca_eval lacks 685 of 805 (win_rate)"
    beside = PublishedNumbers(part.open(), "alpaca_eval", ("M1",))
    assert beside.published("M1", "win_rate") is None
    assert beside.notes == (f"Not comparable with published results: {lacks}.",)
    assert leaderboard_reasons(part.open()) == (lacks,)


@pytest.mark.parametrize(
    ("benchmark", "subject", "address", "key"),
    [
        ("head_to_head", "M2-M1", "head_to_head/M2-M1", "win"),
        ("human", "M3-sft", "human/M3-sft", "win"),
        ("mt_bench", "M1", "M1/mt_bench", "overall"),
        ("agreement", "M1", "M1/agreement", "pairwise_accuracy"),
        ("nlp/piqa", "M1", "M1/nlp/piqa", "acc_norm"),
    ],
)
def test_the_1_percent_hold_for_every_benchmark(
    tmp_path: Path, benchmark: str, subject: str, address: str, key: str
) -> None:
    marked = {"headline": True}
    whole = RunBuilder(tmp_path / "a").scores(address, score(key, 1.0, 99, 1, detail=marked))
    part = RunBuilder(tmp_path / "b").scores(address, score(key, 1.0, 98, 2, detail=marked))
    assert incomplete(whole.open(), benchmark, subject) == ()
    assert incomplete(part.open(), benchmark, subject) == (f"{address} lacks 2 of 100 ({key})",)


def test_no_judge_takes_part_in_the_length_of_answers(tmp_path: Path) -> None:
    found = score("win_rate", 1.0, 1, 99), score("avg_length", 9.0, 100)
    run = RunBuilder(tmp_path).scores("M1/alpaca_eval", *found).open()
    assert incomplete(run, "alpaca_eval", "M1", "avg_length") == ()


def test_without_config_json_a_run_is_not_imported_and_not_comparable(tmp_path: Path) -> None:
    """Deleting it, which is in no manifest, set leaderboard values beside a random model's."""
    run = RunBuilder(tmp_path).config().model("M0", base="tiny", origin="random Llama")
    by_m1 = {"evaluation.judge.backend": "model", "evaluation.judge.model": "M1"}
    inputs = {"prompts:prompts.trees.jsonl": "h"}
    run.rows(evaluation_ref("M1/alpaca_eval", Stage.ANSWERS), answers(6), inputs=inputs)
    settings = {**by_m1, "evaluation.alpaca_eval.reference": "M0"}
    ref = evaluation_ref("M1/alpaca_eval", Stage.ANNOTATIONS)
    run.rows(ref, [], config=settings, built=Built(facts=ANNOTATED))
    run.scores("M1/alpaca_eval", score("win_rate", 50.0, 6))
    before = incomparability_reasons(run.open(), "alpaca_eval")
    assert before == (
        "the base model is random Llama, not Llama 2 70B",
        "the prompts are the packaged sample, not AlpacaEval's",
        "the reference is M0, AlpacaEval's is gpt4_1106_preview",
        "the judge is this run's M1, the leaderboard's is gpt-4-1106-preview",
    )
    assert leaderboard_reasons(run.open()) == before[1:]
    (tmp_path / "config.json").unlink()
    assert incomparability_reasons(run.open(), "alpaca_eval") == before
    assert leaderboard_reasons(run.open()) == before[1:]
    for name in CONDITIONS:
        assert incomparability_reasons(run.open(), name)[0] == before[0]


def test_an_imported_file_by_another_judge_is_named(tmp_path: Path) -> None:
    graded = score("overall", 8.8, 160)
    run = imported(tmp_path, "gemini", graded, benchmark="mt_bench", judge="claude-3").open()

    assert imported_reasons(run, "gemini/mt_bench") == (
        "the judge of gemini.json is claude-3, the published numbers' is GPT-4",
    )
    assert judges_named(run, "mt_bench") == ("claude-3",)


def test_an_imported_annotation_file_by_another_annotator_is_named(tmp_path: Path) -> None:
    won = score("win_rate", 50.0, 805)
    run = imported(tmp_path, "x", won, annotator="chatgpt_fn", reference="gpt4").open()

    assert imported_reasons(run, "x/alpaca_eval") == (
        "the annotator of x.json is chatgpt_fn, the leaderboard's weighted_alpaca_eval_gpt4_turbo",
        "the reference of x.json is gpt4, the leaderboard's gpt4_1106_preview",
    )


def test_the_sentence_lists_every_obstacle_and_is_absent_without_any() -> None:
    assert note(()) == ()
    assert note(("a", "b")) == ("Not comparable with published results: a; b.",)


def test_a_smoke_run_says_that_it_is_not_the_papers_model(smoke_run: Path) -> None:
    from core.reader import RunReader

    found = incomparability_reasons(RunReader(smoke_run), "head_to_head")

    assert found[0].startswith("the base model is random-weight Llama, ")
    assert found[0].endswith(", not Llama 2 70B")
    assert found[-1] == "the judge is this run's M1, the paper's is GPT-4"


def test_annotations_are_not_read_to_find_the_judge(tmp_path: Path) -> None:
    """The rows may be large; the manifest says who judged."""
    row = Annotation("k", "i", "a", "b", "ref", "M1", "x", 1.0, None, "")
    settings = {"evaluation.judge.backend": "openai", "evaluation.judge.model": "gpt-4"}
    run = llama(tmp_path).rows(
        evaluation_ref("M1/alpaca_eval", Stage.ANNOTATIONS),
        [row],
        config=settings,
        built=Built(engine="openai/api.openai.com/gpt-4"),
    )
    run.store.paths.artifact(evaluation_ref("M1/alpaca_eval", Stage.ANNOTATIONS)).unlink()

    assert judges_named(run.open(), "alpaca_eval") == ("gpt-4",)


def test_two_models_under_one_judges_name_and_changed_requests_are_said(tmp_path: Path) -> None:
    snapshots = {"gpt-4-0613": 700, "gpt-4-1106": 105}
    facts = {"judge": "gpt-4", "answered_by": snapshots, "adapted": {"temperature": "left out"}}
    run = llama(tmp_path)
    run.judged("M1/alpaca_eval", Stage.ANNOTATIONS, judge="gpt-4", config=ALPACA, facts=facts)
    assert judge_notes(condition_differences.judged(run.open(), "alpaca_eval")) == (
        "2 models answered under the judge's name: gpt-4-0613 (700 replies), gpt-4-1106 (105 "
        "replies).",
        "Requests adapted to what the judge's server accepts: temperature (left out).",
    )


def test_one_snapshot_is_named_and_the_name_itself_needs_no_note(tmp_path: Path) -> None:
    def notes(name: str, model: str) -> tuple[str, ...]:
        facts = {"judge": "gpt-4", "answered_by": {model: 9}, "said_nothing": 3}
        run = llama(tmp_path / name)
        run.judged("M1/alpaca_eval", Stage.ANNOTATIONS, judge="gpt-4", config=ALPACA, facts=facts)
        return judge_notes(condition_differences.judged(run.open(), "alpaca_eval"))

    silent = "3 replies reached their token limit before the first word."
    assert notes("a", "gpt-4-0613") == ("The judge answered as gpt-4-0613.", silent)
    assert notes("b", "gpt-4") == (silent,)
