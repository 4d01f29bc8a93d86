"""The results of a comparison as artifacts of its run, which reports read.

    eval/human/<A>-<B>/items     one row per item: the majority, each vote, the answers shown
    eval/human/<A>-<B>/scores    win, tie, lose, agreement among people and with the judge

They are made anew whenever the votes have changed: they cost nothing, and the votes themselves lie
elsewhere (ballots.py). No judge is asked; the head-to-head verdicts that are there are compared.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, NamedTuple

from core.errors import ConfigError, StaleArtifact
from core.hashing import sha256_file, sha256_json, sha256_text, short
from core.jsonl import encode
from core.making import make_rows
from core.records import ItemScore
from core.run_lock import locked
from core.stages import Stage, evaluation_ref
from core.store import Built, Key, Store
from evaluation.human import judge, statistics
from evaluation.human.ballots import read_ballots
from evaluation.human.study import read_study, study_folders
from evaluation.human.votes import votes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from core.records import Generation, Score, Verdict
    from core.stages import Ref
    from core.store import Partial
    from evaluation.human.statistics import ItemVotes
    from evaluation.human.study import Item, StudyFolder, StudyInfo
    from evaluation.human.votes import Vote


class Results(NamedTuple):
    """A comparison, the votes that count, the same by item, and the annotators they are of."""

    folder: StudyFolder
    study: StudyInfo
    votes: list[Vote]
    items: list[ItemVotes]
    annotators: tuple[str, ...]

    @property
    def left_out(self) -> list[str]:
        """The annotators whose votes do not count."""
        return [who for who in self.study.annotators if who not in self.annotators]

    def ref(self, stage: Stage) -> Ref:
        """Return where the run keeps these results."""
        return evaluation_ref(f"human/{'-'.join(self.study.models)}", stage)


def read_results(folder: StudyFolder, leave_out: Sequence[str] = ()) -> Results:
    """Read a comparison as it stands, without the votes of annotators to be left out.

    Raises:
        MissingArtifact: there is no study.
        ConfigError: it is a study of rankings, or nobody is left.
        DataError: one of its files was damaged.
    """
    study = read_study(folder)
    if unknown := [who for who in leave_out if who not in study.annotators]:
        known = ", ".join(study.annotators)
        raise ConfigError(f"--leave-out {unknown[0]!r}: the study's annotators are {known}")
    annotators = tuple(who for who in study.annotators if who not in leave_out)
    if not annotators:
        message = "--leave-out: nobody is left whose votes could count"
        raise ConfigError(message)
    votes = [v for v in votes_of(study, read_ballots(folder.ballots)) if v.annotator in annotators]
    items = statistics.by_item([item.item for item in study.items], votes, annotators)
    return Results(folder, study, votes, items, annotators)


def run_of(folder: StudyFolder) -> Store | None:
    """Return the run a study lies in; None for a copy elsewhere."""
    where = folder.path.resolve()
    kept = (where.parents[1].name, where.parent.name) == ("eval", "human")
    return Store(folder.run) if kept else None


def write_results(folder: StudyFolder, leave_out: Sequence[str] = ()) -> list[Score]:
    """Make a comparison's artifacts in its run, again if its votes changed; return the scores.

    Raises:
        MissingArtifact: there is no study.
        ConfigError: it is a study of rankings, or does not lie in a run.
        RunLocked: another process is writing them.
    """
    store = run_of(folder)
    if store is None:
        raise ConfigError(f"{folder.path}: not below the eval/human/ of a run")
    found = read_results(folder, leave_out)
    with locked(folder.path / ".results.lock"):
        _make_items(store, found)
        return _make_scores(store, found)


def refresh(run: Path) -> list[StudyFolder]:
    """Make the results of a run's comparisons again where anything changed; return their folders.

    Who was left out of them stays left out.
    """
    done = []
    for folder in study_folders(run):
        study = read_study(folder)
        if study.kind == "comparison":
            ref = evaluation_ref(f"human/{'-'.join(study.models)}", Stage.ITEMS)
            store = Store(run)
            known = store.manifest(ref).facts if store.exists(ref) else {}
            write_results(folder, known.get("left_out", ()))
            done.append(folder)
    return done


def all_scores(found: Results, store: Store | None) -> list[Score]:
    """Return what the votes come to, and how the judge of the run (None: no run) agrees."""
    seed = found.study.seed
    people = statistics.scores(found.items, seed=seed)
    if store is None:
        return [*people, *judge.absent("the study does not lie in a run")]
    ref = _verdicts_ref(store, found.study)
    if ref is None:
        pair = " and ".join(found.study.models)
        return [*people, *judge.absent(f"no head-to-head verdicts on {pair} in this run")]
    orders: list[Verdict] = store.read(ref)
    verdicts = judge.verdicts_by_item(orders, a=found.study.models[0])
    same = _same_answers(store, found.study)
    kept = {key: verdict for key, verdict in verdicts.items() if key in same}
    return [*people, *judge.scores(found.items, kept, seed=seed)]


def _make_items(store: Store, found: Results) -> None:
    study = found.study
    sources = {
        "study": sha256_file(found.folder.info),
        "votes": sha256_text("".join(f"{encode(vote)}\n" for vote in found.votes)),
    }
    prompts = short(sha256_json([[item.item, item.prompt] for item in study.items]))
    config = {"human": {"annotators": len(found.annotators), "prompts": prompts}}

    def make(out: Partial) -> Built:
        shown = {item.item: item for item in study.items}
        out.add_missing(_row(item, shown[item.item]) for item in found.items)
        complete = sum(item.majority is not None for item in found.items)
        facts = {
            "models": list(study.models),
            "annotators": list(found.annotators),
            "left_out": found.left_out,
            "answers": study.inputs,
        }
        return Built(counts={"votes": len(found.votes), "complete": complete}, facts=facts)

    _make_anew(store, found.ref(Stage.ITEMS), Key(sources, config, study.seed), make)


def _row(votes: ItemVotes, shown: Item) -> ItemScore:
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


def _make_scores(store: Store, found: Results) -> list[Score]:
    inputs = [found.ref(Stage.ITEMS)]
    if (verdicts := _verdicts_ref(store, found.study)) is not None:
        inputs += [verdicts, *_answers_refs(found.study)]
    hashes = {str(ref): store.manifest(ref).sha256 for ref in inputs}

    def make(out: Partial) -> Built:
        out.add_missing(all_scores(found, store))
        return Built()

    ref = found.ref(Stage.SCORES)
    _make_anew(store, ref, Key(hashes, {}, found.study.seed), make)
    made: list[Score] = store.read(ref)
    return made


def _make_anew(store: Store, ref: Ref, key: Key, make: Callable[[Partial], Built]) -> None:
    """Make an artifact, replacing one of other votes: those are kept by the study itself."""
    try:
        make_rows(store, ref, key, make, quiet=True)
    except StaleArtifact:
        store.remove([ref])
        make_rows(store, ref, key, make, quiet=True)


def _verdicts_ref(store: Store, study: StudyInfo) -> Ref | None:
    """Return the head-to-head verdicts on two models, whichever of them is named first."""
    a, b = study.models
    refs = [evaluation_ref(f"head_to_head/{x}-{y}", Stage.VERDICTS) for x, y in ((a, b), (b, a))]
    return next((ref for ref in refs if store.exists(ref)), None)


def _answers_refs(study: StudyInfo) -> list[Ref]:
    return [evaluation_ref(f"{model}/head_to_head", Stage.ANSWERS) for model in study.models]


def _same_answers(store: Store, study: StudyInfo) -> set[str]:
    """Return the items whose answers in the run are those that people were shown."""
    ours, theirs = (_texts(store, ref) for ref in _answers_refs(study))
    return {
        item.item
        for item in study.items
        if (ours.get(item.item), theirs.get(item.item)) == item.texts
    }


def _texts(store: Store, ref: Ref) -> dict[str, str]:
    rows: list[Generation] = store.read(ref)
    return {row.prompt_key: row.text for row in rows}
