"""What a run notes of its code and machine, and what it must not note."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path
from types import ModuleType

import pytest
from tiny import ROOT

SECRETS = ("hunter2", "ghp_0123456789abcdefABCD", "tok-in-env", "tok-in-file", "pass-in-code", "-----BEGIN")


def repository(folder: Path) -> ModuleType:
    """A git repository with a copy of the module, under a name of its own, and its first commit."""
    (folder / "harness" / "core").mkdir(parents=True)
    source = folder / "harness" / "core" / "environment.py"
    source.write_text((ROOT / "harness" / "core" / "environment.py").read_text())
    (folder / "method.py").write_text("RATE = 1\n")
    (folder / ".gitignore").write_text("__pycache__/\n")
    for name in (".env", "id.pem", "my_tokens.txt"):
        (folder / name).write_text("empty\n")
    git(folder, "init", "--quiet")
    git(folder, "remote", "add", "origin", "https://me:hunter2@example.org/x.git")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "first")
    made = importlib.util.spec_from_file_location("_copy_of_environment", source)
    assert made is not None and made.loader is not None
    module = importlib.util.module_from_spec(made)
    made.loader.exec_module(module)
    return module


def git(folder: Path, *words: str) -> str:
    own = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
    return subprocess.run(["git", *own, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_changes_are_noted_and_secrets_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "WANDB_API_KEY", "SLURM_SECRET"):
        monkeypatch.setenv(name, "tok-in-env")
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    module = repository(tmp_path)
    assert module.uncommitted_changes() is None and module.capture({"gpus": []})["dirty"] is False

    # A file that git does not know counts where it can change what runs.
    (tmp_path / "demo.zip").write_bytes(b"archive")
    assert module.capture({"gpus": []})["dirty"] is False
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "mine.py").write_text("RATE = 1\n")
    assert module.capture({"gpus": []})["dirty"] is True
    (tmp_path / "methods" / "mine.py").unlink()

    (tmp_path / "method.py").write_text(
        "RATE = 2\n"
        'origin = "https://me:hunter2@example.org/x.git"\n'
        "key = 'ghp_0123456789abcdefABCD'\n"
        'API_KEY = "pass-in-code"\n'
    )
    for name, secret in ((".env", "T=tok-in-file"), ("id.pem", "-----BEGIN KEY"), ("my_tokens.txt", "tok-in-file")):
        (tmp_path / name).write_text(secret + "\n")
    patch = module.uncommitted_changes().decode()
    found = module.capture({"gpus": []})
    assert found["dirty"] is True and found["commit"] == git(tmp_path, "rev-parse", "HEAD")
    assert found["slurm"]["slurm_job_id"] == "77"
    assert "-RATE = 1\n+RATE = 2\n" in patch and 'API_KEY = "***"' in patch and "me:***@example.org" in patch
    for secret in SECRETS:
        assert secret not in patch and secret not in json.dumps(found), secret

    # What does not fit is cut off, and says so.
    (tmp_path / "method.py").write_text("".join(f"A{number} = {number}\n" for number in range(100_000)))
    patch = module.uncommitted_changes()
    assert len(patch) < module.MOST_PATCH_BYTES + 100 and patch.endswith(b"(cut off here: the changes are longer)\n")
    # Code that git does not track, as an installed package inside somebody's repository, has no commit.
    git(tmp_path, "rm", "--quiet", "--cached", "harness/core/environment.py")
    git(tmp_path, "commit", "--quiet", "--message", "without")
    assert module.capture({"gpus": []})["commit"] is None and module.uncommitted_changes() is None
