"""The benchmarks: what evaluation, reports and the web pages must know alike about each of them.

A benchmark is one entry of `BENCHMARKS`; nothing else in core, reports/collect.py or web/ lists
them. A `Subject` is one benchmark of one model, matchup or iteration; its address is the folder
below eval/ that holds the artifacts.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from core.records import zero_is_a_draw
from core.reductions import combine_all, mean_scores
from core.stages import EVALUATION_STAGES, Ref, Stage, evaluation_ref

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from core.evaluation_config import EvaluationSection
    from core.records import (
        Annotation,
        ItemScore,
        Judgment,
        RankedPrompt,
        Score,
        TurnJudgment,
        Verdict,
    )

FIRST_FEEDBACK_ITERATION = 2
"""The first iteration with prompts, candidates and pairs of its own."""

Unit = Literal["percent", "points", "characters", "share", "p_value", "count"]

SCORING = {"scoring": "0.2"}
"""Part of the key of all scores: those by the rules of an earlier release are stale."""

GRADES = (1.0, 10.0)
"""MT-Bench's scale."""
_PERCENT = (0.0, 100.0)
_MMLU_SUBJECT = "mmlu_"
_NET = (-100.0, 100.0)
_NET_OF = {"A": 100.0, "tie": 0.0, "B": -100.0}
_ABOUT_JUDGES = ("judge/", "people/")  # scores that describe who judged, not what was judged


class Items(NamedTuple):
    """Values by item, the least and greatest possible value, and which items are one observation.

    `clusters` maps an item to its observation (two turns: their question); None: each is its own.
    """

    values: dict[str, float]
    scale: tuple[float, float]
    clusters: dict[str, str] | None = None


class Facts(NamedTuple):
    """What all layers must know alike about one benchmark.

    `of`: what one result of it belongs to.
    `headlines`: the scores that the paper's tables show, the first one first; empty where each
        score says so itself (`detail["headline"]`).
    `unit`: of its scores; `units` names those with another one.
    `judged`: whether the external judge is asked; `by_people`: people judge, on their own command.
    `stages`, `items`: the artifacts that hold the items and the function that reads their rows:
        per metric that is a mean over items, its items. None: no score is a mean over items.
    `describing`: scores that are neither better nor worse when higher.
    `directed`: whether any score of it has a better direction.
    `parts`: the setting of its section that lists its parts (tasks); empty without parts.
    `first_iteration`: of a benchmark of iterations.
    """

    name: str
    title: str
    of: Literal["model", "matchup", "iteration"]
    headlines: tuple[str, ...]
    unit: Unit = "percent"
    judged: bool = False
    by_people: bool = False
    stages: tuple[Stage, ...] = ()
    items: Callable[..., dict[str, Items]] | None = None
    units: Mapping[str, Unit] | None = None
    describing: tuple[str, ...] = ()
    directed: bool = True
    parts: str = ""
    first_iteration: int = FIRST_FEEDBACK_ITERATION

    @property
    def headline(self) -> str:
        """The score to name when there is none: the first headline, or "value"."""
        return self.headlines[0] if self.headlines else "value"

    def parts_in(self, section: EvaluationSection) -> tuple[str, ...]:
        """Return its configured parts; () for a benchmark without parts."""
        return tuple(getattr(getattr(section, self.name), self.parts)) if self.parts else ()

    def is_headline(self, score: Score) -> bool:
        """Whether the paper's tables show a score."""
        if self.headlines:
            return score.key in self.headlines
        return bool(score.detail and score.detail.get("headline"))

    def describes(self, metric: str) -> bool:
        """Whether a score has no better direction."""
        return not self.directed or metric in self.describing or metric.startswith(_ABOUT_JUDGES)

    def unit_of(self, metric: str) -> Unit:
        """Return the unit of a score by its key."""
        name = metric.rpartition("/")[2]
        if name == "sign_test":
            return "p_value"
        if "length" in name and "win_rate" not in metric:
            return "characters"
        if metric.startswith(_ABOUT_JUDGES):
            return "share"
        return (self.units or {}).get(metric, self.unit)


def _head_to_head(orders: list[Verdict]) -> dict[str, Items]:
    """Net wins: 100 where the first model won, −100 where it lost."""
    verdicts = combine_all({verdict.key: verdict for verdict in orders})
    values = {v.prompt_key: _NET_OF[v.winner] for v in verdicts if v.winner is not None}
    return {"net": Items(values, _NET)}


def _alpaca_eval(annotations: list[Annotation]) -> dict[str, Items]:
    graded = {row.key: row.preference for row in annotations if row.preference is not None}
    values = {key: 100 * (zero_is_a_draw(found) - 1) for key, found in graded.items()}
    return {"win_rate": Items(values, _PERCENT)}


