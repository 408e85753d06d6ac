"""Hashes must change with what a training computes, and with nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core import identity
from harness.core.identity import canonical_hash, code_hash, differences

# Values that are easily taken for one another, few enough that two mappings often agree.
LEAVES: st.SearchStrategy[Any] = st.sampled_from(
    [0, 0.0, -0.0, 1, 1.0, True, None, "1", "null", "", float("nan"), [], {}, "é"]
)
KEYS = st.sampled_from(["a", "b", "a.b"])
MAPPINGS = st.dictionaries(
    KEYS, LEAVES | st.lists(LEAVES, max_size=2) | st.dictionaries(KEYS, LEAVES, max_size=2), max_size=3
)

MODULE = '''"""What the module is for."""
from . import _helper


class Method:
    """What it is."""

    def scale(self, x, factor=2.0):
        # why
        return _helper.add(x * factor, "text")
'''
SAME = '''
from . import (
    _helper,
)
# another remark
class Method:
    def scale(self, x, factor = 2.0):
        """Scaled."""

        return (_helper.add(x*factor, u'text'))
'''
HELPER = "from ._deep import OFFSET\n\n\ndef add(x, y):\n    return x + OFFSET\n"


@given(MAPPINGS, MAPPINGS)
def test_differences_are_empty_just_when_hashes_are_equal(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert (differences(old, new) == []) == (canonical_hash(old) == canonical_hash(new))


@given(MAPPINGS)
def test_hash_ignores_order_and_survives_json(value: dict[str, Any]) -> None:
    reordered = dict(reversed(value.items()))
    assert canonical_hash(reordered) == canonical_hash(value)
    assert canonical_hash(json.loads(json.dumps(value))) == canonical_hash(value)


def test_hash_tells_types_apart_and_refuses_what_json_does_not_know() -> None:
    alike = [1, 1.0, True, "1", [1], {"1": 1}, None, "null", 0.1 + 0.2, 0.3, -0.0, 0.0]
    assert len({canonical_hash(value) for value in alike}) == len(alike)
    assert canonical_hash((1, 2)) == canonical_hash([1, 2])
    with pytest.raises(TypeError, match="PosixPath"):
        canonical_hash({"a": Path("b")})


def test_differences_read_well() -> None:
    old = {
        "train": {"epochs": 3, "patience": None, "warmup": 1},
        "method": {"code": "0a1b2c3d" * 8},
        "seeds": [0],
        "gone": {"x": 1},
    }
    new = {
        "train": {"epochs": 5, "patience": "1", "warmup": 1.0},
        "method": {"code": "4e5f6071" * 8},
        "seeds": [0, 1],
        "new": {"deep": {"y": "text", "empty": {}}},
    }
    assert differences(old, new) == [
        "gone.x: removed (was 1)",
        "method.code: changed (0a1b2c3d → 4e5f6071)",
        "new.deep.empty: added ({})",
        "new.deep.y: added (text)",
        "seeds: [0] → [0,1]",
        "train.epochs: 3 → 5",
        "train.patience: null → 1",
        "train.warmup: 1 → 1.0",
    ]
    assert differences({"x": 1}, {"x": "1"}, "data") == ['data.x: 1 → "1"']


def plugin(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    content = {"method": MODULE, "_helper": HELPER, "_deep": "OFFSET = 1\n", **files}
    for stem, source in content.items():
        (folder / f"{stem}.py").write_text(source)
    return folder / "method.py"


def test_code_hash_ignores_what_is_not_computed(tmp_path: Path) -> None:
    first = code_hash(plugin(tmp_path / "a"))
    helper = '"""Docstring."""\nfrom ._deep import OFFSET\ndef add(x, y): return x + OFFSET  # remark\n'
    same = plugin(tmp_path / "elsewhere", method=SAME, _helper=helper, unrelated="x = 1\n")
    renamed = same.rename(same.with_name("renamed.py"))
    assert code_hash(renamed) == first


@pytest.mark.parametrize(
    "changed",
    [
        {"method": MODULE.replace("factor=2.0", "factor=2.5")},
        {"method": MODULE.replace('"text"', '"other"')},
        {"method": MODULE.replace('"text"', 'b"text"')},
        {"method": MODULE.replace("x * factor", "x ** factor")},
        {"_helper": HELPER.replace("x + OFFSET", "x - OFFSET")},
        {"_deep": "OFFSET = 2\n"},
        {"_deep": "OFFSET = True\n"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_code_hash_covers_the_module_and_its_helpers(tmp_path: Path, changed: dict[str, str]) -> None:
    assert code_hash(plugin(tmp_path / "a")) != code_hash(plugin(tmp_path / "b", **changed))


def test_code_hash_follows_packages_parents_and_cycles(tmp_path: Path) -> None:
    def write(name: str, source: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        return path

    start = write("plugins/m.py", "def f():\n    from .pkg.inner import g\n    from ..shared import h\n")
    write("plugins/pkg/__init__.py", "")
    inner = write("plugins/pkg/inner.py", "from .. import m\ng = 1\n")
    shared = write("shared.py", "h = 1\n")
    hashes = [code_hash(start)]
    for path in (inner, shared, tmp_path / "plugins/pkg/__init__.py"):
        path.write_text(path.read_text() + "extra = 1\n")
        hashes.append(code_hash(start))
    assert len(set(hashes)) == 4


def test_the_building_blocks_of_a_method_belong_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "harness"
    (package / "activations").mkdir(parents=True)
    (package / "activations" / "__init__.py").write_text("")
    (package / "activations" / "base.py").write_text("A = 1\n")
    (package / "activations" / "window.py").write_text("from harness.activations.base import A\n")
    (package / "run").mkdir()
    (package / "run" / "directory.py").write_text("B = 1\n")
    monkeypatch.setattr(identity, "_HARNESS", package)
    method = tmp_path / "elsewhere" / "method.py"
    method.parent.mkdir()
    method.write_text("from harness.activations import window\nfrom harness.run.directory import B\n")
    before = code_hash(method)
    (package / "run" / "directory.py").write_text("B = 2\n")
    assert code_hash(method) == before
    (package / "activations" / "base.py").write_text("A = 2\n")
    assert code_hash(method) != before


def test_what_is_imported_by_its_public_name_belongs_to_the_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "harness"
    for name in ("activations/window.py", "networks/sites.py", "method.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("A = 1\n")
    monkeypatch.setattr(identity, "_HARNESS", package)
    method = tmp_path / "method.py"
    method.write_text("from harness.api import W4, Method, conv_sites\n")
    hashes = [code_hash(method)]
    for name in ("activations/window.py", "networks/sites.py", "method.py"):
        (package / name).write_text("A = 2\n")
        hashes.append(code_hash(method))
    assert len(set(hashes)) == 3 and hashes[2] == hashes[3]


def test_moving_a_module_of_the_harness_changes_no_code(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("from harness.method import Method\n")
    (tmp_path / "b.py").write_text("from harness.contracts.method import Method\n")
    assert code_hash(tmp_path / "a.py") == code_hash(tmp_path / "b.py")
