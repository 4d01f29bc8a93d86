"""How a run's conditions differ from those of published results, one condition at a time.

Each function yields clauses without a full stop; none if the condition is met. The manifests
decide; the configuration, if there is one, only where nothing is made yet.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from core.benchmarks import BENCHMARKS
from core.hashing import sha256_file, sha256_text
from core.sources.source import packaged
from core.stages import Ref, Stage, evaluation_ref, model_ref
from reports.published.published import PAPER, SIZES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.config import Config
    from core.reader import RunReader
    from core.store import Manifest

ANNOTATOR = "weighted_alpaca_eval_gpt4_turbo"
ANNOTATOR_MODEL = "gpt-4-1106-preview"
REFERENCE = "gpt4_1106_preview"

IN_LLAMA = {
    "openbookqa": ("acc_bayes", 'divides by P(completion | "Answer:") as LLaMA does'),
    "social_iqa": ("acc_norm", "divides by an answer's characters as LLaMA does"),
}
"""Tasks whose number in the paper's Llama 2 row is not lm-eval's metric: the metric, its rule."""

# The paper says GPT-4 and not which; these existed when it was written.
_GPT_4 = re.compile(r"gpt-4(-32k)?(-0314|-0613|-1106-preview)?")
_LLAMA_2_70B = re.compile(r"(meta-)?llama-?2-70b(-hf)?", re.IGNORECASE)
_OPENAI = "api.openai.com"
_SAMPLE = "sample"
_SAMPLE_PROMPTS = "prompts:prompts.trees.jsonl"

# SHA-256 of the 805 instructions' keys, sorted, one a line (a key: 16 hex digits of the SHA-256 of
# the instruction's text); and of FastChat's question.jsonl.
_OFFICIAL_PROMPTS = "54b961f42a5a34f82c87be3bf422cef1071bcdf10f5c29c5723fb2a0e5ebb626"
_OFFICIAL_QUESTIONS = "119565adbab82227089cefdb44c8d7e2cf04dc0a0ec233634c82e7d4e2a944f7"


def base_model(results: RunReader, _: Config | None) -> Iterator[str]:
    """Yield a clause unless M0 is Llama 2 70B, pretrained."""
    given = given_m1(results)
    if given is not None:
        yield f"M1 was given ({given}), not trained from Llama 2 70B"
        return
    base, origin = str(results.setting("model.base", model_ref(0))), ""
    if results.exists(model_ref(0)):
        origin = str(results.manifest(model_ref(0)).facts.get("origin", ""))
    name = PurePosixPath(base).name  # where a folder lies differs between machines
    if not _LLAMA_2_70B.fullmatch(name):
        shown = origin if base in ("embedded", "tiny") and origin else name
        yield f"the base model is {shown}, not Llama 2 70B"


def given_m1(results: RunReader) -> str | None:
    """Return where a given M1 is from (`m1.model`), None if M1 was trained."""
    made = results.known_manifest(model_ref(1))
    return None if made is None else made.facts.get("origin")


def is_gpt_4(judge: str) -> bool:
    """Whether a judge's name is that of a GPT-4 of the paper's time."""
    return _GPT_4.fullmatch(judge) is not None


def judge_not_gpt_4(benchmark: str, results: RunReader, config: Config | None) -> Iterator[str]:
    """Yield a clause for each judge other than OpenAI's GPT-4: a server may call anything so."""
    for judge in judges(results, config, benchmark):
        host, _, model = judge.rpartition("/")
        if host != f"openai/{_OPENAI}" or not is_gpt_4(model):
            yield f"the judge is {shown_judge(judge)}, the paper's is GPT-4"


def judges(results: RunReader, config: Config | None, benchmark: str) -> list[str]:
    """Return who judged the run's own models: "openai/HOST/MODEL", or a local model's name.

    Who will, by the configuration, if nothing is judged yet.
    """
    found = [judge_of(manifest) for manifest in judged(results, benchmark)]
    if not found and config is not None:
        judge = config.evaluation.judge
        host = (judge.base_url or f"https://{_OPENAI}").split("://")[-1].split("/")[0]
        by_server = judge.backend == "openai"
        found = [f"openai/{host}/{judge.model}" if by_server else _local(judge.model)]
    return list(dict.fromkeys(found))


def judge_of(manifest: Manifest) -> str:
    """Return who judged, as `judges` does, by the manifest of what it said."""
    settings = manifest.key.config
    if settings.get("evaluation.judge.backend") == "openai":
        return str(manifest.engine)
    return _local(str(settings.get("evaluation.judge.model") or manifest.facts.get("judge") or "?"))


def shown_judge(judge: str) -> str:
    """Return a judge as sentences name it: OpenAI's by the model, other servers' with the host."""
    kind, _, rest = judge.partition("/")
    host, _, model = rest.partition("/")
    if kind != "openai" or host == _OPENAI:
        return model or judge
    return f"{model} at {host}"


def _local(model: str) -> str:
    if re.fullmatch(r"sft|M\d+", model):
        return f"this run's {model}"
    return f"the local model {PurePosixPath(model).name}"


