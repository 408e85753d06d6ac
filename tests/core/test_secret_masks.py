"""Secrets in what leaves the user's hands are replaced; what only looks a little like one stays."""

from __future__ import annotations

import pytest
from tiny import ROOT

from harness.core.secret_masks import MASK, masked

KEY = "0123456789abcdef0123456789abcdef01234567"
SECRETS = {
    "api_key: abcd1234efgh5678": "abcd1234efgh5678",
    f"export WANDB_API_KEY={KEY}": KEY,
    "export HF_TOKEN=abcdefghijkl": "abcdefghijkl",
    "api_key = 'pass-in-code'": "pass-in-code",
    "Authorization: Bearer abcdefghijklmnop.qrstuv": "abcdefghijklmnop",
    'headers = {"Authorization": "Bearer abcdefghijklmnop"}': "abcdefghijklmnop",
    'hf = "hf_abcdefghijklmnopqrstuvwxyzabcdefgh"': "abcdefghijklmnop",
    "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY": "wJalrXUtnFEMI",
    "AKIAIOSFODNN7EXAMPLE": "IOSFODNN7EXAMPLE",
    "https://me:hunter2@example.org/x.git": "hunter2",
    "ghp_0123456789abcdefABCD0123456789abcdefAB": "0123456789abcdef",
    "xoxb-123456789012-123456789012-abcdefghijklmnopqrstuvwx": "abcdefghijkl",
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0": "dozjgNry",
    "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789": "abcdefgh",
    f"machine api.wandb.ai login user password {KEY}": KEY,
    f'wandb.login(key="{KEY}")': KEY,
    '{"username":"me","key":"0123456789abcdef0123456789abcdef"}': "0123456789abcdef",
    "token = 'abc'": "abc'",
}
KEY_BLOCK = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA0\nabcdefgh+/=\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize("line", SECRETS)
@pytest.mark.parametrize("name", ["method.py", "notes.txt", "config.yaml", "run.sh", ".npmrc"])
def test_secrets_are_replaced(line: str, name: str) -> None:
    text, places = masked(f"a = 1\n{line}\nb = 2\n", name)
    assert SECRETS[line] not in text and MASK in text
    assert places == [2] and text.startswith("a = 1\n") and text.endswith("\nb = 2\n")


@pytest.mark.parametrize("text", [KEY_BLOCK, KEY_BLOCK.rpartition("\n")[0], KEY_BLOCK.replace("RSA", "OPENSSH")])
def test_private_keys_are_replaced_whole_or_cut_off(text: str) -> None:
    hidden, places = masked(f"a\n{text}\nb c\n", "id")
    assert "MII" not in hidden and "abcdefgh" not in hidden and "BEGIN" not in hidden
    assert hidden.startswith("a\n") and hidden.endswith("\nb c\n") and len(places) == text.count("\n") + 1


def test_a_patch_stays_a_patch() -> None:
    lines = "".join(f"+{line}\n" for line in KEY_BLOCK.split("\n"))
    patch = f"--- a/x.sh\n+++ b/x.sh\n@@ -0,0 +1,5 @@\n{lines}+PGPASSWORD=hunter2\n b\n"
    hidden, _ = masked(patch, "environment.patch")
    assert "MII" not in hidden and "hunter2" not in hidden
    assert [line[:1] for line in hidden.split("\n")] == [line[:1] for line in patch.split("\n")]


@pytest.mark.parametrize(
    "line",
    [
        'token = os.environ["TOKEN"]', "password = ask_for_password()", "tokens = tokenizer(text)",
        "api_key=arguments.key", 'sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"',
        "secret_length = 16", "sk-learn",
        "key = layer1.conv2", "url = 'https://example.org/a:b@c'", "head_lr: 0.001",
    ],
)  # fmt: skip
def test_code_stays(line: str) -> None:
    assert masked(line, "method.py") == (line, [])


@pytest.mark.parametrize("folder", ["methods", "datasets"])
def test_the_programs_own_code_holds_none(folder: str) -> None:
    for path in sorted((ROOT / folder).rglob("*.py")):
        text = path.read_text()
        assert masked(text, path.name) == (text, []), path


def test_a_long_text_takes_no_time() -> None:
    import time

    text = "weights: [0.123456789, 0.2345678901], name: layer1.0.conv1\n" * 10_000
    started = time.process_time()
    assert masked(text, "environment.patch") == (text, [])
    assert time.process_time() - started < 20
