"""What a planted bug is."""

from __future__ import annotations

from typing import NamedTuple


class Plant(NamedTuple):
    """A bug, the file and words it changes, and the test that must notice."""

    bug: str
    file: str
    right: str
    wrong: str
    noticed_by: str
