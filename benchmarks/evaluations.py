"""What scoring a model on corrupted images costs beside scoring its test split: ``python -m benchmarks.evaluations``.

A network is built as a confirm trial builds it. In turns, it scores the test side, the test side under fifteen
corruptions at five severities by the code that trials run, and the damaged images are made once more alone. Reported
are the passes of the network with all that belongs to them (metrics, files), which should take no more than 1.3 times
as long as 75 passes over the test side, and how long making the damaged images takes; on a CPU in processor time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.overhead import machine
from harness.core.arguments import user_path
from harness.core.errors import RequestError, run_command
from harness.data.cache import default_cache_root, default_data_root, prepare
from harness.data.split import make_split
from harness.dataset import Dataset
from harness.evaluations._severities import DERMOSCOPY
from harness.evaluations.corruptions import Corruptions
from harness.method import Method
from harness.plugins import discover
from harness.run.trial import TrialFolder
from harness.space.parameters import defaults
from harness.spec.train import TrainSpec
from harness.train.device import usable_device
from harness.train.evaluate import predict
from harness.train.evaluations import GivenEvaluation, making_seconds, score
from harness.train.job import Control, TrialJob
from harness.train.network import build_network
from harness.train.step import autocast_dtype

MOST = 1.3
"""Times as long as 75 passes over the test side."""


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds of test passes and of evaluations, in turns."""
    catalogue = discover()
    plugin = catalogue.find(Dataset, arguments.dataset, "--dataset")
    dataset, size = plugin.cls(), arguments.image_size
    root = arguments.data_root or default_data_root()
    data = prepare(dataset, plugin.code, size, root, default_cache_root())
    split = make_split(data, "grouped", 0)
    split = replace(split, test=split.test[: arguments.images])
    method = catalogue.find(Method, "bn_affine", "method").cls
    train = TrainSpec.model_validate({"image_size": size, "eval_batch_size": arguments.batch})
    job = TrialJob(
        "confirm", method, defaults(method.space), arguments.network, None, dataset, data, split, train,
        "balanced_accuracy", 0,
    )  # fmt: skip
    device = usable_device(arguments.device)
    model, images = build_network(job, method(), job.hyperparameters, device)
    precision = autocast_dtype(train, device)
    options = {"corruptions": "dermoscopy"}
    given = GivenEvaluation("corruptions", Corruptions(Corruptions.Options.model_validate(options)), "0" * 64)
    sets = 5 * len(DERMOSCOPY)
    # Of this process alone, so that what else the machine does changes little; a GPU works beside it.
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    rounds = []
    with tempfile.TemporaryDirectory() as place:
        folder = TrialFolder(Path(place), "confirm")
        predict(model, images, "test", arguments.batch, precision)
        for _ in range(arguments.rounds):
            began = clock()
            for _ in range(arguments.passes):
                predict(model, images, "test", arguments.batch, precision)
            plain = (clock() - began) / arguments.passes
            began = clock()
            score(job, [given], model, images, precision, folder, Control())
            whole = clock() - began
            began = clock()
            making_seconds(job, [given], model, images, arguments.batch, whole=True)
            making = clock() - began
            ratio = (whole - making) / (sets * plain)
            rounds.append({"test_pass": plain, "evaluation": whole, "making": making, "ratio": ratio})
    return {
        "machine": machine(torch.get_num_threads()),
        "device": str(device),
        "threads": torch.get_num_threads(),
        "network": arguments.network,
        "image_size": size,
        "images": len(split.test),
        "sets": sets,
        "rounds": rounds,
        "ratio": statistics.median(one["ratio"] for one in rounds),
        "making_milliseconds_an_image": 1e3
        * statistics.median(one["making"] for one in rounds)
        / (sets * len(split.test)),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and keep; 1 where the passes take longer than they should."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluations", description=__doc__)
    parser.add_argument("--dataset", default="isic2018", help="dataset plugin (default: %(default)s)")
    parser.add_argument("--data-root", type=user_path, metavar="DIR", help="folder of the raw archives")
    parser.add_argument("--network", default="resnet18", help="(default: %(default)s)")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--images", type=int, default=256, help="test images (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=64, help="images a forward pass (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--passes", type=int, default=5, help="test passes a round (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of the processor (default: %(default)s)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=user_path, metavar="FILE", help="write the result as JSON")
    arguments = parser.parse_args(argv)
    return run_command(lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> int:
    if min(arguments.images, arguments.rounds, arguments.passes, arguments.threads) < 1:
        raise RequestError("--images, --rounds, --passes, --threads: at least 1 each")
    torch.set_num_threads(arguments.threads)
    found = measure(arguments)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")
    print(
        f"{found['sets']} sets of {found['images']} images of {found['image_size']} pixels: the network takes "
        f"{found['ratio']:.3f} times as long as {found['sets']} passes over the test side; a damaged image takes "
        f"{found['making_milliseconds_an_image']:.2f} ms to make"
    )
    return 0 if found["ratio"] <= MOST else 1


if __name__ == "__main__":
    sys.exit(main())
