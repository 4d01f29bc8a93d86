"""Small runs and studies for the tests of the human study."""

from __future__ import annotations

import html
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from starlette.testclient import TestClient

from core.records import Candidate, Generation, Judgment, Prompt
from core.stages import Ref, Stage, evaluation_ref
from core.store import Built, Key, Store
from evaluation.human.prepare import StudySize, prepare_comparison
from evaluation.human.server.server import open_study, study_app
from evaluation.human.study import StudyFolder, read_links
from tests.conftest import ROOT

HOME = "http://127.0.0.1"
KEY = Key({}, {}, 0)


def write_rows(run: Path, ref: Ref, rows: Iterable[Any]) -> None:
    """Make an artifact of these rows."""
    with Store(run).begin(ref, KEY) as out:
        out.add_missing(rows)
        out.commit(lambda row: row.key, Built())


def write_answers(run: Path, model: str, answers: dict[str, tuple[str, str]], **more: Any) -> None:
    """Make a model's head-to-head answers: prompt's key → (prompt, answer)."""
    rows = [
        Generation(f"{key}/1", key, prompt, text, 5, more.get(key, "stop"))
        for key, (prompt, text) in answers.items()
    ]
    write_rows(run, evaluation_ref(f"{model}/head_to_head", Stage.ANSWERS), rows)


def compared_run(run: Path, n: int = 4) -> Path:
    """Make a run in which M3 and sft have answered n prompts; the texts say whose they are."""
    prompts = {f"p{at}": f"Question {at}?" for at in range(n)}
    for model, said in (("M3", "the third says"), ("sft", "the baseline says")):
        answers = {key: (prompt, f"{said} {prompt}") for key, prompt in prompts.items()}
        write_answers(run, model, answers)
    return run


def ranked_run(
    run: Path, texts: dict[str, list[str]], scores: dict[str, float] | None = None
) -> Path:
    """Make iteration 2's prompts and candidates, and judgments where there are scores."""
    prompts = [Prompt(key, f"Task {key}", None, 0) for key in texts]
    write_rows(run, Ref(2, Stage.PROMPTS), prompts)
    candidates = [
        Candidate(f"{key}/c{draw}", key, draw, text, 3, "stop")
        for key, found in texts.items()
        for draw, text in enumerate(found)
    ]
    write_rows(run, Ref(2, Stage.CANDIDATES), candidates)
    if scores is not None:
        judged = [
            Judgment(f"{key}/j0", key, key.split("/", 1)[0], 0, "", score, None, 1)
            for key, score in scores.items()
        ]
        write_rows(run, Ref(2, Stage.JUDGMENTS), judged)
    return run


def without_token(text: str, link: str) -> str:
    """Return a page's text without a link's token, whose letters may spell anything by chance."""
    token = link.partition("/study/")[2].partition("/")[0]
    return text.replace(token, "TOKEN")


class Visitor(NamedTuple):
    """An annotator's browser without scripts: follows links and fills in forms."""

    client: TestClient | httpx.Client
    home: str

    def get(self, path: str = "") -> Any:
        return self.client.get(self.home + path)

    def form(self, path: str, action: str = "") -> dict[str, str]:
        """Return the hidden fields of a page's form that posts to `action` (default: itself)."""
        page = self.get(path).text
        wanted = re.escape(self.home + (action or path))
        found = re.search(rf'<form method="post" action="{wanted}".*?</form>', page, re.DOTALL)
        assert found is not None, page
        fields = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', found[0])
        return {name: html.unescape(value) for name, value in fields}

    def vote(self, place: int, choice: str, **more: Any) -> Any:
        fields = self.form(f"/{place}") | {"choice": choice} | more
        return self.client.post(f"{self.home}/{place}", data=fields, follow_redirects=False)

    def undo(self, path: str) -> Any:
        fields = self.form(path, "/undo")
        return self.client.post(f"{self.home}/undo", data=fields, follow_redirects=False)


@contextmanager
def visitors(folder: StudyFolder) -> Iterator[list[Visitor]]:
    """Open a study in this process and give each annotator a browser."""
    with open_study(folder) as live, TestClient(study_app(live), base_url=HOME) as client:
        tokens = read_links(folder)
        yield [Visitor(client, f"/study/{tokens[who]}") for who in live.study.annotators]


def comparison(run: Path, n: int = 4, annotators: int = 3, seed: int = 0) -> StudyFolder:
    """Prepare M3 against sft in a new run."""
    return prepare_comparison(compared_run(run, n), "M3", "sft", StudySize(n, annotators, seed))


class Served(NamedTuple):
    """A server process, and each annotator's link as it printed them."""

    process: subprocess.Popen[str]
    links: dict[str, str]


@contextmanager
def served(folder: StudyFolder) -> Iterator[Served]:
    """Serve a study by the real command on a free port; ended as by Ctrl-C unless it is dead."""
    command = [sys.executable, "-m", "evaluation", "human-eval", "serve", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--study", str(folder.path)], stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stderr is not None
    said: list[str] = []
    try:
        for line in process.stderr:
            said.append(line)
            if "Ctrl-C" in line:
                break
        found = dict(
            re.findall(r"(annotator-\d+)  (http://127\.0\.0\.1:\d+/study/\S+)", "".join(said))
        )
        assert found, said
        yield Served(process, found)
    finally:
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=20)[1]
        assert "Traceback" not in rest, rest
