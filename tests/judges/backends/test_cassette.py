from __future__ import annotations

import json
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import DataError, StorageError
from core.hashing import sha256_json
from core.records import user
from judges.asking import Ask, Reply
from judges.backends.cassette import Cassette, Recording

TOP = [{"token": "m", "logprob": -0.1}, {"token": "M", "logprob": -2.3025850929940455}]
REPLY = Reply(
    "k0",
    "Score: 4 — très bien 😀",
    "stop",
    11,
    3,
    {"content": [{"token": "m", "logprob": -0.1, "top_logprobs": TOP}]},
    "served",
    None,
    0.125,
)


def request(text: str = "question", draw: int = 0) -> dict[str, object]:
    return Ask("any", tuple(user(text)), 20, draw=draw).identity("openai/host/m")


def recorded(path: Path, count: int) -> None:
    with Cassette(path) as cassette:
        for n in range(count):
            reply = replace(REPLY, text=f"reply {n}")
            cassette.put(request(f"question {n}"), reply, cost_usd=n / 8)


def test_what_was_recorded_comes_back_equal_without_its_key(tmp_path: Path) -> None:
    with Cassette(tmp_path / "deep" / "c.sqlite") as cassette:
        assert cassette.get(request()) is None
        cassette.put(request(), REPLY, cost_usd=0.25)
        assert cassette.get(request()) == Recording(replace(REPLY, key=""), 0.25)
        assert cassette.get(request(draw=1)) is None
        assert len(cassette) == 1


def test_the_first_recording_stays(tmp_path: Path) -> None:
    with Cassette(tmp_path / "c.sqlite") as cassette:
        cassette.put(request(), REPLY, cost_usd=0.0)
        cassette.put(request(), replace(REPLY, text="another"), cost_usd=1.0)
        assert cassette.get(request()) == Recording(replace(REPLY, key=""), 0.0)


def test_every_part_of_a_request_but_its_key_makes_it_another_one(tmp_path: Path) -> None:
    ask = Ask("k", tuple(user("question")), 20)
    others = [
        replace(ask, messages=tuple(user("question?"))),
        replace(ask, messages=({"role": "system", "content": "question"},)),
        replace(ask, max_new_tokens=21),
        replace(ask, temperature=0.1),
        replace(ask, top_p=0.9),
        replace(ask, draw=1),
        replace(ask, weigh=("m",)),
        replace(ask, top_logprobs=5),
    ]
    with Cassette(tmp_path / "c.sqlite") as cassette:
        cassette.put(ask.identity("judge"), REPLY, cost_usd=0.0)
        assert cassette.get(replace(ask, key="other").identity("judge")) is not None
        assert [cassette.get(other.identity("judge")) for other in others] == [None] * 8
        assert cassette.get(ask.identity("another judge")) is None


def test_a_failure_is_never_recorded(tmp_path: Path) -> None:
    with Cassette(tmp_path / "c.sqlite") as cassette:
        with pytest.raises(ValueError, match="k0: a failed request is never recorded"):
            cassette.put(request(), Reply("k0", "", "failed", failure="HTTP 500"), cost_usd=0.0)
        assert len(cassette) == 0


def test_a_row_holds_the_hash_of_the_request_and_all_of_request_and_reply(tmp_path: Path) -> None:
    recorded(tmp_path / "c.sqlite", 1)
    connection = sqlite3.connect(tmp_path / "c.sqlite")
    ((key, asked, said, when, cost),) = connection.execute("SELECT * FROM replies").fetchall()
    connection.close()
    assert key == sha256_json(request("question 0"))
    assert json.loads(asked) == request("question 0")
    assert json.loads(said)["text"] == "reply 0"
    assert json.loads(said)["logprobs"] == REPLY.logprobs
    assert when.endswith("+00:00")
    assert cost == 0.0


