"""What the tests of the stages share: artifacts made in one call, deaths on cue, small records."""

from __future__ import annotations

import json
import os
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from core.records import Candidate, Judgment, Prompt
from core.stages import project_root
from core.store import Key, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from core.records import Message
    from core.stages import Ref
    from core.store import Built, Manifest, Partial
    from tests.engines.scripted import Reply

KEY = Key({}, {}, 0)


class Made(NamedTuple):
    """A finished artifact: its rows, its manifest and its bytes."""

    rows: list[Any]
    manifest: Manifest
    content: bytes

    @property
    def counts(self) -> dict[str, int]:
        return self.manifest.counts


def made(folder: Path, ref: Ref, make: Callable[[Partial], Built]) -> Made:
    """Make (or go on making) one artifact in the run at `folder`."""
    store = Store(folder)
    with store.begin(ref, KEY) as out:
        manifest = out.commit(lambda row: row.key, make(out))
    return Made(store.read(ref), manifest, store.paths.artifact(ref).read_bytes())


def interrupted(folder: Path, ref: Ref, rows: Iterable[Any]) -> None:
    """Leave what a killed run leaves: a partial artifact with `rows` in it."""
    with Store(folder).begin(ref, KEY) as out:
        for row in rows:
            out.add(row)


def loaded_for_training(monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref[Any]]:
    """Return a list to which every model that a trainer loads from now on is added, weakly."""
    from engines.models import load_model
    from training.trainers import dpo, trl_loop

    models: list[weakref.ref[Any]] = []

    def noted(*given: Any, **options: Any) -> Any:
        model = load_model(*given, **options)
        models.append(weakref.ref(model))
        return model

    for module in (trl_loop, dpo):
        monkeypatch.setattr(module, "load_model", noted)
    return models


class Killed(Exception):
    """Stands for a kill: the engine stops in the middle of its work."""


def dying_after(draws: int, reply: Reply) -> Reply:
    """Return a script that answers `draws` times, then raises."""
    left = [draws]

    def limited(messages: Sequence[Message], draw: int) -> str | None:
        if left[0] == 0:
            raise Killed
        left[0] -= 1
        return reply(messages, draw)

    return limited


def write_jsonl(path: Path, rows: Iterable[object]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def tree(key: str, prompt: str, replies: Sequence[tuple[str, int | None]], **more: Any) -> Any:
    """Return an Open Assistant message tree; `replies` are (text, rank)."""
    answers = [
        {"text": text, "rank": rank, "role": "assistant", "lang": "en", "deleted": False}
        for text, rank in replies
    ]
    root = {"message_id": key, "text": prompt, "role": "prompter", "lang": "en", "replies": answers}
    return {"message_tree_id": key, "prompt": root, **more}


def prompt(key: str, text: str = "What is a tide?") -> Prompt:
    return Prompt(key, text, None, 0)


def candidate(prompt_key: str, draw: int, text: str, finish: str = "stop") -> Candidate:
    return Candidate(f"{prompt_key}/a{draw}", prompt_key, draw, text, len(text.split()), finish)


def judgment(subject_key: str, draw: int, score: float | None, reply: str = "") -> Judgment:
    """Return a judgment; a score of None is one that could not be read."""
    return Judgment(
        key=f"{subject_key}/j{draw}",
        subject_key=subject_key,
        prompt_key=subject_key.rpartition("/")[0],
        draw=draw,
        reply=reply or ("no idea" if score is None else f"Fine.\n\nScore: {score:g}"),
        score=None if score is None else float(score),
        unparsed="no_score" if score is None else None,
        tokens=3,
    )


def shared_data(name: str) -> Path:
    """Return a file of the real data, or skip the test."""
    path = project_root() / os.environ.get("SRLM_SHARED", "../shared") / "data" / name
    if not path.is_file():
        pytest.skip(f"{path} is absent: set SRLM_SHARED to the folder with the real data")
    return path


def steps(work: Path) -> list[dict[str, float]]:
    """The metrics that a training stage logged, step by step."""
    path = work.parent / f"{work.name}.metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]
