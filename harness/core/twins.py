"""The control of a comparison under a second name, with a search of its own: what "no difference" looks like."""

from __future__ import annotations


def twin_label(control: str) -> str:
    """The label of a control's twin."""
    return f"{control}_twin"
