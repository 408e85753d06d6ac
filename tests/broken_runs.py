"""Broken run directories for the commands that read them, made from a whole one.

``python -m tests.broken_input runs --count 1000`` is the long form.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import importlib
import io
import json
import os
import random
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from broken_input import Reader
from hypothesis import strategies as st
from tiny import run_inline, tiny_sweep

STUDY = "lora_c@small"
COMMANDS = (
    ("harness.status.__main__", "run", "--json"),
    ("harness.status.__main__", "run", "--html", "status.html"),
    ("harness.doctor.__main__", "run"),
    ("harness.doctor.__main__", "run", "--fix"),
    ("harness.replay", "run"),
    ("harness.export.__main__", "run", "--to", "csv", "t.csv"),
    ("harness.export.__main__", "run", "--to", "optuna", "t.log"),
    ("harness.archive", "run", "--out", "run.zip"),
    ("analysis.trace", "run", STUDY, "--json"),
    ("analysis.model_card", "run", STUDY, "--out", "card.md"),
    ("analysis.checklist", "run", "--kind", "claim2024", "--out", "list.md"),
    ("analysis.report", "run", "--out", "out"),
)
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 7, 10**6, 2**53 + 1, 10**30, 0.5, -0.5, 1e308, float("nan"), float("inf"), "", "x",
    "1", "../../x", "\x1b[31m", "a\nb", "\ud800", "y" * 5000, [], [0], [[]], [None], ["x"], [0.5, "x"], {}, {"x": 1},
    {"kind": "x"}, {"kind": []},
)  # fmt: skip
MANY = 10**5


@dataclass(frozen=True)
class Broken:
    """What is changed in a whole run, and the command that reads it."""

    command: tuple[str, ...]
    seed: int
    changes: int

    def __repr__(self) -> str:
        with tempfile.TemporaryDirectory() as name:
            return f"{' '.join(self.command)}, seed {self.seed}: {'; '.join(_lay_out(self, Path(name)))}"


@cache
def _whole() -> Path:
    """A finished sweep with every stage: a trained backbone, a search that prunes, further seeds, confirmation."""
    folder = Path(tempfile.mkdtemp(prefix="broken-runs-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    weights = {"method": "linear_probe", "dataset": {"dataset": "digits", "classes": [0, 1]}, "train": {"epochs": 1}}
    file = tiny_sweep(
        folder,
        backbone={"name": "resnet20", "weights": weights},
        train={"epochs": 3, "batch_size": 64, "image_size": 8},
        search={"trials": 3, "startup": 2, "pruner": "asha", "seeds": [0], "choose": "top_k"},
        confirm={"seeds": 2, "repeat": True},
        launch={"kind": "inline"},
    )
    run_inline(file, folder / "run", folder / "cache", report=False)
    # Each command's first call loads packages, which is no file's fault.
    for words in COMMANDS:
        with tempfile.TemporaryDirectory() as name, contextlib.chdir(name), contextlib.ExitStack() as stack:
            shutil.copytree(folder / "run", "run")
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
            assert _command(list(words)) == 0
    return folder / "run"


def _files(run: Path) -> list[Path]:
    """What a run consists of, but for copies of the code and what is only printed."""
    found = [path for path in sorted(run.rglob("*")) if path.is_file() and "code" not in path.relative_to(run).parts]
    return [path for path in found if path.suffix not in (".png", ".log", ".txt") and path.parent.name != "lock"]


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to each value within a document, the document itself too."""
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [path, *(place for key, part in inner for place in _places(part, (*path, key)))]


