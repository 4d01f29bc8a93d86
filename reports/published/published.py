"""What has been published: the numbers that a report may set beside its own, each with its source.

The paper is Yuan et al., "Self-Rewarding Language Models" (arXiv 2401.10020 v3). Its models are
Llama 2 70B's and are called as this project's: M0, sft, M1, M2, M3. Whether a number may stand
beside one of a run is for reports/published/comparable.py to say.
"""

from __future__ import annotations

from typing import NamedTuple

from reports.document import Published

HEAD_TO_HEAD_PROMPTS = 256
HUMAN_PROMPTS = 50
HUMAN_ANNOTATORS = 3
ALPACA_EVAL_PROMPTS = 805
MT_BENCH_QUESTIONS = 80

RESPONSE_LENGTH_SOURCE = "mean response length per iteration"
TRAINING_SOURCE = "section 3.1"


class Rates(NamedTuple):
    """Win, tie and lose in percent, from the left model's side."""

    win: float
    tie: float
    lose: float


HEAD_TO_HEAD: dict[tuple[str, str], Rates] = {
    ("M1", "sft"): Rates(30.5, 38.7, 30.9),
    ("M2", "sft"): Rates(49.2, 36.3, 14.5),
    ("M3", "sft"): Rates(62.5, 27.7, 9.8),
    ("M2", "M1"): Rates(55.5, 32.8, 11.7),
    ("M3", "M2"): Rates(47.7, 39.8, 12.5),
    ("M3", "M1"): Rates(68.8, 22.7, 8.6),
}
"""Figure 3: GPT-4 compares, 256 prompts."""

HUMAN: dict[tuple[str, str], Rates] = {
    ("M1", "sft"): Rates(28, 26, 46),
    ("M2", "sft"): Rates(56, 24, 20),
    ("M3", "sft"): Rates(66, 16, 18),
}
"""Figure 5: three authors, blind, majority; 50 prompts."""

ALPACA_EVAL: dict[str, float] = {"M1": 9.94, "M2": 15.38, "M3": 20.44}
"""Table 1: raw win rate, the paper's models."""

LEADERBOARD: dict[str, float] = {
    "GPT-4 0314": 22.07,
    "Mistral Medium": 21.86,
    "Claude 2": 17.19,
    "Gemini Pro": 16.85,
    "GPT-4 0613": 15.76,
    "GPT-3.5 Turbo 0613": 14.13,
    "LLaMA2 Chat 70B": 13.87,
    "Vicuna 33B v1.3": 12.71,
    "Humpback LLaMa2 70B": 10.12,
    "Guanaco 65B": 6.86,
    "Davinci001": 2.76,
    "Alpaca 7B": 2.59,
}
"""Table 1: raw win rate of the leaderboard's selected models (snapshot of 2024-01-17)."""

LEADERBOARD_NAMES: dict[str, str] = {
    "claude-2": "Claude 2",
    "humpback-llama2-70b": "Humpback LLaMa2 70B",
    "text_davinci_001": "Davinci001",
    "alpaca-7b": "Alpaca 7B",
}
"""What recorded annotation files call a model → what Table 1 calls it."""

LENGTH_CONTROLLED: dict[str, float] = {
    "alpaca-7b": 5.88,
    "humpback-llama2-70b": 16.25,
    "claude-2": 28.16,
    "text_davinci_001": 9.03,
}
"""AlpacaEval's leaderboard: length-controlled win rate, by the recorded files' names."""

RESPONSE_CHARACTERS: dict[str, float] = {"M1": 1092, "M2": 1552, "M3": 2552}
"""Mean response length (the paper gives no unit; characters, by inference)."""

