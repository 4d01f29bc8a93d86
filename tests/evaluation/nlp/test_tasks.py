from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from lm_eval.api.metrics import mean_stderr, pooled_sample_stderr, unweighted_mean_stderr

from core.config import EngineSection
from core.errors import ConfigError, DataError
from core.evaluation_config import NlpSection
from core.records import ItemScore, Message, Score
from core.stages import Stage, evaluation_ref
from core.store import Key, Store
from engines.engine import Continuation, Logprob
from engines.hf.engine import HFEngine
from evaluation.nlp.data import TASKS
from evaluation.nlp.tasks import evaluate_items, headline, means, report, run_task, scores
from tests.engines.scripted import ScriptedEngine

ARC = {
    "question": "What falls?",
    "choices": {"text": ["an apple", "up"], "label": ["A", "B"]},
    "answerKey": "A",
}
PIQA = {"goal": "Boil water.", "sol1": "Use a pot.", "sol2": "Use a sieve.", "label": 0}
SIQA = {
    "context": "Ann fell.",
    "question": "How does Ann feel?",
    "answerA": "glad",
    "answerB": "hurt",
    "answerC": "rich",
    "label": "2",
}
HELLASWAG = {
    "activity_label": "Cooking",
    "ctx_a": "A man stirs.",
    "ctx_b": "he",
    "endings": ["tastes it. [step] He nods.", "flies", "sleeps", "sinks"],
    "label": "0",
}
OPENBOOK = {
    "question_stem": "Ice is",
    "choices": {"text": ["hot", "frozen water"], "label": ["A", "B"]},
    "answerKey": "B",
}
NQ = {"question": "who wrote it", "answer": ["The Venerable Bede", "Bede"]}
GSM = {"question": "How many?", "answer": "9 + 9 = 18\n#### 18"}


def mmlu(subject: str, answer: int) -> dict[str, Any]:
    choices = ["one", "two", "three", "four"]
    return {"question": "Which?", "subject": subject, "choices": choices, "answer": answer}


def write(folder: Path, name: str, *rows: dict[str, Any]) -> None:
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def chooser(log_probability: Callable[[str, str], float]) -> ScriptedEngine:
    """An engine that gives a choice the log-probability the function says."""

    def score(request: Continuation) -> Logprob:
        assert isinstance(request.context, str)
        return Logprob(log_probability(request.context, request.continuation), 1, False)

    return ScriptedEngine(lambda messages, draw: "", score=score)


def run(
    engine: ScriptedEngine, task: str, folder: Path, limit: int | None = None
) -> list[ItemScore]:
    return evaluate_items(engine, task, NlpSection(data_dir=str(folder), limit=limit), seed=0)


def values(found: Sequence[Score]) -> dict[str, float | None]:
    return {score.key: score.value for score in found}


# Prompt and right continuation of one item, written down from lm-eval's task definitions.
CHOICES: list[tuple[str, str, dict[str, Any], str, str]] = [
    ("arc_easy", "arc_easy.test", ARC, "Question: What falls?\nAnswer:", " an apple"),
    ("arc_challenge", "arc_challenge.test", ARC, "Question: What falls?\nAnswer:", " an apple"),
    ("piqa", "piqa.validation", PIQA, "Question: Boil water.\nAnswer:", " Use a pot."),
    ("social_iqa", "social_iqa.validation", SIQA, "Q: Ann fell. How does Ann feel?\nA:", " hurt"),
    (
        "hellaswag",
        "hellaswag.validation",
        HELLASWAG,
        "Cooking: A man stirs. He",
        " tastes it. He nods.",
    ),
    ("openbookqa", "openbookqa.test", OPENBOOK, "Ice is", " frozen water"),
]


@pytest.mark.parametrize(("likes", "value"), [(True, 100.0), (False, 0.0)])
@pytest.mark.parametrize("case", CHOICES, ids=[case[0] for case in CHOICES])
def test_who_knows_the_answer_scores_100_and_who_avoids_it_0(
    tmp_path: Path, case: tuple[str, str, dict[str, Any], str, str], likes: bool, value: float
) -> None:
    task, file, row, prompt, right = case
    write(tmp_path, file, row)
    # Far enough apart that dividing by the choice's characters does not matter.
    engine = chooser(lambda c, t: -1.0 if ((c, t) == (prompt, right)) == likes else -1000.0)
    found = scores(run(engine, task, tmp_path), task)
    assert set(values(found).values()) == {value}
    assert all(score.n == 1 and score.stderr is None for score in found)


