"""How a run's conditions differ from those of published results, one condition at a time.

Each function yields clauses without a full stop; none if the condition is met. The
manifests decide; the configuration only where nothing is made yet.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from core.benchmarks import BENCHMARKS
from core.hashing import sha256_text
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

# The paper says GPT-4 and not which; these existed when it was written.
_GPT_4 = re.compile(r"gpt-4(-32k)?(-0314|-0613|-1106-preview)?")
_LLAMA_2_70B = re.compile(r"(meta-)?llama-?2-70b(-hf)?", re.IGNORECASE)
_OPENAI = "api.openai.com"
_SAMPLE_PROMPTS = "prompts:prompts.trees.jsonl"

# SHA-256 of the 805 instructions' keys, sorted, one a line (a key: 16 hex digits of the SHA-256 of
# the instruction's text); and of FastChat's question.jsonl.
_OFFICIAL_PROMPTS = "54b961f42a5a34f82c87be3bf422cef1071bcdf10f5c29c5723fb2a0e5ebb626"
_OFFICIAL_QUESTIONS = "119565adbab82227089cefdb44c8d7e2cf04dc0a0ec233634c82e7d4e2a944f7"


def base_model(results: RunReader, config: Config) -> Iterator[str]:
    """Yield a clause unless M0 is Llama 2 70B, pretrained."""
    base, origin = config.model.base, ""
    if results.exists(model_ref(0)):
        manifest = results.manifest(model_ref(0))
        base = str(manifest.key.config.get("model", {}).get("base", base))
        origin = str(manifest.facts.get("origin", ""))
    name = PurePosixPath(base).name  # where a folder lies differs between machines
    if not _LLAMA_2_70B.fullmatch(name):
        shown = origin if base in ("embedded", "tiny") and origin else name
        yield f"the base model is {shown}, not Llama 2 70B"


def is_gpt_4(judge: str) -> bool:
    """Whether a judge's name is that of a GPT-4 of the paper's time."""
    return _GPT_4.fullmatch(judge) is not None


def judge_not_gpt_4(benchmark: str, results: RunReader, config: Config) -> Iterator[str]:
    """Yield a clause for each judge other than OpenAI's GPT-4: a server may call anything so."""
    for judge in judges(results, config, benchmark):
        host, _, model = judge.rpartition("/")
        if host != f"openai/{_OPENAI}" or not is_gpt_4(model):
            yield f"the judge is {shown_judge(judge)}, the paper's is GPT-4"


def judges(results: RunReader, config: Config, benchmark: str) -> list[str]:
    """Return who judged the run's own models: "openai/HOST/MODEL", or a local model's name."""
    found = []
    for manifest in judged(results, benchmark):
        settings = manifest.key.config
        model = str(settings.get("evaluation.judge.model") or manifest.facts.get("judge") or "?")
        by_server = settings.get("evaluation.judge.backend") == "openai"
        found.append(str(manifest.engine) if by_server else _local(model))
    judge = config.evaluation.judge
    host = (judge.base_url or f"https://{_OPENAI}").split("://")[-1].split("/")[0]
    wanted = _local(judge.model) if judge.backend == "model" else f"openai/{host}/{judge.model}"
    return list(dict.fromkeys(found or [wanted]))


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
    places = [f"{model}/{benchmark}" for model in results.models]
    if stage is Stage.VERDICTS:
        places = [f"{benchmark}/{a}-{b}" for a, b in results.matchups]
    refs = [evaluation_ref(address, stage) for address in places]
    made = [results.manifest(ref) for ref in refs if results.exists(ref)]
    return [manifest for manifest in made if "imported" not in manifest.facts]


def head_to_head_prompts(results: RunReader, config: Config) -> Iterator[str]:
    """Yield differences in the prompts: at least one, as the paper's are not public."""
    section = config.evaluation.head_to_head
    file = PurePosixPath(section.prompts).name
    wording = "are the packaged sample" if section.prompts == "sample" else f"are those of {file}"
    yield f"the prompts {wording}, not the paper's {SIZES.head_to_head_prompts} test prompts"
    if section.prompt != "alpaca_eval":
        yield f"the judge's prompt is {section.prompt}, the paper's AlpacaEval's ranking prompt"
    scores = [results.scores(f"head_to_head/{a}-{b}").get("win") for a, b in results.matchups]
    counts = [score.n + score.missing for score in scores if score is not None]
    if counts and min(counts) < SIZES.head_to_head_prompts:
        yield f"{min(counts)} prompts are compared, the paper's {SIZES.head_to_head_prompts}"


