from __future__ import annotations

import dataclasses
import random
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config import Config, PromptsSection
from core.records import Example, Prompt, PromptCall
from core.stages import Ref, Stage
from tests.engines.scripted import ScriptedEngine
from tests.training.making import Killed, Made, dying_after, interrupted, made
from training.data.prompts import (
    Known,
    NewTask,
    ask,
    few_shot,
    filter_prompts,
    read_tasks,
    rule_broken,
    task_messages,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from core.records import Message
    from engines.engine import Continuation, Decoding, Engine, Logprob, Request, Sampled

CALLS, PROMPTS = Ref(2, Stage.PROMPT_CALLS), Ref(2, Stage.PROMPTS)
DEFAULTS = PromptsSection()
SHOWN = re.compile(r"^Task \d+: (.*)$", re.MULTILINE)


def task(rng: random.Random) -> str:
    """Return a task of nine words, eight of them drawn from 3,000: never similar to another."""
    return "Explain " + " ".join(f"word{rng.randrange(3000)}" for _ in range(8))


SEEDS = [Example(f"s{i}", task(random.Random(f"seed {i}")), "x") for i in range(20)]
SEED_TEXTS = [seed.prompt for seed in SEEDS]


def inventive(messages: Sequence[Message], draw: int) -> str:
    """Write two tasks that follow from the words of the request, and say one example again."""
    request = messages[0]["content"]
    rng = random.Random(request)
    echo = SHOWN.findall(request)[0]
    return f"Task 9: {task(rng)}\nTask 10: {task(rng)}\nTask 11: {echo}"


def call_of(number: int, text: str, *, finish: str = "stop", examples: int = 8) -> PromptCall:
    shown = tuple(SEED_TEXTS[:examples])
    return PromptCall(f"c{number}", number, shown, text, len(text.split()), finish)


def asked(folder: Path, engine: Engine, earlier: Sequence[str] = (), **settings: Any) -> Made:
    section = PromptsSection(**{"count": 12, "max_calls": 40, "calls_per_round": 4, **settings})
    return made(
        folder,
        CALLS,
        lambda out: ask(
            engine, Known(SEEDS, earlier), Config(prompts=section, seed=3), k=2, out=out
        ),
    )


def filtered(
    folder: Path, calls: Sequence[PromptCall], earlier: Sequence[str] = (), **settings: Any
) -> Made:
    section = PromptsSection(**settings)
    return made(
        folder,
        PROMPTS,
        lambda out: filter_prompts(
            calls, Known(SEEDS, earlier), Config(prompts=section), k=2, out=out
        ),
    )


def decisions(result: Made) -> dict[str, str | None]:
    return {row.text: row.rejected for row in result.rows}


# --- The few-shot request


def test_six_seeds_and_two_generated_prompts_are_shown() -> None:
    generated = [f"made earlier {i}" for i in range(5)]
    for call in range(50):
        shown = few_shot(SEED_TEXTS, generated, DEFAULTS, call=call, seed=1)
        assert sum(text in generated for text in shown) == 2
        assert sum(text in SEED_TEXTS for text in shown) == 6
        assert len(set(shown)) == 8


@pytest.mark.parametrize(("there", "own"), [(0, 0), (1, 1), (2, 2), (100, 2)])
def test_seeds_stand_in_while_there_are_too_few_generated_prompts(there: int, own: int) -> None:
    generated = [f"made earlier {i}" for i in range(there)]
    shown = few_shot(SEED_TEXTS, generated, DEFAULTS, call=3, seed=1)
    assert len(shown) == 8
    assert sum(text in generated for text in shown) == own


def test_calls_show_different_examples_and_the_seed_decides_which() -> None:
    draws = [few_shot(SEED_TEXTS, [], DEFAULTS, call=call, seed=1) for call in range(20)]
    assert len({tuple(shown) for shown in draws}) == 20
    assert draws[4] == few_shot(SEED_TEXTS, [], DEFAULTS, call=4, seed=1)
    assert draws[4] != few_shot(SEED_TEXTS, [], DEFAULTS, call=4, seed=2)
    # The generated ones do not always come last: a model would learn to imitate their place.
    places = {
        few_shot(SEED_TEXTS, ["mine"], DEFAULTS, call=call, seed=1).index("mine")
        for call in range(50)
    }
    assert len(places) == 8


def test_the_request_numbers_its_examples_and_says_how_to_go_on() -> None:
    (message,) = task_messages(["First\n  task", "Second task"])
    assert message["role"] == "user"
    lines = message["content"].splitlines()
    assert lines[2:4] == ["Task 1: First task", "Task 2: Second task"]
    assert "Here are 2 examples" in lines[0]
    assert "numbered Task 3 to Task 5" in lines[-1]


def test_the_few_shot_template_has_the_same_size_from_call_to_call(tmp_path: Path) -> None:
    requests: list[str] = []

    def listening(messages: Sequence[Message], draw: int) -> str:
        requests.append(messages[0]["content"])
        return inventive(messages, draw)

    result = asked(tmp_path, ScriptedEngine(listening), count=40)
    assert len(requests) == 20  # two kept by each call
    for request in requests:
        assert len(SHOWN.findall(request)) == 8
        assert "Here are 8 examples" in request
        assert "numbered Task 9 to Task 11" in request
    # The first round has seeds only; from the second on two are the model's own.
    own = [sum(text not in SEED_TEXTS for text in row.examples) for row in result.rows]
    numbers = [row.call for row in result.rows]
    assert dict(zip(numbers, own, strict=True)) == {n: 0 if n < 4 else 2 for n in range(20)}


# --- Reading tasks out of a reply


@pytest.mark.parametrize(
    ("reply", "texts"),
    [
        ("Task 9: Name a river.\nTask 10: Name a lake.", ["Name a river.", "Name a lake."]),
        # A model that goes on where "Task 9:" would stand, without saying it again.
        ("Name a river.\nTask 10: Name a lake.", ["Name a river.", "Name a lake."]),
        ("9. Name a river.\n10) Name a lake.", ["Name a river.", "Name a lake."]),
        (
            "**Task 9:** Name a river.\n\n**Task 10**: Name a lake.",
            ["Name a river.", "Name a lake."],
        ),
        # What comes before the numbers is chatter unless the next number says otherwise.
        ("Sure, here they are:\n\nTask 9: Name a river.", ["Name a river."]),
        ("Name a river.", ["Name a river."]),
        ("Task 9: Name\n  a river.", ["Name a river."]),
        ("Task 9:\nTask 10: Name a lake.", ["Name a lake."]),
        ("", []),
        (" \n", []),
        # Numbers that do not continue the numbering are a list inside the task.
        (
            "Task 9: Plan a party. Mind that\n1. The total budget must stay under 500 dollars.\n"
            "2. There are ten guests.\nTask 10: Name a lake.",
            [
                "Plan a party. Mind that 1. The total budget must stay under 500 dollars. "
                "2. There are ten guests.",
                "Name a lake.",
            ],
        ),
        (
            "Put in order:\n1. boil\n2) pour\n10. Name a lake.",
            ["Put in order: 1. boil 2) pour", "Name a lake."],
        ),
        ("Put in order:\n1. boil\n2. pour", ["Put in order: 1. boil 2. pour"]),
        # ... also where they are long enough to come to the next task's number.
        (
            "9. Sort:\n" + "\n".join(f"{n}. word" for n in range(1, 12)) + "\n10. Name a lake.",
            ["Sort: " + " ".join(f"{n}. word" for n in range(1, 12)), "Name a lake."],
        ),
        ("9. Is\n9.5 kg\n10:30 h\nright?\n11. no", ["Is 9.5 kg 10:30 h right? 11. no"]),
        # A reply that begins with a number, or says that tasks follow, has a numbering of its own.
        ("1. Name a river.\n2. Name a lake.", ["Name a river.", "Name a lake."]),
        (
            "Sure! Here are three new tasks:\n\n1. Name a river.\n2. Name a lake.",
            ["Name a river.", "Name a lake."],
        ),
        ("7. Echo.\n8. Echo.\n9. New.", ["Echo.", "Echo.", "New."]),
        ("3. Echo.\n9. New.\n10. Newer.", ["Echo.", "New.", "Newer."]),
        ("Sort these tasks:\n1. wash\n2. dry", ["Sort these tasks: 1. wash 2. dry"]),
    ],
)
def test_tasks_are_read_out_of_replies_as_models_write_them(reply: str, texts: list[str]) -> None:
    found = read_tasks(reply, first_number=9, cut=False)
    assert found == [NewTask(text, complete=True) for text in texts]


_LINES = st.text("abc ", min_size=1).map(lambda text: f"x {' '.join(text.split())}".strip())
_TASKS = st.lists(st.tuples(_LINES, st.lists(_LINES, max_size=14)), min_size=1, max_size=4)


@given(
    st.integers(2, 30), _TASKS, st.sampled_from(["Task {}: ", "{}. ", "{}) ", "**{}.** "]),
    st.sampled_from(["{}. ", "  {}) ", "{}: "]),
)  # fmt: skip
def test_a_numbered_list_inside_a_task_stays_in_it(
    first: int, tasks: list[tuple[str, list[str]]], mark: str, item: str
) -> None:
    reply, expected = "", []
    for number, (text, listed) in enumerate(tasks, start=first):
        # A bare "10." behind a list of nine could be either: not asked of the parser.
        lines = listed[:-1] if len(listed) == number and "Task" not in mark else listed
        items = [f"{item.format(place)}{line}" for place, line in enumerate(lines, start=1)]
        reply += f"{mark.format(number)}{text}\n" + "".join(f"{line}\n" for line in items)
        expected.append(" ".join(" ".join([text, *items]).split()))
    found = read_tasks(reply, first_number=first, cut=False)
    assert [task.text for task in found] == expected


def test_a_step_of_a_list_is_no_prompt_of_its_own_and_echoes_are_counted(tmp_path: Path) -> None:
    rng = random.Random("new")
    steps = [f"The total {task(rng)} must stay under 500 dollars." for _ in range(2)]
    new = task(rng)
    echoes = "\n".join(f"{n}. {text}" for n, text in enumerate(SEED_TEXTS[:8], start=1))
    result = filtered(tmp_path, [call_of(0, f"{echoes}\n9. {new}\n1. {steps[0]}\n2. {steps[1]}")])
    kept = [row.text for row in result.rows if row.kept]
    assert kept == [f"{new} 1. {steps[0]} 2. {steps[1]}"]
    assert result.counts == {"kept": 1, "rejected_similar_to_pool": 8}


def test_the_last_task_of_a_cut_reply_is_not_complete() -> None:
    found = read_tasks("Task 9: Name a river.\nTask 10: Name a", first_number=9, cut=True)
    assert found == [NewTask("Name a river.", complete=True), NewTask("Name a", complete=False)]
    # Cut right behind the number: everything that was begun is complete.
    found = read_tasks("Task 9: Name a river.\nTask 10:", first_number=9, cut=True)
    assert found == [NewTask("Name a river.", complete=True)]


def test_tasks_are_read_from_the_completion_only(tmp_path: Path) -> None:
    new = task(random.Random("new"))
    result = filtered(tmp_path, [call_of(0, f"Task 9: {new}")])
    # Not one of the eight examples of the request comes back, kept or rejected.
    assert result.rows == [Prompt("c0/t0", new, None, 0)]


def test_a_call_whose_thought_was_cut_gives_no_task_and_says_so(tmp_path: Path) -> None:
    result = filtered(tmp_path, [dataclasses.replace(call_of(0, ""), finish="cut_off")])
    assert result.rows == [Prompt("c0/t0", "", "cut_off", 0)]


def test_repeated_examples_are_rejected_as_similar_to_the_pool(tmp_path: Path) -> None:
    new = task(random.Random("new"))
    listing = "\n".join(f"Task {i}: {text}" for i, text in enumerate(SEED_TEXTS[:8], start=1))
    result = filtered(tmp_path, [call_of(0, f"{listing}\nTask 9: {new}")])
    assert decisions(result) == {new: None} | dict.fromkeys(SEED_TEXTS[:8], "similar_to_pool")
    echoes = [row for row in result.rows if not row.kept]
    assert [row.similar_to for row in echoes] == [row.text for row in echoes]
    assert result.counts == {"kept": 1, "rejected_similar_to_pool": 8}


# --- The rules


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("Name three rivers", "too_short"),
        ("Name three long rivers", None),
        (" ".join(["word"] * 150), None),
        (" ".join(["word"] * 151), "too_long"),
        ("Write a program that sorts numbers", "starts_with_write_a_program"),
        ("Write a programme for a concert", "starts_with_write_a_program"),  # as Self-Instruct does
        ("Please Write a program that sorts numbers", None),
        ("Écris une phrase sur la mer", "starts_with_non_ascii"),
        ("“What is art?” Answer this question", "starts_with_non_ascii"),
        ("- Name three long rivers", "starts_with_punctuation"),
        ('"What is art?" Answer this question', "starts_with_punctuation"),
        ("3 rivers: name them all", None),
        ("Describe the image in your mind", "unsuitable_keyword"),
        ("Describe these IMAGES to a child", "unsuitable_keyword"),
        ("Explain this graph to a child", "unsuitable_keyword"),
        ("Explain such graphs to a child", "unsuitable_keyword"),
        ("Look at the picture and describe", "unsuitable_keyword"),
        ("Look at the pictures and describe", "unsuitable_keyword"),
        ("Open the file and read it", "unsuitable_keyword"),
        ("Sort the files by their date", "unsuitable_keyword"),
        ("Find the town on a map", "unsuitable_keyword"),
        ("Find the town on old maps", "unsuitable_keyword"),
        ("Please draw a cat for me", "unsuitable_keyword"),
        ("Please plot the function for me", "unsuitable_keyword"),
        ("Please go to the shop today", "unsuitable_keyword"),
        # Whole words only.
        ("Imagine the profile of a paragraph", None),
        ("Explain mapping and plotting and drawings", None),
    ],
)
def test_each_rule_of_self_instruct_rejects_what_it_names(text: str, rule: str | None) -> None:
    assert rule_broken(text, DEFAULTS) == rule


