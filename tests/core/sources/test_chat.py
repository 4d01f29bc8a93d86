from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ConfigError, DataError, SrlmError
from core.jsonl import encode
from core.records import Prompt, transcript
from core.sources.reader import read_prompts, read_threads
from core.sources.source import Source
from core.sources.thread import RankedReply, Thread, text_key
from tests.training.making import write_jsonl

if TYPE_CHECKING:
    from pathlib import Path

    from core.records import Message

ASKED, ANSWERED = "Why is the sky blue?", "Air scatters blue light most."
AGAIN, LATER = "And at dusk?", "Blue is scattered out of sight."
SYSTEM = "You are terse."


def turn(role: str, content: object) -> dict[str, object]:
    return {"role": role, "content": content}


TURNS = [
    turn("system", SYSTEM),
    turn("user", ASKED),
    turn("assistant", ANSWERED),
    turn("user", AGAIN),
    turn("assistant", LATER),
]
BEFORE_FIRST: tuple[Message, ...] = ({"role": "system", "content": SYSTEM},)
BEFORE_SECOND: tuple[Message, ...] = (
    *BEFORE_FIRST,
    {"role": "user", "content": ASKED},
    {"role": "assistant", "content": ANSWERED},
)


def read(folder: Path, *rows: object, skipped: Counter[str] | None = None) -> list[Thread]:
    path = write_jsonl(folder / "data.jsonl", rows)
    return read_threads(Source(str(path), "ift"), language="en", skipped=skipped)


def best(text: str) -> tuple[RankedReply, ...]:
    return (RankedReply(text, 0),)


SHAREGPT = [
    {"from": "system", "value": SYSTEM},
    {"from": "human", "value": ASKED},
    {"from": "gpt", "value": ANSWERED},
    {"from": "human", "value": AGAIN},
    {"from": "gpt", "value": LATER},
]
PARTS = [*TURNS[:1], turn("user", [{"type": "text", "text": ASKED}]), *TURNS[2:]]


@pytest.mark.parametrize(
    "row",
    [
        {"id": 7, "messages": TURNS},
        {"id": 7, "messages": PARTS},
        {"id": 7, "conversations": SHAREGPT},
        {"id": 7, "conversations": SHAREGPT[1:], "system": SYSTEM},
    ],
    ids=["messages", "parts", "sharegpt", "system beside"],
)
def test_every_users_turn_is_a_thread_with_all_turns_before_it(
    tmp_path: Path, row: dict[str, Any]
) -> None:
    assert read(tmp_path, row) == [
        Thread("7", ASKED, best(ANSWERED), None, BEFORE_FIRST),
        Thread("7/t1", AGAIN, best(LATER), None, BEFORE_SECOND),
    ]


def test_a_last_turn_without_an_answer_is_a_prompt(tmp_path: Path) -> None:
    threads = read(tmp_path, {"messages": TURNS[:4]}, {"messages": TURNS[1:2]})
    assert [(t.prompt, t.replies) for t in threads] == [
        (ASKED, best(ANSWERED)), (AGAIN, ()), (ASKED, ())
    ]  # fmt: skip
    # Without an id a thread's key is that of all that is asked, so that these three differ.
    assert threads[2].key == text_key(ASKED)
    assert len({t.key for t in threads}) == 3


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        ({"instruction": ASKED, "input": "", "output": ANSWERED}, ASKED),
        ({"instruction": "Translate.", "input": "Guten Tag", "output": ANSWERED},
         "Translate.\n\nGuten Tag"),
        ({"instruction": "Translate.", "input": None, "output": ANSWERED}, "Translate."),
        ({"prompt": ASKED, "response": ANSWERED}, ASKED),
        ({"prompt": ASKED, "completion": ANSWERED}, ASKED),
        ({"prompt": TURNS[1:2], "completion": [turn("assistant", ANSWERED)]}, ASKED),
    ],
)  # fmt: skip
def test_rows_of_one_question_and_answer(
    tmp_path: Path, row: dict[str, object], prompt: str
) -> None:
    (thread,) = read(tmp_path, row)
    assert (thread.prompt, thread.before, thread.replies) == (prompt, (), best(ANSWERED))


WORSE = turn("assistant", "It just is.")
PAIR = (RankedReply(ANSWERED, 0), RankedReply("It just is.", 1))


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": ASKED, "chosen": ANSWERED, "rejected": "It just is."},
        {"prompt": TURNS[1:2], "chosen": TURNS[2:3], "rejected": [WORSE]},
        {"chosen": TURNS[1:3], "rejected": [TURNS[1], WORSE]},
        # UltraFeedback as the hub has it: the prompt stands in both, messages repeat the chosen.
        {"prompt": ASKED, "chosen": TURNS[1:3], "messages": TURNS[1:3],
         "rejected": [TURNS[1], turn("assistant", "It just is.")], "score_chosen": 8.0},
    ],
    ids=["texts", "messages", "without a prompt", "ultrafeedback"],
)  # fmt: skip
def test_the_chosen_reply_ranks_before_the_rejected_one(
    tmp_path: Path, row: dict[str, object]
) -> None:
    (thread,) = read(tmp_path, row)
    assert (thread.prompt, thread.before, thread.replies) == (ASKED, (), PAIR)


