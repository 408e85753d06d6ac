"""Options of plugins in a sweep file."""

from __future__ import annotations

from typing import ClassVar, Protocol

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """Options of a plugin in a sweep file; a plugin that has some derives its own class from this."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


# The class attribute of the same name hides the model inside the class.
_Options = Options


class HasOptions(Protocol):
    """A kind of plugin that may have options."""

    Options: ClassVar[type[_Options]]
