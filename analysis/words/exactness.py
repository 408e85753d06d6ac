"""What repeating a training gives, by the kernels that it ran on."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from analysis.comparison.phrases import counted, listed


def exactness_sentences(trials: pl.DataFrame) -> Iterator[str]:
    """One sentence for each kind of device and kernels.

    Args:
        trials: as ``harness.run.frames.trials`` gives them.
    """
    known = trials.filter(pl.col("device").is_not_null())
    cpu = known.filter(pl.col("device") == "cpu").height
    if cpu:
        yield (
            f"{counted(cpu, 'training')} ran on a CPU: a repetition on the same kind of processor, with the same "
            "software and number of threads, gives the same result bit for bit."
        )
    on_gpus = known.filter(pl.col("device") != "cpu")
    for (device, deterministic), own in sorted(
        on_gpus.partition_by("device", "deterministic", as_dict=True).items(), key=str
    ):
        amount = counted(own.height, "training")
        if not deterministic:
            unknown = " (not recorded)" if deterministic is None else ""
            yield f"{amount} ran on {device} without deterministic kernels{unknown}: a repetition may differ."
            continue
        said = own["not_deterministic"].drop_nulls().to_list()
        lacking = sorted({name for names in said for name in names.split(", ") if name})
        if lacking:
            yield (
                f"{amount} ran on {device} with deterministic kernels wherever torch has them, but it has none for "
                f"{listed(lacking)}: a repetition may differ."
            )
        else:
            yield (
                f"{amount} ran on {device} with deterministic kernels alone: a repetition on the same kind of device, "
                "with the same software, gives the same result."
            )
