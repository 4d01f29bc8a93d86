"""Write data/verifiable: instructions that a program can check, with replies and judgments.

`python -m tools.verifiable` writes the packaged files anew; the same seed gives the same bytes.
Every instruction is of a kind that IFEval's checker decides, so that the truth about an answer
needs no judge. Replies for instruction fine-tuning are of mixed correctness: only a third follow
their instruction. The judgments look at the reply, say what was wanted and what was found, and end
with a score that follows from it: what is right enters training through the judge alone.
"""

from __future__ import annotations

import json
import random
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FOLDER = Path(__file__).resolve().parent.parent / "data" / "verifiable"
_SEED = 20240119
_RIGHT_IN_IFT = 0.35
_SIZES = {"ift": 160, "eft": 240, "eft_eval": 40, "prompts": 480, "held_out": 160, "validation": 24}

_HALF = 0.5
# Topics with three sentences each, and categories with the names of things.
WORLD: dict[str, dict[str, dict[str, str]]] = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
)
_ENDINGS = (
    "That is all.", "I hope this helps.", "Good luck!", "The end.", "See you soon.",
    "Any more questions?", "Thank you for asking.", "Have a nice day.",
)  # fmt: skip
_NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five"}
_ASKED = (
    "Write about {}.", "Tell me about {}.", "Say something about {}.", "Describe {} briefly.",
    "What do you know about {}?", "Give me a short text about {}.",
)  # fmt: skip


class Task(NamedTuple):
    """An instruction, how IFEval's checker decides it, and what a reply can say.

    `about` is a topic, with `facts` in sentences, or a category, with the names of things.
    """

    text: str
    kind: str
    arguments: dict[str, Any]
    about: str
    facts: str


class Written(NamedTuple):
    """A reply with the justification and the score of a judge that looked at it."""

    text: str
    justification: str
    score: int


_IDS = {
    "end": "startend:end_checker",
    "lower": "change_case:english_lowercase",
    "quote": "startend:quotation",
    "title": "detectable_format:title",
    "bullets": "detectable_format:number_bullet_lists",
}


def _statements(draw: random.Random, task: Task, count: int | None = None) -> str:
    """Return one or two sentences about a task's topic."""
    known = [f"{one}." for one in task.facts.removesuffix(".").split(". ")]
    return " ".join(draw.sample(known, count or draw.choice((1, 2))))


_ASKS = {
    "end": ("End with the words: {}", "Your last words must be: {}", "Finish with: {}"),
    "lower": ("Use lower case letters only.", "Do not use any capital letters."),
    "quote": (
        "Put your whole answer in double quotation marks.",
        "Wrap the entire answer in double quotation marks.",
    ),
    "title": (
        "Begin with a title in double angle brackets, such as <<My Title>>.",
        "Give it a title, wrapped in double angle brackets like <<My Title>>.",
    ),
    "bullets": (
        "Name {0} {1} as a list of bullet points with asterisks.",
        "List exactly {0} {1}. Begin each line with an asterisk.",
        "Give me {0} {1}, each as a bullet point with an asterisk.",
    ),
}


def _task(draw: random.Random, kind: str, part: str) -> Task:
    how = draw.choice(_ASKS[kind])
    if kind == "bullets":
        category, things = draw.choice(list(WORLD[part]["categories"].items()))
        count = draw.choice(list(_NUMBERS))
        number = draw.choice((str(count), _NUMBERS[count]))
        return Task(how.format(number, category), kind, {"num_bullets": count}, category, things)
    topic, facts = draw.choice(list(WORLD[part]["topics"].items()))
    ending = draw.choice(_ENDINGS)
    arguments = {"end_phrase": ending} if kind == "end" else {}
    text = f"{draw.choice(_ASKED).format(topic)} {how.format(ending)}"
    return Task(text, kind, arguments, topic, facts)


def _end(draw: random.Random, task: Task, *, right: bool) -> Written:
    wanted, said = task.arguments["end_phrase"], _statements(draw, task)
    if right:
        found = wanted
    elif draw.random() < _HALF:
        found = draw.choice([one for one in _ENDINGS if one != wanted])
    else:
        found = " ".join(said.split()[-4:])
        said = " ".join(said.split()[:-4])
    verdict = "The same" if right else "Not the same"
    return Written(
        f"{said} {found}".strip(),
        f"Wanted at the end: {wanted} Found at the end: {found} {verdict}.",
        5 if right else 1,
    )


def _lower(draw: random.Random, task: Task, *, right: bool) -> Written:
    said = _statements(draw, task, 2)  # one is too short for the checker to know it is English
    said = said.lower() if right else said
    found = "no capital letter" if right else "a capital letter"
    first = said.split()[0]
    return Written(said, f"Wanted: lower case. First word: {first}, {found}.", 5 if right else 1)


