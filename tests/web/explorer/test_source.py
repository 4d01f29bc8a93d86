from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import ConfigError
from tests.web.explorer.made import made_run, reader
from web.explorer.source import Source


def test_what_finishes_while_the_explorer_runs_is_shown(tmp_path: Path) -> None:
    folder = made_run(tmp_path / "made")
    manifest = folder / "iter2" / "pairs.manifest.json"
    aside = manifest.rename(manifest.with_name("aside"))
    with Source(folder) as source:
        client = reader(source)
        assert client.get("/iteration/2/pairs").status_code == 404
        page = client.get("/iteration/2/prompt?key=c0/t0")
        assert page.status_code == 200
        assert "iter2/pairs: not made yet" in page.text
        aside.rename(manifest)
        assert client.get("/iteration/2/pairs").status_code == 200
        assert "The mean scores are 3 apart." in client.get("/iteration/2/prompt?key=c0/t0").text


def test_a_damaged_manifest_is_shown_as_a_reason(tmp_path: Path) -> None:
    folder = made_run(tmp_path / "made")
    (folder / "iter2" / "pairs.manifest.json").write_text("{")
    with Source(folder) as source:
        client = reader(source)
        assert "damaged manifest" in client.get("/").text
        assert client.get("/iteration/2/pairs").status_code == 409


def test_a_run_without_its_configuration_says_so_and_shows_the_rest(tmp_path: Path) -> None:
    folder = made_run(tmp_path / "made")
    for text, said in ((None, "there is no config.json"), ("[", "config.json is damaged")):
        path = folder / "config.json"
        path.unlink(missing_ok=True)
        if text is not None:
            path.write_text(text)
        with Source(folder) as source:
            page = reader(source).get("/").text
            assert said in page
            assert "2 kept of 3" in page
            assert source.run.models == ("M1", "M2")
            assert source.run.matchups == (("M2", "M1"),)
            assert source.run.parts("nlp") == ("piqa",)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a run"):
        Source(tmp_path)
    with pytest.raises(ConfigError, match="not a run"):
        Source(tmp_path / "absent")
