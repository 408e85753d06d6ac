"""A sweep file is read as it was meant, or refused in one line that says where and what."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.dataset import Augmentation
from harness.errors import RequestError
from harness.plugins import discover
from harness.spec import AugmentOverrides, BackboneSpec, ConfirmSpec, SourceSpec, SweepSpec, json_schema, main
from harness.spec_loading import check_against, load_mapping, load_sweep, read_options
from harness.yaml_source import YamlSource

DOCS = Path(__file__).parents[1] / "docs"

DESIGN = """\
name: gpaf_vs_all
backbone: {name: resnet50, weights: IMAGENET1K_V2}
datasets: [isic2018, brain_mri, pathmnist]
methods: [linear_probe, full_finetune, bn_affine, lora_c, metalr, conv_adapter, curvature_tuning, gpaf]
train: {epochs: 30, batch_size: 64, image_size: 224, precision: bf16}
search: {engine: optuna, sampler: tpe, pruner: none, trials: 30, seeds: [0], metric: balanced_accuracy}
confirm: {seeds: 10, control: gpaf, correction: holm, margin: 0.01}
launch: {kind: local, workers: 16}
"""

BASE = """\
name: small
backbone:
  name: resnet20
  weights: null
datasets: [toy]
methods:
  - probe
  - tuned:
      method: probe
      rank: 4
train:
  epochs: 2
search:
  seeds: [0]