def test_a_rejected_task_says_which_rule_it_breaks(tmp_path: Path) -> None:
    result = filtered(
        tmp_path,
        [call_of(0, "Task 9: Too short\nTask 10: Please draw a cat for me"), call_of(1, " ")],
    )
    assert decisions(result) == {
        "Too short": "too_short",
        "Please draw a cat for me": "unsuitable_keyword",
        "": "empty_reply",
    }


# --- Filtering


def test_a_cut_last_task_is_rejected(tmp_path: Path) -> None:
    rng = random.Random("cut")
    whole, torn = task(rng), task(rng)
    result = filtered(tmp_path, [call_of(0, f"Task 9: {whole}\nTask 10: {torn}", finish="length")])
    assert decisions(result) == {whole: None, torn: "cut_off"}


def test_a_request_too_long_for_the_model_is_counted(tmp_path: Path) -> None:
    result = filtered(tmp_path, [call_of(0, "", finish="too_long"), call_of(1, "")])
    assert [(row.key, row.rejected) for row in result.rows] == [
        ("c0/t0", "few_shot_prompt_too_long"),
        ("c1/t0", "empty_reply"),
    ]


def test_a_new_prompt_must_differ_from_seeds_earlier_prompts_and_those_just_kept(
    tmp_path: Path,
) -> None:
    rng = random.Random("pool")
    earlier, new, other = task(rng), task(rng), task(rng)
    near = new.rpartition(" ")[0] + " instead"  # 8 of 9 words: F = 0.889
    calls = [
        call_of(0, f"Task 9: {earlier}\nTask 10: {new}\nTask 11: {near}"),
        call_of(1, f"Task 9: {new.upper()}\nTask 10: {other}\nTask 11: {SEED_TEXTS[15]}"),
    ]
    result = filtered(tmp_path, calls, [earlier])
    assert {row.text: row.similar_to for row in result.rows} == {
        earlier: earlier,
        new: None,
        near: new,
        new.upper(): new,
        other: None,
        SEED_TEXTS[15]: SEED_TEXTS[15],
    }
    assert result.counts == {"kept": 2, "rejected_similar_to_pool": 4}