def _quote(draw: random.Random, task: Task, *, right: bool) -> Written:
    said = _statements(draw, task)
    said = f'"{said}"' if right else said
    found = "quotation marks" if right else "no quotation marks"
    first, last = said.split()[0], said.split()[-1]
    what = f"Wanted: quotation marks. First and last word: {first} {last}, {found}."
    return Written(said, what, 5 if right else 1)


def _title(draw: random.Random, task: Task, *, right: bool) -> Written:
    said = _statements(draw, task)
    name = task.about.title()
    if right:
        said = f"<<{name}>>\n{said}"
    elif draw.random() < _HALF:
        said = f"{name}\n{said}"
    found = "angle brackets" if right else "no angle brackets"
    first = said.split()[0]
    what = f"Wanted: a title in angle brackets. First word: {first}, {found}."
    return Written(said, what, 5 if right else 1)


def _bullets(draw: random.Random, task: Task, *, right: bool) -> Written:
    wanted = task.arguments["num_bullets"]
    others = [n for n in (wanted - 2, wanted - 1, wanted + 1, wanted + 2) if n > 0]
    count = wanted if right else draw.choice(others)
    things = draw.sample(task.facts.split(), count)
    listed = " ".join(f"{at} {thing}" for at, thing in enumerate(things, start=1))
    verdict = "The same" if right else "Not the same"
    return Written(
        "\n".join(f"* {thing}" for thing in things),
        f"Wanted: {wanted} bullet points. Found: {listed}. That is {count}. {verdict}.",
        5 if right else 2 if abs(count - wanted) == 1 else 1,
    )


_WRITERS: dict[str, Callable[..., Written]] = {
    "end": _end, "lower": _lower, "quote": _quote, "title": _title, "bullets": _bullets,
}  # fmt: skip


def _tasks(draw: random.Random, count: int, seen: set[str], part: str) -> Iterator[Task]:
    """Yield `count` instructions that were not given before, the kinds in turn."""
    kinds = list(_IDS)
    made = 0
    while made < count:
        task = _task(draw, kinds[made % len(kinds)], part)
        if task.text not in seen:
            seen.add(task.text)
            made += 1
            yield task


def _message(name: str, text: str, **more: Any) -> dict[str, Any]:
    return {"message_id": name, "text": text, "lang": "en", "deleted": False, **more}


def _tree(name: str, task: Task, replies: list[Written], split: str | None) -> dict[str, Any]:
    """Return a message tree; better scores rank first, equal ones alike."""
    order = sorted({reply.score for reply in replies}, reverse=True)
    answers = [
        _message(
            f"{name}-r{at}", reply.text, role="assistant", rank=order.index(reply.score),
            score=reply.score, justification=reply.justification,
        )
        for at, reply in enumerate(replies)
    ]  # fmt: skip
    root = {"prompt": _message(name, task.text, role="prompter", replies=answers)}
    given = {"instruction_id_list": [_IDS[task.kind]], "kwargs": [task.arguments]}
    return {"message_tree_id": name, "split": split, **root, **given}


def _checked(name: str, task: Task, split: str) -> dict[str, Any]:
    """Return a prompt in IFEval's schema."""
    given = {"instruction_id_list": [_IDS[task.kind]], "kwargs": [task.arguments]}
    return {"key": name, "split": split, "prompt": task.text, **given}


def files(seed: int = _SEED) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of every file, by its name."""
    draw, seen = random.Random(seed), set[str]()

    def tasks(name: str, part: str = "training") -> list[tuple[str, Task]]:
        made = _tasks(draw, _SIZES[name], seen, part)
        return [(f"{name}-{at}", task) for at, task in enumerate(made)]

    def one(task: Task, *, right: bool) -> Written:
        return _WRITERS[task.kind](draw, task, right=right)

    def both(name: str, task: Task, split: str) -> dict[str, Any]:
        replies = [one(task, right=True), one(task, right=False)]
        draw.shuffle(replies)
        return _tree(name, task, replies, split)

    def prompts(name: str, split: str, part: str = "training") -> list[dict[str, Any]]:
        return [_checked(n, t, split) for n, t in tasks(name, part)]

    held_out = prompts("held_out", "test", "held_out")
    ift = [
        _tree(n, t, [one(t, right=draw.random() < _RIGHT_IN_IFT)], None) for n, t in tasks("ift")
    ]
    eft = [both(n, t, "train") for n, t in tasks("eft")]
    eft += [both(n, t, "eval") for n, t in tasks("eft_eval")]
    return {
        "ift.trees.jsonl": ift,
        "eft.trees.jsonl": eft,
        "prompts.jsonl": prompts("prompts", "train") + prompts("validation", "validation"),
        "held_out.jsonl": held_out,
    }


def main() -> None:
    """Write the files."""
    FOLDER.mkdir(exist_ok=True)
    for name, rows in files().items():
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        (FOLDER / name).write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
