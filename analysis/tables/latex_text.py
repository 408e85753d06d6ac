"""Any text as LaTeX that pdflatex sets: plain ASCII in which nothing is a command by accident."""

from __future__ import annotations

import re
import unicodedata

from harness.core.errors import one_line

LONG_WORD = 24
"""Characters from which a word may be broken anywhere: a hash or a path would run off the page."""

_COMMANDS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # \textquotedbl exists in one font encoding only.
    '"': r"{\char34}",
    "`": r"\textasciigrave{}",
    # After the end of a row these would be taken for an argument of it.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "\N{MINUS SIGN}": "$-$",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{MIDDLE DOT}": r"$\cdot$",
    "\N{LESS-THAN OR EQUAL TO}": r"$\leq$",
    "\N{GREATER-THAN OR EQUAL TO}": r"$\geq$",
    "\N{NOT EQUAL TO}": r"$\neq$",
    "\N{ALMOST EQUAL TO}": r"$\approx$",
    "\N{INFINITY}": r"$\infty$",
    "\N{RIGHTWARDS ARROW}": r"$\to$",
    "\N{LEFTWARDS ARROW}": r"$\leftarrow$",
    "\N{DEGREE SIGN}": r"$^{\circ}$",
    "\N{DAGGER}": r"$^{\dagger}$",
    "\N{DOUBLE DAGGER}": r"$^{\ddagger}$",
    "\N{SECTION SIGN}": r"\S{}",
    "\N{PILCROW SIGN}": r"\P{}",
    "\N{EN DASH}": r"\textendash{}",
    "\N{EM DASH}": r"\textemdash{}",
    "\N{LEFT SINGLE QUOTATION MARK}": r"\textquoteleft{}",
    "\N{RIGHT SINGLE QUOTATION MARK}": r"\textquoteright{}",
    "\N{LEFT DOUBLE QUOTATION MARK}": r"\textquotedblleft{}",
    "\N{RIGHT DOUBLE QUOTATION MARK}": r"\textquotedblright{}",
    "\N{HORIZONTAL ELLIPSIS}": r"\textellipsis{}",
    "\N{FRACTION SLASH}": "/",
    "\N{COPYRIGHT SIGN}": r"\textcopyright{}",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "ı": r"\i{}",
    "ς": r"$\varsigma$",
    "ο": "o",
}
_ACCENTS = {
    "\N{COMBINING GRAVE ACCENT}": "`",
    "\N{COMBINING ACUTE ACCENT}": "'",
    "\N{COMBINING CIRCUMFLEX ACCENT}": "^",
    "\N{COMBINING TILDE}": "~",
    "\N{COMBINING DIAERESIS}": '"',
    "\N{COMBINING RING ABOVE}": "r",
    "\N{COMBINING CARON}": "v",
    "\N{COMBINING BREVE}": "u",
    "\N{COMBINING MACRON}": "=",
    "\N{COMBINING DOT ABOVE}": ".",
    "\N{COMBINING DOUBLE ACUTE ACCENT}": "H",
    "\N{COMBINING CEDILLA}": "c",
    "\N{COMBINING DOT BELOW}": "d",
    "\N{COMBINING MACRON BELOW}": "b",
}
_GREEK_CAPITALS = ["Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega"]
_LIGATURES = "-',"
_PLAIN = re.compile(r"[A-Za-z0-9.]*")
"""Words that need nothing, and most do; with the loop over their letters they took half of the time."""


def escape(text: str) -> str:
    """One line of text in printable ASCII for pdflatex, white space folded.

    Signs, Greek letters and Latin letters with one accent are set as they are; what plain fonts lack is replaced by
    its code point, such as ``[U+4E2D]``, so that nothing disappears.
    """
    return " ".join(_word(word) for word in one_line(text).split(" "))


def _word(word: str) -> str:
    if len(word) < LONG_WORD and _PLAIN.fullmatch(word):
        return word
    pieces: list[str] = []
    previous = ""
    for place, sign in enumerate(unicodedata.normalize("NFC", word)):
        # Two hyphens would be set as a dash, two commas as a quotation mark.
        if sign == previous and sign in _LIGATURES:
            pieces.append("{}")
        if len(word) >= LONG_WORD and place and place % 4 == 0:
            pieces.append(r"\allowbreak{}")
        pieces.append(_sign(sign))
        if sign in "_/":
            pieces.append(r"\allowbreak{}")
        previous = sign
    return "".join(pieces)


def _sign(sign: str) -> str:
    if sign in _COMMANDS:
        return _COMMANDS[sign]
    if " " < sign <= "~":
        return sign
    kind, _, plain = unicodedata.decomposition(sign).rpartition("> ")
    if kind in ("<super", "<sub") and len(plain) == 4:
        return rf"\text{kind[1:]}script{{{_sign(chr(int(plain, 16)))}}}"
    parts = unicodedata.normalize("NFD", sign)
    if len(parts) == 2 and parts[1] in _ACCENTS and parts[0].isascii() and parts[0].isalpha():
        return rf"\{_ACCENTS[parts[1]]}{{{parts[0]}}}"
    same = unicodedata.normalize("NFKC", sign)
    if same != sign:
        return "".join(_sign(one) if one != " " else " " for one in same)
    return _greek(sign) or f"{{[}}U+{ord(sign):04X}{{]}}"


def _greek(sign: str) -> str:
    """A Greek letter without an accent that looks like no Latin one; empty for anything else."""
    language, _, rest = unicodedata.name(sign, "").partition(" ")
    case, _, letter = rest.partition(" LETTER ")
    name = "lambda" if letter == "LAMDA" else letter.lower()
    if language != "GREEK" or not name.isalpha() or len(letter.split()) != 1:
        return ""
    if case == "CAPITAL":
        return rf"$\{name.capitalize()}$" if name.capitalize() in _GREEK_CAPITALS else ""
    return rf"$\{name}$" if case == "SMALL" and len(name) > 1 and sign in "αβγδεζηθικλμνξπρστυφχψω" else ""
