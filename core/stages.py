"""The stages, artifacts and paths of a run.

iter0   model                                    M0, the base model
        probe                                    how M0 judges the EFT evaluation split
iter1   ift  ranked                              seed data
        sft                                      the SFT baseline (IFT only)
        eft_judgments  eft_constructed  eft      evaluation fine-tuning data
        model                                    M1
        probe                                    how M1 judges
iter2+  prompt_calls  prompts                    self-instruction
        candidates  judgments  health            AI feedback by M_{k-1}
        previous_judgments  consistency          M_{k-2}'s judgments of them, if wanted
        implicit_rewards                         what M_{k-1} learned to prefer, if wanted
        pairs
        meta_verdicts  judge_pairs               its judgments compared (Meta-Rewarding)
        past_…  future_…  future                 answers of M1, and of a model one step ahead
        model                                    M_k

eval/<address>/                                  evaluation: `address` is a path like M2/ifeval,
        answers  annotations  tags  ...          M2/nlp/arc_easy or head_to_head/M2-M1
        scores                                   the numbers of that benchmark
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from core import records
from core.errors import ConfigError


class Stage(StrEnum):
    """Every stage in the order they run; the value is its name on disk and on the command line."""

    BASE = "base"
    IFT = "ift"
    RANKED = "ranked"
    SFT = "sft"
    EFT_JUDGMENTS = "eft_judgments"
    EFT_CONSTRUCTED = "eft_constructed"
    EFT = "eft"
    MODEL = "model"
    PROBE = "probe"
    PROMPT_CALLS = "prompt_calls"
    PROMPTS = "prompts"
    CANDIDATES = "candidates"
    JUDGMENTS = "judgments"
    HEALTH = "health"
    PREVIOUS_JUDGMENTS = "previous_judgments"
    CONSISTENCY = "consistency"
    IMPLICIT_REWARDS = "implicit_rewards"
    PAST_ANSWERS = "past_answers"
    PAST_JUDGMENTS = "past_judgments"
    FUTURE_PAIRS = "future_pairs"
    FUTURE = "future"
    FUTURE_ANSWERS = "future_answers"
    FUTURE_JUDGMENTS = "future_judgments"
    PAIRS = "pairs"
    META_VERDICTS = "meta_verdicts"
    JUDGE_PAIRS = "judge_pairs"
    # Evaluation. What each holds depends on the benchmark, which is part of `Ref.address`.
    ANSWERS = "answers"
    ANNOTATIONS = "annotations"
    TAGS = "tags"
    TURN_JUDGMENTS = "turn_judgments"
    RANKED_JUDGMENTS = "ranked_judgments"
    EXTERNAL_JUDGMENTS = "external_judgments"
    VERDICTS = "verdicts"
    ITEMS = "items"
    FLAGS = "flags"
    SCORES = "scores"


class Ref(NamedTuple):
    """An artifact's address inside a run.

    Training artifacts belong to an iteration. Evaluation artifacts have `address` (a relative path,
    see the module's docstring) and iteration 0.
    """

    iteration: int
    stage: Stage
    address: str = ""

    @property
    def place(self) -> str:
        """Return the folder below the run's."""
        return f"eval/{self.address}" if self.address else f"iter{self.iteration}"

    @classmethod
    def parse(cls, text: str) -> Ref | None:
        """Read `iter2/pairs` or `eval/M2/ifeval/scores`; None for other names."""
        place, _, name = text.rpartition("/")
        stage = next((stage for stage in Stage if stage.value == name), None)
        if stage is None:
            return None
        if place.startswith("eval/"):
            return cls(0, stage, place[5:]) if stage in EVALUATION_STAGES else None
        found = re.fullmatch(r"iter([0-9]{1,6})", place)
        return cls(int(found[1]), stage) if found else None

    def __str__(self) -> str:
        """Return the address as people write it: `iter2/pairs`, `eval/M2/ifeval/scores`."""
        return f"{self.place}/{self.stage.value}"


def evaluation_ref(address: str, stage: Stage) -> Ref:
    """Return the address of an evaluation artifact."""
    return Ref(0, stage, address)


@dataclass(frozen=True, slots=True)
class Spec:
    """What a stage makes: rows of type `record`, or a model folder (`record` None)."""

    title: str
    record: type | None
    sections: tuple[str, ...]


# The settings that determine a judge reply; the number of draws is a setting of each stage.
HOW_JUDGED = (
    "judge.rubric", "judge.reading", "judge.temperature", "judge.top_p", "judge.max_new_tokens"
)  # fmt: skip

_JUDGED = (*HOW_JUDGED, "engine.dtype")
_CANDIDATES_JUDGED = (*HOW_JUDGED, "judge.draws", "improvement.judge", "engine.dtype")

SPECS: dict[Stage, Spec] = {
    Stage.BASE: Spec("base model M0", None, ("model",)),
    # Which prompts IFT may take depends on whether EFT reads the same source.
    Stage.IFT: Spec("IFT examples", records.Example, ("ift", "eft.source.path")),
    Stage.RANKED: Spec("human-ranked replies", records.RankedPrompt, ("eft.source",)),
    Stage.SFT: Spec("SFT baseline (IFT only)", None, ("sft",)),
    Stage.EFT_JUDGMENTS: Spec(
        "SFT baseline judges ranked replies", records.Judgment, ("eft.construction", *_JUDGED)),
    Stage.EFT_CONSTRUCTED: Spec(
        "EFT examples by construction", records.JudgeExample, ("eft.selection", "judge.rubric")),
    Stage.EFT: Spec(
        "EFT training examples", records.JudgeExample, ("eft.selection", "judge.rubric")),
    Stage.MODEL: Spec("model", None, ()),
    Stage.PROBE: Spec(
        "judge probe on the EFT evaluation split", records.Judgment, ("probe", *_JUDGED)),
    Stage.PROMPT_CALLS: Spec(
        "prompt-writing calls", records.PromptCall, ("prompts", "engine.dtype")),
    Stage.PROMPTS: Spec("self-instructed prompts", records.Prompt, ("prompts",)),
    Stage.CANDIDATES: Spec("candidate answers", records.Candidate, ("candidates", "engine.dtype")),
    Stage.JUDGMENTS: Spec("self-judgments", records.Judgment, _CANDIDATES_JUDGED),
    Stage.HEALTH: Spec("judge health", records.Measurement, ()),
    Stage.PREVIOUS_JUDGMENTS: Spec(
        "judgments by the model before", records.Judgment,
        (*HOW_JUDGED, "judge.draws", "engine.dtype")),
    Stage.CONSISTENCY: Spec("consistency of two judges", records.OrderAgreement, ()),
    Stage.IMPLICIT_REWARDS: Spec(
        "log-probabilities of the answers", records.AnswerLogProb, ("engine.dtype",)),
    Stage.PAST_ANSWERS: Spec("M1's answers", records.Candidate, ("candidates", "engine.dtype")),
    Stage.PAST_JUDGMENTS: Spec("judgments of M1's answers", records.Judgment, _CANDIDATES_JUDGED),
    Stage.FUTURE_PAIRS: Spec("pairs of the future model", records.LedgerRow, ("pairs",)),
    Stage.FUTURE: Spec("future model", None, ()),
    Stage.FUTURE_ANSWERS: Spec(
        "the future model's answers", records.Candidate, ("candidates", "engine.dtype")),
    Stage.FUTURE_JUDGMENTS: Spec(
        "judgments of the future model's answers", records.Judgment, _CANDIDATES_JUDGED),
    Stage.PAIRS: Spec("preference pairs", records.LedgerRow, ("pairs",)),
    Stage.META_VERDICTS: Spec(
        "meta-judgments", records.Verdict, ("judge_pairs.prompt", *_JUDGED)),
    Stage.JUDGE_PAIRS: Spec(
        "preference pairs of judgments", records.JudgePair,
        ("judge_pairs.max_characters", "judge.rubric")),
    # Which settings an evaluation artifact depends on is said by its benchmark (evaluation/).
    Stage.ANSWERS: Spec("answers", records.Generation, ()),
    Stage.ANNOTATIONS: Spec("AlpacaEval annotations", records.Annotation, ()),
    Stage.TAGS: Spec("instruction tags", records.Tag, ()),
    Stage.TURN_JUDGMENTS: Spec("MT-Bench judgments", records.TurnJudgment, ()),
    Stage.RANKED_JUDGMENTS: Spec("judgments of ranked replies", records.Judgment, ()),
    Stage.EXTERNAL_JUDGMENTS: Spec("the external judge's judgments", records.Judgment, ()),
    Stage.VERDICTS: Spec("verdicts", records.Verdict, ()),
    Stage.ITEMS: Spec("items", records.ItemScore, ()),
    Stage.FLAGS: Spec("overlaps with evaluation items", records.Flag, ()),
    Stage.SCORES: Spec("scores", records.Score, ()),
}  # fmt: skip


def _between(first: Stage, last: Stage) -> tuple[Stage, ...]:
    stages = tuple(Stage)
    return stages[stages.index(first) : stages.index(last) + 1]


PAST_STAGES = _between(Stage.PAST_ANSWERS, Stage.PAST_JUDGMENTS)
FUTURE_STAGES = _between(Stage.FUTURE_PAIRS, Stage.FUTURE_JUDGMENTS)
_SEED_STAGES = _between(Stage.IFT, Stage.PROBE)
_FEEDBACK_STAGES = (*_between(Stage.PROMPT_CALLS, Stage.JUDGE_PAIRS), Stage.MODEL)
EVALUATION_STAGES = _between(Stage.ANSWERS, Stage.SCORES)
_AFTER_TRAINING = 1_000_000


def stages_of(iteration: int) -> tuple[Stage, ...]:
    """Return the stages of an iteration in the order they run."""
    if iteration == 0:
        return (Stage.BASE, Stage.PROBE)
    return _SEED_STAGES if iteration == 1 else _FEEDBACK_STAGES


def model_ref(iteration: int) -> Ref:
    """Return where M_k lives; M0 is the base stage's artifact."""
    return Ref(iteration, Stage.MODEL if iteration > 0 else Stage.BASE)


SFT_BASELINE = Ref(1, Stage.SFT)


def is_model_name(name: str) -> bool:
    """Whether a name is one of a run's models: "sft", "M0", "M1", ..."""
    return name == "sft" or (name[:1] == "M" and name[1:].isdecimal())


def named_model(name: str) -> Ref:
    """Return where a run keeps the model of this name."""
    return SFT_BASELINE if name == "sft" else model_ref(int(name[1:]))


def is_model(ref: Ref) -> bool:
    """Whether the artifact is a model folder rather than rows."""
    return SPECS[ref.stage].record is None


def order_of(ref: Ref) -> tuple[int, int]:
    """Return a sort key: position in the run, earlier stages first.

    M0's probe reads iteration 1's ranked replies, so it runs, and is ordered, with M1's. Evaluation
    comes after all training.
    """
    if ref.address:
        return (_AFTER_TRAINING, EVALUATION_STAGES.index(ref.stage))
    if ref == Ref(0, Stage.PROBE):
        return (1, len(_SEED_STAGES))
    return (ref.iteration, stages_of(ref.iteration).index(ref.stage))


def parse_stage(name: str, iteration: int) -> Ref:
    """Read a stage's name as given to `--redo`, optionally with its iteration (`iter1/eft`).

    Raises:
        ConfigError: no such stage in that iteration.
    """
    prefix, slash, stage = name.rpartition("/")
    digits = prefix.removeprefix("iter")
    if slash and not digits.isdecimal():
        message = f"--redo {name!r}: expected STAGE or iterK/STAGE, e.g. iter2/pairs"
        raise ConfigError(message)
    at = int(digits) if slash else iteration
    allowed = [s.value for s in stages_of(at)]
    if stage not in allowed:
        message = f"--redo {name!r}: iteration {at} has no such stage; it has {', '.join(allowed)}"
        raise ConfigError(message)
    return Ref(at, Stage(stage))


class Paths:
    """Where the files of one run lie.

    config: the resolved configuration of the last command.
    calls: the journal of engine calls, one line per sampled row.
    generations: the cache of benchmark generations.
    cassette: every judge request and reply.
    outcomes: the benchmarks that failed, and why.
    redo: the note of an unfinished --redo; repeating that command removes nothing.
    digests: the cached hashes of model folders outside the run.
    lock: admits one process per run.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "config.json"
        self.calls = root / "calls.jsonl"
        self.generations = root / "eval" / "generations.sqlite"
        self.cassette = root / "eval" / "cassette.sqlite"
        self.outcomes = root / "eval" / "outcomes.json"
        self.redo = root / "redo.json"
        self.digests = root / "digests.json"
        self.lock = root / ".lock"

    def folder(self, ref: Ref) -> Path:
        """Return the folder of an artifact."""
        return self.root / ref.place

    def artifact(self, ref: Ref) -> Path:
        """Return the artifact itself: a model folder or a JSONL file."""
        suffix = "" if is_model(ref) else ".jsonl"
        return self.folder(ref) / f"{ref.stage.value}{suffix}"

    def manifest(self, ref: Ref) -> Path:
        """Return the manifest; the artifact exists if this file does."""
        return self.folder(ref) / f"{ref.stage.value}.manifest.json"

    def partial(self, ref: Ref) -> Path:
        """Return the file that finished rows are appended to while a stage runs."""
        return self.folder(ref) / f"{ref.stage.value}.partial.jsonl"

    def work(self, ref: Ref) -> Path:
        """Return the scratch folder of a training stage: checkpoints, kept until it is done."""
        return self.folder(ref) / f"{ref.stage.value}.work"

    def metrics(self, ref: Ref) -> Path:
        """Return the per-step training log of a model stage."""
        return self.folder(ref) / f"{ref.stage.value}.metrics.jsonl"

    def verdicts(self, ref: Ref) -> Path:
        """Return the checkpoint comparisons of a DPO stage (judged early stopping)."""
        return self.folder(ref) / f"{ref.stage.value}.checkpoints.jsonl"


def project_root() -> Path:
    """Return the checkout that holds the packages, `data/` and `configs/`."""
    return Path(__file__).resolve().parent.parent
