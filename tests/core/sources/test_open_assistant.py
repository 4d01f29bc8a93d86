from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from core.errors import ConfigError, DataError
from core.sources.reader import read_threads
from core.sources.source import Source
from core.sources.thread import RankedReply, Thread, ranked_replies
from core.stages import project_root
from tests.training.making import shared_data, tree, write_jsonl

if TYPE_CHECKING:
    from pathlib import Path

# Two first turns: one with two ranked replies stored worst first, one with a single reply.
SKY, RIVERS = "Why is the sky blue?", "Name three rivers."
TREES = [
    tree("t1", SKY, [("It just is.", 1), ("Air scatters blue light most.", 0)]),
    tree("t2", RIVERS, [("Rhine, Elbe, Oder.", 0)]),
]
FLAT: list[dict[str, Any]] = [
    {"message_id": "t1", "parent_id": None, "role": "prompter", "lang": "en", "text": SKY},
    {
        "message_id": "m1",
        "parent_id": "t1",
        "role": "assistant",
        "lang": "en",
        "text": "It just is.",
        "rank": 1,
    },
    {
        "message_id": "m2",
        "parent_id": "t1",
        "role": "assistant",
        "lang": "en",
        "text": "Air scatters blue light most.",
        "rank": 0,
    },
    {"message_id": "t2", "parent_id": None, "role": "prompter", "lang": "en", "text": RIVERS},
    {
        "message_id": "m3",
        "parent_id": "t2",
        "role": "assistant",
        "lang": "en",
        "text": "Rhine, Elbe, Oder.",
        "rank": 0,
    },
]
ANSWERS: list[dict[str, Any]] = [
    {"question": SKY, "answer": "It just is.", "rank": 1},
    {"question": SKY, "answer": "Air scatters blue light most.", "rank": 0},
    {"question": RIVERS, "answer": "Rhine, Elbe, Oder.", "rank": 0},
]
THREADS = [
    (SKY, (RankedReply("It just is.", 1), RankedReply("Air scatters blue light most.", 0))),
    (RIVERS, (RankedReply("Rhine, Elbe, Oder.", 0),)),
]


def read(folder: Path, rows: list[Any]) -> list[Thread]:
    path = write_jsonl(folder / "data.jsonl", rows)
    return read_threads(Source(str(path), "eft"), language="en")


def content(threads: list[Thread]) -> list[tuple[str, tuple[RankedReply, ...]]]:
    return [(thread.prompt, thread.replies) for thread in threads]


@pytest.mark.parametrize("rows", [TREES, FLAT, ANSWERS], ids=["trees", "flat", "answers"])
def test_all_three_formats_give_the_same_threads(tmp_path: Path, rows: list[Any]) -> None:
    assert content(read(tmp_path, rows)) == THREADS


def test_trees_and_flat_messages_keep_the_prompts_own_id(tmp_path: Path) -> None:
    assert [thread.key for thread in read(tmp_path, TREES)] == ["t1", "t2"]
    assert [thread.key for thread in read(tmp_path, FLAT)] == ["t1", "t2"]


def test_answer_rows_are_keyed_by_their_question_wherever_its_rows_stand(tmp_path: Path) -> None:
    in_order, turned = read(tmp_path, ANSWERS), read(tmp_path, ANSWERS[::-1])
    assert {t.key for t in in_order} == {t.key for t in turned}
    assert len({t.key for t in in_order}) == 2


def test_a_flat_reply_may_come_before_its_prompt(tmp_path: Path) -> None:
    threads = {thread.key: thread for thread in read(tmp_path, FLAT[::-1])}
    assert threads["t1"].replies == THREADS[0][1][::-1]
    assert threads["t2"].replies == THREADS[1][1]