def judged(results: RunReader, benchmark: str) -> list[Manifest]:
    """Return the manifests of what judges said about the run's own models."""
    return own(results, benchmark, BENCHMARKS[benchmark].stages[0])


def own(results: RunReader, benchmark: str, stage: Stage) -> list[Manifest]:
    """Return the manifests of a stage over all models or matchups, without imported ones."""
    places = [f"{model}/{benchmark}" for model in results.answering_models]
    if stage is Stage.VERDICTS:
        places = [f"{benchmark}/{a}-{b}" for a, b in results.matchups]
    refs = [evaluation_ref(address, stage) for address in places]
    made = [results.manifest(ref) for ref in refs if results.exists(ref)]
    return [manifest for manifest in made if "imported" not in manifest.facts]


def on_sample(results: RunReader) -> dict[str, bool]:
    """Return which benchmarks use the packaged sample: by the manifests of what is made of them.

    By the configuration where nothing is.
    """
    section = results.config.evaluation if results.config is not None else None
    tasks = [f"nlp/{task}" for task in results.parts("nlp")]
    made = {
        "head_to_head": own(results, "head_to_head", Stage.ANSWERS),
        "alpaca_eval": own(results, "alpaca_eval", Stage.ANSWERS),
        "nlp": [m for task in tasks for m in own(results, task, Stage.ITEMS)],
        "ifeval": own(results, "ifeval", Stage.ITEMS),
    }
    wanted = {
        "head_to_head": section and section.head_to_head.prompts,
        "alpaca_eval": section and section.alpaca_eval.prompts,
        "nlp": section and section.nlp.data_dir,
        "ifeval": section and "ifeval" in section.benchmarks and section.ifeval.data,
    }
    found = {
        name: any(map(_of_sample, manifests)) if manifests else wanted[name] == _SAMPLE
        for name, manifests in made.items()
    }
    replies = results.setting("eft.source.path", Ref(1, Stage.RANKED))
    return found | {"agreement": replies == _SAMPLE}


def _of_sample(manifest: Manifest) -> bool:
    inputs = manifest.key.inputs
    if manifest.facts.get("data") == _SAMPLE or _SAMPLE_PROMPTS in inputs:
        return True
    prompts = packaged("sample", "prompts")
    return prompts is not None and inputs.get("prompts") == sha256_file(prompts)


def head_to_head_prompts(results: RunReader, config: Config | None) -> Iterator[str]:
    """Yield differences in the prompts: at least one, as the paper's are not public."""
    wording = "are"
    if on_sample(results)["head_to_head"]:
        wording = "are the packaged sample,"
    elif config is not None:
        wording = f"are those of {PurePosixPath(config.evaluation.head_to_head.prompts).name},"
    yield f"the prompts {wording} not the paper's {SIZES.head_to_head_prompts} test prompts"
    verdicts = [
        evaluation_ref(f"head_to_head/{a}-{b}", Stage.VERDICTS) for a, b in results.matchups
    ]
    prompt = results.setting("evaluation.head_to_head.prompt", *verdicts)
    if prompt not in (None, "alpaca_eval"):
        yield f"the judge's prompt is {prompt}, the paper's AlpacaEval's ranking prompt"
    scores = [results.scores(f"head_to_head/{a}-{b}").get("win") for a, b in results.matchups]
    counts = [score.n + score.missing for score in scores if score is not None]
    if counts and min(counts) < SIZES.head_to_head_prompts:
        yield f"{min(counts)} prompts are compared, the paper's {SIZES.head_to_head_prompts}"


def alpaca_prompts(results: RunReader, config: Config | None) -> Iterator[str]:
    """Yield a clause unless the models answered all 805 instructions, wherever these came from."""
    sample = "the prompts are the packaged sample, not AlpacaEval's"
    manifests = own(results, "alpaca_eval", Stage.ANSWERS)
    if not manifests and config and config.evaluation.alpaca_eval.prompts == _SAMPLE:
        yield sample
    for manifest in manifests[:1]:  # one configuration: every model answered the same
        count = manifest.rows or 0
        if _SAMPLE_PROMPTS in manifest.key.inputs:
            yield sample
        elif count < SIZES.alpaca_eval_prompts:
            yield f"{count} of {SIZES.alpaca_eval_prompts} prompts are used"
        elif not _is_official(results, manifest):
            yield f"the prompts are not AlpacaEval's {SIZES.alpaca_eval_prompts}"


def _is_official(results: RunReader, answers: Manifest) -> bool:
    if "hub:alpaca_eval prompts" in answers.key.inputs:
        return True
    ref = Ref.parse(answers.artifact)
    rows = results.rows(ref) if ref is not None else []
    return sha256_text("\n".join(sorted(row.prompt_key for row in rows))) == _OFFICIAL_PROMPTS