def _mt_bench(judgments: list[TurnJudgment]) -> dict[str, Items]:
    """Every draw of every turn: a turn judged twice counts twice in the score."""
    values, clusters = {}, {}
    for found in judgments:
        if found.score is not None:
            key = f"{found.question_id}/{found.turn}/{found.draw}"
            values[key], clusters[key] = found.score, str(found.question_id)
    return {"overall": Items(values, GRADES, clusters)}


def _nlp(items: list[ItemScore]) -> dict[str, Items]:
    """Every metric of the items, in percent or, where it is no share, as it is.

    Of MMLU also the macro average: an item of a subject with s of n items in k subjects weighs
    n / (k·s), so that their mean is the mean over subjects.
    """
    found = {}
    subjects = Counter(item.task for item in items if item.task.startswith(_MMLU_SUBJECT))
    for name in dict.fromkeys(name for item in items for name in item.metrics):
        values = {item.key: item.metrics[name] for item in items if name in item.metrics}
        if not are_shares(values.values()):
            found[name] = Items(values, (min(values.values()), max(values.values())))
            continue
        found[name] = Items({key: 100 * value for key, value in values.items()}, _PERCENT)
        if subjects and len(values) == subjects.total():
            weights = {s: len(values) / (len(subjects) * n) for s, n in subjects.items()}
            weighed = {item.key: 100 * weights[item.task] * values[item.key] for item in items}
            found[f"{name}_macro"] = Items(weighed, (0.0, 100 * max(weights.values())))
    return found


def are_shares(values: Iterable[float]) -> bool:
    """Whether a metric of lm-eval is a share, which tables print in percent: all in 0..1."""
    return all(0.0 <= value <= 1.0 for value in values)


def _ifeval(items: list[ItemScore]) -> dict[str, Items]:
    """Prompts, and their instructions; a response follows or breaks all of a prompt's at once."""
    found = _nlp(items)
    for reading in ("strict", "loose"):
        values, clusters = {}, {}
        for item in items:
            for label, followed in item.detail.get("prediction", {}).items():
                key = f"{item.key}/{label.split()[0]}"
                values[key] = 100.0 * (followed in ("strict", reading))
                clusters[key] = item.key
        found[f"inst_level_{reading}_acc"] = Items(values, _PERCENT, clusters)
    return found


def _human(items: list[ItemScore]) -> dict[str, Items]:
    """Net wins by majority; an item that lacks a vote has no value."""
    values = {item.key: item.metrics["net"] for item in items if item.metrics}
    return {"net": Items(values, _NET)}


def _agreement(ranked: list[RankedPrompt], judgments: list[Judgment]) -> dict[str, Items]:
    """Pairs of differently ranked replies, and whether each judge reply could be read.

    "pairwise_accuracy/ties_half" is the reading in which every pair has a value whatever the judge
    says: 50 where its scores are equal.
    """
    means = {key: found.mean for key, found in mean_scores(judgments).items()}
    right: dict[str, float] = {}
    owner: dict[str, str] = {}
    for prompt in ranked:
        ordered = sorted(prompt.replies, key=lambda reply: reply.rank)
        for at, better in enumerate(ordered):
            for worse in ordered[at + 1 :]:
                high, low = means.get(better.key), means.get(worse.key)
                if better.rank == worse.rank or high is None or low is None:
                    continue
                key = f"{better.key} > {worse.key}"
                right[key] = 100.0 * (high > low) + 50.0 * (high == low)
                owner[key] = prompt.key
    readable = {j.key: float(j.said is not None) for j in judgments}
    return {
        "pairwise_accuracy/ties_half": Items(right, _PERCENT, owner),
        "parse_rate": Items(readable, (0.0, 1.0), {j.key: j.prompt_key for j in judgments}),
    }


