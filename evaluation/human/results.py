"""The results of a comparison as artifacts of its run, which reports read.

    eval/human/<A>-<B>/items     one row per item: the majority, each vote, the answers shown
    eval/human/<A>-<B>/scores    win, tie, lose, agreement among people and with the judge

They are rebuilt whenever the votes have changed (the votes themselves are in vote_store.py). The
judge is not asked again; existing head-to-head verdicts are compared.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from core.benchmarks import SCORING, Subject
from core.errors import ConfigError, StaleArtifact
from core.hashing import sha256_file, sha256_json, sha256_text, short
from core.jsonl import encode
from core.making import locked, make_rows
from core.records import ItemScore
from core.stages import Stage
from core.store import Built, Key, Store
from evaluation.human import statistics
from evaluation.human.study import read_study, study_folders
from evaluation.human.votes import read_votes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from core.records import Score, Verdict
    from core.stages import Ref
    from core.store import Partial
    from evaluation.human.statistics import ItemVotes
    from evaluation.human.study import StudyFolder, StudyInfo, StudyItem
    from evaluation.human.votes import Vote


class StudyResults(NamedTuple):
    """A comparison, its counted votes, the same by item, and the annotators who gave them."""

    folder: StudyFolder
    study: StudyInfo
    votes: list[Vote]
    items: list[ItemVotes]
    annotators: tuple[str, ...]

    @property
    def left_out(self) -> list[str]:
        """The annotators whose votes are excluded."""
        return [who for who in self.study.annotators if who not in self.annotators]

    def ref(self, stage: Stage) -> Ref:
        """Return the artifact of these results."""
        return Subject("human", self.study.models).ref(stage)


def read_results(folder: StudyFolder, leave_out: Sequence[str] = ()) -> StudyResults:
    """Read a comparison's current votes, without the votes of some annotators.

    Raises:
        ConfigError: no annotator is left, or `leave_out` names another. Else see `read_votes`.
    """
    study = read_study(folder)
    if unknown := [who for who in leave_out if who not in study.annotators]:
        known = ", ".join(study.annotators)
        raise ConfigError(f"--leave-out {unknown[0]!r}: the study's annotators are {known}")
    annotators = tuple(who for who in study.annotators if who not in leave_out)
    if not annotators:
        message = "--leave-out: no annotator is left"
        raise ConfigError(message)
    votes = [vote for vote in read_votes(folder.path) if vote.annotator in annotators]
    items = statistics.by_item([item.item for item in study.items], votes, annotators)
    return StudyResults(folder, study, votes, items, annotators)


def run_of(folder: StudyFolder) -> Store | None:
    """Return the run that contains a study; None for a copy elsewhere."""
    where = folder.path.resolve()
    kept = (where.parents[1].name, where.parent.name) == ("eval", "human")
    return Store(folder.run) if kept else None


def write_results(folder: StudyFolder, leave_out: Sequence[str] = ()) -> list[Score]:
    """Write a comparison's artifacts to its run, rebuilt if its votes changed; return the scores.

    Raises:
        ConfigError: the study does not lie in a run. Else see `read_results`.
        RunLocked: another process is writing them.
    """
    store = run_of(folder)
    if store is None:
        raise ConfigError(f"{folder.path}: not below the eval/human/ of a run")
    found = read_results(folder, leave_out)
    with locked(folder.path / ".results.lock"):
        _make_items(store, found)
        return _make_scores(store, found)


def refresh(run: Path) -> dict[StudyFolder, Sequence[str]]:
    """Rebuild the results of a run's comparisons where anything changed; return their folders.

    Annotators that were left out, which are returned too, stay left out.
    """
    done = {}
    for folder in study_folders(run):
        study = read_study(folder)
        if study.kind == "comparison":
            ref = Subject("human", study.models).ref(Stage.ITEMS)
            store = Store(run)
            known = store.manifest(ref).facts if store.exists(ref) else {}
            done[folder] = known.get("left_out", ())
            write_results(folder, done[folder])
    return done


def all_scores(found: StudyResults, store: Store | None) -> list[Score]:
    """Return the scores of the votes, and the agreement of the run's judge (None: no run)."""
    people = statistics.scores(found.items)
    if store is None:
        return [*people, *statistics.no_judge_scores("the study does not lie in a run")]
    if (ref := _verdicts_ref(store, found.study)) is None:
        pair = " and ".join(found.study.models)
        return [
            *people,
            *statistics.no_judge_scores(f"no head-to-head verdicts on {pair} in this run"),
        ]
    orders: list[Verdict] = store.read(ref)
    verdicts = statistics.verdicts_by_item(orders, a=found.study.models[0])
    same = _same_answers(store, found.study)
    kept = {key: verdict for key, verdict in verdicts.items() if key in same}
    return [*people, *statistics.judge_scores(found.items, kept)]