CATEGORIES: dict[str, int] = {
    "Science / Technology / Engineering": 134,
    "Professional / Business / Marketing": 77,
    "Social Interaction / Relationships / Human Behavior": 68,
    "Miscellaneous / Other": 61,
    "Mathematics / Logical Reasoning": 52,
    "Cooking / Recipes": 48,
    "Software Development / Coding / Algorithms": 44,
    "Travel / Geography / Exploration": 41,
    "Literature / Writing / Communication": 39,
    "History / Social Studies": 38,
    "Entertainment / Media Analysis": 34,
    "Language Learning / Linguistics": 32,
    "Music / Arts / Creativity": 30,
    "DIY Projects / Hobbies": 24,
    "Technology / Gadgets / Consumer Products": 20,
    "Gaming / Game Development": 18,
    "Exercise / Health / Wellness": 16,
    "Philosophy / Ethics": 15,
    "Sports / Athletics / Physical Activity": 12,
    "Strategy / Problem-Solving": 2,
}
"""Table 6: how many of the 805 AlpacaEval prompts, by the names of judges/rubrics/tagging.md."""

MT_BENCH_KEYS = (
    "category/writing", "category/roleplay", "category/reasoning", "category/math",
    "category/coding", "category/extraction", "category/stem", "category/humanities",
    "overall", "math_coding_reasoning", "rest",
)  # fmt: skip
MT_BENCH: dict[str, tuple[float, ...]] = {
    "sft": (8.83, 8.15, 5.30, 3.00, 3.50, 6.90, 9.18, 9.95, 6.85, 3.93, 8.60),
    "M1": (9.10, 7.65, 4.35, 3.05, 4.10, 7.20, 8.93, 9.85, 6.78, 3.83, 8.55),
    "M2": (9.10, 8.00, 4.60, 3.30, 4.25, 7.65, 9.40, 9.80, 7.01, 4.05, 8.79),
    "M3": (9.58, 8.73, 4.80, 3.50, 4.20, 7.80, 9.45, 9.95, 7.25, 4.17, 9.10),
}
"""Tables 2 and 10, in the order of `MT_BENCH_KEYS`."""

_MAMBA = "MambaInLlama, MT-Bench table"
_GEMINI = "Hameed92/FastChat 22e3c8a"
_ORPO = "alvarobartt/FastChat b25947e"
MT_BENCH_RECORDED: dict[str, dict[str, Published]] = {
    "mamba_0_5_dpo_ep1": {"overall": Published(7.12, _MAMBA)},
    "mamba_0_5_dpo_ep3": {"overall": Published(7.31, _MAMBA)},
    "mamba_0_75_dpo_ep1": {"overall": Published(7.03, _MAMBA)},
    "mamba_0_75_dpo_ep3": {"overall": Published(6.58, _MAMBA)},
    "mamba_0_875_dpo_ep1": {"overall": Published(6.39, _MAMBA)},
    "mamba_0_875_dpo_ep3": {"overall": Published(6.37, _MAMBA)},
    "gemini-1.5-flash": {
        "overall": Published(8.77, _GEMINI),
        "turn_1": Published(9.075, _GEMINI),
        "turn_2": Published(8.4625, _GEMINI),
    },
    "mistral-orpo-capybara": {"overall": Published(6.8187, _ORPO)},
    "mistral-orpo-mix": {"overall": Published(6.0031, _ORPO)},
    "mistral-orpo-trl": {"overall": Published(7.1656, _ORPO)},
}
"""MT-Bench scores of models whose judgments are on file, by the names in those files."""

NLP_KEYS = (
    "arc_easy", "arc_challenge", "hellaswag", "social_iqa", "piqa", "gsm8k_cot", "mmlu",
    "openbookqa", "nq_open",
)  # fmt: skip
NLP: dict[str, tuple[float, ...]] = {
    "M0": (80.20, 57.40, 85.30, 50.70, 82.80, 56.80, 68.90, 60.20, 25.30),
    "sft": (76.49, 55.97, 85.17, 51.48, 82.59, 50.72, 69.76, 57.80, 34.35),
    "M1": (78.14, 57.51, 84.99, 53.02, 82.92, 60.27, 69.34, 57.60, 35.48),
    "M2": (74.84, 54.51, 84.27, 51.23, 81.94, 59.29, 69.31, 57.60, 33.07),
    "M3": (72.35, 53.13, 83.29, 49.28, 80.79, 57.70, 69.37, 58.40, 31.86),
}
"""Tables 3 and 9, in the order of `NLP_KEYS`. MMLU is the macro average over subjects."""

