"""AlpacaEval 2.0 as a benchmark of the suite: a judge compares answers with a reference's."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from core.benchmarks import BENCHMARKS
from core.errors import ConfigError
from core.hashing import sha256_file, sha256_text
from core.records import ANSWERED
from core.stages import Stage, evaluation_ref, is_model_name
from evaluation.alpaca_eval import files, tags
from evaluation.alpaca_eval.annotator import PackageAnnotator, annotate
from evaluation.alpaca_eval.length_control import length_control_source
from evaluation.alpaca_eval.scores import scores
from evaluation.benchmark import Benchmark, EvaluationItem
from evaluation.generate import answers_to, prompts_source
from judges.backends.opening import JUDGED_BY
from judges.bounds import JudgeBound, PromptCount, benchmark_bound, total

if TYPE_CHECKING:
    from core.benchmarks import Subject
    from core.evaluation_config import EvaluationSection
    from core.records import Generation, Score
    from core.stages import Ref
    from evaluation.run import EvalRun

_HUB_REFERENCE = "gpt4_1106_preview"
_MEAN_PROMPT = "x" * 165  # as long as the hub's prompts are on average


def evaluate(run: EvalRun, subject: Subject) -> list[Score]:
    """AlpacaEval 2.0 of one model (Table 1)."""
    (model,) = subject.models
    section = run.section.alpaca_eval

    def answers_of(name: str) -> Ref:
        load = partial(files.load_prompts, section.prompts, section.limit)
        return answers_to(run, name, "alpaca_eval", load, _file_source("prompts", section.prompts))

    answers = answers_of(model)
    ours = is_model_name(section.reference)
    hub = section.reference == "hub"
    reference_name = _HUB_REFERENCE if hub else Path(section.reference).name.split(".")[0]
    reference = [answers_of(section.reference)] if ours else []

    def reference_texts() -> dict[str, str]:
        if ours:
            rows: list[Generation] = run.read(reference[0])
            return {row.prompt_key: row.text for row in rows if row.finish in ANSWERED}
        known = files.load_reference(section.reference)
        return {files.instruction_key(text): output for text, output in known.items()}

    annotations = run.rows(
        subject.ref(Stage.ANNOTATIONS),
        [answers, *reference, *run.judge_inputs()],
        lambda out: annotate(
            run.judge,
            run.read(answers),
            reference_texts(),
            names=(reference_name, model),
            annotator=section.annotator,
            reading=run.section.judge.reading,
            allowed_failures=run.section.judge.allowed_failures,
            out=out,
        ),
        sections=(
            *JUDGED_BY,
            "evaluation.alpaca_eval.annotator",
            "evaluation.alpaca_eval.reference",
        ),
        sources=run.judge_sources()
        | ({} if ours else _file_source("reference", section.reference)),
    )
    tagged = [_tags(run)] if section.tags else []
    data = section.length_control_data
    return run.scores(
        subject,
        [annotations, *tagged],
        lambda: scores(
            run.read(annotations),
            length_control_data=None if data == "none" else data,
            bootstrap=section.bootstrap,
            seed=run.config.seed,
            tags=run.read(tagged[0]) if tagged else None,
        ),
        sections=("evaluation.alpaca_eval.length_control_data", "evaluation.alpaca_eval.bootstrap"),
        sources=length_control_source(data),
    )


def _tags(run: EvalRun) -> Ref:
    """Return the judge's tags of each AlpacaEval instruction (Figures 4 and 11)."""
    section = run.section.alpaca_eval
    return run.rows(
        evaluation_ref("tags/alpaca_eval", Stage.TAGS),
        run.judge_inputs(),
        lambda out: tags.tag(
            run.judge,
            files.load_prompts(section.prompts, section.limit),
            allowed_failures=run.section.judge.allowed_failures,
            out=out,
        ),
        sections=(*JUDGED_BY, "evaluation.alpaca_eval.limit"),
        sources=run.judge_sources() | _file_source("prompts", section.prompts),
    )


def _file_source(field: Literal["prompts", "reference"], setting: str) -> dict[str, str]:
    """Return name and content hash of the file that `evaluation.alpaca_eval.<field>` names.

    The hub's data set is identified by its name alone; its contents are in the artifact.

    Raises:
        ConfigError: there is no such file.
    """
    if setting == "hub":
        return {f"hub:alpaca_eval {field}": sha256_text(field)}
    path = (setting == "sample" and prompts_source(setting).path) or Path(setting).expanduser()
    if not path.is_file():
        message = f"evaluation.alpaca_eval.{field} = {setting!r}: no such file"
        raise ConfigError(message)
    return {f"{field}:{path.name}": sha256_file(path)}


def _texts(run: EvalRun) -> list[EvaluationItem]:
    section = run.section.alpaca_eval
    prompts = [] if section.prompts == "hub" else files.load_prompts(section.prompts, None)
    return [EvaluationItem("alpaca_eval", prompt.key, prompt.text) for prompt in prompts]


def _bound(run: EvalRun, _: Subject) -> JudgeBound:
    section = run.section.alpaca_eval
    if section.prompts == "hub":  # not downloaded for a plan
        texts = [_MEAN_PROMPT] * (section.limit or files.BENCHMARK_SIZE)
    else:
        texts = [prompt.text for prompt in files.load_prompts(section.prompts, section.limit)]
    count = PromptCount.of(texts)
    reply = PackageAnnotator(section.annotator).max_new_tokens
    bound = benchmark_bound(run.config, "alpaca_eval", count, annotator_tokens=reply)
    # Tags are asked for once; counting them for every model keeps the sum an upper bound.
    tagged = [benchmark_bound(run.config, "tags", count)] if section.tags else []
    return total([bound, *tagged], "alpaca_eval")


def _check(section: EvaluationSection) -> None:
    wanted = section.alpaca_eval
    if wanted.prompts != "hub":
        files.load_prompts(wanted.prompts, 1)
    if wanted.reference != "hub" and not is_model_name(wanted.reference):
        files.load_reference(wanted.reference)
    length_control_source(wanted.length_control_data)


BENCHMARK = Benchmark(
    BENCHMARKS["alpaca_eval"],
    evaluate,
    texts=_texts,
    remote_sets=lambda section: ["alpaca_eval"] if section.alpaca_eval.prompts == "hub" else [],
    bound=_bound,
    check=_check,
    export=files.export,
)
