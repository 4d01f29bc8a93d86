"""Importing recorded results as artifacts of a folder that reports read like a run's.

AlpacaEval annotations and MT-Bench judgments become `<folder>/eval/<model>/alpaca_eval/` and
`.../mt_bench/`, with scores and with manifests that name their source. Importing the same file
again does nothing; another file is a StaleArtifact.
"""

from __future__ import annotations

import re
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING

from core.errors import StaleArtifact
from core.evaluation_config import MtBenchSection
from core.hashing import sha256_file
from core.making import make_rows
from core.progress import say
from core.run_lock import locked
from core.stages import Ref, Stage, evaluation_ref
from core.store import Built, Key, Store
from evaluation.alpaca_eval import scores as alpaca_scores
from evaluation.alpaca_eval.files import read_annotations, require_one_source
from evaluation.alpaca_eval.length_control import length_control_source
from evaluation.mt_bench import scores as mt_bench_scores
from evaluation.mt_bench.fastchat_files import read_judgments
from evaluation.mt_bench.questions import load_questions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from core.records import Row, Score
    from core.store import Partial

_SEED = 0
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def import_results(
    folder: Path,
    annotations: Sequence[Path] = (),
    judgments: Sequence[Path] = (),
    *,
    length_control_data: str | None = None,
    redo: bool = False,
) -> list[str]:
    """Import files; return one line per result: "model benchmark: value (n)".

    A judgment file may hold several models; an annotation file holds one. `length_control_data` is
    a folder with AlpacaEval's df_gamed.csv, None for the fit on lengths alone. `redo` replaces
    earlier imports of the same models.

    Raises:
        DataError: a file cannot be read, or mixes annotators.
        StaleArtifact: the folder holds results of the same model from another file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    store = Store(folder)
    with locked(store.paths.lock):
        lines = [_annotations(store, p, length_control_data, redo=redo) for p in annotations]
        for path in judgments:
            lines += _judgments(store, path, redo=redo)
    return lines


def _annotations(store: Store, path: Path, data: str | None, *, redo: bool) -> str:
    rows = read_annotations(path)
    require_one_source(rows, str(path))
    first = rows[0]
    facts = {
        "imported": path.name,
        "model": first.generator_2,
        "reference": first.generator_1,
        "annotator": first.annotator,
        "judge": first.annotator,
    }
    address = f"{folder_name(first.generator_2)}/alpaca_eval"
    ref = evaluation_ref(address, Stage.ANNOTATIONS)
    _imported(store, ref, path, rows, facts, redo=redo)
    sources = length_control_source(data) if data is not None else {}
    scores = _scored(
        store,
        address,
        ref,
        sources,
        lambda: alpaca_scores.scores(rows, length_control_data=data, seed=_SEED),
    )
    return _line(first.generator_2, "alpaca_eval", scores[0])


def _judgments(store: Store, path: Path, *, redo: bool) -> list[str]:
    by_model = defaultdict(list)
    for found in read_judgments(path, load_questions(MtBenchSection())):
        by_model[found.judgment.model].append(found.judgment)
    lines = []
    for model, rows in sorted(by_model.items()):
        facts = {"imported": path.name, "model": model, "judge": rows[0].judge}
        address = f"{folder_name(model)}/mt_bench"
        ref = evaluation_ref(address, Stage.TURN_JUDGMENTS)
        _imported(store, ref, path, rows, facts, redo=redo)
        scores = _scored(store, address, ref, {}, partial(mt_bench_scores.scores, rows))
        lines.append(_line(model, "mt_bench", scores[0]))
    return lines


def _imported(
    store: Store, ref: Ref, path: Path, rows: Sequence[Row], facts: dict[str, str], *, redo: bool
) -> None:
    """Write the rows of a file unless they exist."""
    key = Key({f"file:{path.name}": sha256_file(path)}, {}, _SEED)

    def make(out: Partial) -> Built:
        out.add_missing(rows)
        return Built(facts=facts)

    if redo:
        store.remove([ref, evaluation_ref(ref.address, Stage.SCORES)])
    try:
        make_rows(store, ref, key, make, quiet=True)
    except StaleArtifact:
        message = (
            f"{ref} in {store.paths.root} was imported from another file than {path}; use another "
            "folder, or replace it with --redo"
        )
        raise StaleArtifact(message) from None


def _scored(
    store: Store,
    address: str,
    made_from: Ref,
    sources: dict[str, str],
    measure: Callable[[], Sequence[Score]],
) -> list[Score]:
    """Write the scores of imported rows, replacing those made with other data."""
    ref = evaluation_ref(address, Stage.SCORES)
    key = Key({str(made_from): store.manifest(made_from).sha256} | sources, {}, _SEED)

    def make(out: Partial) -> Built:
        out.add_missing(measure())
        return Built()

    try:
        make_rows(store, ref, key, make, quiet=True)
    except StaleArtifact:
        say(f"{ref} is made again")
        store.remove([ref])
        make_rows(store, ref, key, make, quiet=True)
    found: list[Score] = store.read(ref)
    return sorted(found, key=lambda score: score.key not in ("win_rate", "overall"))


def folder_name(model: str) -> str:
    """Return a model's name as a folder: letters, digits, dot, dash and underscore."""
    return _UNSAFE.sub("_", model).lstrip(".") or "_"


def _line(model: str, benchmark: str, score: Score) -> str:
    value = "–" if score.value is None else f"{score.value:.4f}"
    missing = f", {score.missing} missing" if score.missing else ""
    return f"{model} {benchmark}: {score.key} {value} (n={score.n}{missing})"
