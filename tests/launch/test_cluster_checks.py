"""A profile that no node of the cluster can serve is refused before anything waits in a queue."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from submitit.slurm.slurm import _make_sbatch_string

from harness.core.errors import RequestError
from harness.launch.slurm.checks import check_cluster, limits
from harness.launch.slurm.commands import SlurmError, SlurmSilent, call
from harness.launch.slurm.facts import Call, nodes, partitions
from harness.launch.slurm.profile import Profile, sbatch_parameters
from slurm.cluster import LittleCluster, Settings, obstacle

OBSTACLE = obstacle()
on_slurm = pytest.mark.skipif(OBSTACLE is not None, reason=f"no Slurm cluster here: {OBSTACLE}")

PARTITIONS = """\
PartitionName=cpu AllowGroups=ALL Default=YES DefaultTime=NONE MaxTime=UNLIMITED MaxCPUsPerNode=UNLIMITED State=UP \
MaxMemPerNode=UNLIMITED
PartitionName=gpu Default=NO MaxTime=2-00:00:00 MaxCPUsPerNode=48 Nodes=g[1-2] State=UP MaxMemPerNode=400000
PartitionName=mixed Default=NO MaxTime=08:00:00 MaxCPUsPerNode=UNLIMITED State=DRAIN MaxMemPerNode=UNLIMITED
PartitionName=cloud Default=NO MaxTime=UNLIMITED MaxCPUsPerNode=UNLIMITED State=UP MaxMemPerNode=UNLIMITED
"""
NODES = """\
NodeName=c1 CPUAlloc=0 CPUEfctv=30 CPUTot=32 Gres=lscratch:100 OS=Linux 5.1 #1 SMP RealMemory=128000 MemSpecLimit=4000 \
State=IDLE Partitions=cpu Reason=was broken Gres=gpu:9 CPUTot=999 [root@2026-01-01T00:00:00]
NodeName=g1 CPUTot=64 Gres=gpu:a100:4(S:0-1,3),lscratch:9 RealMemory=512000 State=DOWN*+DRAIN Partitions=gpu
NodeName=g2 CPUTot=16 Gres=gpu:v100:8(S:0-1) RealMemory=64000 State=IDLE Partitions=gpu
NodeName=m1 CPUTot=8 Gres=gpu:2 RealMemory=32000 State=IDLE Partitions=mixed
NodeName=m2 CPUTot=8 Gres=(null) RealMemory=32000 State=IDLE Partitions=mixed
"""
CONFIG = """\
Configuration data as of 2026-11-24T00:23:14
AccountingStorageEnforce = associations,limits,qos
ClusterName             = made_up
MaxArraySize            = 501