def test_who_likes_all_choices_alike_scores_the_share_of_first_ones(tmp_path: Path) -> None:
    # Equal log-probabilities: the first choice is taken, right in 1 item of 4. Divided by the
    # characters of " Use a pot." and " Use a sieve.", the longer second choice wins: 3 of 4.
    write(tmp_path, "piqa.validation", PIQA, *[PIQA | {"label": 1}] * 3)
    found = scores(run(chooser(lambda context, text: -10.0), "piqa", tmp_path), "piqa")
    assert values(found) == {"acc": 25.0, "acc_norm": 75.0}


def test_an_item_holds_what_led_to_its_score(tmp_path: Path) -> None:
    write(tmp_path, "piqa.validation", PIQA | {"label": 1})
    totals = {" Use a pot.": -10.0, " Use a sieve.": -11.0}
    (item,) = run(chooser(lambda context, text: totals[text]), "piqa", tmp_path)
    # -10 / 10 characters = -1; -11 / 12 = -0.92: the second wins once lengths are divided out.
    assert item == ItemScore(
        key="piqa/0",
        task="piqa",
        item="0",
        metrics={"acc": 0.0, "acc_norm": 1.0},
        detail={
            "choices": ["Use a pot.", "Use a sieve."],
            "logprobs": [-10.0, -11.0],
            "target": 1,
            "prediction": 0,
            "prediction_norm": 1,
        },
    )


def test_llamas_openbookqa_divides_by_the_probability_after_answer(tmp_path: Path) -> None:
    # lm-eval takes "hot": -3 > -40, and per character -3/3 > -40/12. "hot" is likely after
    # anything; divided by that: -40 + 60 = 20 > -3 + 2 = -1, "frozen water".
    write(tmp_path, "openbookqa.test", OPENBOOK)
    totals = {
        ("Ice is", " hot"): -3.0,
        ("Ice is", " frozen water"): -40.0,
        ("Answer:", " hot"): -2.0,
        ("Answer:", " frozen water"): -60.0,
    }
    engine = chooser(lambda context, text: totals[context, text])
    (item,) = run(engine, "openbookqa", tmp_path)
    assert item.metrics == {"acc": 0.0, "acc_norm": 0.0, "acc_bayes": 1.0}
    assert item.detail["logprobs_bayes"] == [-1.0, 20.0]
    assert (item.detail["prediction"], item.detail["prediction_bayes"]) == (0, 1)
    marked = {s.key: s.detail["headline"] for s in scores([item], "openbookqa") if s.detail}
    assert marked == {"acc": False, "acc_norm": True, "acc_bayes": False}


def test_llamas_siqa_is_normalised_by_characters(tmp_path: Path) -> None:
    # Of equal probabilities lm-eval takes the first choice; per character the longest wins.
    write(tmp_path, "social_iqa.validation", SIQA | {"answerC": "rich and proud", "label": "3"})
    (item,) = run(chooser(lambda context, text: -10.0), "social_iqa", tmp_path)
    assert item.metrics == {"acc": 0.0, "acc_norm": 1.0}


def test_metrics_that_are_no_shares_are_in_their_own_unit_without_an_interval() -> None:
    rows = [item("truthfulqa_gen", n, value, "bleu_max") for n, value in enumerate((12.0, 31.0))]
    (found,) = scores(rows, "truthfulqa_gen")
    assert (found.value, found.n, found.low, found.high) == (21.5, 2, None, None)
    assert found.detail == {"shots": None, "headline": False, "unit": "points"}
    negative = [item("x", 0, -3.0, "bleu_diff"), item("x", 1, 1.0, "bleu_diff")]
    assert scores(negative, "x")[0].value == -1.0


def test_a_task_whose_metrics_are_no_means_over_items_is_refused_by_name() -> None:
    class Corpus:
        def aggregation(self) -> dict[str, Any]:
            return {"bleu": math.fsum, "perplexity": math.exp}

    with pytest.raises(ConfigError, match=r"wmt: none of its metrics \(bleu, perplexity\)"):
        means("wmt", Corpus())


