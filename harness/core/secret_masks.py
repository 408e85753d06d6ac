"""Secrets in texts that leave the user's hands: found by a scanner's rules, and replaced by ``***``.

The rules are those of detect-secrets, which its authors keep up with what services hand out, and a few for what it does
not look for. Its two rules for random-looking text are left out: checksums of datasets look like that. Nobody can
promise that every secret is recognised.
"""

from __future__ import annotations

import bisect
import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from detect_secrets.plugins.base import RegexBasedDetector as Rule

MASK = "***"

_NAMES = r"(?:token|secret|passw(?:or)?d|passphrase|pwd|credential|(?:api|access|auth|private|account|secret)[_-]?key)"
_ALSO: Sequence[tuple[re.Pattern[str], str]] = (
    # A private key, whole or cut off, in a file or in a patch.
    (
        re.compile(
            r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----"
            r"(?:(?:(?!-----BEGIN)[\s\S])*?-----END [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----|(?:[ \t]*(?:\r?\n|\\n)[+\- ]?\s*"
            r"[\w+/=:, -]{8,})*)"
        ),
        MASK,
    ),
    # A password in an address.
    (re.compile(r"(\w://[^\s/:@]*:)[^\s/@]+@"), rf"\g<1>{MASK}@"),
    # What GitHub, GitLab, Hugging Face, OpenAI, Slack and AWS hand out, shorter than usual ones too.
    (re.compile(r"\b(gh[opsu]_|github_pat_|glpat-|hf_|sk-|xox[abp]-|AKIA)[\w-]{12,}"), rf"\g<1>{MASK}"),
    (re.compile(r"(?i)(\bbearer\s+|\bauthorization[\"']?\s*[:=]\s*[\"']?[a-z]+\s+)[\w.~+/=-]{8,}"), rf"\g<1>{MASK}"),
    (re.compile(r"(?i)(\blogin\s+\S+\s+password\s+)\S+"), rf"\g<1>{MASK}"),
    # Keys of Weights & Biases and of Kaggle, which have nothing but their length.
    (re.compile(r"(?i)(\bkey[\"']?\s*[:=]\s*[\"']?)[0-9a-f]{32,64}\b"), rf"\g<1>{MASK}"),
    (re.compile(rf"(?i)({_NAMES}\w*[\"']?\s*[:=]\s*[\"'])[^\"'\s]+(?=[\"'])"), rf"\g<1>{MASK}"),
    # Without quotes: what follows ``export NAME=`` is a value; elsewhere it may be code, unless it has digits.
    (re.compile(rf"(?i)(\b(?:export|set|env|setenv)\s+\w*{_NAMES}\w*[= ])[^\s\"'$]+"), rf"\g<1>{MASK}"),
    (
        re.compile(
            rf"(?i)({_NAMES}\w*\s*[:=]\s*)(?=[\w+/=.~-]*[a-z])(?=[\w+/=.~-]*\d)[\w+/=~-]{{8,}}(?![\w.(\[{{+/=~-])"
        ),
        rf"\g<1>{MASK}",
    ),
)
_REST = re.compile(r"[\w.+/=~-]*")
_NEW_FILE = re.compile(r"\+\+\+ (?:b/)?(.+)")
_SOURCE = (".py", ".pyi", ".c", ".cpp", ".cu", ".js")
"""Where a value without quotes is most often code: the scanner's rule for settings would take it for a secret."""


def masked(text: str, name: str) -> tuple[str, list[int]]:
    """The text with what looks like a secret replaced by ``***``, and the lines, from 1 on, in which something was.

    Args:
        text: of a file, or a patch.
        name: of the file; its ending tells how a value is written there. ``.patch``: each part is taken as its file.
    """
    hidden = text
    for pattern, instead in _ALSO:
        hidden = pattern.sub(lambda found, instead=instead: _of_as_many_lines(found, instead), hidden)  # type: ignore[misc]
    lines = hidden.split("\n")
    for rule, numbers in _suspects(hidden):
        for number in numbers:
            for secret in _found(rule, _file_of(lines, number) if name.endswith(".patch") else name, lines[number]):
                lines[number] = lines[number].replace(secret, MASK)
    before = text.split("\n")
    return "\n".join(lines), [place for place, line in enumerate(lines, start=1) if line != before[place - 1]]


def _suspects(text: str) -> Iterator[tuple[Rule, list[int]]]:
    """The lines, from 0 on, that each rule should look at: asking every rule about every line takes 10 s a megabyte."""
    from detect_secrets.plugins.keyword import DENYLIST_REGEX, KeywordDetector

    ends = [found.start() for found in re.finditer("\n", text)]
    for rule in _rules():
        is_keyword = isinstance(rule, KeywordDetector)
        patterns = [re.compile(DENYLIST_REGEX, re.IGNORECASE)] if is_keyword else rule.denylist
        found = (match for pattern in patterns for match in pattern.finditer(text))
        yield rule, sorted({bisect.bisect_left(ends, match.start()) for match in found})


def _file_of(lines: Sequence[str], number: int) -> str:
    """The file that a line of a patch belongs to."""
    for line in reversed(lines[: number + 1]):
        if begins := _NEW_FILE.fullmatch(line):
            return begins.group(1)
    return ""


def _of_as_many_lines(found: re.Match[str], instead: str) -> str:
    """What takes the place of a match: as many lines as that, so that a patch stays one."""
    text = found.expand(instead)
    rest = found.group().split("\n")[1:]
    # In a patch each line begins with a sign of its own.
    return "\n".join([text, *(f"{line[:1] if line[:1] in '+- ' else ''}{MASK}" for line in rest)])


def _found(rule: Rule, name: str, line: str) -> Iterator[str]:
    known = name if PurePosixPath(name).suffix in _SOURCE else f"{name}.yaml"
    for secret in rule.analyze_line(filename=known, line=line, line_number=1):
        value = secret.secret_value
        if value and value.strip(MASK[0]) and MASK not in value:
            # Some rules give the beginning of what they found.
            start = line.find(value)
            end = _REST.match(line, start + len(value))
            yield line[start : end.end()] if start >= 0 and end is not None else value


@functools.cache
def _rules() -> tuple[Rule, ...]:
    # Half a second to import; most texts that are asked about are those of a launch without changes.
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
    from detect_secrets.settings import default_settings

    with default_settings():
        known: Iterable[type[Rule]] = get_mapping_from_secret_type_to_class().values()
        return tuple(rule() for rule in known if "HighEntropy" not in rule.__name__ and "Public" not in rule.__name__)