def _changed(value: Any, draw: random.Random) -> tuple[Any, str]:
    """A document with one other value, and what became of it."""
    place = draw.choice(_places(value))
    if draw.random() < 0.5:  # Long lists and tables would have nearly all places.
        place = place[: draw.randint(0, len(place))]
    kind = draw.choice(("replace", "replace", "replace", "remove", "add", "repeat", "cut", "many"))
    new = draw.choice(VALUES)
    if not place:
        return (new, f"all = {new!r:.40}") if kind == "replace" and draw.random() < 0.2 else (value, "nothing")
    holder = value
    for key in place[:-1]:
        holder = holder[key]
    key, old = place[-1], holder[place[-1]]
    if kind == "replace":
        holder[key] = new
    elif kind == "remove":
        del holder[key]
    elif kind == "add" and isinstance(old, dict):
        old[draw.choice(("x", "", "../x", "low", "kind", "1"))] = new
    elif kind == "add" and isinstance(old, list):
        old.append(new)
    elif kind == "repeat" and isinstance(old, list):
        old *= 2
    elif kind == "cut" and isinstance(old, (list, str)):
        holder[key] = old[: len(old) // 2]
    elif kind == "many" and isinstance(old, list):
        holder[key] = [*old, *[0] * MANY]
    else:
        return value, "nothing"
    return value, f"{kind} {'.'.join(map(str, place))} {new!r:.40}"


def _changed_file(path: Path, draw: random.Random, others: list[Path]) -> str:
    content = path.read_bytes()
    if not content.strip():
        return "nothing"
    kind = draw.choice(("json",) * 8 + ("cut", "flip", "empty", "remove", "folder", "pipe", "link", "other", "double"))
    if (kind == "json" and path.suffix in (".json", ".jsonl")) or (kind == "json" and path.name.startswith("lease.")):
        lines = content.splitlines() if path.suffix == ".jsonl" else [content]
        number = draw.randrange(len(lines))
        try:
            document = json.loads(lines[number])
        except ValueError:  # broken by an earlier change
            return "nothing"
        document, story = _changed(document, draw)
        lines[number] = json.dumps(document).encode()
        path.write_bytes(b"\n".join(lines) + b"\n")
        return story
    if kind == "cut":
        path.write_bytes(content[: draw.randrange(len(content))])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "remove":
        path.unlink()
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    elif kind == "pipe":  # whoever opens it waits until somebody writes
        path.unlink()
        os.mkfifo(path)
    elif kind == "link":
        path.unlink()
        path.symlink_to(draw.choice(("/dev/zero", "/proc/self/mem", "/nowhere", "../../..", str(path))))
    elif kind == "other":
        plain = [other for other in others if other != path and other.is_file() and not other.is_symlink()]
        shutil.copyfile(draw.choice(plain), path)
    elif kind == "double":
        path.write_bytes(content * 2)
    else:
        kind, place = "flip", draw.randrange(len(content))
        path.write_bytes(content[:place] + bytes([draw.randrange(256)]) + content[place + 1 :])
    return kind


def _seal(run: Path) -> None:
    """Let each result hold the digests of what is beside it now: who edits a run can do that too."""
    for path in run.rglob("result.json"):
        with contextlib.suppress(ValueError, OSError, AttributeError, TypeError):
            result = json.loads(_plain(path).read_bytes())
            for name in result.get("files") or {}:
                result["files"][name] = hashlib.sha256(_plain(path.parent / name).read_bytes()).hexdigest()
            path.write_text(json.dumps(result))


def _plain(path: Path) -> Path:
    """The file, which is neither a pipe nor a link: nobody would stop reading it."""
    if path.is_symlink() or not path.is_file():
        raise OSError
    return path


def _lay_out(example: Broken, folder: Path) -> list[str]:
    draw, run = random.Random(example.seed), folder / "run"
    shutil.copytree(_whole(), run)
    files, story = _files(run), []
    kinds = sorted({path.name.partition(".0")[0] for path in files})
    for _ in range(example.changes):
        kind = draw.choice(kinds)
        path = draw.choice([path for path in files if path.name.startswith(kind)])
        if path.is_file() and not path.is_symlink():
            story.append(f"{path.relative_to(run)}: {_changed_file(path, draw, files)}")
    if draw.random() < 0.7:
        _seal(run)
    # The index holds results as they were; without it they are read anew.
    (run / "results.index").unlink(missing_ok=True) if draw.random() < 0.5 else None
    return story


def _lay(example: Broken, folder: Path) -> list[str]:
    _lay_out(example, folder)
    return list(example.command)


def _command(arguments: list[str]) -> int:
    code: int = importlib.import_module(arguments[0]).main(arguments[1:])
    return code


EXAMPLES = st.builds(Broken, st.sampled_from(COMMANDS), st.integers(0, 2**48), st.sampled_from((1, 1, 1, 2, 4)))
READER = Reader(EXAMPLES, _lay, _command, codes=(0, 1, 2), writes=True, leaves="run/lock", taking=15.0)