def test_a_recording_is_on_the_disk_when_put_returns(tmp_path: Path) -> None:
    with Cassette(tmp_path / "c.sqlite") as cassette:
        cassette.put(request(), REPLY, cost_usd=0.0)
        # Another process, while this one is still open and has closed nothing.
        other = sqlite3.connect(f"file:{tmp_path / 'c.sqlite'}?mode=ro", uri=True)
        assert other.execute("SELECT count(*) FROM replies").fetchall() == [(1,)]
        other.close()
        assert [p.name for p in tmp_path.iterdir()] == ["c.sqlite"]  # one file, nothing beside it


def test_several_threads_record_into_one_cassette(tmp_path: Path) -> None:
    with Cassette(tmp_path / "c.sqlite") as cassette:

        def record(thread: int) -> None:
            for n in range(10):
                cassette.put(request(f"{thread}/{n % 5}/{n}"), REPLY, cost_usd=0.5)
                assert cassette.get(request(f"{thread}/{n % 5}/{n}")) is not None

        threads = [threading.Thread(target=record, args=(t,)) for t in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(cassette), cassette.cost_usd()) == (40, 20.0)


def test_the_cost_is_the_sum_of_all_or_of_one_judge(tmp_path: Path) -> None:
    with Cassette(tmp_path / "c.sqlite") as cassette:
        assert cassette.cost_usd() == 0.0
        ask = Ask("k", tuple(user("q")), 5)
        cassette.put(ask.identity("one"), REPLY, cost_usd=0.25)
        cassette.put(ask.identity("two"), REPLY, cost_usd=0.5)
        assert (cassette.cost_usd(), cassette.cost_usd("one")) == (0.75, 0.25)
        assert cassette.cost_usd("three") == 0.0


def test_a_cassette_to_be_replayed_is_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    recorded(path, 2)
    before = path.read_bytes()
    with Cassette(path, read_only=True) as cassette:
        assert cassette.get(request("question 1")) is not None
        with pytest.raises(StorageError, match="readonly"):
            cassette.put(request("new"), REPLY, cost_usd=0.0)
    assert path.read_bytes() == before