def annotation(results: RunReader, config: Config | None) -> Iterator[str]:
    """Yield clauses unless reference, annotator and judge are those of the leaderboard."""
    made = own(results, "alpaca_eval", Stage.ANNOTATIONS)
    for name in references(results):
        if name != REFERENCE:
            yield f"the reference is {name}, AlpacaEval's is {REFERENCE}"
    annotators = {str(m.facts.get("annotator", "?")) for m in made}
    if not made and config is not None:
        annotators = {config.evaluation.alpaca_eval.annotator}
    for name in sorted(annotators):
        if name != ANNOTATOR:
            yield f"the annotator is {name}, the leaderboard's is {ANNOTATOR}"
    for judge in judges(results, config, "alpaca_eval"):
        if judge != f"openai/{_OPENAI}/{ANNOTATOR_MODEL}":
            yield f"the judge is {shown_judge(judge)}, the leaderboard's is {ANNOTATOR_MODEL}"


def references(results: RunReader) -> list[str]:
    """Return what tables call the references that the run's own models were compared with.

    That of the configuration if nothing is compared yet.
    """
    made = own(results, "alpaca_eval", Stage.ANNOTATIONS)
    found = {str(m.key.config.get("evaluation.alpaca_eval.reference", "?")) for m in made}
    if not made and results.config is not None:
        found = {results.config.evaluation.alpaca_eval.reference}
    return [REFERENCE if s == "hub" else PurePosixPath(s).name.split(".")[0] for s in sorted(found)]


def questions(results: RunReader, _: Config | None) -> Iterator[str]:
    """Yield clauses unless all 80 questions of FastChat were asked."""
    for manifest in own(results, "mt_bench", Stage.ANSWERS)[:1]:
        if manifest.key.inputs.get("mt_bench:question.jsonl") != _OFFICIAL_QUESTIONS:
            yield "the questions are not FastChat's"
        count = manifest.counts.get("questions", 0)
        if count < SIZES.mt_bench_questions:
            yield f"{count} of {SIZES.mt_bench_questions} questions are asked"


def items(results: RunReader, config: Config | None, task: str) -> Iterator[str]:
    """Yield a clause unless a task has all the items of its evaluation split."""
    sample = "the items are the packaged sample, not the benchmarks'"
    manifests = own(results, f"nlp/{task}", Stage.ITEMS)
    if not manifests and config and config.evaluation.nlp.data_dir == _SAMPLE:
        yield sample
    for manifest in manifests[:1]:
        whole, count = PAPER.nlp_items.get(task, 0), manifest.rows or 0
        if manifest.facts.get("data") == _SAMPLE:
            yield sample
        elif count < whole:
            yield f"{task} has {count:,} of {whole:,} items"
    metric, rule = IN_LLAMA.get(task, ("", ""))
    found = [results.scores(f"{model}/nlp/{task}") for model in results.models]
    if metric and any(found) and not any(metric in scores for scores in found):
        yield f"lm-eval's {task} is not the paper's, which {rule} ({metric}: evaluate it again)"


def people(results: RunReader, _: Config | None) -> Iterator[str]:
    """Yield differences of a human study: at least one, as the paper's prompts are not public.

    Nothing without a study.
    """
    places = [evaluation_ref(f"human/{a}-{b}", Stage.ITEMS) for a, b in results.studies]
    made = [results.manifest(ref) for ref in places if results.exists(ref)]
    if not made:
        return
    yield f"the prompts are not the paper's {SIZES.human_prompts}"
    fewest = min(manifest.rows or 0 for manifest in made)
    if fewest < SIZES.human_prompts:
        yield f"{fewest} prompts are judged, the paper's {SIZES.human_prompts}"
    for count in sorted({len(manifest.facts.get("annotators", ())) for manifest in made}):
        if count != SIZES.human_annotators:
            yield f"{count} annotators judge, in the paper {SIZES.human_annotators}"


def ranked_replies(results: RunReader, _: Config | None) -> Iterator[str]:
    """Yield clauses unless the models judged Open Assistant's replies with the additive prompt."""
    source = str(results.setting("eft.source.path", Ref(1, Stage.RANKED)))
    judged_by = [evaluation_ref(f"{m}/agreement", Stage.RANKED_JUDGMENTS) for m in results.models]
    rubric = results.setting("judge.rubric", *judged_by)
    if source == _SAMPLE:
        yield "the replies are the packaged sample, not Open Assistant's"
    elif source != "OpenAssistant/oasst1":
        yield f"the replies are those of {PurePosixPath(source).name}, not Open Assistant's"
    if (limit := results.setting("evaluation.agreement.limit", *judged_by)) is not None:
        yield f"at most {limit} prompts of the evaluation split are used"
    if rubric not in (None, "additive"):
        yield f"the judge's prompt is {rubric}, the paper's is the additive one"


CONDITIONS = {
    "alpaca_eval": (alpaca_prompts, annotation),
    "lengths": (alpaca_prompts,),
    "head_to_head": (head_to_head_prompts, partial(judge_not_gpt_4, "head_to_head")),
    "mt_bench": (questions, partial(judge_not_gpt_4, "mt_bench")),
    "agreement": (ranked_replies,),
    "human": (people,),
}
"""What must be as in the paper, by benchmark ("lengths": AlpacaEval's answers, whatever their
judgments); for each NLP task it is `items`."""
