"""A method whose trainings last as long on a fast machine as on a slow one, and cost next to nothing."""

from __future__ import annotations

from pathlib import Path

from tiny import ROOT


def slow_method(folder: Path, seconds: float, gate: Path | None = None) -> None:
    """Write ``plugins/slow.py``: full fine-tuning that rests before each step.

    Args:
        folder: of the sweep file, which names ``plugins`` and the method ``slow``.
        seconds: a rest.
        gate: a file; steps rest only as long as it is there. None for always.
    """
    source = (ROOT / "methods" / "full_finetune.py").read_text()
    adapt = "    def adapt("
    assert source.count(adapt) == 1 and 'name = "full_finetune"' in source
    pause = f"time.sleep({seconds})" if gate is None else f"time.sleep({seconds} * os.path.exists({str(gate)!r}))"
    rest = (
        "    def training_step(self, context, images, labels):\n        import os, time\n\n"
        f"        {pause}\n        return super().training_step(context, images, labels)\n\n"
    )
    plugins = folder / "plugins"
    plugins.mkdir(exist_ok=True)
    source = source.replace('name = "full_finetune"', 'name = "slow"').replace(adapt, rest + adapt)
    (plugins / "slow.py").write_text(source)
