from pathlib import Path

import pytest

from core.atomic import replacing


def test_two_writers_of_one_file_do_not_meet_and_the_last_one_wins(tmp_path: Path) -> None:
    # As two `srlm-report build` of one run: each had renamed the other's temporary file away.
    path = tmp_path / "report.html"
    with replacing(path) as first, replacing(path) as second:
        first.write(b"first")
        second.write(b"second")
        assert not path.exists()
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_while_writing_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    path.write_bytes(b"old")
    with pytest.raises(TypeError), replacing(path) as file:
        file.writelines([b"ne", None])  # type: ignore[list-item]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_permissions_are_those_asked_for_less_the_umask(tmp_path: Path) -> None:
    with replacing(tmp_path / "links.json", mode=0o600):
        pass
    assert (tmp_path / "links.json").stat().st_mode & 0o777 == 0o600