def test_a_rejected_task_does_not_join_the_pool(tmp_path: Path) -> None:
    text = task(random.Random("again"))
    calls = [call_of(0, f"Task 9: {text}", finish="length"), call_of(1, f"Task 9: {text}")]
    assert [row.rejected for row in filtered(tmp_path, calls).rows] == ["cut_off", None]


def test_prompts_beyond_the_count_are_told_apart_from_bad_ones(tmp_path: Path) -> None:
    rng = random.Random("count")
    reply = "\n".join(f"Task {9 + i}: {task(rng)}" for i in range(5))
    result = filtered(tmp_path, [call_of(0, reply + "\nTask 14: Too short")], count=3)
    assert result.counts == {"kept": 3, "rejected_over_count": 2, "rejected_too_short": 1}


def test_calls_are_read_in_their_own_order_and_counts_add_up_to_the_rows(tmp_path: Path) -> None:
    engine = ScriptedEngine(inventive)
    calls = asked(tmp_path, engine, count=14).rows
    in_order = filtered(tmp_path / "a", calls, count=14)
    turned = filtered(tmp_path / "b", calls[::-1], count=14)
    assert in_order.content == turned.content
    assert sum(in_order.counts.values()) == len(in_order.rows) == 3 * len(calls)
    assert in_order.counts["kept"] == 14