def test_only_direct_replies_of_the_assistant_are_replies(tmp_path: Path) -> None:
    user_again = {"message_id": "u", "parent_id": "m2", "role": "prompter", "text": "And sunsets?"}
    second_turn = {"message_id": "s", "parent_id": "u", "role": "assistant", "text": "Red."}
    note = {"message_id": "n", "parent_id": "t2", "role": "prompter", "text": "I mean big ones."}
    assert content(read(tmp_path, [*FLAT, user_again, second_turn, note])) == THREADS

    nested = tree("t1", SKY, [("It just is.", 1)])
    nested["prompt"]["replies"][0]["replies"] = [{"text": "And sunsets?", "role": "prompter"}]
    assert content(read(tmp_path, [nested])) == [(SKY, (RankedReply("It just is.", 1),))]


@pytest.mark.parametrize("mark", [{"deleted": True}, {"lang": "de"}], ids=["deleted", "german"])
def test_deleted_and_foreign_messages_are_left_out_of_trees(
    tmp_path: Path, mark: dict[str, Any]
) -> None:
    # t1 loses its first reply (the one of rank 1); t2 as a whole goes with its prompt.
    first = tree("t1", SKY, [("It just is.", 1), ("Air scatters blue light most.", 0)])
    first["prompt"]["replies"][0].update(mark)
    second = tree("t2", RIVERS, [("Rhine, Elbe, Oder.", 0)])
    second["prompt"].update(mark)
    expected = [(SKY, (RankedReply("Air scatters blue light most.", 0),))]
    assert content(read(tmp_path, [first, second])) == expected


@pytest.mark.parametrize("mark", [{"deleted": True}, {"lang": "de"}], ids=["deleted", "german"])
def test_deleted_and_foreign_flat_messages_are_left_out(
    tmp_path: Path, mark: dict[str, Any]
) -> None:
    rows = [{**row, **mark} if row["message_id"] in ("m1", "t2") else row for row in FLAT]
    expected = [(SKY, (RankedReply("Air scatters blue light most.", 0),))]
    assert content(read(tmp_path, rows)) == expected


def test_another_language_is_read_when_it_is_the_one_asked_for(tmp_path: Path) -> None:
    german = tree("t3", "Warum?", [("Darum.", 0)])
    german["prompt"]["lang"] = german["prompt"]["replies"][0]["lang"] = "de"
    path = write_jsonl(tmp_path / "data.jsonl", [*TREES, german])
    threads = read_threads(Source(str(path), "eft"), language="de")
    assert content(threads) == [("Warum?", (RankedReply("Darum.", 0),))]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("rank", -1, "rank -1 is not a whole number"),
        ("rank", 0.5, "rank 0.5 is not a whole number"),
        ("rank", "0", "rank '0' is not a whole number"),
        ("rank", True, "rank True is not a whole number"),
        ("rank", float("nan"), "rank nan is not a whole number"),
        ("score", "six", "score 'six' is not a number"),
        ("score", True, "score True is not a number"),
        ("score", float("nan"), "score nan is not a number"),
        ("text", "", "message text is ''"),
        ("text", " \n", r"message text is ' \n'"),
        ("text", None, "message text is None"),
    ],
)
def test_a_bad_value_in_a_reply_is_named_with_its_line(
    tmp_path: Path, field: str, value: object, said: str
) -> None:
    bad_tree = tree("t2", RIVERS, [("Rhine, Elbe, Oder.", 0)])
    bad_tree["prompt"]["replies"][0][field] = value
    with pytest.raises(DataError) as in_tree:
        read(tmp_path, [TREES[0], bad_tree])
    assert str(in_tree.value).startswith(f"{tmp_path / 'data.jsonl'}:2: {said}")

    with pytest.raises(DataError) as in_flat:
        read(tmp_path, [*FLAT[:4], {**FLAT[4], field: value}])
    assert str(in_flat.value).startswith(f"{tmp_path / 'data.jsonl'}:5: {said}")

    name = "answer" if field == "text" else field
    with pytest.raises(DataError) as in_answers:
        read(tmp_path, [*ANSWERS[:2], {**ANSWERS[2], name: value}])
    assert str(in_answers.value).startswith(f"{tmp_path / 'data.jsonl'}:3: {said}")


