"""The study over HTTP, as a browser without scripts uses it, and as someone hostile does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evaluation.human.prepare import StudySize, prepare_comparison, prepare_ranking
from evaluation.human.rankings import read_rankings
from evaluation.human.study import StudyFolder, assignment, read_study
from evaluation.human.vote_store import read_submissions
from evaluation.human.votes import read_votes
from tests.evaluation.human.studies import (
    Visitor,
    comparison,
    ranked_run,
    visitors,
    without_token,
    write_answers,
)

HOSTILE = (
    "<script>alert(1)</script>\n\n[x](javascript:alert(1)) ![p](http://evil.example/p.png)\n\n"
    "\u202egnp.exe\n\n" + "long" * 3000 + "\n\n```\nno end <b>"
)


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return comparison(tmp_path / "run")


@pytest.fixture
def annotators(folder: StudyFolder) -> Iterator[list[Visitor]]:
    with visitors(folder) as found:
        yield found


def test_a_vote_for_a_side_becomes_a_vote_for_whose_answer_stood_there(
    folder: StudyFolder, annotators: list[Visitor]
) -> None:
    choices = ("left", "right", "tie", "left")
    for place, choice in enumerate(choices, start=1):
        said = annotators[0].vote(place, choice, comment=f" note {place} ")
        assert said.status_code == HTTPStatus.SEE_OTHER
        onward = f"/{place + 1}" if place < 4 else "/done"
        assert said.headers["location"] == annotators[0].home + onward
    expected = []
    for at, choice in zip(assignment(read_study(folder), "annotator-1"), choices, strict=True):
        page = annotators[0].get(f"/{at.place}").text
        baseline_first = page.index("the baseline says") < page.index("the third says")
        left, right = ("B", "A") if baseline_first else ("A", "B")  # A is M3, "the third"
        address = {"left": left, "right": right, "tie": "tie"}[choice]
        expected.append((at.item.item, address, left, f"note {at.place}"))
    votes = [(v.item, v.choice, v.left, v.comment) for v in read_votes(folder.path)]
    assert votes == expected
    assert {v.left for v in read_votes(folder.path)} == {"A", "B"}


def test_no_page_names_a_model_a_run_or_an_annotator(
    folder: StudyFolder, annotators: list[Visitor]
) -> None:
    one = annotators[0]
    one.vote(1, "left", comment="a comment")
    answers = [one.client.get("/"), one.client.get("/openapi.json"), one.client.get("/nowhere")]
    answers += [one.get(path) for path in ("", "/1", "/2", "/3", "/done", "/99")]
    answers += [one.client.get(f"/static/study.{kind}") for kind in ("js", "css")]
    answers.append(one.vote(2, "tie"))
    for answer in answers:
        for secret in ("M3", "sft", "annotator-", "head_to_head", "p0", "p1", str(folder.path)):
            assert secret not in without_token(answer.text, one.home)
            assert secret not in without_token(str(answer.headers), one.home)
        assert "set-cookie" not in answer.headers


def test_a_second_click_is_the_same_vote(folder: StudyFolder, annotators: list[Visitor]) -> None:
    fields = annotators[0].form("/1") | {"choice": "left"}
    address = annotators[0].home + "/1"
    for choice in ("left", "left", "right"):
        said = annotators[0].client.post(
            address, data=fields | {"choice": choice}, follow_redirects=False
        )
        assert said.headers["location"].endswith("/2")
    (submission,) = read_submissions(folder.database, undone=True)
    left = assignment(read_study(folder), "annotator-1")[0].order[0]
    assert submission.answer == "AB"[left]


def test_undoing_twice_takes_back_one_vote_and_leads_to_its_item(
    folder: StudyFolder, annotators: list[Visitor]
) -> None:
    one = annotators[0]
    one.vote(1, "left")
    one.vote(2, "tie")
    fields = one.form("/3", "/undo")
    first, second = (
        one.client.post(one.home + "/undo", data=fields, follow_redirects=False) for _ in range(2)
    )
    assert first.headers["location"] == one.home + "/2"
    assert second.headers["location"] == one.home + "/2"  # what is next
    assert len(read_votes(folder.path)) == 1
    assert one.undo("/2").headers["location"] == one.home + "/1"
    assert read_votes(folder.path) == []
    assert 'action="' + one.home + '/undo"' not in one.get("/1").text


def test_a_judged_item_shows_what_was_said_and_offers_to_undo_it(
    annotators: list[Visitor],
) -> None:
    one = annotators[0]
    one.vote(2, "right", comment="<i>because</i>\u202e")
    page = one.get("/2").text
    assert "Your vote: <strong>answer 2 is better</strong>" in page
    assert "“&lt;i&gt;because&lt;/i&gt;[U+202E]”" in page
    assert 'name="choice"' not in page
    assert one.undo("/2").headers["location"] == one.home + "/2"


def test_seconds_run_from_showing_the_page_to_its_answer(
    folder: StudyFolder, annotators: list[Visitor], monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = annotators[0].form("/1") | {"choice": "tie"}
    shown = int(fields["shown_at"]) / 1000
    monkeypatch.setattr(time, "time", lambda: shown + 42.5)
    annotators[0].client.post(annotators[0].home + "/1", data=fields)
    (vote,) = read_votes(folder.path)
    assert vote.seconds == 42.5


def test_a_vote_needs_the_form_of_its_own_annotator_and_item(
    folder: StudyFolder, annotators: list[Visitor]
) -> None:
    one, other, _ = annotators
    mine = one.form("/1") | {"choice": "left"}
    wrong = [
        (other.home + "/1", mine),
        (one.home + "/2", mine),
        (one.home + "/1", mine | {"shown_at": "1"}),
        (one.home + "/1", mine | {"code": "é" * 64}),
        (one.home + "/undo", {"number": "1", "shown_at": mine["shown_at"], "code": mine["code"]}),
    ]
    for address, fields in wrong:
        said = one.client.post(address, data=fields, follow_redirects=False)
        assert said.status_code == HTTPStatus.FORBIDDEN
    assert read_submissions(folder.database) == []


@pytest.mark.parametrize("path", ["/0", "/5", "/999999999", "/1.5", "/%00", "/-1", "/" + "9" * 500])
def test_an_item_that_is_none_of_the_annotators_is_refused(
    folder: StudyFolder, annotators: list[Visitor], path: str
) -> None:
    refused = (HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)
    assert annotators[0].get(path).status_code in refused
    fields = annotators[0].form("/1") | {"choice": "left"}
    said = annotators[0].client.post(annotators[0].home + path, data=fields)
    assert said.status_code in refused
    assert read_submissions(folder.database) == []


@pytest.mark.parametrize("token", ["x", "", "%F0%9F%92%A9", "a" * 199, "é", "\u202e"])
def test_a_token_that_is_nobodys_opens_nothing(annotators: list[Visitor], token: str) -> None:
    client = annotators[0].client
    for path in ("", "/1", "/next", "/done"):
        assert client.get(f"/study/{token}{path}").status_code == HTTPStatus.NOT_FOUND
    whole = annotators[0].home
    assert client.get(whole[:-1]).status_code == HTTPStatus.NOT_FOUND  # not even nearly
    assert client.get(whole + "x").status_code == HTTPStatus.NOT_FOUND


@pytest.mark.parametrize(
    "change",
    [
        {"choice": "both"},
        {"choice": ""},
        {"shown_at": "-1"},
        {"shown_at": "9" * 400},
        {"shown_at": "soon"},
        {"code": "x" * 201},
        {"comment": "x" * 4001},
    ],
)
def test_a_field_that_makes_no_sense_is_refused_with_its_name(
    folder: StudyFolder, annotators: list[Visitor], change: dict[str, str]
) -> None:
    fields = annotators[0].form("/1") | {"choice": "left"} | change
    said = annotators[0].client.post(annotators[0].home + "/1", data=fields)
    assert said.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert f"body.{next(iter(change))}" in said.text
    assert read_submissions(folder.database) == []


def test_hostile_answers_are_shown_and_do_nothing(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_answers(run, "M3", {"p0": (HOSTILE, HOSTILE)})
    write_answers(run, "sft", {"p0": (HOSTILE, " ")})
    with visitors(prepare_comparison(run, "M3", "sft", StudySize(1, 1))) as (one,):
        page = one.get("/1").text
    assert page.count("<script") == 1  # study.js
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 2
    assert "<img" not in page
    assert 'href="javascript' not in page
    assert "\u202e" not in page
    assert "(an empty answer)" in page


BODIES = st.one_of(
    st.binary(max_size=200),
    st.lists(
        st.tuples(
            st.sampled_from(["choice", "comment", "shown_at", "code", "number", "rank", "x"]),
            st.text(max_size=20),
        ),
        max_size=8,
    ).map(lambda pairs: "&".join(f"{k}={v}" for k, v in pairs).encode(errors="replace")),
)
KINDS = ["application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "text/plain", "é"]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=BODIES, kind=st.sampled_from(KINDS), path=st.sampled_from(["/1", "/undo", "/next", ""]))
def test_no_body_makes_the_server_fail(
    annotators: list[Visitor], body: bytes, kind: str, path: str
) -> None:
    said = annotators[0].client.post(
        annotators[0].home + path,
        content=body,
        headers={b"content-type": kind.encode()},
        follow_redirects=False,
    )
    assert 400 <= said.status_code < 500


def test_replies_are_ranked_in_the_studys_order_whatever_order_they_were_shown_in(
    tmp_path: Path,
) -> None:
    run = ranked_run(tmp_path / "run", {"p0": ["x", "y", "z"], "p1": ["v", "w"]})
    folder = prepare_ranking(run, 2, StudySize(2, 2))
    with visitors(folder) as (one, other):
        assert "Rank each reply" in one.get("/1").text
        for visitor in (one, other):
            shown = assignment(read_study(folder), f"annotator-{1 + (visitor is other)}")
            for at in shown:
                # The reply "x" (or "v") is the best, all others share the second rank.
                ranks = [1 if text in ("x", "v") else 2 for text in at.texts]
                fields = visitor.form(f"/{at.place}") | {"rank": [str(rank) for rank in ranks]}
                said = visitor.client.post(
                    f"{visitor.home}/{at.place}", data=fields, follow_redirects=False
                )
                assert said.status_code == HTTPStatus.SEE_OTHER
        page = one.get("/1").text
        assert page.count(" selected>1") == 1
        assert "disabled" in page
        assert "Done. Thank you!" in one.get("/done").text
    found = {(r.item, r.annotator): r.ranks for r in read_rankings(folder.path)}
    assert found == {
        (item, f"annotator-{at}"): ranks
        for item, ranks in (("p0", (1, 2, 2)), ("p1", (1, 2)))
        for at in (1, 2)
    }
    assert folder.rankings.is_file()  # everybody is done: exported


@pytest.mark.parametrize("ranks", [[], ["1"], ["1", "2", "3"], ["0", "1"], ["1", "3"], ["1", "x"]])
def test_a_ranking_needs_a_rank_within_range_for_each_reply(
    tmp_path: Path, ranks: list[str]
) -> None:
    run = ranked_run(tmp_path / "run", {"p0": ["x", "y"]})
    folder = prepare_ranking(run, 2, StudySize(1, 1))
    with visitors(folder) as (one,):
        fields = one.form("/1") | {"rank": ranks}
        said = one.client.post(f"{one.home}/1", data=fields, follow_redirects=False)
        assert said.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert read_submissions(folder.database) == []
