"""A dataset's options, as its class declares them."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import ValidationError

from harness.core.errors import RequestError
from harness.dataset import Dataset, Options
from harness.spec.messages import Place, explain


def read_options(dataset: type[Dataset], options: Mapping[str, object], place: Place) -> Options:
    """A dataset's options as its class declares them; ``place`` is relative to these.

    Read as JSON is, so that a list in the file fits a tuple in the class.

    Raises:
        RequestError: an unknown option or a value that it does not take.
    """
    try:
        return dataset.Options.model_validate_json(json.dumps(dict(options)))
    except ValidationError as error:
        keys, text = explain(dataset.Options, error)
        raise RequestError(f"{place(*keys)}: {text}") from error
