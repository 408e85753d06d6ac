"""Command lines as getopt_long reads them, and the directives of batch scripts as sbatch does."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .refusals import Refused


class Option(NamedTuple):
    """An option of a command: its letter, if it has one, and whether it takes a value."""

    letter: str = ""
    value: bool = True


Found = list[tuple[str, str]]
"""Long names and values in their order; a flag's value is empty."""


def parse(
    program: str, known: Mapping[str, Option], words: Sequence[str], *, permute: bool = True, code: int = 1
) -> tuple[Found, list[str]]:
    """Options and the other words.

    Args:
        program: for the messages.
        known: its options by long name.
        words: the command line without the program.
        permute: look for options behind other words too; else the rest begins with the first of those.
        code: exit code for unknown options.

    Raises:
        Refused: an option is unknown, lacks its value, or has one that it does not take.
    """
    found: Found = []
    rest: list[str] = []
    waiting = list(words)
    letters = {option.letter: name for name, option in known.items() if option.letter}

    def wrong(text: str) -> Refused:
        return Refused(f"{program}: {text}", f'Try "{program} --help" for more information', code=code)

    def value_of(name: str, given: str | None, shown: str) -> str:
        if not known[name].value:
            if given is not None:
                raise wrong(f"option '{shown}' doesn't allow an argument")
            return ""
        if given is None and not waiting:
            raise wrong(f"option '{shown}' requires an argument")
        return waiting.pop(0) if given is None else given

    while waiting:
        word = waiting.pop(0)
        if word == "--":
            return found, rest + waiting
        if word.startswith("--"):
            text, equals, given = word[2:].partition("=")
            fits = [name for name in known if name.startswith(text)]
            if text not in known and len(fits) > 1:
                possible = " ".join(f"'--{name}'" for name in fits)
                raise wrong(f"option '{word}' is ambiguous; possibilities: {possible}")
            if not fits:
                raise wrong(f"unrecognized option '{word}'")
            name = text if text in known else fits[0]
            found.append((name, value_of(name, given if equals else None, f"--{name}")))
        elif word.startswith("-") and word != "-":
            following = word[1:]
            while following:
                letter, following = following[0], following[1:]
                if letter not in letters:
                    raise wrong(f"invalid option -- '{letter}'")
                name = letters[letter]
                if known[name].value:
                    found.append((name, value_of(name, following or None, letter)))
                    break
                found.append((name, ""))
        elif permute:
            rest.append(word)
        else:
            return found, [word, *waiting]
    return found, rest


def directives(script: str, shown: str) -> list[str]:
    """The words of a script's ``#SBATCH`` lines, which end where the first command begins.

    Raises:
        Refused: a quotation mark has no partner.
    """
    words = []
    for number, line in enumerate(script.splitlines(), start=1):
        if line.startswith("#SBATCH"):
            words += split(line.removeprefix("#SBATCH"), shown, number)
        elif line.strip() and not line.startswith("#"):
            break
    return words


def split(line: str, shown: str, number: int) -> list[str]:
    """The words of one directive, read as sbatch reads them, which is not how a shell does.

    A backslash makes the next character stand for itself in single quotes too, and is lost; but it saves no blank and
    no ``#`` outside of quotes, where the one ends the word and the other the line.

    Args:
        line: what follows ``#SBATCH``.
        shown: the script's name, for the message.
        number: of the line, for the message.

    Raises:
        Refused: a quotation mark has no partner.
    """
    words: list[str] = []
    word, inside, escaped, quote = "", False, False, ""
    for character in line:
        if not quote and character.isspace():
            words += [word] if inside else []
            word, inside, escaped = "", False, False
        elif escaped:
            word, inside, escaped = word + character, True, False
        elif character == "\\":
            inside = escaped = True
        elif quote:
            if character == quote:
                quote = ""
            else:
                word += character
        elif character in "\"'":
            quote, inside = character, True
        elif character == "#":
            break
        else:
            word, inside = word + character, True
    if quote:
        raise Refused(f"sbatch: fatal: {shown}: line {number}: Unmatched `{quote}` in [{line.strip()}]")
    return [*words, word] if inside else words


def expanded(pattern: str, values: Mapping[str, str]) -> str:
    """A file name with ``%j`` and the like replaced; a number between (``%4t``) is the least width, of zeros."""

    def value(match: re.Match[str]) -> str:
        width, letter = match.groups()
        if letter == "%":
            return "%"
        return values[letter].zfill(int(width or 0)) if letter in values else match.group()

    return re.sub(r"%(\d*)([A-Za-z%])", value, pattern)


def minutes(text: str) -> int | None:
    """A time limit in whole minutes, rounded up; None when it is none. ``10``, ``10:30``, ``1:00:00``, ``1-12``, …"""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if match is None:
        return None
    days, first, second, third = (None if part is None else int(part) for part in match.groups())
    if days is not None:
        seconds = ((days * 24 + (first or 0)) * 60 + (second or 0)) * 60 + (third or 0)
    elif third is not None:
        seconds = ((first or 0) * 60 + (second or 0)) * 60 + third
    else:
        seconds = (first or 0) * 60 + (second or 0)
    return -(-seconds // 60)
