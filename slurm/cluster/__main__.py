"""``python -m slurm.cluster``: start, stop and disturb a little Slurm cluster. Give it in the repository's root.

Exit codes: 0 done; 1 ``status``: not everything runs; 2 refused, in one line on standard error; ``in``: the command's.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from harness.core.arguments import parse, user_path
from harness.core.errors import EXIT_DONE, EXIT_SOME_FAILED, RequestError, run_command
from harness.core.output import say
from slurm.cluster.cluster import LittleCluster
from slurm.cluster.namespaces import inner_environment
from slurm.cluster.settings import Settings

VARIABLE = "LITTLE_CLUSTER"
"""Environment variable that stands for --root."""

_HELP = {
    "nodes": "nodes n1, n2, …",
    "cpus": "processors of a node, pretended",
    "gpus": "GPUs of a node, pretended",
    "gpu_type": "their type, as in --gres=gpu:TYPE:1",
    "memory": "MiB of a node, pretended; shared out by processor unless a job asks otherwise",
    "max_array_size": "MaxArraySize: array indices are below it",
    "max_submit_jobs": "jobs that root may have submitted at a time",
    "max_running_jobs": "jobs that root may have running at a time",
    "slurmd_timeout": "seconds without an answer until a node is down",
    "kill_wait": "seconds from SIGTERM to SIGKILL",
    "grace_time": "seconds from the notice of a preemption to its end, in the partitions low and lowcancel",
    "cred_expire": "seconds; also the delay of a requeue",
}


def main(arguments: list[str] | None = None) -> int:
    """Carry out one command line."""
    parsed = parse(_parser(), arguments)
    command: Callable[[argparse.Namespace], int] = parsed.command
    return run_command(lambda: command(parsed))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m slurm.cluster", description="A little real Slurm cluster.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        default = os.environ.get(VARIABLE)
        sub.add_argument(
            "--root", type=user_path, default=default and user_path(default), help=f"folder (or: {VARIABLE}=FOLDER)"
        )
        sub.set_defaults(command=command)
        return sub

    start = add("start", _start, "start a cluster; without --root in a new folder, which is printed")
    start.add_argument("--no-accounting", dest="accounting", action="store_false", help="no slurmdbd and no sacct")
    for field in fields(Settings):
        if field.name != "accounting":
            option = "--" + field.name.replace("_", "-")
            kind = str if field.name == "gpu_type" else int
            shown = "none" if field.default in (None, "") else field.default
            text = f"{_HELP[field.name]} (default: {shown})"
            start.add_argument(option, type=kind, default=field.default, help=text)

    stop = add("stop", _stop, "end everything at once, jobs included")
    stop.add_argument("--keep", action="store_true", help="keep the folder with its logs if start made it")
    add("status", _status, "list processes and nodes")
    inside = add("in", _in, "run a command in the cluster; it replaces this process")
    inside.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND", help="program and its arguments")

    lose = add("lose", _lose, "kill a node's slurmd; the jobs there go on unseen")
    lose.add_argument("--hard", action="store_true", help="kill all processes of the node")
    lose.add_argument("node")
    add("return", _return, "start a lost node again").add_argument("node")
    stop_controller = add("stop-controller", _stop_controller, "end slurmctld, which first writes its state")
    stop_controller.add_argument("--hard", action="store_true", help="kill it; it may forget jobs of the last seconds")
    add("start-controller", _start_controller, "start slurmctld again")
    add("stop-accounting", _stop_accounting, "kill slurmdbd")
    add("start-accounting", _start_accounting, "start slurmdbd again")
    return parser


def _cluster(parsed: argparse.Namespace) -> LittleCluster:
    return LittleCluster.at(_root(parsed))


def _root(parsed: argparse.Namespace) -> Path:
    root: Path | None = parsed.root
    if root is None:
        raise RequestError(f"little cluster: which one? give --root FOLDER, as start printed it, or set {VARIABLE}")
    return root


def _start(parsed: argparse.Namespace) -> int:
    settings = Settings(**{field.name: getattr(parsed, field.name) for field in fields(Settings)})
    begin = time.monotonic()
    cluster = LittleCluster(parsed.root, settings)
    cluster.start()
    say(f"{settings.nodes} nodes up after {time.monotonic() - begin:.1f} s in {cluster.root}")
    say(f"  python -m slurm.cluster in --root {cluster.root} sinfo")
    say(f"  python -m slurm.cluster stop --root {cluster.root}")
    return EXIT_DONE


def _stop(parsed: argparse.Namespace) -> int:
    cluster = LittleCluster(_root(parsed), keep=parsed.keep)
    ended = cluster.stop()
    say(f"{ended} processes ended in {cluster.root}" if ended else f"nothing ran in {cluster.root}")
    return EXIT_DONE


def _status(parsed: argparse.Namespace) -> int:
    cluster = _cluster(parsed)
    records = cluster.state().records
    alive = [record.process.alive for record in records]
    for record, runs in zip(records, alive, strict=True):
        say(f"{record.name:<10} {record.pid:>8}  {'runs' if runs else 'gone'}")
    if not any(alive):
        say(f"nothing runs in {cluster.root}")
        return EXIT_SOME_FAILED
    states = cluster.node_states() if all(alive) else {}
    for node, state in sorted(states.items()):
        say(f"{node}: {state}")
    return EXIT_DONE if all(alive) else EXIT_SOME_FAILED


def _in(parsed: argparse.Namespace) -> int:
    words: list[str] = parsed.words[1:] if parsed.words[:1] == ["--"] else parsed.words
    if not words:
        raise RequestError("in: no command; give one, such as: in --root FOLDER sinfo")
    command = _cluster(parsed).command(words)
    sys.stdout.flush()
    # No process stays between the caller and the command: signals and the exit code are the command's own.
    os.execve(command[0], command, inner_environment())  # noqa: S606


def _lose(parsed: argparse.Namespace) -> int:
    _cluster(parsed).lose(parsed.node, hard=parsed.hard)
    return EXIT_DONE


def _return(parsed: argparse.Namespace) -> int:
    _cluster(parsed).restore(parsed.node)
    return EXIT_DONE


def _stop_controller(parsed: argparse.Namespace) -> int:
    _cluster(parsed).kill_controller(hard=parsed.hard)
    return EXIT_DONE


def _start_controller(parsed: argparse.Namespace) -> int:
    _cluster(parsed).start_controller()
    return EXIT_DONE


def _stop_accounting(parsed: argparse.Namespace) -> int:
    _cluster(parsed).kill_accounting()
    return EXIT_DONE


def _start_accounting(parsed: argparse.Namespace) -> int:
    _cluster(parsed).start_accounting()
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
