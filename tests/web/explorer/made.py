"""Run folders made by hand, small enough that a reader can count what must be shown."""

from __future__ import annotations

import hashlib
import html.parser
import json
from typing import TYPE_CHECKING

from fastapi.testclient import TestClient

from core.records import (
    Annotation,
    Candidate,
    Flag,
    Generation,
    ItemScore,
    Judgment,
    LedgerRow,
    Measurement,
    Prompt,
    PromptCall,
    RankedPrompt,
    Reply,
    TurnJudgment,
    Verdict,
)
from core.stages import Ref, Stage, evaluation_ref
from core.store import Built
from tests.reports.runs import RunBuilder
from web.explorer.app import explorer_app

if TYPE_CHECKING:
    from pathlib import Path

    from core.store import Store
    from web.explorer.source import Source

PROMPTS = Ref(2, Stage.PROMPTS)
CANDIDATES = Ref(2, Stage.CANDIDATES)
JUDGMENTS = Ref(2, Stage.JUDGMENTS)
PAIRS = Ref(2, Stage.PAIRS)
EVALUATION = {
    "models": ["M1", "M2"],
    "benchmarks": ["head_to_head", "alpaca_eval", "mt_bench", "nlp", "agreement", "self_judge"],
    "head_to_head": {"matchups": [["M2", "M1"]]},
    "nlp": {"tasks": ["piqa"]},
}


def judged(subject: str, draw: int, score: float | None, reply: str = "") -> Judgment:
    """A judge's reply; one without a score says nothing that can be read."""
    words = reply or (f"Score: {score:g}" if score is not None else "Who knows?")
    unparsed = None if score is not None else "no_score"
    prompt = subject.rpartition("/")[0]
    return Judgment(f"{subject}/j{draw}", subject, prompt, draw, words, score, unparsed, 3)


def made_run(folder: Path) -> Path:
    """Make a run: two kept prompts, one pair, one tie, and a few rows of every benchmark."""
    built = RunBuilder(folder)
    built.config(run="made", iterations=3, evaluation=EVALUATION)
    _loop(built)
    _open_ended(built)
    _labelled(built)
    built.failed(M1__mt_bench="the judge went away")
    partial = built.store.paths.partial(Ref(3, Stage.PROMPTS))
    partial.parent.mkdir()
    partial.write_text('{"key": {}}\n{"key": "c0/t0"}\n{"key": "c0/t1"}\n')
    return folder


def _loop(built: RunBuilder) -> None:
    call = PromptCall("c0", 0, ("Name a tree.",), "1. Name a fish.\n2. Name a tree!", 9, "length")
    prompts = [
        Prompt("c0/t0", "Name a **fish**.", None, 0),
        Prompt("c0/t1", "Name a tree!", "similar_to_pool", 0, "Name a tree."),
        Prompt("c0/t2", "Count to three.", None, 0),
    ]
    answers = [
        Candidate("c0/t0/a0", "c0/t0", 0, "A trout, of the river kind.", 6, "stop"),
        Candidate("c0/t0/a1", "c0/t0", 1, "Whales", 2, "length"),
        Candidate("c0/t2/a0", "c0/t2", 0, "One, two, three.", 6, "stop"),
        Candidate("c0/t2/a1", "c0/t2", 1, "1 2 3", 3, "stop"),
    ]
    replies = [
        judged("c0/t0/a0", 0, 5.0, "Right and complete, and long enough. Score: 5"),
        judged("c0/t0/a0", 1, 3.0),
        judged("c0/t0/a1", 0, 1.0),
        judged("c0/t0/a1", 1, None),
        judged("c0/t2/a0", 0, 3.0),
        judged("c0/t2/a0", 1, 3.0),
        judged("c0/t2/a1", 0, 3.0),
        judged("c0/t2/a1", 1, 3.0),
    ]
    pair = LedgerRow(
        "c0/t0", prompts[0].text, "pair", (4.0, 1.0), (2, 1), "c0/t0/a0", "c0/t0/a1",
        answers[0].text, answers[1].text, 4.0, 1.0, True, False,
    )  # fmt: skip
    tie = LedgerRow("c0/t2", prompts[2].text, "tie", (3.0, 3.0), (2, 2))
    kept = Built(counts={"kept": 2, "rejected_similar_to_pool": 1})
    built.rows(Ref(2, Stage.PROMPT_CALLS), [call]).rows(PROMPTS, prompts, built=kept)
    built.rows(CANDIDATES, answers).rows(JUDGMENTS, replies)
    built.rows(Ref(2, Stage.HEALTH), [Measurement("parse_rate", 0.875, 8, {"no_score": 1.0})])
    built.rows(PAIRS, [pair, tie], built=Built(counts={"pair": 1, "tie": 1}))
    external = [judged("c0/t0/a0", 0, 1.0), judged("c0/t0/a1", 0, 4.0), judged("c0/t2/a0", 0, 3.0)]
    built.rows(evaluation_ref("self_judge/iter2", Stage.EXTERNAL_JUDGMENTS), external)
    flag = Flag("f0", "c0/t0", prompts[0].text, "mt_bench", "81", "Name a fish now.", "ngram", 8)
    built.rows(evaluation_ref("contamination/iter2", Stage.FLAGS), [flag])


