"""Broken sweep files: from the JSON schema of the sweep file, from valid ones that are changed, and from bytes.

They are given to the dry run of the sweep command, with the built-in methods and datasets.
"""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any
from unittest import mock

import yaml
from broken_input import Reader
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from harness import plugins
from harness.studies.schema import schema as json_schema
from harness.sweep.__main__ import main as sweep

ROOT = Path(__file__).parents[1]

VALID: list[dict[str, Any]] = [
    {
        "name": "small",
        "backbone": {"name": "resnet20", "weights": None},
        "datasets": [{"some": {"dataset": "digits", "classes": [7, 8, 9]}}],
        "methods": ["linear_probe", {"tuned": {"method": "lora_c", "rank": {"choice": [1, 2, 4], "default": 2}}}],
        "train": {"epochs": 2, "batch_size": 64, "image_size": 8, "augment": {"flip_vertical": True, "rotate": 5.0}},
        "search": {"trials": 2, "seeds": [0], "sampler": "random"},
        "confirm": {"seeds": 2, "control": "linear_probe"},
    },
    {
        "name": "large",
        "backbone": {
            "name": "resnet18",
            "weights": {"method": "full_finetune", "dataset": {"dataset": "pathmnist", "size": 28}, "seed": 3},
        },
        "datasets": {"bloodmnist": None, "folder": {"dataset": "image_folder", "path": "images"}},
        "methods": {
            "metalr": {"lr": {"log": [1e-5, 1e-3]}, "eta": 0.5},
            "gpaf": {"backbone": {"name": "resnet34"}, "lr": {"log": [0.001, 0.1], "at_most": "head_lr"}},
        },
        "train": {"fraction": 0.1, "patience": 3, "clip_norm": 1.0, "label_smoothing": 0.1},
        "split": {"kind": "official", "allow_leakage": "the publisher says nothing of patients"},
        "search": {"pruner": "asha", "choose": "top_k", "anchors": 5, "metric": "nll"},
        "confirm": {"seeds": [1000, 1001, 1002], "looks": [2, 3], "correction": "bonferroni"},
        "launch": {"kind": "local", "workers": "auto", "threads": 2},
        "budget": {"device_hours": 10.5},
        "hypotheses": ["GPAF reaches a higher balanced accuracy than MetaLR."],
    },
]

NUMBERS = [
    0, -1, 1, 2, 3, 7, 64, 1000, 10**5, 10**6, 10**9, 99999999999, 2**31, 2**53, 2**63 - 1, 2**63, 2**64, 10**30,
    0.0, -0.0, 0.5, 1.0, 1.5, -1e-3, 1e-4, 1e-300, 5e-324, 1e30, 1e300, float("inf"), float("-inf"), float("nan"),
]  # fmt: skip

WORDS = [
    "", " ", "a", "None", "null", "~", "true", "yes", "no", "NaN", "inf", "1e-400", "1e400", "010", "0o10", "0x10",
    "0x" + "f" * 5000, "9" * 5000, "1_000", "1__0", "1:30", "1:30:00", "2024-01-01", "1,000", "10%", "=", "<<", "*a",
    "&a", "!x", "!!python/object:os.system", "- a", "a: b", "[", "{", "]", "%", "@", "`", "\t", "#", "'", '"', "|", ">",
    "x" * 65, "x" * 300, "x" * 20_000, "linear_prob", "resnet19", "digit", "/", "../..", "/dev/zero", "/etc/passwd",
    "a/b", "[red]x[/red]", "w.safetensors", "timm:resnet19", "timm:", "\x1b[31m", "\x07", "\x00", "\x9b", "\u202e",
    "\u2028", "\ud800", "\U0001f600", "é", "e\u0301", "日本", "a\nb", "a\rb", "$HOME", "~/x", "%s%n", "{0}",
    "../" * 2000,
]  # fmt: skip