def test_preferences_about_a_later_turn_keep_the_turns_before_it(tmp_path: Path) -> None:
    rejected = [*TURNS[:4], turn("assistant", "No idea.")]
    (thread,) = read(tmp_path, {"chosen": TURNS, "rejected": rejected})
    assert (thread.prompt, thread.before) == (AGAIN, BEFORE_SECOND)
    assert thread.replies == (RankedReply(LATER, 0), RankedReply("No idea.", 1))
    # What a judge reads, written out by hand.
    assert (
        thread.text
        == transcript(BEFORE_SECOND, AGAIN)
        == (f"System: {SYSTEM}\n\nUser: {ASKED}\n\nAssistant: {ANSWERED}\n\nUser: {AGAIN}")
    )


def test_rows_that_nothing_can_be_trained_on_are_counted_by_reason(tmp_path: Path) -> None:
    user, answer = turn("user", "Hi"), turn("assistant", "Hello")
    tool = turn("tool", "42")
    picture = turn("user", [{"type": "image_url", "image_url": "x"}])
    skipped: Counter[str] = Counter()
    threads = read(
        tmp_path,
        {"messages": [user, answer]},
        {"messages": [answer, user, answer]},
        {"messages": [user, user, answer]},
        {"messages": [user, turn("assistant", " ")]},
        {"messages": [user, {"role": "assistant", "content": None, "tool_calls": [{}]}, tool]},
        {"messages": [picture, answer]},
        {"messages": []},
        skipped=skipped,
    )
    assert [t.prompt for t in threads] == ["Hi"]
    assert skipped == {
        "skipped_rows_with_turns_out_of_order": 2,
        "skipped_rows_with_an_empty_turn": 1,
        "skipped_rows_with_tools": 1,
        "skipped_rows_with_more_than_text": 1,
        "skipped_rows_without_a_turn": 1,
    }


def test_equal_answers_and_empty_ones_are_counted(tmp_path: Path) -> None:
    skipped: Counter[str] = Counter()
    pair = {"prompt": "a", "chosen": "x", "rejected": "y"}
    found = read(tmp_path, pair, pair | {"rejected": "x"}, pair | {"chosen": " "}, skipped=skipped)
    assert len(found) == 1
    assert skipped == {
        "skipped_rows_whose_chosen_equals_rejected": 1, "skipped_rows_with_an_empty_turn": 1
    }  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ({"messages": TURNS}, {"messages": "Hi"}, "field 'messages' is not a list of messages"),
        ({"messages": TURNS}, {"messages": [turn("robot", "Hi")]},
         r"messages\[0\]: role 'robot', expected one of system, "),
        ({"messages": TURNS}, {"messages": [turn("user", 3)]}, r"messages\[0\]: text is 3"),
        ({"messages": TURNS}, {"messages": [{"content": "Hi"}]}, r"messages\[0\]: role None"),
        ({"messages": TURNS}, {"text": "Hi"},
         r"expected messages \(role, content\), as before; found \['text'\]"),
        ({"prompt": "a", "chosen": "x", "rejected": "y"}, {"prompt": "a", "chosen": "x"},
         "expected prompt/chosen/rejected, as before"),
        ({"prompt": "a", "chosen": "x", "rejected": "y"}, {"chosen": "x", "rejected": "y"},
         "prompt is None"),
        ({"chosen": TURNS, "rejected": [*TURNS[:4], turn("assistant", "No.")]},
         {"chosen": TURNS, "rejected": TURNS[:3]}, "chosen and rejected are answers"),
        ({"prompt": "a", "response": "x"}, {"prompt": "a", "response": 4}, "response is 4"),
        ({"prompt": "a"}, {"prompt": " "}, "prompt is ' '"),
        ({"prompt": "a", "id": 1}, {"prompt": "b", "id": 1}, "the key '1' is used twice"),
        ({"messages": TURNS}, {"messages": TURNS, "system": "x"}, 'a "system" text beside'),
    ],
)  # fmt: skip
def test_a_row_of_another_shape_is_named_with_its_line(
    tmp_path: Path, first: dict[str, object], second: dict[str, object], said: str
) -> None:
    with pytest.raises(DataError, match=rf"data\.jsonl:2: {said}"):
        read(tmp_path, first, second)


def test_the_prompts_of_a_run_are_a_source_without_those_it_rejected(tmp_path: Path) -> None:
    rows = [
        Prompt("c0/t0", ASKED, None, 0),
        Prompt("c0/t1", "Draw it.", "unsuitable_keyword", 0),
        Prompt("source/x", AGAIN, None, -1, before=BEFORE_SECOND),
    ]
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(f"{encode(row)}\n" for row in rows))
    skipped: Counter[str] = Counter()
    assert read_threads(Source(str(path), "prompts"), language=None, skipped=skipped) == [
        Thread("c0/t0", ASKED, (), None),
        Thread("source/x", AGAIN, (), None, BEFORE_SECOND),
    ]
    assert skipped == {"skipped_rejected_prompts": 1}