def alpaca_prompts(results: RunReader, config: Config) -> Iterator[str]:
    """Yield a clause unless the models answered all 805 instructions, wherever these came from."""
    sample = "the prompts are the packaged sample, not AlpacaEval's"
    manifests = own(results, "alpaca_eval", Stage.ANSWERS)
    if not manifests and config.evaluation.alpaca_eval.prompts == "sample":
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


def annotation(results: RunReader, config: Config) -> Iterator[str]:
    """Yield clauses unless reference, annotator and judge are those of the leaderboard."""
    section, made = config.evaluation.alpaca_eval, own(results, "alpaca_eval", Stage.ANNOTATIONS)
    settings = [m.key.config for m in made]
    references = {str(s.get("evaluation.alpaca_eval.reference", "?")) for s in settings}
    for one in sorted(references or {section.reference}):
        name = reference_name(one)
        if name != REFERENCE:
            yield f"the reference is {name}, AlpacaEval's is {REFERENCE}"
    for name in sorted({str(m.facts.get("annotator", "?")) for m in made} or {section.annotator}):
        if name != ANNOTATOR:
            yield f"the annotator is {name}, the leaderboard's is {ANNOTATOR}"
    for judge in judges(results, config, "alpaca_eval"):
        if judge != f"openai/{_OPENAI}/{ANNOTATOR_MODEL}":
            yield f"the judge is {shown_judge(judge)}, the leaderboard's is {ANNOTATOR_MODEL}"


def reference_name(setting: str) -> str:
    """Return what tables call the reference that `evaluation.alpaca_eval.reference` names."""
    return REFERENCE if setting == "hub" else PurePosixPath(setting).name.split(".")[0]


def questions(results: RunReader, _: Config) -> Iterator[str]:
    """Yield clauses unless all 80 questions of FastChat were asked."""
    for manifest in own(results, "mt_bench", Stage.ANSWERS)[:1]:
        if manifest.key.inputs.get("mt_bench:question.jsonl") != _OFFICIAL_QUESTIONS:
            yield "the questions are not FastChat's"
        count = manifest.counts.get("questions", 0)
        if count < SIZES.mt_bench_questions:
            yield f"{count} of {SIZES.mt_bench_questions} questions are asked"


def items(results: RunReader, config: Config, task: str) -> Iterator[str]:
    """Yield a clause unless a task has all the items of its evaluation split."""
    sample = "the items are the packaged sample, not the benchmarks'"
    manifests = own(results, f"nlp/{task}", Stage.ITEMS)
    if not manifests and config.evaluation.nlp.data_dir == "sample":
        yield sample
    for manifest in manifests[:1]:
        whole, count = PAPER.nlp_items.get(task, 0), manifest.rows or 0
        if manifest.facts.get("data") == "sample":
            yield sample
        elif count < whole:
            yield f"{task} has {count:,} of {whole:,} items"


def people(results: RunReader, _: Config) -> Iterator[str]:
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


def ranked_replies(results: RunReader, config: Config) -> Iterator[str]:
    """Yield clauses unless the models judged Open Assistant's replies with the additive prompt."""
    source, ref = config.eft.source.path, Ref(1, Stage.RANKED)
    if results.exists(ref):
        settings = results.manifest(ref).key.config.get("eft.source", {})
        source = str(settings.get("path", source))
    if source == "sample":
        yield "the replies are the packaged sample, not Open Assistant's"
    elif source != "OpenAssistant/oasst1":
        yield f"the replies are those of {PurePosixPath(source).name}, not Open Assistant's"
    if (limit := config.evaluation.agreement.limit) is not None:
        yield f"at most {limit} prompts of the evaluation split are used"
    if config.judge.rubric != "additive":
        yield f"the judge's prompt is {config.judge.rubric}, the paper's is the additive one"


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
