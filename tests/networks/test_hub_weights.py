"""Weights of the Hugging Face Hub: the real client against a server of our own, and without one."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from harness.core.errors import RequestError
from harness.networks import backbones
from harness.networks.backbones import build_model, check_backbone
from harness.networks.content import content_of
from harness.networks.normalisation import Normalisation
from harness.networks.small_resnet import SmallResNet

pytest.importorskip("huggingface_hub", reason="downloads from the Hub; it comes with the extra timm")

CONFIG = {"architecture": "resnet20", "pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}}
STATED = Normalisation((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


class Hub:
    """Repositories by name, each with its files, and what was asked for."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.asked: list[str] = []
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._answer(False)

            def do_GET(self) -> None:
                self._answer(True)

            def _answer(self, whole: bool) -> None:
                owner, name, *_, file = self.path.strip("/").split("/")
                files = hub.repositories.get(f"{owner}/{name}")
                hub.asked.append(file)
                content = None if files is None else files.get(file)
                self.send_response(404 if content is None else 200)
                self.send_header("X-Repo-Commit", "0" * 40)
                if content is None:
                    self.send_header("X-Error-Code", "RepoNotFound" if files is None else "EntryNotFound")
                else:
                    self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                if whole:
                    self.wfile.write(content or b"")

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def end(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants, file_download

    backbones._extractor.cache_clear()
    found = Hub()
    monkeypatch.setattr(constants, "ENDPOINT", found.address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", found.address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    # What is tried again after a pause is the client's own affair.
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    assert file_download.constants is constants
    yield found
    found.end()


def refusal(name: str, weights: str) -> str:
    with pytest.raises(RequestError) as caught:
        build_model(name, weights, 3, 0)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_repository_is_downloaded_once_and_needs_no_network_afterwards(hub: Hub) -> None:
    network = SmallResNet()
    hub.repositories["me/net"] = {
        "config.json": json.dumps(CONFIG).encode(),
        "model.safetensors": save(network.state_dict()),
    }
    model, normalisation = build_model("resnet20", "hf-hub:me/net", 3, 0)
    assert normalisation == STATED
    assert torch.equal(model.backbone.get_parameter("conv1.weight"), network.conv1.weight)
    first = content_of("resnet20", "hf-hub:me/net", None)
    assert first.normalisation == STATED and first.weights is not None and len(first.weights) == 64
    hub.end()
    backbones._extractor.cache_clear()
    hub.asked.clear()
    again, _ = build_model("resnet20", "hf-hub:me/net", 3, 0)
    assert torch.equal(again.backbone.get_parameter("conv1.weight"), network.conv1.weight)
    assert content_of("resnet20", "hf-hub:me/net", None) == first
    assert hub.asked == []


def test_a_repository_with_a_pickle_and_without_a_configuration(hub: Hub) -> None:
    stream = io.BytesIO()
    torch.save(SmallResNet().state_dict(), stream)
    hub.repositories["me/net"] = {"pytorch_model.bin": stream.getvalue()}
    assert "hf-hub:me/net does not say what images it was trained on; write backbone.mean" in refusal(
        "resnet20", "hf-hub:me/net"
    )
    assert build_model("resnet20", "hf-hub:me/net", 3, 0, STATED)[1] == STATED


def test_what_the_hub_does_not_have_is_refused(hub: Hub) -> None:
    hub.repositories["me/net"] = {"config.json": json.dumps(CONFIG).encode()}
    assert "the Hub has no hf-hub:me/nothing, or it is private" in refusal("resnet20", "hf-hub:me/nothing")
    assert "hf-hub:me/net has neither model.safetensors nor pytorch_model.bin" in refusal("resnet20", "hf-hub:me/net")
    hub.repositories["me/net"]["model.safetensors"] = save(SmallResNet().state_dict())
    assert "does not fit resnet18: the repository holds resnet20" in refusal("resnet18", "hf-hub:me/net")


def test_without_a_network_one_line_says_what_to_do(
    hub: Hub, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    hub.end()
    message = refusal("resnet20", "hf-hub:me/net")
    assert message == (
        "backbone.weights: cannot download hf-hub:me/net (no connection to it); where there is a network, `python -m "
        f"harness.networks fetch SWEEP` puts it into {tmp_path / 'hub'}"
    )
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("weights", ["hf-hub:", "hf-hub:net", "hf-hub:a/b/c", "hf-hub:a/b@", "hf-hub:a b/c"])
def test_another_spelling_is_refused_before_anything_is_asked(weights: str, hub: Hub) -> None:
    with pytest.raises(RequestError, match=r"expected hf-hub:ORG/NAME, such as hf-hub:timm/resnet50\.a1_in1k"):
        check_backbone("resnet20", weights)
    check_backbone("resnet20", "hf-hub:me/net@v1.0")
    assert hub.asked == []
