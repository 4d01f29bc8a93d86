"""Any text as LaTeX that pdflatex compiles: ASCII alone, every character a macro or itself."""

from __future__ import annotations

import unicodedata

_ASCII = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedblright{}",
    "`": r"\textasciigrave{}",
    "'": r"\textquoteright{}",
    "-": r"-{}",  # two of them are no dash
    ",": r",{}",
    "!": r"!{}",  # "!`" and "?`" are no Spanish marks
    "?": r"?{}",
    "[": r"{[}",  # no optional argument after \\
    "]": r"{]}",
    "*": r"{*}",
}
_SYMBOLS = {
    "−": "$-$", "–": r"\textendash{}", "—": r"\textemdash{}", "…": r"\dots{}", "‑": r"-{}",
    "‘": r"\textquoteleft{}", "’": r"\textquoteright{}", "“": r"\textquotedblleft{}",
    "”": r"\textquotedblright{}", "•": r"\textbullet{}", "·": r"\textperiodcentered{}",
    "×": r"$\times$", "÷": r"$\div$", "±": r"$\pm$", "√": r"$\surd$", "∞": r"$\infty$",
    "≤": r"$\leq$", "≥": r"$\geq$", "≠": r"$\neq$", "≈": r"$\approx$", "≡": r"$\equiv$",
    "∈": r"$\in$", "∑": r"$\sum$", "Σ": r"$\Sigma$", "∏": r"$\prod$", "∂": r"$\partial$",
    "←": r"$\leftarrow$", "→": r"$\rightarrow$", "↔": r"$\leftrightarrow$", "↑": r"$\uparrow$",
    "↓": r"$\downarrow$", "⇒": r"$\Rightarrow$", "►": r"$\triangleright$",
    "²": "$^2$", "³": "$^3$", "¹": "$^1$", "½": r"$\frac{1}{2}$", "¼": r"$\frac{1}{4}$",
    "°": r"\textdegree{}", "µ": r"$\mu$", "§": r"\S{}", "¶": r"\P{}", "©": r"\textcopyright{}",
    "®": r"\textregistered{}", "™": r"\texttrademark{}", "€": r"\texteuro{}", "£": r"\pounds{}",
    "†": r"\dag{}", "‡": r"\ddag{}", "¿": r"\textquestiondown{}", "¡": r"\textexclamdown{}",
    "ß": r"\ss{}", "æ": r"\ae{}", "Æ": r"\AE{}", "œ": r"\oe{}", "Œ": r"\OE{}", "ø": r"\o{}",
    "Ø": r"\O{}", "å": r"\aa{}", "Å": r"\AA{}", "ł": r"\l{}", "Ł": r"\L{}", "ı": r"\i{}",
    "\u00a0": "~",
}  # fmt: skip
_GREEK = {
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda",
    "mu", "nu", "xi", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
}  # fmt: skip
_CAPITALS = {
    "Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega",
}  # fmt: skip
_ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u",
    "\u0307": ".", "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0327": "c",
}  # fmt: skip


def escape(text: str) -> str:
    """Return a text as LaTeX prints it literally; line ends become spaces.

    What the standard fonts cannot print (other scripts, emoji, control characters) stands there by
    its code point, as "[U+4E2D]": nothing is dropped without a trace.
    """
    line = " ".join(text.split())
    return "".join(_character(c) for c in unicodedata.normalize("NFC", line))


def _character(character: str) -> str:
    if found := _ASCII.get(character) or _SYMBOLS.get(character):
        return found
    if " " <= character <= "\N{TILDE}":
        return character
    return _greek(character) or _accented(character) or f"{{[}}U+{ord(character):04X}{{]}}"


def _greek(character: str) -> str | None:
    kind, _, name = unicodedata.name(character, "").removeprefix("GREEK ").partition(" LETTER ")
    word = name.lower()
    word = "lambda" if word == "lamda" else word  # as Unicode spells it
    if word not in _GREEK:
        return None
    if kind == "SMALL":
        return f"$\\{word}$"
    capital = word.capitalize()
    return f"$\\{capital}$" if kind == "CAPITAL" and capital in _CAPITALS else None


def _accented(character: str) -> str | None:
    """Return a Latin letter with one accent as the accent's macro; None for anything else."""
    base, *marks = list(unicodedata.normalize("NFD", character))
    if len(marks) != 1 or marks[0] not in _ACCENTS or not (base.isascii() and base.isalpha()):
        return None
    dotless = {"i": r"\i", "j": r"\j"}.get(base, base)
    is_below = _ACCENTS[marks[0]] == "c"
    return f"\\{_ACCENTS[marks[0]]}{{{base if is_below else dotless}}}"
