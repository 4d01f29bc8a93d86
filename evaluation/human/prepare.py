"""Preparing a study: samples prompts and writes its folder; an existing study is never replaced.

`links.json` is written first and `study.json` last, so that an interrupted study does not exist.
"""

from __future__ import annotations

import json
import random
import secrets
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

from core.benchmarks import FIRST_FEEDBACK_ITERATION
from core.errors import ConfigError, DataError, MissingArtifact, StaleArtifact
from core.records import ANSWERED
from core.stages import Ref, Stage, evaluation_ref, is_model_name
from core.store import Store, write_atomically
from evaluation.human.study import (
    StudyFolder,
    StudyInfo,
    StudyItem,
    encode_study,
    now_utc,
    read_links,
    read_study,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from core.records import Candidate, Generation, Prompt

_TOKEN_BYTES = 24  # 192 bits


class StudySize(NamedTuple):
    """The size of a study: items and annotators, and the seed of every random choice."""

    n: int = 50
    annotators: int = 3
    seed: int = 0


class _StudyInputs(NamedTuple):
    items: list[StudyItem]
    left_out: dict[str, int]
    refs: tuple[Ref, ...]
    models: tuple[str, ...] = ()
    iteration: int | None = None


def prepare_comparison(run: Path, a: str, b: str, size: StudySize) -> StudyFolder:
    """Prepare the blind comparison of two models, unless it is there already.

    Prompts are those both models have answered for the head-to-head benchmark, a seeded sample of
    `size.n`.

    Raises:
        ConfigError: no such run or models, or fewer prompts than wanted.
        MissingArtifact: a model's answers have not been made.
        StaleArtifact: the study is there with other settings or from other answers.
    """
    for name in (a, b):
        if not is_model_name(name):
            raise ConfigError(f"{name!r} is not a model of a run; expected sft, M0, M1, ...")
    if a == b:
        raise ConfigError(f"{a} against itself: give two different models")
    store = _open(run)
    return _prepare(store, _answered(store, a, b), size)


def prepare_ranking(run: Path, iteration: int, size: StudySize) -> StudyFolder:
    """Prepare the ranking of an iteration's candidates; raises as `prepare_comparison`."""
    if iteration < FIRST_FEEDBACK_ITERATION:
        message = f"iteration {iteration} samples no candidates; they begin with iteration 2"
        raise ConfigError(message)
    store = _open(run)
    return _prepare(store, _candidates(store, iteration), size)


def _open(run: Path) -> Store:
    if not run.is_dir():
        message = f"{run}: no such run; give its folder, e.g. RUN=runs/quickstart"
        raise ConfigError(message)
    return Store(run)


def _answered(store: Store, a: str, b: str) -> _StudyInputs:
    """Return the prompts both models answered, without those too long for either."""
    refs = tuple(evaluation_ref(f"{name}/head_to_head", Stage.ANSWERS) for name in (a, b))
    missing = [name for name, ref in zip((a, b), refs, strict=True) if not store.exists(ref)]
    if missing:
        message = (
            f"{store.paths.root}: no head-to-head answers of {' and '.join(missing)}; make them "
            f'with `make eval-all CONFIG=… ARGS="--only head_to_head --models {a},{b}"`'
        )
        raise MissingArtifact(message)
    ours: dict[str, Generation] = {row.prompt_key: row for row in store.read(refs[0])}
    theirs: dict[str, Generation] = {row.prompt_key: row for row in store.read(refs[1])}
    left_out = Counter({"answered_by_one_only": len(ours.keys() ^ theirs.keys())})
    items = []
    for key in sorted(ours.keys() & theirs.keys()):
        left, right = ours[key], theirs[key]
        if left.prompt != right.prompt:
            what = f"{a} and {b} were given different prompts under the key {key!r}"
            raise DataError(store.paths.artifact(refs[1]), None, f"{what}; redo both answers")
        if "too_long" in (left.finish, right.finish):
            left_out["prompt_too_long_for_a_model"] += 1
        elif "cut_off" in (left.finish, right.finish):
            left_out["thought_cut_off_by_the_token_limit"] += 1
        else:
            items.append(StudyItem(key, left.prompt, (left.text, right.text), (key, key)))
    return _StudyInputs(items, +left_out, refs, models=(a, b))


def _candidates(store: Store, iteration: int) -> _StudyInputs:
    """Return prompts with at least two different non-empty candidates.

    Equal candidates are shown once.
    """
    refs = (Ref(iteration, Stage.PROMPTS), Ref(iteration, Stage.CANDIDATES))
    prompts: list[Prompt] = store.read(refs[0])
    candidates: list[Candidate] = store.read(refs[1])
    texts: dict[str, dict[str, str]] = defaultdict(dict)
    for row in sorted(candidates, key=lambda row: (row.prompt_key, row.draw)):
        if row.finish in ANSWERED and row.text.strip():
            texts[row.prompt_key].setdefault(row.text, row.key)
    items = [
        StudyItem(prompt.key, prompt.transcript, tuple(found), tuple(found.values()))
        for prompt in sorted(prompts, key=lambda prompt: prompt.key)
        if prompt.kept and len(found := texts[prompt.key]) > 1
    ]
    kept = sum(prompt.kept for prompt in prompts)
    left_out = Counter({"fewer_than_two_different_candidates": kept - len(items)})
    return _StudyInputs(items, +left_out, refs, iteration=iteration)


def _prepare(store: Store, found: _StudyInputs, size: StudySize) -> StudyFolder:
    if min(size.n, size.annotators) < 1:
        raise ConfigError(f"N={size.n}, ANNOTATORS={size.annotators}: expected 1 or more of each")
    if size.n > len(found.items):
        reasons = "".join(f", {count} {why}" for why, count in found.left_out.items())
        message = (
            f"N={size.n}: only {len(found.items)} prompts can be judged{reasons}; "
            f"give N={len(found.items)} or fewer"
        )
        raise ConfigError(message)
    name = "-".join(found.models) or f"iter{found.iteration}-candidates"
    folder = StudyFolder(store.paths.root / "eval" / "human" / name)
    study = StudyInfo(
        kind="comparison" if found.models else "ranking",
        run=store.paths.root.resolve().name,
        models=found.models,
        iteration=found.iteration,
        n=size.n,
        annotators=tuple(f"annotator-{at}" for at in range(1, size.annotators + 1)),
        seed=size.seed,
        inputs={str(ref): store.manifest(ref).sha256 for ref in found.refs},
        available=len(found.items),
        left_out=dict(found.left_out),
        created_at=now_utc(),
        items=tuple(random.Random(f"sample/{size.seed}").sample(found.items, size.n)),
    )
    if folder.info.is_file():
        _require_same(folder, read_study(folder), study)
        return folder
    # Not hashed because links must be printable again; as protected as the votes beside them.
    tokens = {who: secrets.token_urlsafe(_TOKEN_BYTES) for who in study.annotators}
    write_atomically(folder.links, json.dumps(tokens, indent=1) + "\n", mode=0o600)
    write_atomically(folder.info, encode_study(study))
    return folder


def _require_same(folder: StudyFolder, there: StudyInfo, wanted: StudyInfo) -> None:
    """Check that an existing study has the requested settings.

    Raises:
        StaleArtifact: they differ; the message says in what.
    """
    pairs = {
        "N": (there.n, wanted.n),
        "ANNOTATORS": (len(there.annotators), len(wanted.annotators)),
        "SEED": (there.seed, wanted.seed),
        **{name: (there.inputs.get(name), sha) for name, sha in wanted.inputs.items()},
    }
    changed = [
        f"{name} was {str(was)[:12]}, is {str(now)[:12]}"
        for name, (was, now) in pairs.items()
        if was != now
    ]
    if changed:
        message = (
            f"{folder.path}: a study exists already and differs: {'; '.join(changed)}. Serve it "
            f"as it is with `srlm-eval human-eval serve --study {folder.path}`, or move that "
            "folder away to start another: votes are never overwritten"
        )
        raise StaleArtifact(message)


def links(folder: StudyFolder, address: str) -> Sequence[tuple[str, str]]:
    """Return (annotator, personal link) for a server at `address`."""
    return [(who, f"{address}/study/{token}") for who, token in read_links(folder).items()]
