"""A plugin's options, as its class declares them, and a dataset with its own."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import ValidationError

from harness.core.errors import RequestError
from harness.core.origin import fault_of
from harness.core.plugin_options import HasOptions, Options
from harness.dataset import Dataset
from harness.spec.messages import Place, explain


def read_options(plugin: type[HasOptions], options: Mapping[str, object], place: Place) -> Options:
    """A plugin's options as its class declares them; ``place`` is relative to these.

    Read as JSON is, so that a list in the file fits a tuple in the class.

    Raises:
        RequestError: an unknown option or a value that it does not take.
    """
    try:
        return plugin.Options.model_validate_json(json.dumps(dict(options)))
    except ValidationError as error:
        keys, text = explain(plugin.Options, error)
        raise RequestError(f"{place(*keys)}: {text}") from error


def with_options(plugin: type[Dataset], options: Mapping[str, object], place: Place) -> Dataset:
    """A dataset with its options, which may decide what it says of where its images come from.

    Raises:
        RequestError: as ``read_options``, or with these options it says something that no dataset can.
    """
    dataset = plugin(read_options(plugin, options, place))
    fault = fault_of(dataset.source, dataset.groups, dataset.official_by_patient)
    if fault is not None:
        raise RequestError(f"{place()}: the dataset {dataset.name} {fault}")
    return dataset
