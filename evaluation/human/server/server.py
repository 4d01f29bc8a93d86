"""Serving a study: its links printed, its votes kept, and exported once everybody is done."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import DataError
from core.progress import say
from core.run_lock import locked
from evaluation.human.ballots import BallotBox
from evaluation.human.prepare import links, read_links
from evaluation.human.rankings import export_rankings
from evaluation.human.results import refresh, run_of
from evaluation.human.server.desk import Desk
from evaluation.human.server.pages import study_router
from evaluation.human.study import read_study
from evaluation.human.votes import export_votes
from web.kit.app import new_app
from web.kit.guard import LOOPBACK_NAMES
from web.kit.serving import address_of, hosts_of, open_port, serve

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from fastapi import FastAPI

    from evaluation.human.study import StudyFolder

_STATIC = Path(__file__).parent / "static"


def export(folder: StudyFolder) -> Path:
    """Write what a study has so far: votes.jsonl and its results, or rankings.jsonl.

    Raises:
        MissingArtifact: there is no study.
        DataError: one of its files was damaged.
    """
    if read_study(folder).kind != "comparison":
        return export_rankings(folder)
    if run_of(folder) is not None:
        refresh(folder.run)  # who was left out of the results stays left out
    return export_votes(folder)


@contextmanager
def open_desk(folder: StudyFolder) -> Iterator[Desk]:
    """Open a study for answers; one process at a time.

    Raises:
        MissingArtifact: there is no study.
        DataError: one of its files was damaged.
        RunLocked: another process serves it.
    """
    study, tokens = read_study(folder), read_links(folder)
    if not tokens.keys() >= set(study.annotators):
        raise DataError(folder.links, None, "not every annotator of study.json has a link here")
    with locked(folder.path / ".lock"), BallotBox(folder.ballots) as box:
        yield Desk(study, box, tokens, lambda: say(f"complete; wrote {export(folder)}"))


def study_app(desk: Desk, *, hosts: Collection[str] | None = LOOPBACK_NAMES) -> FastAPI:
    """Return the app of a study that stays open; `hosts` as for `new_app`."""
    return new_app("srlm study", study_router(desk), static=_STATIC, hosts=hosts)


def serve_study(folder: StudyFolder, *, host: str, port: int, address: str | None = None) -> None:
    """Serve a study until interrupted, printing each annotator's link first.

    `address` is where annotators reach the server through a proxy or tunnel; none: directly.

    Raises:
        ConfigError: the port is taken, or `address` is no web address.
        MissingArtifact: there is no study.
        DataError: one of its files was damaged.
        RunLocked: another process serves it.
    """
    hosts = hosts_of(host, address)
    with open_desk(folder) as desk, open_port(host, port) as opened:
        say(f"{folder.path}: {progress_words(desk)}")
        for annotator, link in links(folder, address or address_of(opened)):
            say(f"  {annotator}  {link}")
        say("give each annotator one link; Ctrl-C ends the server, the same command goes on")
        serve(study_app(desk, hosts=hosts), opened)
        say(f"{progress_words(desk)}; `srlm-eval human-eval export --study {folder.path}`")


def progress_words(desk: Desk) -> str:
    """Return how many answers there are, of how many."""
    done = sum(len(desk.progress(desk.seat(token)).ballots) for token in desk.tokens)
    return f"{done} of {desk.study.n * len(desk.study.annotators)} judged"