def test_a_limit_takes_the_first_items_of_each_subject(tmp_path: Path) -> None:
    dev = [mmlu(subject, 0) for subject in ("anatomy", "virology") for _ in range(5)]
    write(tmp_path, "mmlu.dev", *dev)
    write(tmp_path, "mmlu.test", *[mmlu(s, 0) for s in ("virology", "anatomy") for _ in range(3)])
    found = run(chooser(lambda context, text: 0.0), "mmlu", tmp_path, limit=2)
    assert [item.key for item in found] == [
        "mmlu_anatomy/0",
        "mmlu_anatomy/1",
        "mmlu_virology/0",
        "mmlu_virology/1",
    ]
    assert [item.detail["choices"] for item in found] == [["A", "B", "C", "D"]] * 4


def test_mmlu_over_items_and_over_subjects_by_hand(tmp_path: Path) -> None:
    # "A" is always said. Anatomy: 3 of 4 right; virology: 1 of 2. Items: 4 / 6; subjects: the mean
    # of 75 and 50.
    write(tmp_path, "mmlu.dev", *[mmlu(s, 0) for s in ("anatomy", "virology") for _ in range(5)])
    anatomy = [mmlu("anatomy", answer) for answer in (0, 0, 0, 3)]
    write(tmp_path, "mmlu.test", *anatomy, mmlu("virology", 0), mmlu("virology", 1))
    found = scores(run(chooser(lambda c, text: -float(text != " A")), "mmlu", tmp_path), "mmlu")
    assert values(found) == {"acc": pytest.approx(400 / 6), "acc_macro": 62.5}
    micro, macro = found
    errors = [mean_stderr([100, 100, 100, 0]), mean_stderr([100, 0])]
    assert micro.stderr == pytest.approx(pooled_sample_stderr(errors, [4, 2]))
    assert macro.stderr == pytest.approx(unweighted_mean_stderr(errors))
    assert (micro.n, macro.n) == (6, 6)
    assert macro.detail is not None and micro.detail is not None
    assert (macro.detail["headline"], micro.detail["headline"]) == (True, False)
    assert macro.detail["subjects"] == {"mmlu_anatomy": 75.0, "mmlu_virology": 50.0}


@pytest.mark.parametrize(
    ("reply", "strict", "flexible"),
    [
        ("9 + 9 = 18. The answer is 18.", 100.0, 100.0),
        ("9 + 9 = $18", 0.0, 100.0),  # not in the words of the examples
        ("The answer is 17. No, 18", 0.0, 100.0),
        ("The answer is 18", 0.0, 100.0),  # without a full stop the strict pattern reads "1"
        ("The answer is 18. Or 17?", 100.0, 0.0),  # the first sentence, the last number
        ("The answer is 1.\n\nQ: What is 18?\nA: The answer is 18.", 0.0, 0.0),  # cut at "Q:"
        ("", 0.0, 0.0),
    ],
)
def test_gsm8k_is_read_by_both_filters(
    tmp_path: Path, reply: str, strict: float, flexible: float
) -> None:
    write(tmp_path, "gsm8k.test", GSM)
    items = run(ScriptedEngine(lambda messages, draw: reply), "gsm8k_cot", tmp_path)
    assert values(scores(items, "gsm8k_cot")) == {
        "exact_match,strict-match": strict,
        "exact_match,flexible-extract": flexible,
    }
    (item,) = items
    assert item.detail["text"] == reply.split("Q:", maxsplit=1)[0]
    assert item.detail["target"] == "18"
    assert set(item.detail["prediction"]) == {"strict-match", "flexible-extract"}


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        (" Bede\nQ: who else?", 100.0),
        (" the venerable BEDE!", 100.0),  # case, punctuation and articles do not count
        (" Bede, a monk", 100.0),  # cut at the comma
        (" It was Bede", 0.0),
        (" Alcuin", 0.0),
        ("", 0.0),
    ],
)
def test_any_of_the_answers_of_nq_counts(tmp_path: Path, reply: str, value: float) -> None:
    write(tmp_path, "nq_open.validation", NQ)
    seen: list[str] = []

    def answer(messages: Sequence[Message], draw: int) -> str:
        seen.append(messages[0]["content"])
        return reply

    found = scores(run(ScriptedEngine(answer), "nq_open", tmp_path), "nq_open")
    assert values(found) == {"exact_match,remove_whitespace": value}
    assert seen == ["Answer these questions:\n\nQ: who wrote it?\nA:"]


def item(task: str, number: int, value: float, name: str = "acc") -> ItemScore:
    return ItemScore(f"{task}/{number}", task, str(number), {name: value}, {})