def _open_ended(built: RunBuilder) -> None:
    for model, text in (("M1", "short"), ("M2", "rather longer")):
        answers = [
            Generation(f"p{n}", f"p{n}", f"Question {n}?", f"{text} {n} {'x' * n}", 4, "stop")
            for n in range(4)
        ]
        built.rows(evaluation_ref(f"{model}/head_to_head", Stage.ANSWERS), answers)
    verdicts = [
        Verdict("p0/ab", "p0", "M2", "M1", "A", None, ("m",)),
        Verdict("p0/ba", "p0", "M2", "M1", "B", None, ("m",)),
        Verdict("p1/ab", "p1", "M2", "M1", "A", None, ("m",)),
        Verdict("p1/ba", "p1", "M2", "M1", "A", None, ("M",)),
        Verdict("p2/ab", "p2", "M2", "M1", "tie", None, ("both",)),
        Verdict("p2/ba", "p2", "M2", "M1", None, "empty", ("",)),
        Verdict("p3", "p3", "M2", "M1", "tie"),
    ]
    built.rows(evaluation_ref("head_to_head/M2-M1", Stage.VERDICTS), verdicts)
    built.rows(
        evaluation_ref("M2/alpaca_eval", Stage.ANNOTATIONS),
        [
            _annotation("i0", 1.9, None),
            _annotation("i1", 0.0, None),  # the package's draw
            _annotation("i2", None, "refused"),
        ],
    )
    turns = [
        Generation(f"81/t{turn}", "81", f"Turn {turn}?", f"Answer {turn}.", 3, "stop", turn)
        for turn in (1, 2)
    ]
    built.rows(evaluation_ref("M2/mt_bench", Stage.ANSWERS), turns)
    grades = [_grade(1, 0, 7.0), _grade(1, 1, 9.0), _grade(2, 0, None)]
    built.rows(evaluation_ref("M2/mt_bench", Stage.TURN_JUDGMENTS), grades)


def _annotation(key: str, preference: float | None, missing: str | None) -> Annotation:
    raw = json.dumps({"text": "m", "logprobs": {"content": [{"top_logprobs": []}]}})
    names = ("gpt4", "M2", "weighted by judge")
    outputs = ("The reference says so.", f"M2 says {key}.")
    return Annotation(key, f"Do {key}.", *outputs, *names, preference, missing, raw)


def _grade(turn: int, draw: int, score: float | None) -> TurnJudgment:
    names = ("M2", "gpt-4", "single-v1", "Please judge.")
    reply = f"Rating: [[{score:g}]]" if score is not None else "Fine."
    unparsed = None if score is not None else "no_score"
    key = f"81/t{turn}/j{draw}"
    return TurnJudgment(key, 81, "writing", turn, draw, *names, reply, score, unparsed)


def _labelled(built: RunBuilder) -> None:
    detail = {"choices": ["left", "right"], "logprobs": [-1.5, -0.5], "target": 1, "prediction": 1}
    for model, second in (("M1", 0.0), ("M2", 1.0)):
        items = [
            ItemScore(f"piqa/{n}", "piqa", str(n), {"acc": value, "acc_norm": value}, detail)
            for n, value in enumerate((1.0, second))
        ]
        built.rows(evaluation_ref(f"{model}/nlp/piqa", Stage.ITEMS), items)
    replies = (Reply("r/0", "the best", 0), Reply("r/1", "the worst", 1), Reply("r/2", "bad", 1))
    built.rows(Ref(1, Stage.RANKED), [RankedPrompt("r", "Which is best?", replies, "eval")])
    ref = evaluation_ref("M2/agreement", Stage.RANKED_JUDGMENTS)
    rows = [judged("r/0", 0, 2.0), judged("r/1", 0, 1.0), judged("r/2", 0, 4.0)]
    built.rows(ref, rows)


def altered(store: Store, ref: Ref, old: bytes, new: bytes) -> None:
    """Change bytes of a finished artifact, and its manifest so that it describes them."""
    path, manifest = store.paths.artifact(ref), store.paths.manifest(ref)
    content = path.read_bytes()
    assert content.count(old) >= 1
    path.write_bytes(content.replace(old, new))
    tree = json.loads(manifest.read_bytes())
    stamp = tree["files"][path.name]
    stamp["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    stamp["size"], stamp["mtime_ns"] = path.stat().st_size, path.stat().st_mtime_ns
    tree["sha256"] = f"altered {stamp['sha256']}"
    manifest.write_text(json.dumps(tree))


def reader(source: Source) -> TestClient:
    """Return a client of the app over a run, as a browser on this machine would be."""
    return TestClient(explorer_app(source), base_url="http://127.0.0.1", follow_redirects=False)


class Markup(html.parser.HTMLParser):
    """What a browser would find in a page: elements, links, cells and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.rows: list[list[str]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "action")]
        if tag == "tr":
            self.rows.append([])
        elif tag == "td":
            self.rows[-1].append("")
        elif tag in ("pre", "h1", "title"):
            self.texts.append("")
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1] == tag:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[-1] += data
        elif self.rows and self.rows[-1]:
            self.rows[-1][-1] += data

    @property
    def cells(self) -> list[list[str]]:
        """The rows of the page's tables, without their heads."""
        return [[cell.strip() for cell in row] for row in self.rows if row]