def test_the_filter_keeps_what_asking_had_counted(tmp_path: Path) -> None:
    calls = asked(tmp_path, ScriptedEngine(inventive))
    prompts = filtered(tmp_path, calls.rows, count=12)
    assert calls.counts == {"calls": 8, "kept": 12}  # rounds of 4 calls, 2 prompts from each
    assert prompts.counts["kept"] == 12


def test_a_killed_filter_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    calls = asked(tmp_path, ScriptedEngine(inventive)).rows
    whole = filtered(tmp_path / "whole", calls)
    interrupted(tmp_path / "killed", PROMPTS, whole.rows[:5])
    resumed = filtered(tmp_path / "killed", calls)
    assert (resumed.content, resumed.counts) == (whole.content, whole.counts)


# --- Asking


def test_asking_stops_once_there_are_enough_prompts(tmp_path: Path) -> None:
    engine = ScriptedEngine(inventive, name="M0")
    result = asked(tmp_path, engine, count=9)
    # Two prompts a call, four calls a round: 8 after the first round, so a second one is needed.
    assert len(engine.calls) == len(result.rows) == 8
    assert result.counts == {"calls": 8, "kept": 9}
    assert result.manifest.engine == "M0"


def test_asking_gives_up_after_max_calls(tmp_path: Path) -> None:
    engine = ScriptedEngine(lambda messages, draw: "I'd rather not.")
    result = asked(tmp_path, engine, max_calls=10)
    # Rounds of 4, 4 and 2: the bound holds inside a round too.
    assert len(engine.calls) == len(result.rows) == 10
    assert result.counts == {"calls": 10, "kept": 0}