def test_the_mean_and_its_error_by_hand() -> None:
    # 3 of 4: variance (3 x .25^2 + .75^2) / 3 = .25, standard error sqrt(.25 / 4) = .25.
    # Wilson at 3 of 4, z = 1.96: (.75 + z^2/8 - z sqrt(.75 x .25 / 4 + z^2/64)) / (1 + z^2/4).
    (found,) = scores([item("social_iqa", n, float(n > 0)) for n in range(4)], "social_iqa")
    z2 = 1.959964**2
    middle, half = 0.75 + z2 / 8, math.sqrt(z2 * (0.1875 / 4 + z2 / 64))
    assert found.value == 75.0
    assert found.stderr == pytest.approx(25.0)
    assert found.stderr == pytest.approx(100 * mean_stderr([0, 1, 1, 1]))
    assert found.low == pytest.approx(100 * (middle - half) / (1 + z2 / 4), abs=1e-3)
    # One failure: the upper end is Poisson's, −ln 0.95 of 4.
    assert found.high == pytest.approx(100 * (1 + math.log(0.95) / 4), abs=1e-3)
    assert (found.n, found.missing) == (4, 0)
    assert found.detail == {"shots": 0, "headline": True}


def test_all_right_is_100_with_an_interval_that_says_how_few_were_asked() -> None:
    (found,) = scores([item("social_iqa", n, 1.0) for n in range(10)], "social_iqa")
    # Wilson's lower end for 10 of 10 is 10 / (10 + z^2) = .7225.
    assert (found.value, found.stderr) == (100.0, 0.0)
    assert found.high == pytest.approx(100.0)
    assert found.low == pytest.approx(72.25, abs=0.01)


def test_no_items_are_not_a_score_of_0() -> None:
    (found,) = scores([], "piqa")
    assert found.value is None
    assert (found.key, found.n, found.reason) == ("acc_norm", 0, "no items")


def test_one_item_has_a_value_but_no_error() -> None:
    (found,) = scores([item("social_iqa", 0, 1.0)], "social_iqa")
    assert (found.value, found.n, found.stderr) == (100.0, 1, None)


def test_a_subject_of_one_item_leaves_mmlu_without_an_error() -> None:
    rows = [item("mmlu_law", 0, 1.0), item("mmlu_art", 0, 0.0), item("mmlu_art", 1, 1.0)]
    micro, macro = scores(rows, "mmlu")
    assert micro.value == pytest.approx(200 / 3)
    assert micro.stderr is None
    assert (macro.value, macro.stderr) == (75.0, None)
    # One and two items of equal weight are worth 2²/(1/1 + 1/2) = 8/3: Wilson of 2 of 2.67.
    assert macro.low == pytest.approx(13.327, abs=1e-3)


def test_the_metric_of_the_paper_is_marked() -> None:
    both = [
        ItemScore("piqa/0", "piqa", "0", {"acc": 1.0, "acc_norm": 0.0}, {}),
        ItemScore("piqa/1", "piqa", "1", {"acc": 1.0, "acc_norm": 0.0}, {}),
    ]
    marked = {s.key: s.detail["headline"] for s in scores(both, "piqa") if s.detail}
    assert marked == {"acc": False, "acc_norm": True}
    assert {task: headline(task) for task in TASKS} == {
        "arc_easy": "acc_norm",
        "arc_challenge": "acc_norm",
        "hellaswag": "acc_norm",
        "social_iqa": "acc",
        "piqa": "acc_norm",
        "gsm8k_cot": "exact_match,strict-match",
        "mmlu": "acc_macro",
        "openbookqa": "acc_norm",
        "nq_open": "exact_match,remove_whitespace",
    }
    assert headline("winogrande") is None


def test_a_run_that_was_killed_while_writing_adds_the_other_rows(tmp_path: Path) -> None:
    write(tmp_path, "piqa.validation", *[PIQA] * 3)
    section = NlpSection(data_dir=str(tmp_path))
    engine = chooser(lambda context, text: -float(len(text)))
    store, ref = Store(tmp_path / "run"), evaluation_ref("M1/nlp/piqa", Stage.ITEMS)
    complete = run(engine, "piqa", tmp_path)
    with store.begin(ref, Key({}, {}, 0)) as out:
        out.add(complete[1])
    with store.begin(ref, Key({}, {}, 0)) as out:
        built = run_task(engine, "piqa", section, out=out, seed=0)
        out.commit(lambda row: row.key, built)
    assert store.read(ref) == complete
    manifest = store.manifest(ref)
    assert manifest.counts == {"items": 3}
    assert manifest.facts["headline"] == "acc_norm"
    assert manifest.facts["shots"] == 0


