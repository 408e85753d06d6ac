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
from sweep_texts import BASE, DESIGN, PLUGINS, edited, write

from harness.core.errors import RequestError
from harness.data.options import read_options
from harness.dataset import Augmentation, Dataset
from harness.plugins import discover
from harness.spec.entries import BackboneSpec, SourceSpec
from harness.spec.sections import ConfirmSpec, SweepSpec
from harness.spec.source import YamlSource
from harness.spec.train import AugmentOverrides
from harness.studies.loading import check_against, load_mapping, load_sweep
from harness.studies.schema import main
from harness.studies.schema import schema as json_schema

DOCS = Path(__file__).parents[2] / "docs"


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


def test_every_form_of_a_listing(tmp_path: Path) -> None:
    listed = "datasets: [toy, {big: {dataset: toy, size: 9}}]"
    mapped = "datasets: {toy: null, big: {dataset: toy, size: 9}}"
    spelled = "datasets: {toy: {options: {}}, big: {dataset: toy, options: {size: 9}}}"
    specs = [load_sweep(write(tmp_path, edited("datasets: [toy]", form))).spec for form in (listed, mapped, spelled)]
    assert specs[0] == specs[1] == specs[2]
    assert specs[0].datasets["big"].model_dump() == {
        "dataset": "toy",
        "options": {"size": 9},
        "domain": None,
        "task": None,
    }


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


def test_the_family_of_comparisons_is_settled_by_the_control_unless_it_is_said(tmp_path: Path) -> None:
    for confirm, family in [
        ("{}", "all_pairs"),
        ("{family: null}", "all_pairs"),
        ("{control: probe}", "vs_control"),
        ("{control: probe, family: all_pairs}", "all_pairs"),
        ("{control: probe, family: vs_control, looks: [5, 10]}", "vs_control"),
    ]:
        spec = load_sweep(write(tmp_path, BASE + f"confirm: {confirm}\n")).spec
        assert spec.confirm.family == family, confirm
        # What analyses a run reads the stored form, and need not know the rule.
        assert spec.model_dump(mode="json")["confirm"]["family"] == family, confirm
    assert spec.confirm.looks == [5, 10]


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
        ("datasets: [toy]\n", "datasets: [toy]\nsearch: {metric: balanced_acuracy}\n",
         "x.yaml:11: search.metric: no metric is called 'balanced_acuracy'; did you mean 'balanced_accuracy'?"),
        ("datasets: [toy]\n", "datasets: [toy]\nsearch: {metric: kappa_quadratic}\n",
         "x.yaml:11: search.metric: kappa_quadratic needs classes in an order, and those of toy have none"),
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
    toy = discover([tmp_path / "mine"]).find(Dataset, "toy", "here").cls
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


def test_a_twin_is_the_control_once_more() -> None:
    data = {**yaml.safe_load(BASE), "methods": [{"probe": {"method": "linear_probe", "rank": 3}}, "lora_c"]}
    spec = load_mapping({**data, "confirm": {"control": "probe", "twin": True}}).spec
    assert list(spec.methods) == ["probe", "lora_c", "probe_twin"] and spec.compared == 2
    assert spec.methods["probe_twin"] == spec.methods["probe"]
    # What is recorded of a sweep reads as the same sweep.
    assert load_mapping(spec.model_dump(mode="json")).spec == spec
    with pytest.raises(RequestError, match=r"confirm.twin: needs confirm.control"):
        load_mapping({**data, "confirm": {"twin": True}})
    taken = [*data["methods"], {"probe_twin": {"method": "lora_c"}}]
    with pytest.raises(RequestError, match=r"methods.probe_twin: is the name of the control's twin"):
        load_mapping({**data, "methods": taken, "confirm": {"control": "probe", "twin": True}})


def test_the_specification_is_frozen() -> None:
    spec = load_mapping(yaml.safe_load(BASE)).spec
    with pytest.raises(ValidationError, match="frozen"):
        setattr(spec.train, "epochs", 3)  # noqa: B010  (mypy knows that it cannot be set)


def test_a_stem_may_be_written_in_the_name() -> None:
    spelled = BackboneSpec.model_validate({"name": "resnet18:small_stem"})
    assert spelled == BackboneSpec.model_validate({"name": "resnet18", "stem": "small"})
    assert spelled.network == "resnet18:small_stem" and spelled.declared()["stem"] == "small"
    # What a declaration said of a network before there were stems stays true.
    plain = BackboneSpec.model_validate({"name": "resnet18"})
    assert plain.network == "resnet18" and "stem" not in plain.declared()


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
    assert schema["required"] == ["name", "datasets", "methods"]
    assert schema["anyOf"] == [{"required": ["backbone"]}, {"required": ["backbones"]}]


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