def _make_items(store: Store, found: StudyResults) -> None:
    study = found.study
    sources = {
        "study": sha256_file(found.folder.info),
        "votes": sha256_text("".join(f"{encode(vote)}\n" for vote in found.votes)),
    }
    prompts = short(sha256_json([[item.item, item.prompt] for item in study.items]))
    config = {"human": {"annotators": len(found.annotators), "prompts": prompts}}
    shown = {item.item: item for item in study.items}
    complete = sum(item.majority is not None for item in found.items)
    built = Built(
        counts={"votes": len(found.votes), "complete": complete},
        facts={
            "models": list(study.models),
            "annotators": list(found.annotators),
            "left_out": found.left_out,
            "answers": study.inputs,
        },
    )
    rows = [_row(item, shown[item.item]) for item in found.items]
    _make(store, found.ref(Stage.ITEMS), Key(sources, config, study.seed), lambda: rows, built)


def _row(votes: ItemVotes, shown: StudyItem) -> ItemScore:
    majority = votes.majority
    detail = {
        "majority": majority.choice if majority else None,
        "split": majority.split if majority else None,
        "wanted": votes.wanted,
        "answers": list(shown.texts),
        "votes": [asdict(vote) for vote in votes.votes],
    }
    metrics = {"net": statistics.POINTS[majority.choice]} if majority else {}
    return ItemScore(votes.item, "human", shown.prompt, metrics, detail)


def _make_scores(store: Store, found: StudyResults) -> list[Score]:
    inputs = [found.ref(Stage.ITEMS)]
    if (verdicts := _verdicts_ref(store, found.study)) is not None:
        inputs += [verdicts, *_answers_refs(found.study)]
    hashes = {str(ref): store.manifest(ref).sha256 for ref in inputs}

    ref, key = found.ref(Stage.SCORES), Key(SCORING | hashes, {}, found.study.seed)
    _make(store, ref, key, lambda: all_scores(found, store))
    return store.read(ref)


def _make(
    store: Store, ref: Ref, key: Key, rows: Callable[[], list[Any]], built: Built | None = None
) -> None:
    """Make an artifact, replacing one made from other votes."""

    def make(out: Partial) -> Built:
        out.add_missing(rows())
        return built or Built()

    try:
        make_rows(store, ref, key, make, quiet=True)
    except StaleArtifact:
        store.remove([ref])
        make_rows(store, ref, key, make, quiet=True)


def _verdicts_ref(store: Store, study: StudyInfo) -> Ref | None:
    """Return the head-to-head verdicts on two models, in whichever order the run compared them."""
    a, b = study.models
    refs = [Subject("head_to_head", pair).ref(Stage.VERDICTS) for pair in ((a, b), (b, a))]
    return next((ref for ref in refs if store.exists(ref)), None)


def _answers_refs(study: StudyInfo) -> list[Ref]:
    return [Subject("head_to_head", (m,)).ref(Stage.ANSWERS) for m in study.models]


def _same_answers(store: Store, study: StudyInfo) -> set[str]:
    """Return the items whose answers in the run are still those that annotators saw."""
    ours, theirs = (
        {row.prompt_key: row.text for row in store.read(ref)} for ref in _answers_refs(study)
    )
    return {
        item.item
        for item in study.items
        if (ours.get(item.item), theirs.get(item.item)) == item.texts
    }