def test_nothing_is_printed_but_our_own_progress(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "hellaswag.validation", *[HELLASWAG] * 3)
    run(chooser(lambda context, text: 0.0), "hellaswag", tmp_path)
    assert capfd.readouterr() == ("", "")


def test_a_model_folder_is_reported_on_every_benchmark_of_the_sample(tiny: Path) -> None:
    tasks = ["piqa", "mmlu", "nq_open"]
    found = report(tiny, "sample", tasks, 2, dtype="float32")
    assert list(found) == tasks
    assert found["piqa"]["n"] == 2
    assert found["mmlu"]["n"] == 6  # two of each of the sample's three subjects
    assert set(found["piqa"]) == {
        *("n", "headline", "stderr", "acc", "acc_stderr", "acc_norm", "acc_norm_stderr")
    }
    assert found["piqa"]["stderr"] == found["piqa"]["acc_norm_stderr"]
    assert found["nq_open"]["exact_match,remove_whitespace"] == 0.0  # random weights know nothing
    assert json.loads(json.dumps(found)) == found


def test_a_report_checks_its_options_before_it_loads_anything(tmp_path: Path) -> None:
    nowhere = tmp_path / "no model"
    with pytest.raises(ConfigError, match="--dtype 'float16': expected one of bfloat16, float32"):
        report(nowhere, "sample", ["piqa"], 1, dtype="float16")
    with pytest.raises(ConfigError, match="--engine 'server': expected one of transformers"):
        report(nowhere, "sample", ["piqa"], 1, engine_kind="server")
    with pytest.raises(DataError, match=r"piqa\.validation\.jsonl: no such file"):
        report(nowhere, str(tmp_path), ["piqa"], 1)


# The same items through lm-eval's own model class: 12 of multiple choice, 3 generated.
PARITY = dict.fromkeys(TASKS, 12) | {"mmlu": 1, "gsm8k_cot": 3, "nq_open": 3}


@pytest.mark.slow
@pytest.mark.parametrize("task", PARITY)
def test_the_embedded_model_scores_as_through_lm_evals_own_model_class(
    shared: Path, task: str
) -> None:
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM

    from engines.embedded import embedded_folder
    from evaluation.nlp.data import load_tasks

    data = shared / "data" / "benchmarks"
    if not data.is_dir():
        pytest.skip(f"no benchmark data at {data}")
    folder = embedded_folder()
    engine = HFEngine(folder, EngineSection(device="cpu", dtype="float32"))
    section = NlpSection(data_dir=str(data), limit=PARITY[task])
    ours = {item.key: item for item in evaluate_items(engine, task, section, seed=0)}
    assert len(ours) == (12 if task == "mmlu" else PARITY[task])
    # Its batch decodes until the last row stops: one row at a time is faster there.
    rows = 1 if PARITY[task] == 3 else 4
    theirs = HFLM(pretrained=str(folder), device="cpu", dtype="float32", batch_size=rows)
    tasks = load_tasks(task, str(data), seed=0)
    found = evaluate(
        theirs, {"tasks": tasks}, limit=PARITY[task], bootstrap_iters=0, log_samples=True
    )
    for name, samples in found["samples"].items():
        for sample in samples:
            item = ours[f"{name}/{sample['doc_id']}"]
            ending = "" if sample["filter"] == "none" else f",{sample['filter']}"
            for metric in sample["metrics"]:
                assert item.metrics[metric + ending] == float(sample[metric])
            said = [responses[0] for responses in sample["resps"]]
            if "text" in item.detail:
                assert [item.detail["text"]] == said
            else:
                totals = [total for total, _ in said]
                assert item.detail["logprobs"] == pytest.approx(totals, abs=1e-4)
    # The means, as lm-eval prints them.
    by_key = {score.key: score for score in scores(list(ours.values()), task)}
    by_key.pop({"openbookqa": "acc_bayes", "social_iqa": "acc_norm"}.get(task, ""), None)  # LLaMA's
    for name, result in found["results"].items():
        if task != "mmlu":
            for key, score in by_key.items():
                full = key if "," in key else f"{key},none"
                assert score.value == pytest.approx(100 * result[full]), name
