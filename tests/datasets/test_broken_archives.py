"""Broken archives, tables, arrays and images: each is taken or refused in one line, in time, and nothing is left."""

from __future__ import annotations

from pathlib import Path

from broken_archives import READER, make
from broken_input import assert_handles


def test_broken_archives_are_taken_or_refused_in_one_line() -> None:
    # What this process once had for other tests does not count.
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    assert_handles(READER, count=60)
    assert memory("VmHWM") - before < 1_000_000, "with the packages that it loads"


def memory(kind: str) -> int:
    """Kilobytes of this process, now (VmRSS) or at most since the peak was cleared (VmHWM)."""
    return int(Path("/proc/self/status").read_text().split(f"{kind}:")[1].split()[0])


def test_every_kind_is_made() -> None:
    made = [make(seed) for seed in range(300)]
    assert {example.dataset for example in made} == {"image_folder", "brain_mri", "isic2018", "bloodmnist"}
    assert {"path=mine", "path=mine.zip"} == {example.options[0] for example in made if example.options}
    told = " ".join(word for example in made for word in example.story)
    for word in ("image: huge", "image: pages", "image: bomb", "named pipe", "twice:", "cut", "number", "array change"):
        assert word in told
    assert make(7) == make(7)
