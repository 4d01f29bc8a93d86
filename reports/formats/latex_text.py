"""Any text as LaTeX that pdflatex compiles: ASCII alone, every character a macro or itself."""

from __future__ import annotations

import tomllib
import unicodedata
from pathlib import Path

_TABLES = tomllib.loads((Path(__file__).parent / "latex_characters.toml").read_text("utf-8"))
_CHARACTERS, _ACCENTS, _GREEK = (_TABLES[name] for name in ("characters", "accents", "greek"))


def escape(text: str) -> str:
    """Return a text as LaTeX prints it literally; line ends become spaces.

    What the standard fonts cannot print (other scripts, emoji, control characters) stands there by
    its code point, as "[U+4E2D]": nothing is dropped without a trace.
    """
    line = " ".join(text.split())
    return "".join(map(_character, unicodedata.normalize("NFC", line)))


def _character(character: str) -> str:
    if character in _CHARACTERS:
        return str(_CHARACTERS[character])
    if " " <= character <= "\N{TILDE}":
        return character
    return _greek(character) or _accented(character) or f"{{[}}U+{ord(character):04X}{{]}}"


def _greek(character: str) -> str | None:
    kind, _, name = unicodedata.name(character, "").removeprefix("GREEK ").partition(" LETTER ")
    word = "lambda" if name == "LAMDA" else name.lower()  # as Unicode spells it
    word = word.capitalize() if kind == "CAPITAL" else word
    return f"$\\{word}$" if word in _GREEK.get(kind.lower(), ()) else None


def _accented(character: str) -> str | None:
    """Return a Latin letter with one accent as the accent's macro; None for anything else."""
    base, *marks = list(unicodedata.normalize("NFD", character))
    if len(marks) != 1 or marks[0] not in _ACCENTS or not (base.isascii() and base.isalpha()):
        return None
    macro = _ACCENTS[marks[0]]
    dotless = f"\\{base}" if base in "ij" and macro != "c" else base
    return f"\\{macro}{{{dotless}}}"