NLP_ITEMS: dict[str, int] = {
    "arc_easy": 2376,
    "arc_challenge": 1172,
    "hellaswag": 10042,
    "social_iqa": 1954,
    "piqa": 1838,
    "gsm8k_cot": 1319,
    "mmlu": 14042,
    "openbookqa": 500,
    "nq_open": 3610,
}
"""Items of each task's evaluation split on the hub."""

AGREEMENT_KEYS = ("pairwise_accuracy", "five_best", "exact_match", "spearman", "kendall_tau")
AGREEMENT: dict[str, tuple[float, ...]] = {
    "sft_li": (26.6, 23.5, 1.1, -0.18, -0.16),
    "sft": (65.1, 39.6, 10.1, 0.253, 0.233),
    "M1": (78.7, 41.5, 13.1, 0.279, 0.253),
    "M2": (80.4, 44.3, 14.3, 0.331, 0.315),
    "M3": (81.7, 43.2, 14.3, 0.349, 0.324),
}
"""Table 4, in the order of `AGREEMENT_KEYS`; "sft_li" is the baseline with Li et al.'s prompt."""

IFT_EXAMPLES = Published(3200, TRAINING_SOURCE)
EFT_EXAMPLES = Published(1630, TRAINING_SOURCE)
EFT_EVALUATION_EXAMPLES = Published(541, TRAINING_SOURCE)
"""Version 1 of the paper has 1,775 and 531; a slide deck of it has 531 for the evaluation split."""
PAIRS: dict[int, Published] = {
    2: Published(3964, f"AIFT(M1), {TRAINING_SOURCE}"),
    3: Published(6942, f"AIFT(M2), {TRAINING_SOURCE}"),
}
"""Preference pairs by the iteration they train: AIFT(M1) makes M2."""


def of_paper(benchmark: str, subject: str, key: str) -> Published | None:
    """Return the paper's number for one of its models; None if it gives none.

    Args:
        benchmark: head_to_head, human, alpaca_eval, mt_bench, nlp or agreement.
        subject: a model, or a matchup as "M2-M1".
        key: the score's key: "win", "win_rate", "avg_length", "category/math"; for nlp the task.
    """
    if benchmark in ("head_to_head", "human"):
        return _rate(benchmark, subject, key)
    if benchmark == "alpaca_eval" and key == "win_rate":
        return _plain(ALPACA_EVAL.get(subject), "Table 1")
    if benchmark == "alpaca_eval" and key == "avg_length":
        return _plain(RESPONSE_CHARACTERS.get(subject), RESPONSE_LENGTH_SOURCE)
    tables = {
        "mt_bench": (MT_BENCH, MT_BENCH_KEYS, "Tables 2 and 10"),
        "nlp": (NLP, NLP_KEYS, "Tables 3 and 9"),
        "agreement": (AGREEMENT, AGREEMENT_KEYS, "Table 4"),
    }
    if benchmark not in tables:
        return None
    values, keys, source = tables[benchmark]
    found = dict(zip(keys, values[subject], strict=True)) if subject in values else {}
    return _plain(found.get(key), source)


def of_recorded(benchmark: str, model: str, key: str) -> Published | None:
    """Return the number published for a model whose judgments are on file; None if there is none.

    `model` is the file's name for it ("claude-2", "gemini-1.5-flash"). The paper's own models are
    not found here, so a file that calls its model "M1" is not taken for the paper's.
    """
    if benchmark == "mt_bench":
        return MT_BENCH_RECORDED.get(model, {}).get(key)
    if benchmark != "alpaca_eval":
        return None
    if key == "win_rate":
        return _plain(LEADERBOARD.get(LEADERBOARD_NAMES.get(model, "")), "Table 1")
    if key == "length_controlled_win_rate":
        return _plain(LENGTH_CONTROLLED.get(model), "AlpacaEval leaderboard")
    return None


def _rate(benchmark: str, subject: str, key: str) -> Published | None:
    left, _, right = subject.partition("-")
    table, source = (HUMAN, "Figure 5") if benchmark == "human" else (HEAD_TO_HEAD, "Figure 3")
    rates = table.get((left, right))
    return _plain(rates._asdict().get(key) if rates else None, source)


def _plain(value: float | None, source: str) -> Published | None:
    return None if value is None else Published(float(value), source)