def test_an_empty_prompt_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.jsonl:3: message text is '  '"):
        read(tmp_path, [*TREES, tree("t3", "  ", [])])


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ({"prompt": "Why?", "replies": []}, 3),
        ({"prompt": {"text": "Why?", "replies": ["Because."]}}, 3),
        ({"prompt": {"text": "Why?", "replies": "Because."}}, 3),
    ],
)
def test_a_tree_of_the_wrong_shape_is_named_with_its_line(
    tmp_path: Path, row: object, line: int
) -> None:
    with pytest.raises(DataError, match=rf"data\.jsonl:{line}: .*object"):
        read(tmp_path, [*TREES, row])


def test_a_flat_message_without_an_id_is_named_with_its_line(tmp_path: Path) -> None:
    row = {name: value for name, value in FLAT[3].items() if name != "message_id"}
    with pytest.raises(DataError, match=r"data\.jsonl:4: field 'message_id' is missing"):
        read(tmp_path, [*FLAT[:3], row])


def test_exports_that_leave_out_nulls_are_flat_messages_too(tmp_path: Path) -> None:
    # Open Assistant's own writer can leave them out: then a first turn has no parent_id at all.
    rows = [{name: v for name, v in row.items() if v is not None} for row in FLAT]
    assert "parent_id" not in rows[0]
    assert content(read(tmp_path, rows)) == THREADS


def test_ranks_written_as_whole_floats_are_ranks(tmp_path: Path) -> None:
    # The hub's parquet files hold ranks as doubles because most of them are missing.
    rows = [{**row, "rank": float(row["rank"])} for row in ANSWERS]
    assert content(read(tmp_path, rows)) == THREADS


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"prompt": ', "not valid JSON"),
        ("[1, 2]", "expected a JSON object, found list"),
    ],
)
def test_a_line_that_is_no_json_object_is_named(tmp_path: Path, line: str, said: str) -> None:
    path = write_jsonl(tmp_path / "data.jsonl", TREES)
    path.write_text(path.read_text() + "\n" + line + "\n")  # an empty line counts as a line
    with pytest.raises(DataError, match=rf"data\.jsonl:4: {said}"):
        read_threads(Source(str(path), "eft"), language="en")


def test_an_unknown_format_says_what_was_found_and_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read(tmp_path, [{"ask": "Why?", "say": "Because.", "rank": None}])
    message = str(error.value)
    assert message.startswith(f"{tmp_path / 'data.jsonl'}:1: expected prompt/chosen/rejected, ")
    assert "question/answer/rank" in message
    assert message.endswith("found ['ask', 'say']")


def test_an_empty_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.jsonl: the file is empty"):
        read(tmp_path, [])


def test_a_missing_file_says_what_could_be_given_instead(tmp_path: Path) -> None:
    missing = str(tmp_path / "nothing.jsonl")
    with pytest.raises(ConfigError, match=r"nothing\.jsonl: no such file.*hub name"):
        read_threads(Source(missing, "eft"), language="en")
    with pytest.raises(ConfigError, match="no such file"):
        Source("./nothing.jsonl", "eft").check()


def test_the_word_sample_names_the_packaged_file() -> None:
    expected = project_root() / "data" / "sample" / "eft.trees.jsonl"
    assert Source("sample", "eft").path == expected


def test_owner_slash_name_is_a_hub_data_set_unless_it_is_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Source("OpenAssistant/oasst1", "eft").path is None
    monkeypatch.chdir(tmp_path)
    (tmp_path / "OpenAssistant").mkdir()
    local = write_jsonl(tmp_path / "OpenAssistant" / "oasst1", FLAT)
    found = Source("OpenAssistant/oasst1", "eft").path
    assert found is not None
    assert found.resolve() == local


