"""A cluster profile reaches sbatch, the shell and Python exactly as it was written, or is refused in one line."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from submitit import SlurmExecutor
from submitit.slurm.slurm import _make_sbatch_string
from tiny import ROOT, tiny_sweep

from harness.core.errors import RequestError
from harness.launch.slurm.profile import Profile, load_profile, python_command, sbatch_parameters, setup_lines
from harness.launch.slurm.values import mebibytes, minutes, shown_duration
from harness.sweep.__main__ import main
from slurm.cluster import LittleCluster, Settings, obstacle

OBSTACLE = obstacle()
PROFILES = sorted((ROOT / "slurm" / "profiles").glob("*.yaml"))

HOSTILE = (
    "two words", "it's", 'say "hi"', "$(touch pwned) `touch pwned` $HOME", "a; touch pwned && b | c > d", "München €😀",
    "-x --hold", "--hold", "tab\there", "a#b #c", "%j %u %%", "'", '"', "'\"'\"'", " both ends ", "x=y", ":colon", "~",
    "*?[a]{b,c}", "!history", "\x01\x0b\x7f", "line\u2028separator\x85", "x" * 1000,
)  # fmt: skip


def read(folder: Path, **keys: Any) -> Profile:
    path = folder / "p.yaml"
    path.write_text(yaml.safe_dump({"time": "4h", **keys}, sort_keys=False))
    return load_profile(path)


def refusal(folder: Path, text: str) -> str:
    path = folder / "p.yaml"
    path.write_text(text)
    with pytest.raises(RequestError) as caught:
        load_profile(path)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(f"{folder}/", "")


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_every_example_loads_and_becomes_a_job(path: Path, tmp_path: Path) -> None:
    profile = load_profile(path)
    script = _make_sbatch_string(
        python_command(profile), tmp_path, setup=setup_lines(profile), **sbatch_parameters(profile)
    )
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    assert f"#SBATCH --time={profile.time}\n" in script
    assert "wckey" not in script
    assert Profile.model_validate(profile.model_dump(mode="json")) == profile


def test_the_examples_cover_the_kinds_of_sites_that_the_manual_names() -> None:
    manual = (ROOT / "docs" / "slurm.md").read_text()
    for path in PROFILES:
        assert f"`{path.name}`" in manual, path.name
    for key in Profile.model_fields:
        assert f"| `{key}` |" in manual, key


BAD: dict[str, tuple[str, str]] = {
    "empty": ("", "p.yaml:1: the file is empty; a profile of a cluster has keys such as `partition: gpu`"),
    "list": ("- a\n", "p.yaml:1: expected keys and values such as `partition: gpu`, got a list"),
    "no time": ("gpus: 1\n", "p.yaml:1: time: missing; add it, for example `time: 4h`"),
    "misspelt": ("time: 4h\npartion: x\n", "p.yaml:2: partion: unknown key; did you mean 'partition'?"),
    "sbatch's own name": ("time: 4h\nmem: 3G\n", "p.yaml:2: mem: unknown key; did you mean 'memory'?"),
    "hours or minutes": ("time: '4:00'\n", "p.yaml:1: time: 4:00 may mean 4 hours or 4 minutes; write 4h or 4m"),
    "no duration": ("time: soon\n", "p.yaml:1: time: 'soon' is no duration; write 4h, 90m, 04:00:00,"),
    "no time at all": ("time: 0\n", "p.yaml:1: time: must be at least 1, got 0"),
    "unlimited": ("time: UNLIMITED\n", "p.yaml:1: time: 'UNLIMITED' is no duration"),
    "too short for its grace": (
        "time: 2\ngrace: 90\n",
        "p.yaml:1: time: 00:02:00 is too short where checkpoints are due 90 s before the end (grace) and Slurm may be "
        "60 s early; give at least 00:03:00",
    ),
    "bare memory": ("time: 4h\nmemory: 32\n", "p.yaml:2: memory: 32 of what? write 32G or 32M"),
    "half a gigabyte": ("time: 4h\nmemory: 1.5G\n", "p.yaml:2: memory: '1.5G' is no amount of memory; write a whole"),
    "type without number": ("time: 4h\ngpu_type: a100\n", "p.yaml:2: gpu_type: needs the key gpus: how many of them"),
    "type with number": ("time: 4h\ngpus: 1\ngpu_type: a100:2\n", "p.yaml:3: gpu_type: 'a100:2' is no type of GPU"),
    "excluded as text": ("time: 4h\nexclude: n1\n", "p.yaml:2: exclude: expected a list, got 'n1'"),
    "number in the environment": (
        "time: 4h\nenvironment:\n  A: 1\n",
        "p.yaml:3: environment.A: expected text, got 1; put it in quotes",
    ),
    "variable's name": ("time: 4h\nenvironment: {a-b: x}\n", "p.yaml:2: environment.a-b: no name of an environment"),
    "Slurm's variable": ("time: 4h\nenvironment: {SLURM_JOB_ID: '1'}\n", "environment.SLURM_JOB_ID: belongs to Slurm"),
    "relative scratch": ("time: 4h\nscratch: tmp\n", "p.yaml:2: scratch: 'tmp' is relative; write an absolute path"),
    "container as text": ("time: 4h\ncontainer: x.sif\n", "p.yaml:2: container: expected a mapping (key: value), got"),
    "container without image": ("time: 4h\ncontainer: {}\n", "container.image: missing; add it, for example `image: g"),
    "unknown runtime": (
        "time: 4h\ncontainer: {image: x, runtime: docker}\n",
        "p.yaml:2: container.runtime: 'docker' is not allowed; known: apptainer, singularity",
    ),
    "line break": ('time: 4h\naccount: "a\\nb"\n', "p.yaml:2: account: holds '\\n', which cannot be passed on; remove"),
    "carriage return": ('time: 4h\nmodules: ["a\\rb"]\n', "p.yaml:2: modules.0: holds '\\r', which cannot be passed"),
    "NUL": ('time: 4h\nenvironment: {A: "\\0"}\n', "p.yaml:2: environment.A: holds '\\x00', which cannot be passed on"),
    "half a character": ('time: 4h\nqos: "\\ud800"\n', "p.yaml:2: qos: '\\ud800' holds half a character; write"),
    "backslash": ("time: 4h\nqos: a\\b\n", "p.yaml:2: qos: holds a backslash, which sbatch removes; write it without"),
    "too long": (f"time: 4h\nqos: {'x' * 1001}\n", "p.yaml:2: qos: longer than 1000 characters, which Slurm refuses"),
    "empty text": ("time: 4h\nqos: ''\n", "p.yaml:2: qos: is empty; write a name"),
    "option with a key": ("time: 4h\noptions: {mem-per-cpu: 3G}\n", "options.mem-per-cpu: use the key memory"),
    "option of the launcher": ("time: 4h\noptions:\n  array: 0-3\n", "p.yaml:3: options.array: the launcher sets it;"),
    "beginning of an option": (
        "time: 4h\noptions: {sig: USR1}\n",
        "p.yaml:2: options.sig: means signal to sbatch; use the key grace",
    ),
    "dashes": ("time: 4h\noptions: {--mail_type: END}\n", "options.--mail_type: write the long name of an sbatch opt"),
    "short option": ("time: 4h\noptions: {p: gpu}\n", "p.yaml:2: options.p: write the long name of an sbatch option"),
    "option's name": ("time: 4h\noptions: {'nice=1 --array': 1}\n", "write the long name of an sbatch option"),
    "false option": ("time: 4h\noptions: {exclusive: false}\n", "options.exclusive: write true, or leave the option"),
    "real option": ("time: 4h\noptions: {nice: 1.5}\n", "options.nice: expected text, a whole number or true, got 1.5"),
    "GPUs by gres": ("time: 4h\noptions: {gres: 'a:1,gpu:2'}\n", "options.gres: use the keys gpus and gpu_type for"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD.keys())
def test_what_is_wrong_takes_one_line(text: str, message: str, tmp_path: Path) -> None:
    assert message in refusal(tmp_path, text)


def test_a_sweep_that_is_only_looked_at_has_its_profile_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = tmp_path / "mine.yaml"
    words = [str(tiny_sweep(tmp_path)), "--dry-run", "--launcher", "slurm"]
    assert main(words) == 2
    assert "error: launch.profile: missing" in capsys.readouterr().err
    profile.write_text("tyme: 4h\n")
    assert main([*words, "--set", f"launch.profile={profile}"]) == 2
    assert "mine.yaml:1: " in capsys.readouterr().err
    profile.write_text("time: 4h\n")
    assert main([*words, "--set", f"launch.profile={profile}"]) == 0
    assert "nothing was started" in capsys.readouterr().out


def test_a_missing_file_names_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "alpha.yaml").write_text("time: 4h\n")
    with pytest.raises(RequestError, match=r"no such file; did you mean 'alpha\.yaml'\?"):
        load_profile(tmp_path / "alfa.yaml")
    with pytest.raises(RequestError, match="not a file; give the path of a profile of a cluster"):
        load_profile(tmp_path)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("90", 90), ("'90'", 90), ("4h", 240), ("90m", 90), ("1d12h", 2160), ("1h30m", 90), ("04:00:00", 240),
        ("12:00:00", 720), ("2-00:00:00", 2880), ("2-12", 3600), ("2-12:30", 3630), ("01:00:01", 61),
    ],
)  # fmt: skip
def test_a_time_can_be_written_as_people_and_slurm_do(written: str, expected: int, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(f"time: {written}\n")
    assert load_profile(path).time == expected


@given(st.integers(min_value=0, max_value=10**6))
def test_a_shown_duration_reads_back(whole: int) -> None:
    assert minutes(shown_duration(whole)) == whole


@pytest.mark.parametrize(("given", "amount"), [("512M", 512), ("2048k", 2), ("32GB", 32768), ("1T", 1048576)])
def test_memory_has_units(given: str, amount: float, tmp_path: Path) -> None:
    assert mebibytes(read(tmp_path, memory=given).memory or "") == amount


def test_what_a_job_asks_for(tmp_path: Path) -> None:
    profile = read(
        tmp_path, partition="gpu", reservation="mine", exclude=["n1", "n[3-4]"], gpus=2, gpu_type="a100", cpus=8,
        memory="32G", time="2-00:00:00", options={"gres": "lscratch:10", "nice": -5, "exclusive": True},
    )  # fmt: skip
    executor = SlurmExecutor.__new__(SlurmExecutor)
    known = executor._valid_parameters() | {"use_srun"}
    parameters = sbatch_parameters(profile)
    assert parameters.keys() <= known
    script = _make_sbatch_string("true", tmp_path, **parameters)
    asked = {line for line in script.splitlines() if line.startswith("#SBATCH")}
    assert asked >= {
        "#SBATCH --partition=gpu", "#SBATCH --reservation=mine", "#SBATCH --exclude='n1,n[3-4]'",
        "#SBATCH --gres=gpu:a100:2,lscratch:10", "#SBATCH --cpus-per-task=8", "#SBATCH --mem=32G",
        "#SBATCH --time=2880", "#SBATCH --nice=-5", "#SBATCH --exclusive", "#SBATCH --nodes=1",
        "#SBATCH --ntasks-per-node=1",
    }  # fmt: skip
    assert "srun" not in script


def test_what_a_profile_leaves_out_is_left_to_the_cluster(tmp_path: Path) -> None:
    script = _make_sbatch_string("true", tmp_path, **sbatch_parameters(read(tmp_path)))
    for option in ("partition", "account", "qos", "gres", "mem", "cpus", "exclude", "constraint", "reservation"):
        assert f"--{option}" not in script


@pytest.mark.parametrize(
    ("keys", "on_gpu"),
    [({}, False), ({"gpus": 1}, True), ({"gpus": 1, "device": "cpu"}, False), ({"device": "cuda"}, True)],
)
def test_where_trials_run(keys: dict[str, Any], on_gpu: bool, tmp_path: Path) -> None:
    assert read(tmp_path, **keys).on_gpu == on_gpu


def run_as_a_job(folder: Path, profile: Profile, seen: str, environment: dict[str, str] | None = None) -> str:
    """What a job's shell prints: its lines, then ``seen`` in place of Python."""
    script = "\n".join((*setup_lines(profile), seen))
    clean = {"PATH": os.environ["PATH"], **(environment or {})}
    done = subprocess.run(["bash"], input=script, env=clean, cwd=folder, capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else f"{done.returncode}: {done.stderr}"


SHOWN = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\0"), max_size=60)


@settings(max_examples=40, deadline=None)
@given(st.lists(SHOWN, min_size=1, max_size=5))
def test_any_value_reaches_the_environment_and_python_as_it_is(
    tmp_path_factory: pytest.TempPathFactory, values: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("job")
    keys = {f"V{index}": value for index, value in enumerate(values)}
    profile = Profile.model_validate({"time": 9, "environment": keys})
    seen = " ".join(f'"${name}"' for name in keys)
    printed = run_as_a_job(folder, profile, f"printf '%s\\n' {seen}")
    assert printed == "".join(f"{value}\n" for value in values)

    container = {"image": "/x" + values[0], "options": [f"--bind={value}" for value in values]}
    command = python_command(Profile.model_validate({"time": 9, "container": container, "python": "-" + values[0]}))
    start = "exec apptainer "
    assert command.startswith(start)
    shown = subprocess.run(
        ["bash", "-c", "printf '%s\\0' " + command.removeprefix(start)], capture_output=True, text=True, check=True
    )
    words = ["exec", *container["options"], container["image"], "-" + values[0]]
    assert shown.stdout == "".join(f"{word}\0" for word in words)
    assert list(folder.iterdir()) == []


def test_modules_are_loaded_in_order_and_a_failure_ends_the_job(tmp_path: Path) -> None:
    names = ["gcc/12", "$(touch pwned)", "it's; touch pwned"]
    profile = Profile.model_validate({"time": 9, "modules": names, "environment": {"A": "later"}})
    # As sites hand it to batch shells: a function in the environment.
    loads = {"BASH_FUNC_module%%": '() { printf \'[%s %s]\' "$1" "$2"; }', "A": "before"}
    printed = run_as_a_job(tmp_path, profile, 'echo " $A"', loads)
    assert printed == "".join(f"[load {name}]" for name in names) + " later\n"
    fails = {"BASH_FUNC_module%%": '() { test "$2" = gcc/12; }'}
    assert run_as_a_job(tmp_path, profile, "echo on", fails) == "1: error: modules: module load $(touch pwned) failed\n"
    assert list(tmp_path.iterdir()) == []


def test_python_is_found_from_the_profiles_folder(tmp_path: Path) -> None:
    interpreter = tmp_path / "my env" / "python"
    interpreter.parent.mkdir()
    interpreter.symlink_to(sys.executable)
    command = python_command(read(tmp_path, python="my env/python"))
    assert command.startswith("exec ")
    printed = subprocess.run(
        ["bash", "-c", f"{command} -c 'import os, sys; print(os.getpid(), sys.executable)' & echo $!; wait"],
        capture_output=True, text=True, check=True, cwd="/",
    )  # fmt: skip
    shell, python, executable = printed.stdout.split(maxsplit=2)
    assert shell == python, "signals to the job's shell would not reach Python"
    assert executable.strip() == str(interpreter)
    assert python_command(read(tmp_path)) == f"exec {shlex.quote(sys.executable)}"
    assert read(tmp_path, python="~/python").python == str(Path.home() / "python")


@pytest.mark.parametrize(
    ("keys", "command"),
    [
        ({}, "exec apptainer exec {folder}/x.sif python3"),
        ({"gpus": 1}, "exec apptainer exec --nv {folder}/x.sif python3"),
        ({"gpus": 1, "device": "cpu"}, "exec apptainer exec {folder}/x.sif python3"),
        ({"gpus": 1, "options": ["--rocm"]}, "exec apptainer exec --rocm {folder}/x.sif python3"),
        ({"image": "docker://a/b", "runtime": "singularity"}, "exec singularity exec docker://a/b python3"),
        ({"python": "conda/bin/python"}, "exec apptainer exec {folder}/x.sif conda/bin/python"),
    ],
)
def test_a_container_holds_python(keys: dict[str, Any], command: str, tmp_path: Path) -> None:
    container = {"image": "x.sif", **{key: keys[key] for key in ("image", "runtime", "options") if key in keys}}
    others = {key: keys[key] for key in keys.keys() - container.keys()}
    profile = read(tmp_path, container=container, **others)
    assert python_command(profile) == command.format(folder=tmp_path)


@pytest.mark.skipif(OBSTACLE is not None, reason=f"no Slurm cluster here: {OBSTACLE}")
def test_slurm_receives_every_value_as_it_is(tmp_path: Path) -> None:
    def seen(cluster: LittleCluster, value: str) -> tuple[str, str]:
        """What Slurm has of an option of the profile, and of one that submitit takes by name."""
        options = {"mail-user": value, "mail-type": "FAIL", "hold": True}
        parameters = sbatch_parameters(read(tmp_path, memory="100M", options=options))
        script = _make_sbatch_string("true", tmp_path, comment=value, **parameters)
        (tmp_path / "script").write_text(script, newline="")
        job = cluster.run(["sbatch", "--parsable", str(tmp_path / "script")], check=True).stdout.strip()
        shown = cluster.run(["scontrol", "show", "job", job]).stdout
        cluster.run(["scancel", job], check=True)
        comment = shown.partition("\n   Comment=")[2].partition(" \n   StdErr=")[0]
        return shown.partition("\n   MailUser=")[2].partition(" MailType=FAIL")[0], comment

    with LittleCluster(settings=Settings(nodes=1, accounting=False)) as cluster:
        for value in HOSTILE:
            assert seen(cluster, value) == (value, value)
    assert not (tmp_path / "pwned").exists()