"""

PLUGINS = '''
from typing import Literal

from pydantic import field_validator

from harness.dataset import Dataset, Options
from harness.method import Method
from harness.space import Choice, Fixed, Float, Int


class Probe(Method):
    """A probe."""

    name = "probe"
    space = {
        "lr": Float(1e-3, 1e-5, 1e-1, log=True),
        "rank": Int(4, 1, 16),
        "kind": Choice("a", ("a", "b")),
    }

    def adapt(self, model, hp):
        model.backbone.eval()


class ToyOptions(Options):
    size: int = 4
    side: Literal[28, 64] = 28
    views: tuple[str, ...] = ("front",)

    @field_validator("views")
    @classmethod
    def _sorted(cls, views):
        if list(views) != sorted(views):
            raise ValueError("list the views in order")
        return views


class Toy(Dataset):
    """A toy."""

    name = "toy"
    title = "Toy"
    modality = "none"
    licence = "CC0"
    citation = "none"
    Options = ToyOptions
    classes = ("a", "b")
    files = ()

    def records(self, root):
        return []
'''


def write(folder: Path, text: str | bytes, name: str = "x.yaml") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(path: Path, *assignments: str) -> str:
    with pytest.raises(RequestError) as caught:
        load_sweep(path, assignments)
    message = str(caught.value)
    assert "\n" not in message
    assert not re.search(r"Input should|pydantic|value_error|\[type=|Field required", message)
    return message.replace(f"{path.parent}/", "")


def edited(old: str, new: str) -> str:
    assert old in BASE
    return BASE.replace(old, new)


BAD_FILES: dict[str, tuple[str | bytes, str]] = {
    "unknown top key": (BASE + "serach: {}\n", "x.yaml:15: serach: unknown key; did you mean 'search'?"),
    "unknown key": (
        edited("epochs: 2", "epoch: 2"),
        "x.yaml:12: train.epoch: unknown key; did you mean 'epochs'?",
    ),
    "unknown key, nothing close": (
        BASE + "split: {zzz: 1}\n",
        "x.yaml:15: split.zzz: unknown key; known: kind, seed",
    ),
    "unknown key in the backbone": (
        edited("name: resnet20", "nam: resnet20"),
        "x.yaml:3: backbone.nam: unknown key; did you mean 'name'? (and 1 more)",
    ),
    "unknown augmentation": (
        edited("epochs: 2", "augment: {rotat: 5}"),
        "x.yaml:12: train.augment.rotat: unknown key; did you mean 'rotate'?",
    ),
    "augmentation out of range": (
        edited("epochs: 2", "augment: {zoom: 2}"),
        "x.yaml:12: train.augment.zoom: must be below 1, got 2",
    ),
    "augmentation of a wrong kind": (
        edited("epochs: 2", "augment: 3"),
        "x.yaml:12: train.augment: expected true, false or a mapping of augmentation settings, got 3",
    ),
    "word for a number": (
        edited("epochs: 2", "epochs: many"),
        "x.yaml:12: train.epochs: expected a whole number, got 'many'",
    ),
    "text that looks like a number": (
        edited("epochs: 2", "epochs: '2'"),
        "x.yaml:12: train.epochs: expected a whole number, got '2'",
    ),
    "true is no number": (
        edited("epochs: 2", "epochs: true"),
        "x.yaml:12: train.epochs: expected a whole number, got True",
    ),
    "real for a whole number": (
        edited("epochs: 2", "epochs: 2.5"),
        "x.yaml:12: train.epochs: expected a whole number, got 2.5",
    ),
    "number out of range": (
        edited("epochs: 2", "epochs: 0"),
        "x.yaml:12: train.epochs: must be at least 1, got 0",
    ),
    "number above its range": (
        edited("epochs: 2", "image_size: 2000"),
        "x.yaml:12: train.image_size: must be at most 1024, got 2000",
    ),
    "not above zero": (
        edited("epochs: 2", "clip_norm: 0"),
        "x.yaml:12: train.clip_norm: must be above 0, got 0",
    ),
    "infinite number": (
        edited("epochs: 2", "clip_norm: .inf"),
        "x.yaml:12: train.clip_norm: expected a finite number, got inf",
    ),
    "word outside the list": (
        edited("epochs: 2", "precision: fp8"),
        "x.yaml:12: train.precision: 'fp8' is not allowed; known: auto, bf16, fp16, fp32",
    ),
    "section without mapping": (
        edited("train:\n  epochs: 2", "train: 2"),
        "x.yaml:11: train: expected a mapping (key: value), got 2",
    ),
    "empty section": (
        edited("train:\n  epochs: 2", "train:"),
        "x.yaml:11: train: expected a mapping (key: value), got nothing",
    ),
    "missing section": (
        edited("backbone:\n  name: resnet20\n  weights: null\n", ""),
        "x.yaml:1: backbone: missing; add it, for example `backbone: {name: resnet50, weights: IMAGENET1K_V2",
    ),
    "missing key": (
        edited("  name: resnet20\n", ""),
        "x.yaml:2: backbone.name: missing; add it, for example `name: resnet50`",
    ),
    "misspelt section": (
        edited("backbone:", "backbon:"),
        "x.yaml:2: backbon: unknown key; did you mean 'backbone'? (and 1 more)",
    ),
    "number for text": (
        edited("name: small", "name: 2024"),
        "x.yaml:1: name: expected text, got 2024; put it in quotes",
    ),
    "boolean for text": (
        edited("name: small", "name: no"),
        "x.yaml:1: name: expected text, got False; put it in quotes",
    ),
    "name is no label": (
        edited("name: small", "name: a/b"),
        "x.yaml:1: name: 'a/b' is no label; use letters",
    ),
    "name too long": (edited("small", "x" * 65), "x.yaml:1: name: longer than 64 characters"),
    "label is no label": (
        edited("- tuned:", "- _tuned:"),
        "x.yaml:8: methods._tuned: '_tuned' is no label; use letters",
    ),
    "wrong kind of weights": (
        edited("weights: null", "weights: 3"),
        "x.yaml:4: backbone.weights: expected a name, a mapping or null, got 3",
    ),
    "empty weights": (
        edited("weights: null", "weights: ''"),
        "x.yaml:4: backbone.weights: is empty; write a name",
    ),
    "weights file absent": (
        edited("weights: null", "weights: no.safetensors"),
        "x.yaml:4: backbone.weights: no such file: ",
    ),
    "weights file of a method absent": (
        edited("rank: 4", "backbone: {weights: no.safetensors}"),
        "x.yaml:10: methods.tuned.backbone.weights: no such file: ",
    ),
    "source without method": (
        edited("weights: null", "weights: {dataset: toy}"),
        "x.yaml:4: backbone.weights.method: missing; add it, for example `method: full_finetune`",
    ),
    "source without dataset name": (
        edited("weights: null", "weights: {method: probe, dataset: {size: 3}}"),
        "x.yaml:4: backbone.weights.dataset.dataset: missing",
    ),
    "source with a wrong override": (
        edited("weights: null", "weights:\n    method: probe\n    dataset: toy\n    train: {epoch: 3}"),
        "x.yaml:7: backbone.weights.train.epoch: unknown key; did you mean 'epochs'?",
    ),
    "method's backbone": (
        edited("rank: 4", "backbone: {weight: null}"),
        "x.yaml:10: methods.tuned.backbone.weight: unknown key; did you mean 'weights'?",
    ),
    "no datasets": (edited("[toy]", "[]"), "x.yaml:5: datasets: is empty; list at least one"),
    "datasets as text": (
        edited("[toy]", "toy"),
        "x.yaml:5: datasets: expected a mapping (key: value), got 'toy'",
    ),
    "number as a dataset": (
        edited("[toy]", "[3]"),
        "x.yaml:5: datasets.0: expected a name, or one name with its",
    ),
    "number as a dataset's options": (
        edited("[toy]", "{toy: 3}"),
        "x.yaml:5: datasets.toy: expected a mapping (key: value), got 3",
    ),
    "method twice": (
        edited("- probe", "- probe\n  - probe"),
        "x.yaml:8: methods.1: 'probe' is listed twice; label one of them anew, such as `probe_2`",
    ),
    "label twice": (
        edited("[toy]", "\n  toy:\n  toy: {size: 3}"),
        "x.yaml:7: datasets.toy: written twice, first in line 6; remove one",
    ),
    "seed twice": (
        edited("seeds: [0]", "seeds: [0, 1, 0]"),
        "x.yaml:14: search.seeds.2: seed 0 is listed twice",
    ),
    "negative seed": (
        edited("seeds: [0]", "seeds: [-1]"),
        "x.yaml:14: search.seeds.0: must be at least 0, got -1",
    ),
    "no seeds": (edited("seeds: [0]", "seeds: []"), "x.yaml:14: search.seeds: is empty; list at least one"),
    "one seed without a list": (
        edited("seeds: [0]", "seeds: 0"),
        "x.yaml:14: search.seeds: expected a list, got 0",
    ),
    "unknown metric": (
        edited("seeds: [0]", "metric: balanced_acuracy"),
        "x.yaml:14: search.metric: 'balanced_acuracy' is not allowed; did you mean 'balanced_accuracy'?",
    ),
    "unknown engine": (
        edited("seeds: [0]", "engine: ray"),
        "x.yaml:14: search.engine: 'ray' is not allowed; known: optuna",
    ),
    "seed that tuned": (
        BASE + "confirm: {seeds: [7, 0]}\n",
        "x.yaml:15: confirm.seeds.1: seed 0 tunes in search.seeds; take fresh ones",
    ),
    "confirm seed twice": (
        BASE + "confirm: {seeds: [7, 7]}\n",
        "x.yaml:15: confirm.seeds.1: seed 7 is listed twice",
    ),
    "no confirm seed": (
        BASE + "confirm: {seeds: 0}\n",
        "x.yaml:15: confirm.seeds: must be at least 1, got 0",
    ),
    "confirm seeds as text": (
        BASE + "confirm: {seeds: ten}\n",
        "x.yaml:15: confirm.seeds: expected a number of seeds or a list of seeds, got 'ten'",
    ),
    "control is no method": (
        BASE + "confirm: {control: tund}\n",
        "x.yaml:15: confirm.control: no such name 'tund'; did you mean 'tuned'?",
    ),
    "workers as a wrong word": (
        BASE + "launch: {workers: atuo}\n",
        "x.yaml:15: launch.workers: 'atuo' is not allowed; did you mean 'auto'?",
    ),
    "no such launcher": (
        BASE + "launch: {kind: ray}\n",
        "x.yaml:15: launch.kind: 'ray' is not allowed; known: local",
    ),
    "plugin folder absent": (BASE + "plugins:\n  - ../nowhere\n", "x.yaml:16: plugins.0: no such folder: "),
    "several mistakes": (
        edited("epochs: 2", "epochs: 0\n  batch_size: 1\n  warmup: 1"),
        "x.yaml:12: train.epochs: must be at least 1, got 0 (and 2 more)",
    ),
    "key twice": (BASE + "name: again\n", "x.yaml:15: name: written twice, first in line 1; remove one"),
    "nested key twice": (
        edited("epochs: 2", "epochs: 2\n  epochs: 3"),
        "x.yaml:13: train.epochs: written twice, first in line 12; remove one",
    ),
    "key is a number": (BASE + "train2: {1: 2}\n", "x.yaml:15: train2.'1' as a key: put it in quotes"),
    "key is a boolean": (BASE + "on: 2\n", "x.yaml:15: 'on' as a key: put it in quotes"),
    "key is a list": (BASE + "? [a]\n: 2\n", "x.yaml:15: a list or mapping as a key: put it in quotes"),
    "python tag": (
        edited("name: small", "name: !!python/name:os.system x"),
        "x.yaml:1: name: the tag !!python/name:os.system is not allowed; remove it",
    ),
    "tag that does not fit": (
        edited("epochs: 2", "epochs: !!int two"),
        "x.yaml:12: train.epochs: 'two' is no int",
    ),
    "refers to itself": (BASE + "plugins: &a [*a]\n", "x.yaml:15: plugins.0: refers to itself; write it out"),
    "tab": (
        edited("  epochs: 2", "\tepochs: 2"),
        "x.yaml:12: not valid YAML: found character '\\t' that cannot start",
    ),
    "bracket left open": (edited("[toy]", "[toy"), "x.yaml:6: not valid YAML: expected ',' or ']'"),
    "two documents": (BASE + "---\nname: b\n", "x.yaml:15: not valid YAML: but found another document"),
    "control character": (edited("small", "sm\x07all"), "x.yaml:1: not valid YAML: unprintable character"),
    "nested too deeply": ("name: " + "[" * 600 + "]" * 600, "x.yaml:1: nested too deeply"),
    "list as document": (
        "# remark\n- name\n",
        "x.yaml:2: expected keys and values such as `name: my_sweep`, got a list",
    ),
    "text as document": (
        "hello\n",
        "x.yaml:1: expected keys and values such as `name: my_sweep`, got 'hello'",
    ),
    "empty": ("# nothing\n", "x.yaml:1: the file is empty"),
    "not UTF-8": (
        BASE.encode() + b"# \xe9t\xe9\n",
        "x.yaml:15: not UTF-8 text; save the file with UTF-8 encoding",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_refused_in_one_line(tmp_path: Path, case: str) -> None:
    text, expected = BAD_FILES[case]
    message = refusal(write(tmp_path, text))
    if expected.endswith(("'?", " more)", "nothing")):
        assert message == expected
    assert message.startswith(expected)


def test_the_base_of_the_bad_files_is_good(tmp_path: Path) -> None:
    assert load_sweep(write(tmp_path, BASE)).spec.methods["tuned"].hyperparameters == {"rank": 4}


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("train.epochs=many", "--set train.epochs: expected a whole number, got 'many'"),
        ("train.epoch=3", "--set train.epoch: unknown key; did you mean 'epochs'?"),
        ("train={epochs: 3, epoch: 4}", "--set train.epoch: unknown key; did you mean 'epochs'?"),
        ("train.epochs", "--set train.epochs: expected KEY=VALUE, such as train.epochs=3"),
        ("=3", "--set =3: expected KEY=VALUE, such as train.epochs=3"),
        ("train..epochs=3", "--set train..epochs=3: expected KEY=VALUE"),
        ("train.epochs=", "--set train.epochs: no value after '='; write null for none"),
        ("train.epochs=[1", "--set train.epochs: not valid YAML: expected ',' or ']'"),
        ("train={a: 1, a: 2}", "--set train: a: written twice"),
        ("name.x=3", "--set name.x: name is 'small' and has no keys; set name as a whole"),
        ("search.seeds.5=3", "--set search.seeds.5: the list has 1 items, numbered from 0"),
        ("search.seeds.x=3", "--set search.seeds.x: 'x' should be the number of an item, from 0"),
        ("datasets.0=3", "--set datasets.0: expected a name, or one name with its settings"),
        ("confirm.control=tund", "--set confirm.control: no such name 'tund'; did you mean 'tuned'?"),
    ],
)
def test_a_bad_assignment_is_refused_in_one_line(tmp_path: Path, assignment: str, expected: str) -> None:
    assert refusal(write(tmp_path, BASE), assignment).startswith(expected)


def test_assignments_reach_every_part_of_the_file(tmp_path: Path) -> None:
    text = "shared: &shared {rank: 2}\n" + BASE.replace("- probe\n", "- probe\n  - r1.5: *shared\n  - r2: *shared\n")
    source = YamlSource.read(write(tmp_path, text))
    for assignment in [
        "train.epochs=5",
        "confirm.seeds=[7, 8]",
        "search.seeds.0=3",
        "methods.probe.lr={log: [1e-4, 1e-2]}",
        "methods.tuned.rank=8",
        "methods.r1.5.rank=16",
        "methods.extra.method=probe",
        "datasets.toy.size=12",
        "launch.workers=2",
        "launch.workers=3",
    ]:
        source.set(assignment)
    del source.data["shared"]
    spec = SweepSpec.model_validate(source.data)
    assert (spec.train.epochs, spec.confirm.seeds, spec.search.seeds, spec.launch.workers) == (
        5,
        [7, 8],
        [3],
        3,
    )
    assert {label: method.hyperparameters for label, method in spec.methods.items()} == {
        "probe": {"lr": {"log": [1e-4, 1e-2]}},
        "r1.5": {"rank": 16},
        # Its alias shares the mapping in the file, and must not share the change.
        "r2": {"rank": 2},
        "tuned": {"rank": 8},
        "extra": {},
    }
    assert spec.datasets["toy"].options == {"size": 12}


def test_place_names_the_line_of_the_deepest_part_that_exists(tmp_path: Path) -> None:
    path = write(tmp_path, BASE)
    loaded = load_sweep(path, ["train.batch_size=4", "split.seed=1"])
    assert loaded.place() == f"{path}:1"
    assert loaded.place("train", "epochs") == f"{path}:12: train.epochs"
    assert loaded.place("train", "precision") == f"{path}:11: train.precision"
    assert loaded.place("train", "batch_size") == "--set train.batch_size"
    assert loaded.place("split") == "--set split"
    assert loaded.place("split", "kind") == f"{path}:1: split.kind"
    assert loaded.place("methods", "probe", "lr") == f"{path}:7: methods.probe.lr"
    assert loaded.place("methods", "tuned", "rank") == f"{path}:10: methods.tuned.rank"
    assert loaded.place("methods", 1) == f"{path}:8: methods.1"


def test_numbers_dates_and_merged_mappings(tmp_path: Path) -> None:
    text = "a: [1e-4, 1E3, -2.5e-3, .5, 1_000, 0x10, .inf, 1, 1e, e1]\nday: 2024-01-02\nb: &b {x: 1, y: 2}\n"
    source = YamlSource.read(write(tmp_path, text + "c:\n  <<: *b\n  y: 3\n"))
    assert source.data["a"] == [1e-4, 1e3, -2.5e-3, 0.5, 1000, 16, float("inf"), 1, "1e", "e1"]
    assert [type(value) for value in source.data["a"][:3]] == [float, float, float]
    assert source.data["day"] == "2024-01-02"
    assert source.data["c"] == {"x": 1, "y": 3}
    assert source.place(["c", "y"]).endswith("x.yaml:6: c.y")


@given(st.floats(allow_nan=False))
def test_every_float_is_read_back(value: float) -> None:
    source = YamlSource({})
    text = repr(value).replace("inf", ".inf")
    source.set(f"x={text}")
    assert source.data == {"x": value}
    assert isinstance(source.data["x"], float)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("swep.yaml", "no such file; did you mean 'sweep.yaml'?"),
        (".", "not a file; give the path of a sweep file"),
    ],
)
def test_a_file_that_is_not_there(tmp_path: Path, name: str, expected: str) -> None:
    write(tmp_path, BASE, "sweep.yaml")
    with pytest.raises(RequestError, match=re.escape(f"{tmp_path / name}: {expected}")):
        load_sweep(tmp_path / name)


def test_the_example_of_the_design_loads(tmp_path: Path) -> None:
    spec = load_sweep(write(tmp_path, DESIGN)).spec
    assert list(spec.methods)[-1] == spec.confirm.control == "gpaf"
    assert spec.datasets["brain_mri"].dataset == "brain_mri"
    assert (spec.launch.kind, spec.launch.workers, spec.launch.threads) == ("local", 16, "auto")
    assert spec.train.precision == "bf16"
    assert not spec.search.minimised


def test_every_form_of_a_listing(tmp_path: Path) -> None:
    listed = "datasets: [toy, {big: {dataset: toy, size: 9}}]"
    mapped = "datasets: {toy: null, big: {dataset: toy, size: 9}}"
    spelled = "datasets: {toy: {options: {}}, big: {dataset: toy, options: {size: 9}}}"
    specs = [load_sweep(write(tmp_path, edited("datasets: [toy]", form))).spec for form in (listed, mapped, spelled)]
    assert specs[0] == specs[1] == specs[2]
    assert specs[0].datasets["big"].model_dump() == {"dataset": "toy", "options": {"size": 9}}


FULL = """\
name: full
plugins: [mine]
backbone:
  name: resnet20
  weights:
    method: probe
    dataset: {dataset: toy, size: 8}
    train: {epochs: 1, augment: {rotate: 5}}
    hyperparameters: {rank: 2}
