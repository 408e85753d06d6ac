"""Every number, text, list and level of a sweep file has a bound that holds before anything is built from it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sweep_texts import BASE, PLUGINS, edited, refusal, write
from tiny import ROOT

from harness.core.errors import RequestError
from harness.method import Method
from harness.plugins import Catalogue, discover
from harness.space.intervals import ANY, SHARED, Interval, interval, interval_of
from harness.spec.sections import SweepSpec
from harness.spec.source import YamlSource
from harness.studies.loading import check_against, load_mapping, load_sweep
from harness.studies.schema import schema as json_schema

BOMB = "".join(f"b{n}: &b{n} [{', '.join([f'*b{n - 1}'] * 9)}]\n" for n in range(1, 10))

TOO_MUCH: dict[str, tuple[str, str]] = {
    "confirm seeds": (BASE + "confirm: {seeds: 99999999999}\n", "confirm.seeds: must be at most 1000, got 99999999999"),
    "trials": (edited("seeds: [0]", "trials: 999999999999"), "search.trials: must be at most 10000, got 999999999999"),
    "trials of all": (
        edited("seeds: [0]", f"trials: 10000\n  seeds: {list(range(100))}"),
        "search.trials: 2,000,022 trials of all methods and datasets; at most 1,000,000 fit into a run",
    ),
    "a seed of 2^63": (edited("[0]", "[9223372036854775808]"), "seeds.0: must be at most 9007199254740991, got 92233"),
    "a seed of a hundred digits": (edited("[0]", f"[{'9' * 100}]"), "search.seeds.0: a number of 100 characters; no"),
    "5,000 digits": (edited("epochs: 2", f"epochs: {'9' * 5000}"), "train.epochs: a number of 5,000 characters; no"),
    "hexadecimal": (edited("epochs: 2", f"epochs: 0x{'f' * 5000}"), "train.epochs: a number of 5,002 characters; no"),
    "huge epochs": (edited("epochs: 2", "epochs: 1e30"), "train.epochs: expected a whole number, got 1e+30"),
    "many epochs": (edited("epochs: 2", f"epochs: {10**30}"), "train.epochs: must be at most 100000, got 100000"),
    "a name of a million letters": (edited("small", "x" * 10**6), "x.yaml: larger than 256 KiB; is it a sweep file?"),
    "a long name": (edited("small", "x" * 20_000), "name: longer than 10,000 characters; shorten it"),
    "a long metric": (edited("seeds: [0]", f"metric: {'x' * 9000}"), "search.metric: longer than 4,096 characters"),
    "a long key": (BASE + f"{'k' * 300}: 1\n", "x.yaml:15: a key of more than 200 characters; shorten it"),
    "a long label": (edited("[toy]", f"[{'t' * 5000}]"), "datasets.ttt"),
    "a bomb of aliases": (
        "b0: &b0 [a, a, a]\n" + BOMB,
        "x.yaml:5: more than 10,000 values up to here",
    ),
    "a bomb in dataset options": (
        edited("[toy]", "\n  toy:\n" + "".join(f"    {line}\n" for line in ("b0: &b0 [a]\n" + BOMB).splitlines())),
        "more than 10,000 values up to here",
    ),
    "a bomb of merge keys": (
        "m0: &m0 {a: 1, b: 2}\n"
        + "".join(f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 9)}]}}\n" for n in range(1, 10)),
        "more than 10,000 values up to here",
    ),
    "many values": (BASE + f"plugins: [{'a, ' * 20_000}]\n", "x.yaml:15: more than 10,000 values up to here"),
    "brackets": ("name: " + "[" * 100_000, "x.yaml:1: nested too deeply: more than 20 levels"),
    "braces": ("{a: " * 20_000, "x.yaml:1: nested too deeply"),
    "steps": ("".join(f"{' ' * n}a:\n" for n in range(500)), "x.yaml:20: nested too deeply"),
    "an escape beyond all characters": ('name: "\\UFFFFFFFF"\n', "x.yaml:1: not valid YAML: an escape that is no"),
    "half a character": ('name: "\\uD800"\n', r"x.yaml:1: name: '\ud800' holds half a character; write the character"),
    "a control character": ('name: "a\\e[31m"\n', r"x.yaml:1: name: holds the control character '\x1b'; remove it"),
    "a NUL in a path": (BASE + 'plugins: ["a\\0b"]\n', r"plugins.0: holds the control character '\x00'; remove it"),
    "a long path": (BASE + f"plugins: [{'p' * 5000}]\n", "x.yaml:15: plugins.0: longer than 4,096 characters"),
    "a long word of the language": (BASE + f"? *{'z' * 50_000}\n", "x.yaml:15: not valid YAML: found undefined alias"),
    "many plugin folders": (BASE + f"plugins: [{'a, ' * 200}]\n", "x.yaml:15: plugins: has 200 entries; at most 100"),
    "a long reason": (BASE + f"split: {{allow_leakage: {'because ' * 500}}}\n", "longer than 2,000 characters"),
}

MEANT: dict[str, tuple[str, str]] = {
    "octal": ("epochs: 010", "epochs: 010 is 8 to some readers of YAML and 10 to others; write 10 or 8, or put it in"),
    "negative octal": (
        "epochs: -017",
        "epochs: -017 is -15 to some readers of YAML and -17 to others; write -17 or -15",
    ),
    "octal of YAML 1.2": ("epochs: 0o10", "epochs: expected a whole number, got '0o10'; write 8"),
    "nought in front": ("epochs: 08", "epochs: expected a whole number, got '08'; write 8 without quotes"),
    "to the base 60": ("epochs: 1:30", "epochs: expected a whole number, got '1:30'; write 90"),
    "thousands": ("epochs: 1,000", "epochs: expected a whole number, got '1,000'; write 1000"),
    "underscore": ("epochs: 1_0", "epochs: 1_0 has an underscore at an odd place; write 10"),
    "quotes": ("epochs: '2'", "epochs: expected a whole number, got '2'; write 2 without quotes"),
    "real": ("epochs: 3.0", "epochs: expected a whole number, got 3.0; write 3"),
    "power": ("epochs: 1e3", "epochs: expected a whole number, got 1000.0; write 1000"),
    "percent": ("label_smoothing: 10%", "label_smoothing: expected a number, got '10%'; write 0.1"),
    "too small": ("clip_norm: 1e-400", "clip_norm: 1e-400 is so small that it would read as 0; write 0, or a larger"),
    "too large": ("clip_norm: 1e400", "clip_norm: 1e400 is larger than any number that a computer can hold"),
    "not a number": ("clip_norm: .nan", "clip_norm: expected a finite number, got nan"),
    "nan as text": ("clip_norm: nan", "clip_norm: expected a number, got 'nan'"),
    "infinite": ("clip_norm: -.inf", "clip_norm: expected a finite number, got -inf"),
    "none": ("patience: None", "patience: expected a whole number, got 'None'; write null for none"),
    "a switch in quotes": ("augment: {flip_vertical: 'True'}", "got 'True'; write true without quotes"),
    "equals": ("precision: =", "precision: = has a meaning in YAML; put it in quotes"),
}

LISTS: dict[str, tuple[str, str]] = {
    "datasets": (
        edited("[toy]", "digits"),
        "x.yaml:5: datasets: expected a list of names, got 'digits'; write [digits]",
    ),
    "datasets as nothing": (edited("[toy]", ""), "x.yaml:5: datasets: expected a list of names, got nothing; such as"),
    "seeds": (edited("seeds: [0]", "seeds: 3"), "x.yaml:14: search.seeds: expected a list, got 3; write [3]"),
    "plugins": (BASE + "plugins: mine\n", "x.yaml:15: plugins: expected a list, got 'mine'; write [mine]"),
    "no reason": (
        BASE + "split: {allow_leakage: None}\n",
        "x.yaml:15: split.allow_leakage: 'None' is too short; write null for none; write at least 10 characters",
    ),
    "a short reason": (
        BASE + "split: {allow_leakage: yes sir}\n",
        "x.yaml:15: split.allow_leakage: 'yes sir' is too short; write at least 10 characters",
    ),
}


@pytest.mark.parametrize("case", TOO_MUCH)
def test_too_much_of_anything_is_refused_at_once(tmp_path: Path, case: str) -> None:
    text, expected = TOO_MUCH[case]
    begun = time.process_time()
    message = refusal(write(tmp_path, text))
    assert expected in message
    assert message.isprintable()
    assert len(message) < 600
    assert time.process_time() - begun < 2


@pytest.mark.parametrize("case", MEANT)
def test_a_number_that_was_meant_otherwise_is_refused_with_what_was_meant(tmp_path: Path, case: str) -> None:
    text, expected = MEANT[case]
    assert expected in refusal(write(tmp_path, edited("epochs: 2", text)))
    key, _, value = text.partition(": ")
    assert expected in refusal(write(tmp_path, BASE), f"train.{key}={value}")


@pytest.mark.parametrize("case", LISTS)
def test_a_value_in_the_place_of_a_list_and_none_in_the_place_of_null(tmp_path: Path, case: str) -> None:
    text, expected = LISTS[case]
    assert refusal(write(tmp_path, text)).startswith(expected)


@pytest.mark.parametrize(
    "assignment",
    [
        "train.epochs=" + "9" * 5000,
        "a" + ".a" * 10_000 + "=1",
        "x" * 200_000,
        "plugins=" + "[" * 50_000,
        f"plugins=[{'a, ' * 20_000}]",
        f"{'k' * 100_000}=1",
    ],
    ids=lambda text: text[:12],
)
def test_an_assignment_is_bounded_too(tmp_path: Path, assignment: str) -> None:
    message = refusal(write(tmp_path, BASE), assignment)
    assert message.startswith("--set ")
    assert len(message) < 600


def test_an_endless_file_is_not_read_to_its_end() -> None:
    with pytest.raises(RequestError, match="/dev/zero: larger than 256 KiB"):
        YamlSource.read(Path("/dev/zero"))


def test_the_largest_sweep_is_taken(tmp_path: Path) -> None:
    text = edited("[0]", "[9007199254740991]") + "confirm: {seeds: 1000}\n"
    spec = load_sweep(write(tmp_path, text.replace("epochs: 2", "epochs: 100_000"))).spec
    assert spec.search.seeds == [2**53 - 1]
    assert len(spec.confirm.seed_list(spec.search.tuning_seeds)) == 1000


def numbers(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every number in a JSON schema, with the name of its key."""

    def below(name: str, form: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        if isinstance(form, list):
            for one in form:
                yield from below(name, one)
        elif isinstance(form, dict):
            if form.get("type") in ("integer", "number"):
                yield name, form
            for key, one in form.items():
                yield from below(key if key not in ("anyOf", "items", "oneOf", "additionalProperties") else name, one)

    for definition in (schema, *schema["$defs"].values()):
        yield from below("", definition.get("properties", {}))


def test_every_number_of_the_file_has_both_bounds_and_the_manual_states_them() -> None:
    manual = (ROOT / "docs" / "sweep-file.md").read_text()
    found = list(numbers(json_schema()))
    assert len(found) > 30
    for name, form in found:
        least = form.get("minimum", form.get("exclusiveMinimum"))
        most = form.get("maximum", form.get("exclusiveMaximum"))
        assert least is not None, name
        assert most is not None, name
        if most > 1000 and most != 2**53 - 1:
            assert re.search(rf"^\| `{name}` .*{most:,.0f}", manual, re.MULTILINE), name


def test_every_text_and_list_of_the_file_has_a_bound() -> None:
    def unbounded(form: Any, name: str) -> Iterator[str]:
        if isinstance(form, list):
            for one in form:
                yield from unbounded(one, name)
        elif isinstance(form, dict):
            if form.get("type") == "string" and not {"maxLength", "const", "enum"} & form.keys():
                yield name
            if form.get("type") == "array" and "maxItems" not in form:
                yield name
            for key, one in form.items():
                if key not in ("default", "examples"):
                    yield from unbounded(one, f"{name}.{key}")

    assert list(unbounded(SweepSpec.model_json_schema(mode="serialization"), "")) == []


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    return discover([write(tmp_path_factory.mktemp("plugins"), PLUGINS, "mine.py").parent])


def numeric(catalogue: Catalogue) -> Iterator[tuple[str, str, float, Interval]]:
    for label, plugin in catalogue.all(Method).items():
        if label == "probe":
            continue
        for name, parameter in plugin.cls.space.items():
            if not isinstance(parameter.default, bool | str) and not getattr(parameter, "allowed", ()):
                assert (parameter.within or SHARED.get(name, ANY)) != ANY, f"{label}.{name} has no range"
                yield label, name, parameter.default, interval_of(name, parameter.within)


def test_every_number_of_every_built_in_method_has_a_range(catalogue: Catalogue) -> None:
    found = list(numeric(catalogue))
    assert len(found) > 60
    for label, name, default, possible in found:
        assert default in possible, (label, name)
        for parameter in (catalogue.all(Method)[label].cls.space[name],):
            for value in (*getattr(parameter, "choices", ()), getattr(parameter, "low", default)):
                assert value in possible, (label, name)


def refuses(catalogue: Catalogue, label: str, entry: Any, words: str, **more: Any) -> None:
    spec = {
        "name": "x",
        "backbone": {"name": "resnet20", "weights": None},
        "datasets": ["toy"],
        "methods": [{label: entry}],
    }
    loaded = load_mapping({**spec, **more})
    with pytest.raises(RequestError) as caught:
        check_against(loaded.spec, catalogue, loaded.place)
    assert str(caught.value).startswith(words), caught.value


def test_no_number_of_any_method_may_leave_its_range(catalogue: Catalogue) -> None:
    for label, name, default, possible in numeric(catalogue):
        kind = type(default)
        for beyond in (possible.low - 1, possible.high + 1, -1e30 if kind is float else -(10**30)):
            value = kind(beyond)
            said = f"methods.{label}.{name}: must be {possible.in_words()}, got "
            refuses(catalogue, label, {name: value}, said)
            refuses(catalogue, label, {name: {"choice": [default, value], "default": default}}, said)
            refuses(catalogue, label, {name: {"uniform" if kind is float else "int": [default, value]}}, said)


@pytest.mark.parametrize(
    ("method", "entry", "words"),
    [
        ("linear_probe", {"head_lr": -1e-3}, "head_lr: must be at least 1e-10 and at most 10, got -0.001"),
        ("lora_c", {"lr": 1e30}, "lr: must be at least 1e-10 and at most 10, got 1e+30"),
        ("lora_c", {"lr": 0}, "lr: must be at least 1e-10 and at most 10, got 0.0"),
        ("lora_c", {"lr": float("nan")}, "lr: expected a number, got nan"),
        ("lora_c", {"lr": 10**400}, "lr: expected a number, got a number of many digits"),
        ("lora_c", {"rank": {"choice": list(range(1, 1500))}}, "rank: choice lists 1,499 values; at most 1,000 are"),
        ("lora_c", {"targets": "x" * 5000}, "targets: longer than 200 characters; shorten it"),
        ("probe", {"lr": -1.0}, "lr: must be at least 1e-10 and at most 10, got -1.0"),
        ("probe", {"rank": 10**12}, "rank: must be at least -1e+09 and at most 1e+09, got 1000000000000"),
    ],
)
def test_rates_and_ranks_that_cannot_be(catalogue: Catalogue, method: str, entry: Any, words: str) -> None:
    refuses(catalogue, method, entry, f"methods.{method}.{words}")


def test_a_training_to_do_first_has_the_same_bounds(catalogue: Catalogue) -> None:
    weights = {"method": "full_finetune", "dataset": "toy", "hyperparameters": {"lr": -1.0}}
    backbone = {"name": "resnet20", "weights": weights}
    words = "backbone.weights.hyperparameters.lr: must be at least 1e-10"
    refuses(catalogue, "probe", {}, words, backbone=backbone)


def test_a_misspelt_method_is_told_before_the_control_that_is_right(catalogue: Catalogue) -> None:
    control = {"control": "linear_probe"}
    words = "methods.linear_prob: no method is called 'linear_prob'; did you mean 'linear_probe'?"
    refuses(catalogue, "linear_prob", {}, words, confirm=control)
    words = "confirm.control: no method has the label 'linear_prob'; did you mean 'linear_probe'?"
    refuses(catalogue, "linear_probe", {}, words, confirm={"control": "linear_prob"})


def test_intervals_are_written_as_in_mathematics() -> None:
    assert [x in interval("(0, 1]") for x in (0, 1e-9, 1, 1.1)] == [False, True, True, False]
    assert interval("[1e-10, 10)").in_words() == "at least 1e-10 and below 10"
    for odd in ("0, 1", "[1, 0]", "[0 1]", "[a, b]"):
        with pytest.raises(ValueError, match=r"interval|out of order|convert"):
            interval(odd)