def test_the_source_hash_follows_the_bytes(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "data.jsonl", FLAT)
    folder = tmp_path / "folder"
    folder.mkdir()
    inside = write_jsonl(folder / "messages.jsonl", FLAT)
    file_before, folder_before = (
        Source(str(path), "eft").content(),
        Source(str(folder), "eft").content(),
    )
    assert list(file_before) == ["file:data.jsonl"]
    assert Source(str(path), "eft").content() == file_before

    write_jsonl(path, FLAT[:4])
    write_jsonl(inside, FLAT[:4])
    assert Source(str(path), "eft").content() != file_before
    assert Source(str(folder), "eft").content() != folder_before
    assert list(Source("OpenAssistant/oasst1", "eft").content()) == ["hub:OpenAssistant/oasst1"]


def test_a_data_set_of_flat_messages_is_read_as_the_hubs_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "oasst"
    folder.mkdir()
    # Arrow fills in what a row lacks: every row gets a rank, a language and so on, null or not.
    write_jsonl(folder / "train.jsonl", FLAT)
    threads = read_threads(Source(str(folder), "eft"), language="en")
    assert content(threads) == THREADS
    assert [thread.key for thread in threads] == ["t1", "t2"]


def test_a_data_set_that_cannot_be_loaded_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "empty"
    folder.mkdir()
    with pytest.raises(DataError, match=r"empty: cannot load the data set \(.+\)"):
        read_threads(Source(str(folder), "eft"), language="en")


def test_ranked_replies_are_best_first_and_keep_the_place_they_were_read_from() -> None:
    replies = (
        RankedReply("second", 1),
        RankedReply("not ranked", None),
        RankedReply("best", 0, 5.0, "All of it is right."),
        RankedReply("also second", 1),
    )
    found = ranked_replies(Thread("t", "Why?", replies, None))
    # Places 0..3; equal ranks stay in the order of the source.
    assert [(r.key, r.text, r.rank) for r in found] == [
        ("t/r2", "best", 0),
        ("t/r0", "second", 1),
        ("t/r3", "also second", 1),
    ]
    assert (found[0].score, found[0].justification) == (5.0, "All of it is right.")


def test_the_real_tree_file_gives_its_49_ranked_prompts() -> None:
    path = shared_data("oasst/oasst2_english.trees.jsonl")
    assert len(path.read_text(encoding="utf-8").splitlines()) == 208
    threads = read_threads(Source(str(path), "eft"), language="en")
    # 208 trees; the first turn of one ("music_hyper_set_analysis()") was deleted.
    assert len(threads) == 207
    assert sum(len(ranked_replies(thread)) >= 2 for thread in threads) == 49
    # 163 replies, of which 13 were deleted.
    assert sum(len(thread.replies) for thread in threads) == 150


def test_the_real_answer_file_gives_2293_prompts_with_548_ranked_ones() -> None:
    path = shared_data("oasst/oasst2_ranked_first_turns.jsonl")
    threads = read_threads(Source(str(path), "eft"), language="en")
    assert len(threads) == 2293
    assert sum(len(ranked_replies(thread)) >= 2 for thread in threads) == 548
    assert sum(len(thread.replies) for thread in threads) == 3032


def test_skipped_messages_are_counted_by_reason(tmp_path: Path) -> None:
    messages = [
        {"message_id": "a", "parent_id": None, "text": "Why?", "role": "prompter", "lang": "en"},
        {"message_id": "b", "parent_id": "a", "text": "x", "role": "assistant", "lang": "en",
         "rank": 0, "deleted": True},
        {"message_id": "c", "parent_id": "a", "text": "y", "role": "assistant", "lang": "de",
         "rank": 1},
        {"message_id": "d", "parent_id": None, "text": "Warum?", "role": "prompter", "lang": "de"},
    ]  # fmt: skip
    path = tmp_path / "flat.jsonl"
    path.write_text("".join(json.dumps(m) + "\n" for m in messages))
    skipped: Counter[str] = Counter()
    (thread,) = read_threads(Source(str(path), "eft"), language="en", skipped=skipped)
    assert thread.replies == ()
    # b was deleted; c and d are German.
    assert skipped == {"skipped_deleted_messages": 1, "skipped_messages_in_other_languages": 2}
