"""The server as a process: killed, started twice, completed."""

from __future__ import annotations

import json
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest

from core.errors import DataError, RunLocked
from evaluation.human.server.server import export, open_study
from evaluation.human.votes import read_votes
from tests.evaluation.human.studies import Visitor, comparison, served, visitors


def test_a_killed_server_has_lost_no_vote_and_the_same_link_goes_on(tmp_path: Path) -> None:
    folder = comparison(tmp_path / "run", n=6, annotators=1)
    with served(folder) as server:
        address, _, token = server.links["annotator-1"].partition("/study/")
        with httpx.Client(base_url=address) as client:
            one = Visitor(client, f"/study/{token}")
            for place in (1, 2, 3):
                assert one.vote(place, "left").status_code == HTTPStatus.SEE_OTHER
                acknowledged = place
            server.process.kill()
            server.process.wait()
    assert len(read_votes(folder.path)) == acknowledged
    with visitors(folder) as (again,):
        assert again.get("/next").url.path == f"/study/{token}/4"
        assert "3 of 6 judged" in again.get("/4").text


def test_two_servers_of_one_study_are_one_too_many(tmp_path: Path) -> None:
    folder = comparison(tmp_path / "run")
    with open_study(folder), pytest.raises(RunLocked), open_study(folder):
        pass


def test_votes_are_exported_when_the_last_annotator_is_done(tmp_path: Path) -> None:
    folder = comparison(tmp_path / "run", n=2, annotators=2)
    with visitors(folder) as (one, other):
        for visitor, place in ((one, 1), (one, 2), (other, 1)):
            visitor.vote(place, "left")
            assert not folder.votes.exists()
        other.vote(2, "left")
    rows = [json.loads(line) for line in folder.votes.read_text().splitlines()]
    assert [row["annotator"] for row in rows] == ["annotator-1"] * 2 + ["annotator-2"] * 2


def test_what_there_is_so_far_can_be_exported_while_the_server_runs(tmp_path: Path) -> None:
    folder = comparison(tmp_path / "run")
    with visitors(folder) as (one, *_):
        one.vote(1, "tie")
        assert len(export(folder).read_text().splitlines()) == 1


def test_a_study_whose_links_do_not_fit_is_not_served(tmp_path: Path) -> None:
    folder = comparison(tmp_path / "run")
    folder.links.write_text('{"annotator-1": "x"}')
    with (
        pytest.raises(DataError, match=r"an annotator of study\.json has no link"),
        open_study(folder),
    ):
        pass