def test_the_generated_examples_may_come_from_earlier_iterations(tmp_path: Path) -> None:
    earlier = [f"Explain the earlier prompt number {i}" for i in range(3)]
    result = asked(tmp_path, ScriptedEngine(inventive), earlier)
    first = next(row for row in result.rows if row.call == 0)
    assert sum(text in earlier for text in first.examples) == 2
    assert len(first.examples) == 8


def test_a_call_keeps_what_it_showed_and_what_came_back(tmp_path: Path) -> None:
    requests: list[str] = []

    def listening(messages: Sequence[Message], draw: int) -> str:
        requests.append(messages[0]["content"])
        return inventive(messages, draw)

    result = asked(tmp_path, ScriptedEngine(listening), count=2)
    for row in result.rows:
        assert list(row.examples) == SHOWN.findall(requests[row.call])
        assert row.text == inventive([{"role": "user", "content": requests[row.call]}], 0)
        assert (row.tokens, row.finish) == (len(row.text.split()), "stop")


class Backwards:
    """An engine that finishes its draws in reverse order."""

    fingerprint = "scripted"

    def __init__(self) -> None:
        self._inner = ScriptedEngine(inventive)

    def sample(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Sampled]:
        yield from list(self._inner.sample(requests, decoding))[::-1]

    def score(self, requests: Sequence[Continuation]) -> list[Logprob]:
        return self._inner.score(requests)


def test_the_order_in_which_calls_finish_changes_nothing(tmp_path: Path) -> None:
    forwards = asked(tmp_path / "a", ScriptedEngine(inventive), count=20)
    backwards = asked(tmp_path / "b", Backwards(), count=20)
    assert forwards.content == backwards.content
    assert forwards.counts == backwards.counts


@pytest.mark.parametrize("draws", [0, 1, 3, 4, 5, 7])
def test_asking_that_was_killed_mid_round_resumes_to_the_same_bytes(
    tmp_path: Path, draws: int
) -> None:
    whole_engine = ScriptedEngine(inventive)
    whole = asked(tmp_path / "whole", whole_engine)
    first = ScriptedEngine(dying_after(draws, inventive))
    with pytest.raises(Killed):
        asked(tmp_path / "killed", first)
    second = ScriptedEngine(inventive)
    resumed = asked(tmp_path / "killed", second)
    assert (resumed.content, resumed.counts) == (whole.content, whole.counts)
    # Together they asked exactly what the run that was never killed did, and nothing twice.
    assert first.calls[:draws] + second.calls == whole_engine.calls
