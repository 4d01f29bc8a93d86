"""Every text of the evaluation sets, for the contamination check."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.hashing import sha256_json
from evaluation.alpaca_eval import files as alpaca_files
from evaluation.files.json_rows import read_rows
from evaluation.loop_checks.contamination import EvaluationItem
from evaluation.mt_bench import questions as mt_bench_questions
from evaluation.nlp import data as nlp_data
from evaluation.prompts import load_prompts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.evaluation_config import EvaluationSection
    from core.records import RankedPrompt

# What each data set calls its question, in reading order ("context" is social_iqa's scene).
_QUESTION_FIELDS = ("context", "question", "question_stem", "ctx", "goal")


def items(section: EvaluationSection, ranked: Sequence[RankedPrompt]) -> list[EvaluationItem]:
    """Return the prompts and questions of all benchmarks that can be read without a download.

    Whole sets are taken, whatever the limits: a prompt that copies an item which today's limit
    leaves out is contaminated all the same. Sets on the hub are left out; `left_out` names them.
    """
    found = [
        EvaluationItem("head_to_head", p.key, p.text)
        for p in load_prompts(section.head_to_head.prompts, None)
    ]
    if section.alpaca_eval.prompts != "hub":
        found += [
            EvaluationItem("alpaca_eval", p.key, p.instruction)
            for p in alpaca_files.load_prompts(section.alpaca_eval.prompts, None)
        ]
    whole = section.mt_bench.model_copy(update={"limit": None})
    found += [
        EvaluationItem("mt_bench", f"{q.question_id}/t{turn}", text)
        for q in mt_bench_questions.load_questions(whole)
        for turn, text in enumerate(q.turns, start=1)
    ]
    if section.nlp.data_dir is not None:
        for task in section.nlp.tasks:
            found += _nlp_items(task, section.nlp.data_dir)
    found += [EvaluationItem("agreement", p.key, p.prompt) for p in ranked if p.split == "eval"]
    return found


def _nlp_items(task: str, data_dir: str) -> list[EvaluationItem]:
    """Return the questions of a task's test items; examples shown to the model are no test."""
    found = []
    for split, path in nlp_data.data_files(task, data_dir).items():
        if split not in ("test", "validation"):
            continue
        for line, row in read_rows(path):
            parts = [row[name] for name in _QUESTION_FIELDS if isinstance(row.get(name), str)]
            found.append(EvaluationItem(task, f"{path.stem}:{line}", " ".join(parts)))
    return found


def left_out(section: EvaluationSection) -> list[str]:
    """Return the benchmarks whose items lie on the hub and are not compared."""
    absent = ["alpaca_eval"] if section.alpaca_eval.prompts == "hub" else []
    return absent + (list(section.nlp.tasks) if section.nlp.data_dir is None else [])


def digest(found: Sequence[EvaluationItem]) -> str:
    """Return the hash of all items."""
    return sha256_json([list(item) for item in found])