scalars: SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.sampled_from(NUMBERS), st.sampled_from(WORDS), st.integers(), st.floats(),
    st.text(max_size=30),
)  # fmt: skip
values: SearchStrategy[Any] = st.recursive(
    scalars,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.text(), below, max_size=4),
    max_leaves=12,
)


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value below."""
    below = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [way for key, value in below for way in ((*path, key), *places(value, (*path, key)))]


KEYS = sorted({str(key) for one in VALID for way in places(one) for key in way})


@st.composite
def from_valid(draw: st.DrawFn) -> dict[str, Any]:
    """A valid file with one to four changes."""
    data = copy.deepcopy(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(1, 4))):
        ways = places(data)
        if not ways:
            break
        *way, key = draw(st.sampled_from(ways))
        holder: Any = data
        for step in way:
            holder = holder[step]
        change = draw(
            st.sampled_from(("drop", "replace", "retype", "nest", "add", "rename", "repeat", "swap", "number"))
        )
        old = holder[key]
        if change == "drop":
            del holder[key]
        elif change == "replace":
            holder[key] = draw(values)
        elif change == "number":
            holder[key] = draw(st.sampled_from(NUMBERS))
        elif change == "retype":
            holder[key] = draw(st.sampled_from((str(old), [old], {"a": old}, repr(old), None, bool(old))))
        elif change == "nest":
            for _ in range(draw(st.sampled_from((1, 2, 30, 200)))):
                old = (draw(st.sampled_from(("list", "mapping"))) == "list" and [old]) or {str(key): old}
            holder[key] = old
        elif change == "repeat" and isinstance(holder, list):
            holder.extend([old] * draw(st.sampled_from((1, 5, 2000))))
        elif change == "swap":
            *other, last = draw(st.sampled_from(ways))
            target: Any = data
            try:
                for step in other:
                    target = target[step]
                holder[key] = copy.deepcopy(target[last])
            except (KeyError, IndexError, TypeError):
                continue
        elif isinstance(holder, dict):
            name = draw(st.sampled_from(KEYS) | st.sampled_from(WORDS) | st.text(max_size=8))
            holder[name] = holder.pop(key) if change == "rename" else draw(values)
    return data


def of_schema(form: Any, definitions: dict[str, Any], depth: int = 0) -> SearchStrategy[Any]:
    """Values that a JSON schema describes, with a few at and beyond its bounds."""
    if "$ref" in form:
        return of_schema(definitions[form["$ref"].rpartition("/")[2]], definitions, depth + 1)
    for key in ("anyOf", "oneOf"):
        if key in form:
            return st.one_of([of_schema(one, definitions, depth + 1) for one in form[key]])
    if "const" in form:
        return st.just(form["const"])
    if "enum" in form:
        return st.sampled_from([*form["enum"], form["enum"][0] + "x"])
    kind = form.get("type")
    if kind in ("integer", "number"):
        least, most = form.get("minimum", 0), form.get("maximum", 100)
        ends = [least, most, (least + most) // 2, least - 1, most + 1, least + 1]
        return st.sampled_from(ends if kind == "integer" else [*map(float, ends), least + 1e-9])
    if kind == "array":
        return st.lists(of_schema(form.get("items", {}), definitions, depth + 1), max_size=3)
    if kind == "object" and "properties" in form:
        properties = {name: of_schema(one, definitions, depth + 1) for name, one in form["properties"].items()}
        required = {name: properties.pop(name) for name in form.get("required", ())}
        return st.fixed_dictionaries(required, optional=properties)
    if kind == "object":
        names = st.sampled_from(["linear_probe", "lora_c", "gpaf", "digits", "lr", "rank", "classes", "x"])
        more = form.get("additionalProperties")
        below = of_schema(more, definitions, depth + 1) if isinstance(more, dict) else scalars
        return st.dictionaries(names, below, max_size=3)
    if kind == "boolean":
        return st.booleans()
    if kind == "null":
        return st.none()
    if kind == "string":
        return st.sampled_from(["linear_probe", "digits", "resnet20", "x", *WORDS[:12]])
    return scalars


def written(data: Any) -> str:
    """YAML with whatever Python holds, in block or flow style."""
    try:
        return yaml.dump(data, allow_unicode=True, sort_keys=False)
    except (yaml.YAMLError, RecursionError):
        return repr(data)


PIECES = [
    "a: &a [x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b]\nd: [*c]\n",
    "<<: {name: x}\n", "<<: [*a]\n", "x: &x [*x]\n", "? [a]\n: b\n", "---\n", "...\n", "%YAML 1.2\n", "%TAG ! x:\n",
    "[" * 3000, "{a: " * 3000, "- " * 3000, "\t", "name: |\n  x\n", "name: >-\n\n\n", 'name: "\\UFFFFFFFF"\n',
    'name: "\\x"\n', "name: !!binary aaa\n", "name: !!timestamp 2001\n", "name: !!float x\n", "name: !!int ''\n",
    "name: *nowhere\n", "train: {epochs: 010}\n", "train: {epochs: 0x" + "f" * 5000 + "}\n", "train: {epochs: 1:30}\n",
    "#" * 300_000, "name: " + "x" * 300_000, "\ufeff", "\x00", "\x85", "\u2028", "'", '"',
]  # fmt: skip


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    """The bytes of a sweep file: of changed data, whose text may be changed once more, or of nothing in particular."""
    data = draw(st.one_of(from_valid(), from_valid(), from_valid(), SCHEMA, values))
    content = written(data).encode("utf-8", "surrogatepass")
    change = draw(
        st.sampled_from(("none", "none", "none", "none", "cut", "insert", "piece", "line", "bytes", "number"))
    )
    at = draw(st.integers(0, len(content)))
    if change == "cut":
        return content[:at]
    if change == "insert":
        return content[:at] + draw(st.binary(min_size=1, max_size=4)) + content[at:]
    if change == "piece":
        piece = draw(st.sampled_from(PIECES)).encode()
        return draw(st.sampled_from((piece + content, content + piece, content[:at] + piece + content[at:])))
    if change == "line":
        lines = content.splitlines(keepends=True) or [b""]
        number = draw(st.integers(0, len(lines) - 1))
        return b"".join([*lines[:number], lines[number], lines[number], *lines[number + 1 :]])
    if change == "bytes":
        return draw(st.binary(max_size=60))
    if change == "number":
        word = draw(st.sampled_from(WORDS)).encode("utf-8", "surrogatepass")
        return content.replace(b"2", word, 1)
    return content


SCHEMA = of_schema(json_schema(), json_schema()["$defs"])

_FOUND = plugins.discover()


_discovered = plugins.discover


def dry_run(arguments: list[str]) -> int:
    """The dry run, which knows the built-in plugins already and has no decoded images."""
    places = {"GPAF_BENCH_CACHE": str(Path("cache").absolute()), "GPAF_BENCH_DATA": str(Path("none").absolute())}

    def discover(folders: Any = ()) -> plugins.Catalogue:
        return _discovered(folders) if folders else _FOUND

    with mock.patch.dict(os.environ, places), mock.patch.object(plugins, "discover", discover):
        return sweep(arguments)


def _lay(content: bytes, folder: Path) -> list[str]:
    (folder / "x.yaml").write_bytes(content)
    return ["x.yaml", "--dry-run"]


READER = Reader(
    examples=texts(), lay=_lay, command=dry_run, show=lambda content: content[:3000].decode("utf-8", "backslashreplace")
)
