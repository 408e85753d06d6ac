"""What is wrong with a sweep file takes one line that says where and what was probably meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from sweep_texts import BASE, edited, refusal, write

from harness.studies.loading import load_sweep

BAD_FILES: dict[str, tuple[str | bytes, str]] = {
    "unknown top key": (BASE + "serach: {}\n", "x.yaml:15: serach: unknown key; did you mean 'search'?"),
    "unknown key": (
        edited("epochs: 2", "epoch: 2"),
        "x.yaml:12: train.epoch: unknown key; did you mean 'epochs'?",
    ),
    "unknown key, nothing close": (
        BASE + "split: {zzz: 1}\n",
        "x.yaml:15: split.zzz: unknown key; known: allow_leakage, by, folds, kind, near_duplicates, seed, seeds, test, "
        "tune",
    ),
    "unknown key in the backbone": (
        edited("name: resnet20", "nam: resnet20"),
        "x.yaml:3: backbone.nam: unknown key; did you mean 'name'? (and 1 more)",
    ),
    "unknown key that looks like a branch": (BASE + "<count>: 1\n", "x.yaml:15: <count>: unknown key; known: backbone"),
    "number without a digit": (edited("epochs: 2", "epochs: !!int ''"), "x.yaml:12: train.epochs: '' is no int"),
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
        "x.yaml:12: train.clip_norm: must be at least 1e-06, got 0",
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
        "x.yaml:2: backbon: unknown key; did you mean 'backbone'?",
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
        "x.yaml:5: datasets: expected a list of names, got 'toy'; write [toy]",
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
    "unknown pruner": (
        edited("seeds: [0]", "pruner: medain"),
        "x.yaml:14: search.pruner: 'medain' is not allowed; did you mean 'median'?",
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
    "family without its control": (
        BASE + "confirm: {family: vs_control}\n",
        "x.yaml:15: confirm.family: vs_control needs confirm.control; name a method there, or take all_pairs",
    ),
    "misspelt family": (
        BASE + "confirm: {family: all-pairs}\n",
        "x.yaml:15: confirm.family: 'all-pairs' is not allowed; did you mean 'all_pairs'?",
    ),
    "looks out of order": (
        BASE + "confirm: {looks: [5, 10, 8]}\n",
        "x.yaml:15: confirm.looks.2: 8 comes after 10; list each once, in ascending order",
    ),
    "a look twice": (
        BASE + "confirm: {looks: [5, 5]}\n",
        "x.yaml:15: confirm.looks.1: 5 comes after 5; list each once, in ascending order",
    ),
    "a look at one seed": (
        BASE + "confirm: {looks: [1, 5]}\n",
        "x.yaml:15: confirm.looks.0: must be at least 2, got 1",
    ),
    "no look": (BASE + "confirm: {looks: []}\n", "x.yaml:15: confirm.looks: is empty; list at least one"),
    "workers as a wrong word": (
        BASE + "launch: {workers: atuo}\n",
        "x.yaml:15: launch.workers: 'atuo' is not allowed; did you mean 'auto'?",
    ),
    "a launcher as a number": (
        BASE + "launch: {kind: 3}\n",
        "x.yaml:15: launch.kind: expected text, got 3",
    ),
    "plugin folder absent": (BASE + "plugins:\n  - ../nowhere\n", "x.yaml:16: plugins.0: no such folder: "),
    "a schedule that there is not": (
        edited("epochs: 2", "schedule: cosinus"),
        "x.yaml:12: train.schedule.kind: 'cosinus' is not allowed; did you mean 'cosine'?",
    ),
    "steps without milestones": (
        edited("epochs: 2", "schedule: step"),
        "x.yaml:12: train.schedule: step needs milestones, such as {kind: step, milestones: [50, 75], factor: 0.1}",
    ),
    "milestones of another schedule": (
        edited("epochs: 2", "schedule: {kind: linear, milestones: [1]}"),
        "x.yaml:12: train.schedule.milestones: belongs to step, not to linear; leave it out",
    ),
    "milestones in no order": (
        edited("epochs: 2", "schedule: {kind: step, milestones: [9, 5]}"),
        "x.yaml:12: train.schedule.milestones.1: must be above the one before it, 9, got 5",
    ),
    "a milestone behind the end": (
        edited("epochs: 2", "epochs: 2\n  schedule: {kind: step, milestones: [1, 2]}"),
        "x.yaml:13: train.schedule.milestones.1: is not reached: the training has 2 epochs; give a smaller one, or "
        "leave it out",
    ),
    "a warm-up of a wrong kind": (
        edited("epochs: 2", "warmup: 5 epochs"),
        "x.yaml:12: train.warmup: expected a fraction such as 0.05, {steps: N} or {epochs: N}, got '5 epochs'",
    ),
    "a warm-up in steps and epochs": (
        edited("epochs: 2", "warmup: {steps: 5, epochs: 1}"),
        "x.yaml:12: train.warmup: needs either steps or epochs, such as {epochs: 5}",
    ),
    "a warm-up of all epochs": (
        edited("epochs: 2", "epochs: 2\n  warmup: {epochs: 2}"),
        "x.yaml:13: train.warmup.epochs: must be below the training's 2 epochs",
    ),
    "an optimiser that there is not": (
        edited("epochs: 2", "optimizer: lion"),
        "x.yaml:12: train.optimizer.kind: 'lion' is not allowed; known: adam, adamw, sgd",
    ),
    "momentum of Adam": (
        edited("epochs: 2", "optimizer: {kind: adam, momentum: 0.8}"),
        "x.yaml:12: train.optimizer.momentum: belongs to sgd, not to adam; leave it out",
    ),
    "Nesterov without momentum": (
        edited("epochs: 2", "optimizer: {kind: sgd, momentum: 0, nesterov: true}"),
        "x.yaml:12: train.optimizer.nesterov: needs a momentum above 0",
    ),
    "a momentum out of range": (
        edited("epochs: 2", "optimizer: {kind: sgd, momentum: 1}"),
        "x.yaml:12: train.optimizer.momentum: must be below 1, got 1",
    ),
    "two optimisers for a method": (
        edited("epochs: 2", "optimizer: sgd").replace("rank: 4", "optimizer: adamw"),
        "x.yaml:10: methods.tuned.optimizer: train.optimizer gives it to every method; leave out one of the two",
    ),
    "a stem that there is not": (
        edited("name: resnet20", "name: resnet18\n  stem: tiny"),
        "x.yaml:4: backbone.stem: 'tiny' is not allowed; known: small",
    ),
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
    ],
)
def test_a_bad_assignment_is_refused_in_one_line(tmp_path: Path, assignment: str, expected: str) -> None:
    assert refusal(write(tmp_path, BASE), assignment).startswith(expected)