datasets: [toy]
methods:
  probe:
  random: {method: probe, backbone: {weights: null}, lr: {log: [1e-4, 1e-2]}}
  other: {method: probe, backbone: {weights: own.safetensors}}
  resized: {method: probe, backbone: {name: resnet18}}
train: {augment: false, patience: 3, clip_norm: 1}
confirm: {seeds: [4, 5], control: probe}
"""


def full(folder: Path) -> Path:
    (folder / "mine").mkdir()
    (folder / "mine" / "toys.py").write_text(PLUGINS)
    write(folder, b"", "own.safetensors")
    return write(folder, FULL)


def test_backbones_and_paths_are_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = full(tmp_path)
    monkeypatch.chdir(tmp_path.parent)
    spec = load_sweep(Path(tmp_path.name) / path.name).spec
    assert spec.plugins == [str(tmp_path.resolve() / "mine")]
    source = spec.backbone.weights
    assert isinstance(source, SourceSpec)
    merged = spec.train.merged(source.train)
    assert (merged.epochs, merged.augment, merged.patience) == (1, {"rotate": 5.0}, 3)
    backbones = {label: method.backbone for label, method in spec.methods.items()}
    own = str(tmp_path.resolve() / "own.safetensors")
    assert backbones == {
        "probe": None,
        "random": BackboneSpec(name="resnet20", weights=None),
        "other": BackboneSpec(name="resnet20", weights=own),
        "resized": BackboneSpec(name="resnet18", weights=source),
    }
    assert [keys for keys, _ in spec.sources()] == [("backbone", "weights")]


def test_the_stored_form_reads_back_as_the_same(tmp_path: Path) -> None:
    for path in (full(tmp_path), write(tmp_path, BASE, "b.yaml"), write(tmp_path, DESIGN, "d.yaml")):
        spec = load_sweep(path).spec
        stored = json.loads(json.dumps(spec.model_dump(mode="json")))
        again = SweepSpec.model_validate(stored)
        assert again == spec
        assert again.model_dump(mode="json") == stored


@given(tuning=st.sets(st.integers(995, 1010)), count=st.integers(1, 12))
def test_a_count_of_confirm_seeds_never_meets_a_tuning_seed(tuning: set[int], count: int) -> None:
    seeds = ConfirmSpec(seeds=count).seed_list(sorted(tuning))
    assert len(seeds) == count
    fresh = [seed for seed in range(1000, 1100) if seed not in tuning]
    assert list(seeds) == fresh[:count]
    assert ConfirmSpec(seeds=[5, 3]).seed_list(sorted(tuning)) == (5, 3)


def test_augmentation_has_the_fields_and_defaults_of_the_contract() -> None:
    assert AugmentOverrides().model_dump() == dataclasses.asdict(Augmentation())


@pytest.mark.parametrize("good", [BASE, DESIGN, FULL])
def test_names_options_and_hyperparameters_are_checked(tmp_path: Path, good: str) -> None:
    path = full(tmp_path)
    catalogue = discover([tmp_path / "mine"])
    text = good
    if good is DESIGN:
        text = re.sub(
            r"datasets: .*",
            "datasets: [toy]",
            re.sub(r"methods: .*", "methods: {gpaf: {method: probe}}", good),
        )
    loaded = load_sweep(write(tmp_path, text, path.name))
    check_against(loaded.spec, catalogue, loaded.place)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("  other: {method: probe, backbone: {weights: own.safetensors}}", "  prob:",
         "x.yaml:14: methods.prob: no method is called 'prob'; did you mean 'probe'?"),
        ("{method: probe, backbone: {weights: null}", "{method: lora, backbone: {weights: null}",
         "x.yaml:13: methods.random.method: no method is called 'lora'"),
        ("lr: {log: [1e-4, 1e-2]}", "rnk: 3",
         "x.yaml:13: methods.random.rnk: no such hyperparameter; did you mean 'rank'?"),
        ("lr: {log: [1e-4, 1e-2]}", "lr: fast",
         "x.yaml:13: methods.random.lr: expected a number, got 'fast'"),
        ("lr: {log: [1e-4, 1e-2]}", "kind: c",
         "x.yaml:13: methods.random.kind: 'c' is not one of ['a', 'b']"),
        ("datasets: [toy]", "datasets: [toyy]",
         "x.yaml:10: datasets.toyy: no dataset is called 'toyy'; did you mean 'toy'?"),
        ("datasets: [toy]", "datasets: [{toy: {sise: 3}}]",
         "x.yaml:10: datasets.toy.sise: unknown key; did you mean 'size'?"),
        ("datasets: [toy]", "datasets: [{toy: {size: big}}]",
         "x.yaml:10: datasets.toy.size: expected a whole number, got 'big'"),
        ("datasets: [toy]", "datasets: [{toy: {side: 32}}]",
         "x.yaml:10: datasets.toy.side: 32 is not allowed; known: 28, 64"),
        ("datasets: [toy]", "datasets: [{toy: {views: [b, a]}}]",
         "x.yaml:10: datasets.toy.views: list the views in order"),
        ("datasets: [toy]", "datasets: [{toy: {views: [3]}}]",
         "x.yaml:10: datasets.toy.views.0: expected text, got 3"),
        ("datasets: [toy]", "datasets: [{d: {dataset: torn}}]",
         "x.yaml:10: datasets.d.dataset: the plugin 'torn' is broken: "),
        ("method: probe\n", "method: prob\n",
         "x.yaml:6: backbone.weights.method: no method is called 'prob'"),
        ("size: 8", "sise: 8", "x.yaml:7: backbone.weights.dataset.sise: unknown key; did you mean 'size'?"),
        ("dataset: toy, size", "dataset: tuy, size",
         "x.yaml:7: backbone.weights.dataset.dataset: no dataset is called"),
        ("{rank: 2}", "{rnk: 2}", "x.yaml:9: backbone.weights.hyperparameters.rnk: no such hyperparameter"),
        ("{rank: 2}", "{rank: {int: [1, 4]}}",
         "x.yaml:9: backbone.weights.hyperparameters.rank: this training is not searched; give one value"),
    ],
)  # fmt: skip
def test_a_wrong_name_or_option_is_refused(tmp_path: Path, old: str, new: str, expected: str) -> None:
    path = full(tmp_path)
    assert FULL.count(old) == 1
    path.write_text(FULL.replace(old, new))
    (tmp_path / "mine" / "torn.py").write_text("import nowhere_to_be_found\n")
    loaded = load_sweep(path)
    with pytest.raises(RequestError) as caught:
        check_against(loaded.spec, discover([tmp_path / "mine"]), loaded.place)
    message = str(caught.value).replace(f"{tmp_path}/", "")
    assert message.startswith(expected)
    assert "\n" not in message


def test_options_are_read_as_the_plugin_declares_them(tmp_path: Path) -> None:
    full(tmp_path)
    toy = discover([tmp_path / "mine"]).dataset("toy", "here").cls
    options = read_options(toy, {"views": ["front", "side"]}, lambda *keys: ".".join(keys))
    assert options.model_dump() == {"size": 4, "side": 28, "views": ("front", "side")}


def test_a_mapping_without_a_file() -> None:
    data = {"name": "x", "backbone": {"name": "r"}, "datasets": {"toy": {}}, "methods": {"probe": {}}}
    before = json.dumps(data)
    loaded = load_mapping(data, ["methods.probe.rank=3", "train.epochs=1"])
    assert json.dumps(data) == before
    assert loaded.spec.methods["probe"].hyperparameters == {"rank": 3}
    assert loaded.place("backbone", "name") == "backbone.name"
    with pytest.raises(RequestError, match=r"^name: 'x y' is no label"):
        load_mapping({**data, "name": "x y"})


def test_the_specification_is_frozen() -> None:
    spec = load_mapping(yaml.safe_load(BASE)).spec
    with pytest.raises(ValidationError, match="frozen"):
        setattr(spec.train, "epochs", 3)  # noqa: B010  (mypy knows that it cannot be set)


def test_the_committed_schema_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--schema"]) == 0
    assert capsys.readouterr().out == (DOCS / "sweep.schema.json").read_text()


def test_the_schema_describes_the_forms_of_the_file() -> None:
    schema = json_schema()
    for section in ("datasets", "methods"):
        kinds = [form["type"] for form in schema["properties"][section]["anyOf"]]
        assert sorted(kinds) == ["array", "object"]
        items = next(form for form in schema["properties"][section]["anyOf"] if form["type"] == "array")["items"]
        assert {"type": "string"} in items["anyOf"]
    assert schema["required"] == ["name", "backbone", "datasets", "methods"]


def test_every_key_is_documented() -> None:
    schema = json_schema()
    manual = (DOCS / "sweep-file.md").read_text()
    sections: list[dict[str, Any]] = [schema, *schema["$defs"].values()]
    for section in sections:
        for key, form in section.get("properties", {}).items():
            assert f"`{key}`" in manual, key
            assert form.get("description") or "$ref" in form, key


def test_the_example_of_the_manual_loads(tmp_path: Path) -> None:
    manual = (DOCS / "sweep-file.md").read_text()
    examples = re.findall(r"```yaml\n(name:.*?)```", manual, re.DOTALL)
    assert examples
    for example in examples:
        load_sweep(write(tmp_path, example))
