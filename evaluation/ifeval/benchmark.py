"""IFEval as a benchmark of the suite: a model's responses, then the checker's decisions."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from core.benchmarks import BENCHMARKS
from core.evaluation_config import GenerationSection
from core.records import ANSWERED
from core.stages import Stage
from core.store import Built
from evaluation.benchmark import Benchmark, EvaluationItem
from evaluation.generate import ANSWERS, answer
from evaluation.ifeval.data import data_file, load_prompts, source
from evaluation.ifeval.scores import Response, item, scores

if TYPE_CHECKING:
    from core.benchmarks import Subject
    from core.records import Generation, Score
    from core.store import Partial
    from evaluation.run import EvalRun


def evaluate(run: EvalRun, subject: Subject) -> list[Score]:
    """IFEval of one model, through its chat template."""
    (model,), section, ref = subject.models, run.section.ifeval, subject.ref(Stage.ANSWERS)
    sources = source(section.data)
    answers = run.rows(
        ref,
        [run.model(model)],
        lambda out: answer(
            run.generator(model, ref),
            load_prompts(section.data, section.limit),
            GenerationSection(temperature=0.0, top_p=1.0, max_new_tokens=section.max_new_tokens),
            seed=run.config.seed,
            title=f"{model} answers, ifeval",
            out=out,
        ),
        sections=("evaluation.ifeval.limit", "evaluation.ifeval.max_new_tokens", "engine.dtype"),
        sources=ANSWERS | sources,
    )

    def check(out: Partial) -> Built:
        responses: dict[str, Generation] = {row.prompt_key: row for row in run.read(answers)}
        prompts = load_prompts(section.data, section.limit)
        out.add_missing(item(p, _response(responses[p.key])) for p in prompts)
        facts = {"lm_eval": version("lm-eval"), "data": section.data, "limit": section.limit}
        return Built(counts={"items": len(prompts)}, facts=facts)

    items = run.rows(subject.ref(Stage.ITEMS), [answers], check, sources=sources)
    return run.scores(subject, [items], lambda: scores(run.read(items)))


def _response(row: Generation) -> Response:
    return Response(row.text, None if row.finish in ANSWERED else row.finish)


def _texts(run: EvalRun) -> list[EvaluationItem]:
    data = run.section.ifeval.data
    if data_file(data) is None:
        return []
    return [EvaluationItem("ifeval", p.key, p.text) for p in load_prompts(data, None)]


BENCHMARK = Benchmark(
    BENCHMARKS["ifeval"],
    evaluate,
    texts=_texts,
    check=lambda section: section.ifeval.data == "hub" or load_prompts(section.ifeval.data, 1),
    remote_sets=lambda section: ["ifeval"] if section.ifeval.data == "hub" else [],
)