def test_a_cassette_on_a_read_only_disk_can_be_replayed(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    recorded(path, 1)
    path.chmod(0o444)
    with Cassette(path, read_only=True) as cassette:
        assert cassette.get(request("question 0")) is not None


def test_a_cassette_that_is_not_there_is_not_created_by_replaying(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    with pytest.raises(DataError, match=r"c\.sqlite: no such cassette: record one by running"):
        Cassette(path, read_only=True)
    assert not path.exists()


def test_a_file_that_is_no_cassette_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    path.write_bytes(b"not a database, " * 300)
    with pytest.raises(DataError, match=r"c\.sqlite: damaged, or not a cassette"):
        Cassette(path)
    assert path.read_bytes() == b"not a database, " * 300


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.commit()
    connection.close()
    with pytest.raises(DataError, match="expected a cassette of version 1"):
        Cassette(path)


def test_a_damaged_page_is_noticed_on_opening(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    recorded(path, 40)
    data = bytearray(path.read_bytes())
    assert len(data) > 3 * 4096
    data[4096 : 2 * 4096] = b"\xff" * 4096
    path.write_bytes(data)
    for read_only in (True, False):
        with pytest.raises(DataError, match="damaged, or not a cassette"):
            Cassette(path, read_only=read_only)


def test_a_truncated_file_is_noticed_on_opening(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    recorded(path, 40)
    path.write_bytes(path.read_bytes()[: 2 * 4096])
    with pytest.raises(DataError, match="damaged, or not a cassette"):
        Cassette(path)


def test_a_damaged_row_is_named(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    recorded(path, 1)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE replies SET reply = '{\"text\": 1'")
    connection.commit()
    connection.close()
    key = sha256_json(request("question 0"))
    with Cassette(path) as cassette, pytest.raises(DataError, match=f"recording {key}: damaged"):
        cassette.get(request("question 0"))


def test_an_export_is_sorted_and_the_same_bytes_each_time_and_after_an_import(
    tmp_path: Path,
) -> None:
    recorded(tmp_path / "a.sqlite", 20)
    with Cassette(tmp_path / "a.sqlite") as cassette:
        assert cassette.export(tmp_path / "1.jsonl") == 20
        assert cassette.export(tmp_path / "2.jsonl") == 20
    with Cassette(tmp_path / "b.sqlite") as copy:
        assert copy.import_(tmp_path / "1.jsonl") == 20
        assert copy.import_(tmp_path / "1.jsonl") == 0
        assert copy.export(tmp_path / "3.jsonl") == 20
        assert copy.cost_usd() == sum(n / 8 for n in range(20))
        assert copy.get(request("question 7")) == Recording(
            replace(REPLY, key="", text="reply 7"), 7 / 8
        )
    texts = [(tmp_path / f"{n}.jsonl").read_bytes() for n in (1, 2, 3)]
    assert texts[0] == texts[1] == texts[2]
    keys = [json.loads(line)["key"] for line in texts[0].splitlines()]
    assert keys == sorted(keys)


def test_recordings_made_before_thoughts_were_kept_are_read_and_imported(tmp_path: Path) -> None:
    recorded(tmp_path / "a.sqlite", 1)
    with Cassette(tmp_path / "a.sqlite") as cassette:
        cassette.export(tmp_path / "x.jsonl")
    line = json.loads((tmp_path / "x.jsonl").read_text())
    del line["reply"]["thought"]
    (tmp_path / "x.jsonl").write_text(json.dumps(line) + "\n")
    with Cassette(tmp_path / "b.sqlite") as copy:
        assert copy.import_(tmp_path / "x.jsonl") == 1
        found = copy.get(request("question 0"))
    assert found is not None
    assert found.reply == replace(REPLY, key="", text="reply 0")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"request": {"judge": "other"}}, "the key is not the hash of the request"),
        ({"reply": {"text": "4"}}, "reply: expected the fields failure, finish"),
        ({"reply": "4"}, "reply: expected the fields"),
        ({"cost_usd": "free"}, "cost_usd must be a number"),
        ({"note": "mine"}, "not a recording: expected the fields key, request"),
    ],
)
def test_an_import_refuses_a_wrong_line_and_adds_nothing(
    tmp_path: Path, change: dict[str, object], what: str
) -> None:
    recorded(tmp_path / "a.sqlite", 2)
    with Cassette(tmp_path / "a.sqlite") as cassette:
        cassette.export(tmp_path / "x.jsonl")
    first, second = (tmp_path / "x.jsonl").read_text().splitlines()
    second = json.dumps(json.loads(second) | change)
    (tmp_path / "x.jsonl").write_text(f"{first}\n{second}\n")
    with Cassette(tmp_path / "b.sqlite") as copy:
        with pytest.raises(DataError, match=rf"x\.jsonl:2: {what}"):
            copy.import_(tmp_path / "x.jsonl")
        assert len(copy) == 0


@given(
    text=st.text(st.characters(exclude_categories=["Cs"])),
    logprob=st.floats(max_value=0.0, allow_nan=False),
    seconds=st.floats(min_value=0.0, allow_nan=False, allow_infinity=False),
)
def test_any_words_and_numbers_come_back_unchanged(
    tmp_path_factory: pytest.TempPathFactory, text: str, logprob: float, seconds: float
) -> None:
    reply = Reply(
        "", text, "length", 1, 2, {"content": [{"logprob": logprob}]}, text, None, seconds
    )
    path = tmp_path_factory.mktemp("c") / "c.sqlite"
    with Cassette(path) as cassette:
        cassette.put(request(text), reply, cost_usd=0.0)
        assert cassette.get(request(text)) == Recording(reply, 0.0)