_FACTS = (
    Facts(
        "head_to_head", "Head to head", "matchup", ("win", "tie", "lose", "net", "sign_test"),
        judged=True, stages=(Stage.VERDICTS,), items=_head_to_head,
        describing=("tie", "lose", "sign_test"),
    ),
    Facts(
        "alpaca_eval", "AlpacaEval 2.0", "model",
        ("win_rate", "length_controlled_win_rate", "avg_length"),
        judged=True, stages=(Stage.ANNOTATIONS,), items=_alpaca_eval,
        units={"verdict_mass": "share"},
        describing=("avg_length", "avg_length_reference", "verdict_mass"),
    ),
    Facts(
        "mt_bench", "MT-Bench", "model",
        ("overall", "turn_1", "turn_2", "math_coding_reasoning", "rest"),
        unit="points", judged=True, stages=(Stage.TURN_JUDGMENTS,), items=_mt_bench,
        describing=("judge_noise",),
    ),
    Facts(
        "nlp", "NLP benchmarks", "model", (), stages=(Stage.ITEMS,), items=_nlp, parts="tasks"
    ),
    Facts(
        "ifeval", "IFEval", "model",
        (
            "prompt_level_strict_acc", "inst_level_strict_acc",
            "prompt_level_loose_acc", "inst_level_loose_acc",
        ),
        stages=(Stage.ITEMS,), items=_ifeval,
    ),
    Facts(
        "agreement", "Reward modelling", "model",
        (
            "pairwise_accuracy", "five_best", "exact_match", "spearman", "kendall_tau",
            "parse_rate",
        ),
        stages=(Stage.RANKED, Stage.RANKED_JUDGMENTS), items=_agreement,
        units={
            "spearman": "share", "kendall_tau": "share", "parse_rate": "share", "tie_rate": "share",
            "judge_noise": "points",
        },
        describing=("tie_rate", "judge_noise"),
    ),
    Facts(
        "human", "Human evaluation", "matchup",
        ("win", "tie", "lose", "net", "sign_test", "people/alpha"),
        by_people=True, stages=(Stage.ITEMS,), items=_human,
        describing=("tie", "lose", "sign_test"),
    ),
    Facts(
        "self_judge", "Self-judge against external judge", "iteration",
        ("mean_own", "mean_external", "mean_difference", "pairs_confirmed"),
        judged=True, directed=False,
        units={
            "mean_own": "points", "mean_external": "points", "mean_difference": "points",
            "spearman": "share", "noise_own": "points", "noise_external": "points",
        },
    ),
    Facts(
        "truth", "Self-judge against the truth", "iteration",
        ("candidates_right", "judge_accuracy", "chosen_right", "rejected_right"),
        describing=("rejected_right",),
    ),
    Facts(
        "contamination", "Contamination", "iteration", ("flagged",), directed=False,
        first_iteration=1,
    ),
)  # fmt: skip
BENCHMARKS: dict[str, Facts] = {facts.name: facts for facts in _FACTS}
"""The benchmarks by name, in the order of the tables."""


class Subject(NamedTuple):
    """One benchmark of one model, two models or one iteration; prints and parses its address.

    "M2/mt_bench", "M2/nlp/piqa" (`part` "piqa"), "head_to_head/M2-M1", "human/A-B",
    "self_judge/iter3", and "M2/head_to_head": one model's answers for its matchups.
    """

    benchmark: str
    models: tuple[str, ...] = ()
    iteration: int | None = None
    part: str = ""

    @classmethod
    def parse(cls, address: str) -> Subject | None:
        """Read an address below eval/; None if it is no benchmark's (tags, rankings)."""
        first, _, rest = address.partition("/")
        facts = BENCHMARKS.get(first)
        if facts is None:
            name, _, part = rest.partition("/")
            if name not in BENCHMARKS or BENCHMARKS[name].of == "iteration" or first == "tags":
                return None
            return cls(name, (first,), part=part)
        if facts.of == "iteration":
            found = re.fullmatch(r"iter([0-9]{1,6})", rest)
            return cls(first, iteration=int(found[1])) if found else None
        a, dash, b = rest.partition("-")
        return cls(first, (a, b)) if dash and facts.of == "matchup" else None

    @property
    def facts(self) -> Facts:
        """The facts of its benchmark."""
        return BENCHMARKS[self.benchmark]

    @property
    def name(self) -> str:
        """What the numbers belong to: "M2", "M2-M1" or "iter3"."""
        return "-".join(self.models) if self.iteration is None else f"iter{self.iteration}"

    @property
    def address(self) -> str:
        """Where its artifacts lie below eval/."""
        if self.iteration is None and len(self.models) == 1:
            return "/".join((*self.models, self.benchmark, *([self.part] if self.part else ())))
        return f"{self.benchmark}/{self.name}"

    def ref(self, stage: Stage) -> Ref:
        """Return one of its artifacts; of training, one of the iteration it reads."""
        if stage in EVALUATION_STAGES:
            return evaluation_ref(self.address, stage)
        return Ref(self.iteration or 1, stage)

    def items(self, rows: Callable[[Ref], list[Any]]) -> dict[str, Items]:
        """Return, per metric that is a mean over items, its items; {} without such a metric.

        `rows` reads an artifact; [] if it has not been made.
        """
        if self.facts.items is None:
            return {}
        return self.facts.items(*(rows(self.ref(stage)) for stage in self.facts.stages))
