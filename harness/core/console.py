"""The console that every command prints with: what comes from files is shown, never obeyed."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import Any

import rich.console
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from harness.core.output import Errors, printable_lines


class Console(rich.console.Console):
    """Rich's console, where brackets in a text are brackets and a control character is its escape.

    With ``stderr`` it prints on standard error, which may be gone; on a standard output that is gone it raises
    BrokenPipeError, which ends a command quietly (``harness.core.errors.run_command``).
    """

    def __init__(self, *, stderr: bool = False, markup: bool = False, emoji: bool = False, **options: Any) -> None:
        if stderr:
            options["file"] = Errors()
        super().__init__(markup=markup, emoji=emoji, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of something that is printed, with the escapes of control characters in their texts."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control or text.isprintable() or text == "\n" else Segment(printable_lines(text), style)

    def render_str(self, text: str, **options: Any) -> Text:
        """A text, with the escapes of those control characters that Rich would drop."""
        return super().render_str(printable_lines(text), **options)

    def whole_line(self, text: str) -> None:
        """Print one line as it is, however long: what it names is neither broken nor coloured."""
        self.print(text, soft_wrap=True, highlight=False, markup=False)

    def on_broken_pipe(self) -> None:
        """Leave it to the command."""
        self.quiet = True
        raise BrokenPipeError(errno.EPIPE, "nobody reads the output any more")
