"""Response times and lost votes of the study server with 200 simultaneous annotators.

    python -m benchmarks.study_load [--annotators 200] [--votes 10] [--think-s 5]

Serves a generated study by the real command in its own process. Each simulated annotator loads a
page, thinks (an exponential time of the given mean; 0: not at all), votes with the page's form and
follows to the next one. When all are done the server is killed with -9, and every vote that it had
acknowledged is looked for in SQLite. Clients and server share the machine, so the times hold both.
"""

from __future__ import annotations

import argparse
import asyncio
import html
import random
import re
import subprocess
import sys
import tempfile
import time
from http import HTTPStatus
from pathlib import Path
from statistics import quantiles
from typing import NamedTuple

import httpx

from core.records import Generation
from core.stages import Stage, evaluation_ref
from core.store import Built, Key, Store
from evaluation.human.prepare import StudySize, prepare_comparison
from evaluation.human.study import StudyFolder, assignment, read_links, read_study
from evaluation.human.vote_store import read_submissions

CHOICES = ("left", "right", "tie")
_FIELD = re.compile(
    r'<form [^>]*class="vote".*?name="shown_at" value="(\d+)".*?"code" value="(\w+)"', re.S
)
_ANSWER = (
    "There are **three** things to look at:\n\n1. the first, `in code`;\n2. the second;\n"
    "3. the third.\n\n| one | two |\n|---|---|\n| a | b |\n\n" + "A sentence of some length. " * 50
)


class Timed(NamedTuple):
    """One request: what it was ("page" or "vote") and how long its answer took, in ms."""

    kind: str
    ms: float


class Annotator(NamedTuple):
    """A simulated annotator: link and mean thinking time."""

    name: str
    link: str
    think_s: float


def make_study(run: Path, annotators: int, items: int) -> StudyFolder:
    """Prepare a comparison of two generated models with answers of about 1,500 characters."""
    for model in ("M3", "sft"):
        with Store(run).begin(
            evaluation_ref(f"{model}/head_to_head", Stage.ANSWERS), Key({}, {}, 0)
        ) as out:
            for at in range(items):
                text = f"{_ANSWER} ({model}, {at})"
                out.add(Generation(f"p{at}/1", f"p{at}", f"Question {at}?", text, 400, "stop"))
            out.commit(lambda row: row.key, Built())
    return prepare_comparison(run, "M3", "sft", StudySize(items, annotators))


def start_server(folder: StudyFolder) -> tuple[subprocess.Popen[str], str]:
    """Start the command, wait until it listens, and return it with its address."""
    command = [sys.executable, "-m", "evaluation", "human-eval", "serve", "--port", "0"]
    process = subprocess.Popen(  # noqa: S603 - our own command
        [*command, "--study", str(folder.path)], stderr=subprocess.PIPE, text=True
    )
    address = ""
    for line in process.stderr or ():
        found = re.search(r"(http://\S+)/study/", line)
        address = found[1] if found else address
        if "Ctrl-C" in line:
            break
    return process, address


async def judge(
    client: httpx.AsyncClient, who: Annotator, votes: int
) -> tuple[list[Timed], dict[int, str]]:
    """Judge every item; return the times, and the acknowledged choice of each place."""
    draw = random.Random(who.name)
    timed: list[Timed] = []
    acknowledged: dict[int, str] = {}
    await asyncio.sleep(draw.random() * who.think_s)
    for place in range(1, votes + 1):
        began = time.perf_counter()
        page = await client.get(f"{who.link}/{place}")
        timed.append(Timed("page", 1000 * (time.perf_counter() - began)))
        form = _FIELD.search(page.text)
        if form is None:
            raise RuntimeError(f"{page.status_code}: {page.text[:500]}")
        if who.think_s:
            await asyncio.sleep(draw.expovariate(1 / who.think_s))
        choice = draw.choice(CHOICES)
        fields = {"shown_at": form[1], "code": html.unescape(form[2]), "choice": choice}
        began = time.perf_counter()
        said = await client.post(f"{who.link}/{place}", data=fields)
        timed.append(Timed("vote", 1000 * (time.perf_counter() - began)))
        if said.status_code == HTTPStatus.SEE_OTHER:
            acknowledged[place] = choice
    return timed, acknowledged


def lost(folder: StudyFolder, acknowledged: dict[str, dict[int, str]]) -> int:
    """Return how many acknowledged votes are not in the file as they were given."""
    study = read_study(folder)
    kept = {(b.annotator, b.item): b.answer for b in read_submissions(folder.database)}
    missing = 0
    for name, given in acknowledged.items():
        shown = assignment(study, name)
        for place, choice in given.items():
            at = shown[place - 1]
            left, right = ("AB"[side] for side in at.order)
            meant = {"left": left, "right": right, "tie": "tie"}[choice]
            missing += kept.get((name, at.item.item)) != meant
    return missing


async def crowd(
    people: list[Annotator], votes: int
) -> tuple[list[Timed], dict[str, dict[int, str]]]:
    """Let everybody judge at once."""
    limits = httpx.Limits(max_connections=len(people), max_keepalive_connections=len(people))
    async with httpx.AsyncClient(limits=limits, timeout=60) as client:
        found = await asyncio.gather(*(judge(client, who, votes) for who in people))
    timed = [one for times, _ in found for one in times]
    return timed, {who.name: given for who, (_, given) in zip(people, found, strict=True)}


def main() -> None:
    """Make the study, simulate the annotators, kill the server, count lost votes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--annotators", type=int, default=200)
    parser.add_argument("--votes", type=int, default=10, help="items per annotator")
    parser.add_argument("--think-s", type=float, default=5.0, help="mean seconds between answers")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = make_study(Path(temporary) / "load", asked.annotators, asked.votes)
        process, address = start_server(folder)
        links = read_links(folder)
        people = [
            Annotator(name, f"{address}/study/{links[name]}", asked.think_s) for name in links
        ]
        began = time.perf_counter()
        timed, acknowledged = asyncio.run(crowd(people, asked.votes))
        seconds = time.perf_counter() - began
        process.kill()
        process.wait()
        given = sum(map(len, acknowledged.values()))
        sys.stdout.write(
            f"{asked.annotators} annotators × {asked.votes} items, {asked.think_s:g} s to think: "
            f"{len(timed)} requests in {seconds:.1f} s ({len(timed) / seconds:.0f}/s)\n"
            f"{given} votes acknowledged, {lost(folder, acknowledged)} lost after kill -9\n"
        )
        for kind in ("page", "vote"):
            cuts = quantiles([one.ms for one in timed if one.kind == kind], n=100)
            median, most, nearly_all = cuts[49], cuts[94], cuts[98]
            sys.stdout.write(
                f"{kind}: median {median:.1f} ms, 95 % {most:.1f} ms, 99 % {nearly_all:.1f} ms\n"
            )


if __name__ == "__main__":
    main()