Cgroup Support Configuration:
ClusterName             = other
"""
PROGRAMS = ("sbatch", "squeue", "scancel", "scontrol", "srun")


def made_up_call(*words: str, timeout: float = 10) -> str:
    """A cluster of texts."""
    user = pwd.getpwuid(os.getuid()).pw_name
    answers = {
        ("scontrol", "show", "partition", "--oneliner"): PARTITIONS,
        ("scontrol", "show", "node", "--oneliner"): NODES,
        ("scontrol", "show", "config"): CONFIG,
        ("sacctmgr", "show", "qos", "format=Name"): "normal\nhigh\n",
        ("sacctmgr", "show", "associations", "where", f"user={user}", "cluster=made_up", "format=Account"): "vision\n",
    }
    asked = tuple(word for word in words if word not in ("--noheader", "--parsable2"))
    if asked not in answers:
        raise SlurmError(f"{words[0]}: not found: {' '.join(words)}")
    return answers[asked]


@pytest.fixture(autouse=True)
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Slurm's commands are on the PATH, here where nowhere else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in PROGRAMS:
        (folder / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}{os.pathsep}{folder}")
    return folder


def check(caller: Call = made_up_call, **keys: Any) -> list[str]:
    return check_cluster(Profile.model_validate({"time": 60, **keys}), Path("/nowhere/runs/x"), caller)


def refusal(caller: Call = made_up_call, **keys: Any) -> str:
    with pytest.raises(RequestError) as caught:
        check(caller, **keys)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"cpus": 30, "memory": "124000M"},
        {"partition": "gpu", "gpus": 4, "gpu_type": "a100", "cpus": 48, "memory": "390G", "time": 2880},
        {"partition": "gpu", "gpus": 8, "cpus": 16},
        {"partition": "cpu,gpu", "cpus": 48, "time": 99999},
        {"partition": "gpu", "account": "VISION", "qos": "high"},
        {"partition": "cloud", "gpus": 99, "gpu_type": "any", "cpus": 999, "memory": "9T"},
    ],
)
def test_what_some_node_can_serve_passes_without_a_word(keys: dict[str, Any]) -> None:
    assert check(**keys) == []


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"partition": "gpus"},
            "profile: partition: there is no 'gpus' on this cluster; did you mean 'gpu'? There are cloud, cpu, g",
        ),
        (
            {"partition": "gpu,zz"},
            "profile: partition: there is no 'zz' on this cluster; there are cloud, cpu, gpu, mi",
        ),
        (
            {"partition": "gpu", "time": 2881},
            "profile: time: 2-00:01:00 is above the limit of partition gpu, 2-00:00:00; give less: trials go on in the",
        ),
        (
            {"partition": "gpu,mixed", "time": 9999},
            "profile: time: 6-22:39:00 is above the limit of the partitions gpu, mixed, 2-00:00:00",
        ),
        (
            {"partition": "cpu", "gpus": 1},
            "profile: gpus: no node of partition cpu has GPUs; partitions with GPUs: gpu, mixed",
        ),
        (
            {"partition": "gpu", "gpus": 9},
            "profile: gpus: 9 is more than any node of partition gpu has; there are a100 (4 a node), v100 (8 a node)",
        ),
        (
            {"partition": "gpu", "gpus": 5, "gpu_type": "a100"},
            "profile: gpus: 5 of type a100 is more than any node of partition gpu has; there are a100 (4 a node), v100",
        ),
        (
            {"partition": "gpu", "gpus": 1, "gpu_type": "A100"},
            "profile: gpu_type: no node of partition gpu has 'A100'; did you mean 'a100'? There are a100 (4 a no",
        ),
        (
            {"partition": "mixed", "gpus": 1, "gpu_type": "a100"},
            "profile: gpu_type: no node of partition mixed names a type of its GPUs; leave the key out",
        ),
        ({"cpus": 31}, "profile: cpus: 31 is more than any node of partition cpu has, 30"),
        ({"partition": "gpu", "cpus": 49}, "profile: cpus: 49 is more than any node of partition gpu has, 48"),
        (
            {"partition": "gpu", "gpus": 5, "cpus": 17},
            "profile: cpus: 17 is more than any node of partition gpu with 5 GPUs has, 16",
        ),
        (
            {"memory": "125G"},
            "profile: memory: 125G (128000M) is more than any node of partition cpu has, 124000M",
        ),
        (
            {"partition": "gpu", "gpus": 1, "gpu_type": "v100", "cpus": 2, "memory": "100G"},
            "memory: 100G (102400M) is more than any node of partition gpu with 1 v100 GPU and 2 CPUs has, 64000M",
        ),
        ({"partition": "gpu", "memory": "450G"}, "is more than any node of partition gpu has, 400000M"),
        ({"account": "visoin"}, "has no account 'visoin' here; did you mean 'vision'? There are vision"),
        (
            {"qos": "hihg"},
            "profile: qos: there is no 'hihg' on this cluster; did you mean 'high'? There are high, norm",
        ),
    ],
)
def test_what_no_node_can_serve_is_refused(keys: dict[str, Any], message: str) -> None:
    assert message in refusal(**keys)


def changed(pattern: str, replacement: str) -> Call:
    def caller(*words: str, timeout: float = 10) -> str:
        return re.sub(pattern, replacement, made_up_call(*words))

    return caller


def test_without_a_default_partition_one_has_to_be_named() -> None:
    assert "partition: missing, and this cluster has no default one; name one of cpu, gpu" in refusal(
        changed("Default=YES", "Default=NO")
    )


def test_a_partition_that_is_not_up_is_a_note() -> None:
    assert check(partition="mixed") == ["profile: partition: 'mixed' is DRAIN at present; jobs wait until it is up"]


def test_without_gpus_anywhere_no_partition_is_proposed() -> None:
    assert "no node of this cluster has any" in refusal(changed("gpu:", "fpga:"), partition="gpu", gpus=1)


@pytest.mark.parametrize("enforced", ["none", "(null)"])
def test_accounts_do_not_matter_where_nobody_asks_for_them(enforced: str) -> None:
    assert check(changed("associations,limits,qos", enforced), account="nobody", qos="none") == []


def test_an_accounting_that_does_not_answer_is_not_asked_again() -> None:
    def caller(*words: str, timeout: float = 10) -> str:
        if words[0] == "sacctmgr":
            raise SlurmSilent("sacctmgr: no answer")
        return made_up_call(*words)

    assert check(caller, account="nobody", qos="none") == []


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_machine_without_slurm_is_told_so(program: str, programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(programs))
    (programs / program).unlink()
    assert refusal().startswith(f"{program}: not found; this machine has no Slurm")


def test_a_silent_controller_is_told(programs: Path) -> None:
    def caller(*words: str, timeout: float = 10) -> str:
        raise SlurmSilent("scontrol: Unable to contact slurm controller (connect failure)")

    assert refusal(caller).startswith("scontrol: Unable to contact slurm controller (connect failure); try `scontrol p")


def test_a_failing_command_is_told_in_its_own_words() -> None:
    def caller(*words: str, timeout: float = 10) -> str:
        raise SlurmError("scontrol: error: Invalid MIT-MAGIC-COOKIE")

    assert refusal(caller) == "scontrol: error: Invalid MIT-MAGIC-COOKIE"


def test_the_cluster_is_read_without_what_people_wrote_into_it() -> None:
    facts = limits(made_up_call)
    assert (facts.cluster, facts.max_array_size) == ("made_up", 501)
    first = nodes(made_up_call)[0]
    assert (first.cpus, first.memory, dict(first.gpus)) == (30, 124000, {})
    assert nodes(made_up_call)[1].gpus == {"a100": 4}
    assert partitions(changed("MaxTime=UNLIMITED", "MaxTime=INFINITE"))[0].minutes is None


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [
        ("gpu:4", {"": 4}),
        ("gpu", {"": 1}),
        ("gpu:a100", {"a100": 1}),
        ("gpu:a100_1g.5gb:7(S:0),gpu:a100:2(S:1),shard:8", {"a100_1g.5gb": 7, "a100": 2}),
        ("gpu:x:2(S:0,2-3),gpu:x:1", {"x": 3}),
        ("gpufoo:2,mps:100", {}),
        ("(null)", {}),
    ],
)
def test_gpus_are_counted_by_type(gres: str, gpus: dict[str, int]) -> None:
    def caller(*words: str, timeout: float = 10) -> str:
        return f"NodeName=a Gres={gres} CPUTot=1 RealMemory=1 Partitions=p\n"

    assert nodes(caller)[0].gpus == gpus


def notes(run_dir: Path, scratch: str | None = None, **folders: Path) -> list[str]:
    profile = Profile.model_validate({"time": 60, "scratch": scratch})
    return check_cluster(profile, run_dir, made_up_call, folders)


@pytest.mark.parametrize("place", ["/tmp/runs/x", "/var/tmp/x", "/dev/shm/x", "/data/../tmp/x"])
def test_a_folder_of_this_machine_alone_is_a_note(place: str) -> None:
    (note,) = notes(Path(place))
    assert note.startswith(f"run directory {place}: the nodes may not see it; it is below /")
    assert notes(Path("/nowhere/x"), cache=Path(place)) == [note.replace("run directory", "cache")]


def test_links_and_variables_are_followed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", "/nowhere/mine")
    monkeypatch.setenv("LOCAL_DISK", "/nowhere/disk")
    assert "below /nowhere/mine" in notes(Path("/nowhere/mine/run"))[0]
    assert "below /nowhere/disk/u" in notes(Path("/nowhere/disk/u/run"), scratch="$LOCAL_DISK/u")[0]
    assert notes(Path("/nowhere/disk/run"), scratch="$ONLY_ON_NODES/u") == []
    (tmp_path / "link").symlink_to("/dev/shm")
    assert "below /dev/shm" in notes(tmp_path / "link" / "run")[0]


def test_a_file_system_in_memory_is_a_note(small_disk: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr("harness.launch.slurm.shared_folders._LOCAL", ())
    disk = small_disk("size=64k")
    assert notes(disk.parent / "run") == []
    assert "it lies in this machine's memory (tmpfs)" in notes(disk / "not" / "yet")[0]


def test_programs_that_are_not_here_are_notes(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    (note,) = check(python=str(absent))
    assert note == f"profile: python: {absent} is not on this machine; jobs fail unless the nodes have it"
    (note,) = check(container={"image": str(absent)}, python="/inside/python")
    assert note.startswith("profile: container.image: ")
    assert check(container={"image": "docker://a/b"}) == check(python="python3") == []


@pytest.fixture(scope="module")
def cluster() -> Iterator[LittleCluster]:
    with LittleCluster(settings=Settings(nodes=2, gpu_type="tiny", max_array_size=77)) as running:
        yield running


def on(cluster: LittleCluster) -> Call:
    """Commands as the launcher gives them, on the login host of the little cluster."""

    def caller(*words: str, timeout: float = 30) -> str:
        return call(*cluster.command(words), timeout=timeout)

    return caller


@on_slurm
def test_a_real_cluster_is_read(cluster: LittleCluster) -> None:
    caller = on(cluster)
    facts = limits(caller)
    assert (facts.cluster, facts.max_array_size) == ("little", 77)
    assert facts.enforced == {"associations", "limits", "qos"}
    assert {node.name: (node.cpus, node.memory, node.gpus) for node in nodes(caller)} == {
        "n1": (4, 8000, {"tiny": 2}),
        "n2": (4, 8000, {"tiny": 2}),
    }
    found = {one.name: one for one in partitions(caller)}
    assert found.keys() == {"batch", "short", "low", "lowcancel", "high"}
    assert (found["batch"].default, found["batch"].minutes, found["short"].minutes) == (True, 1440, 5)


@on_slurm
@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"partition": "low", "gpus": 2, "gpu_type": "tiny", "cpus": 4, "memory": "8000M", "account": "root"}, None),
        ({"partition": "short", "time": 5, "qos": "normal", "memory": "100M"}, None),
        ({"gpus": 3}, "there are tiny (2 a node)"),
        ({"gpus": 1, "gpu_type": "TINY"}, "did you mean 'tiny'? There are tiny (2 a node)"),
        ({"cpus": 5}, "5 is more than any node of partition batch has, 4"),
        ({"memory": "8G"}, "(8192M) is more than any node of partition batch has, 8000M"),
        ({"partition": "short", "time": 6}, "limit of partition short, 00:05:00"),
        ({"partition": "bach"}, "did you mean 'batch'? There are batch, high, low, lowcancel, short"),
        ({"account": "roof"}, "has no account 'roof' here; did you mean 'root'?"),
        ({"qos": "urgent"}, "there is no 'urgent' on this cluster; there are normal"),
    ],
)
def test_slurm_takes_what_passes_and_nothing_else(
    cluster: LittleCluster, tmp_path: Path, keys: dict[str, Any], message: str | None
) -> None:
    parameters = sbatch_parameters(Profile.model_validate({"time": 60, **keys}))
    (tmp_path / "script").write_text(_make_sbatch_string("true", tmp_path, **parameters))
    done = cluster.run(["sbatch", "--parsable", "--output=/dev/null", "--error=/dev/null", str(tmp_path / "script")])
    if message is None:
        assert check(on(cluster), **keys) == []
        assert done.returncode == 0, done.stderr
        cluster.run(["scancel", done.stdout.strip()], check=True)
    else:
        assert message in refusal(on(cluster), **keys)
        assert done.returncode != 0


@on_slurm
def test_a_hidden_partition_of_a_real_cluster_can_be_used(cluster: LittleCluster) -> None:
    def as_a_user(*words: str, timeout: float = 30) -> str:
        """The administrator sees everything."""
        user = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        return call(*cluster.command([*user, *words]), timeout=timeout)

    cluster.root.chmod(0o711)
    cluster.run(["scontrol", "update", "PartitionName=high", "Hidden=YES"], check=True)
    try:
        assert "high" not in {one.name for one in partitions(as_a_user)}
        assert check(as_a_user, partition="high", gpus=2) == []
        assert "there is no 'hihg' on this cluster" in refusal(as_a_user, partition="hihg")
    finally:
        cluster.run(["scontrol", "update", "PartitionName=high", "Hidden=NO"], check=True)
        cluster.root.chmod(0o700)


@on_slurm
def test_a_real_cluster_that_falls_silent(cluster: LittleCluster) -> None:
    caller = on(cluster)
    cluster.kill_accounting()
    try:
        assert check(caller, account="roof") == []
    finally:
        cluster.start_accounting()
    cluster.kill_controller(hard=True)
    try:
        with pytest.raises(SlurmSilent, match="try `scontrol ping`"):
            check(caller)
    finally:
        cluster.start_controller()