def test_a_json_list_is_read_as_json_lines_are(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_text(json.dumps([{"instruction": ASKED, "output": ANSWERED}] * 2, indent=1))
    threads = read_threads(Source(str(path), "ift"), language=None)
    assert [t.prompt for t in threads] == [ASKED, ASKED]


def test_columns_say_what_the_fields_are_called_and_hide_the_others(tmp_path: Path) -> None:
    rows = [{"question": ASKED, "answer": ANSWERED, "rank": 3, "messages": [], "id": "q1"}]
    path = write_jsonl(tmp_path / "data.jsonl", rows)
    named = Source(str(path), "ift", columns={"prompt": "question", "response": "answer"})
    assert read_threads(named, language="en") == [Thread("q1", ASKED, best(ANSWERED), None)]
    wrong = named._replace(columns={"prompt": "ask"})
    with pytest.raises(DataError, match=r"data\.jsonl:1: no column 'ask' \(columns\.prompt\)"):
        read_threads(wrong, language="en")


def test_a_split_of_a_file_is_the_rows_that_say_so(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "split": "train"}, {"prompt": "b", "split": "mine"}, {"prompt": "c"}]
    path = write_jsonl(tmp_path / "data.jsonl", rows)
    skipped: Counter[str] = Counter()
    mine = read_prompts(
        Source(str(path), "prompts", split="mine"), "train", language=None, skipped=skipped
    )
    assert [t.prompt for t in mine] == ["b", "c"]
    assert skipped == {"skipped_other_split": 1}
    unnamed = read_prompts(Source(str(path), "prompts"), "train", language=None)
    assert [t.prompt for t in unnamed] == ["a", "c"]
    with pytest.raises(ConfigError, match="a file has no subsets"):
        Source(str(path), "prompts", subset="main").check()


def test_a_data_set_is_read_by_split_and_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "set"
    folder.mkdir()
    # Arrow gives each row every column, null where the file has none.
    write_jsonl(folder / "train.jsonl", [{"ask": "x", "say": "y"}])
    write_jsonl(folder / "test.jsonl", [{"ask": ASKED, "say": ANSWERED}, {"ask": AGAIN}])
    source = Source(str(folder), "ift", split="test", columns={"prompt": "ask", "response": "say"})
    with pytest.raises(DataError, match="set:2: expected prompt/response"):
        read_threads(source, language="en")
    only = source._replace(columns={"prompt": "ask"})
    assert [t.prompt for t in read_threads(only, language="en")] == [ASKED, AGAIN]
    with pytest.raises(DataError, match=r'cannot load the data set \(Unknown split "valid"'):
        read_threads(source._replace(split="valid"), language="en")


def test_chat_messages_of_a_data_set_keep_their_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "set"
    folder.mkdir()
    write_jsonl(folder / "train.jsonl", [{"messages": TURNS}, {"messages": TURNS[1:3]}])
    threads = read_threads(Source(str(folder), "ift"), language="en")
    assert [(t.prompt, t.before) for t in threads] == [
        (ASKED, BEFORE_FIRST), (AGAIN, BEFORE_SECOND), (ASKED, ())
    ]  # fmt: skip


def test_a_hub_name_may_pin_a_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def load(*names: Any, split: str, revision: str | None) -> list[dict[str, str]]:
        asked.append((*names, split, revision))
        return [{"prompt": ASKED}]

    monkeypatch.setattr("datasets.load_dataset", load)
    source = Source("openai/gsm8k@e53f048", "prompts", "test", "main")
    assert [t.prompt for t in read_threads(source, language=None)] == [ASKED]
    assert asked == [("openai/gsm8k", "main", "test", "e53f048")]
    assert list(source.content()) == ["hub:openai/gsm8k@e53f048"]
    assert source.content() != source._replace(name="openai/gsm8k").content()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.text(max_size=3) | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["role", "from", "content", "value", "type", "text"]), inner
        )
    ),
    max_leaves=5,
)
_FIELDS = st.sampled_from(
    ["messages", "conversations", "prompt", "response", "completion", "chosen", "rejected",
     "instruction", "input", "output", "system", "id", "key", "split", "question", "answer",
     "rank", "message_id", "parent_id", "text"]
)  # fmt: skip


@given(rows=st.lists(st.dictionaries(_FIELDS, _JSON), max_size=3))
def test_no_row_of_any_kind_ends_in_a_traceback(
    rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.jsonl"
    write_jsonl(path, rows)
    try:
        threads = read_threads(Source(str(path), "ift"), language="en")
    except SrlmError:
        return
    for thread in threads:
        assert thread.prompt.strip()
        assert all(reply.text.strip() for reply in thread.replies)
        assert all(message["content"].strip() for message in thread.before)
