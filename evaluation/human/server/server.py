"""The server of a study: prints the links, stores votes, exports when everyone is done."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import DataError
from core.making import locked
from core.progress import say
from evaluation.human.prepare import links
from evaluation.human.rankings import export_rankings
from evaluation.human.results import refresh, run_of
from evaluation.human.server.live_study import LiveStudy
from evaluation.human.server.pages import study_router
from evaluation.human.study import read_links, read_study
from evaluation.human.vote_store import VoteStore
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
    """Write votes.jsonl and the results so far, or rankings.jsonl; raises as `read_study`."""
    if read_study(folder).kind != "comparison":
        return export_rankings(folder)
    if run_of(folder) is not None:
        refresh(folder.run)  # annotators left out of the results stay left out
    return export_votes(folder)


@contextmanager
def open_study(folder: StudyFolder) -> Iterator[LiveStudy]:
    """Open a study to be served, by one process at a time.

    Raises:
        RunLocked: another process is serving it.
        MissingArtifact, DataError: see `read_study`.
    """
    study, tokens = read_study(folder), read_links(folder)
    if not tokens.keys() >= set(study.annotators):
        raise DataError(folder.links, None, "an annotator of study.json has no link here")
    with locked(folder.path / ".lock"), VoteStore(folder.database) as votes:
        yield LiveStudy(study, votes, tokens, lambda: say(f"complete; wrote {export(folder)}"))


def study_app(live: LiveStudy, *, hosts: Collection[str] | None = LOOPBACK_NAMES) -> FastAPI:
    """Return the web app of an open study; `hosts` as for `new_app`."""
    return new_app("srlm study", study_router(live), static=_STATIC, hosts=hosts)


def serve_study(folder: StudyFolder, *, host: str, port: int, address: str | None = None) -> None:
    """Serve a study until interrupted, printing each annotator's link first.

    `address`: the public address of a proxy or tunnel; None: the server is reached directly.

    Raises:
        ConfigError: the port is in use, or `address` is not a web address.
        MissingArtifact, DataError, RunLocked: see `open_study`.
    """
    hosts = hosts_of(host, address)
    with open_study(folder) as live, open_port(host, port) as opened:
        say(f"{folder.path}: {progress_text(live)}")
        for annotator, link in links(folder, address or address_of(opened)):
            say(f"  {annotator}  {link}")
        say("give each annotator one link; Ctrl-C stops the server, the same command resumes")
        serve(study_app(live, hosts=hosts), opened)
        say(f"{progress_text(live)}; `srlm-eval human-eval export --study {folder.path}`")


def progress_text(live: LiveStudy) -> str:
    """Return the progress of all annotators: "12 of 150 judged"."""
    done = sum(len(live.progress(annotator).submissions) for annotator in live.annotators)
    return f"{done} of {live.study.n * len(live.study.annotators)} judged"
