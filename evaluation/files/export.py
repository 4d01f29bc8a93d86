"""A run's results in other programs' formats: FastChat's, and alpaca-eval's annotations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import MissingArtifact
from core.stages import Stage, evaluation_ref
from core.store import Store
from evaluation.alpaca_eval.files import write_annotations
from evaluation.mt_bench.fastchat_files import write_answers, write_judgments

if TYPE_CHECKING:
    from pathlib import Path

    from core.config import Config


def export(config: Config, folder: Path) -> list[Path]:
    """Write every finished MT-Bench and AlpacaEval result below `folder`; return the files.

    mt_bench/model_answer/<model>.jsonl and mt_bench/model_judgment/<judge>_single.jsonl are read by
    FastChat's show_result, alpaca_eval/<model>/annotations.json by alpaca-eval.

    Raises:
        MissingArtifact: the run has neither.
    """
    store = Store(config.folder)
    written, judgments = [], []
    for model in config.evaluation.models:
        answers = evaluation_ref(f"{model}/mt_bench", Stage.ANSWERS)
        judged = evaluation_ref(f"{model}/mt_bench", Stage.TURN_JUDGMENTS)
        annotated = evaluation_ref(f"{model}/alpaca_eval", Stage.ANNOTATIONS)
        if store.exists(answers) and store.exists(judged):
            path = _parent(folder / "mt_bench" / "model_answer" / f"{model}.jsonl")
            write_answers(path, store.read(answers), model=model)
            written.append(path)
            judgments += store.read(judged)
        if store.exists(annotated):
            path = _parent(folder / "alpaca_eval" / model / "annotations.json")
            write_annotations(path, store.read(annotated))
            written.append(path)
    if judgments:
        judge = judgments[0].judge.replace("/", "_")
        path = _parent(folder / "mt_bench" / "model_judgment" / f"{judge}_single.jsonl")
        write_judgments(path, judgments)
        written.append(path)
    if not written:
        message = f"{config.folder}: no MT-Bench or AlpacaEval results yet; run `srlm-eval run`"
        raise MissingArtifact(message)
    return written


def _parent(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
