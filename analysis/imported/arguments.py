"""The options of commands that read results from elsewhere (``docs/import-results.md``)."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from harness.core.arguments import user_path
from harness.core.errors import RequestError

if TYPE_CHECKING:
    from analysis.comparison.evidence import Evidence

_NAMES = ("table", "predictions", "control", "correction", "margin", "metric", "lower_is_better", "source", "name")


def add_table_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    foreign = parser.add_argument_group("results from elsewhere (docs/import-results.md)")
    foreign.add_argument(
        "--table", type=user_path, metavar="FILE", help="results: method,dataset,seed,metric,value[,split,search]"
    )
    foreign.add_argument(
        "--predictions", type=user_path, metavar="FILE", help="predictions: method,dataset,seed,case_id,label,logit_0,…"
    )
    foreign.add_argument("--control", metavar="M", help="the method that all others are compared with (default: none)")
    foreign.add_argument(
        "--correction", choices=("holm", "bonferroni", "none"), help="correction of the p values (default: holm)"
    )
    foreign.add_argument("--margin", type=float, metavar="X", help="difference that counts as practically equal")
    foreign.add_argument("--metric", metavar="NAME", help="the primary metric, if the tables have several")
    foreign.add_argument(
        "--lower-is-better",
        action="append",
        metavar="NAME",
        help="a metric of the tables that is a loss; may be repeated",
    )
    foreign.add_argument(
        "--source",
        action="append",
        metavar="DATASET=NAME",
        help="where a dataset's images come from; those of one source count once; may be repeated",
    )
    foreign.add_argument("--name", metavar="TITLE", help="title (default: the file's)")


def refuse_beside_run(options: argparse.Namespace) -> None:
    """Raise RequestError where an option of tables is given beside a run directory."""
    for name in _NAMES:
        if getattr(options, name) is not None:
            option = name.replace("_", "-")
            raise RequestError(f"--{option} belongs to results from elsewhere; a run has that in its sweep file")


def evidence_given(options: argparse.Namespace, what: str) -> Evidence:
    """The evidence in the tables that the options name.

    Args:
        options: as parsed.
        what: what the command does, for the message where there is nothing to do.

    Raises:
        RequestError: there is no table, or it is not what it should be.
    """
    if options.table is None and options.predictions is None:
        raise RequestError(f"nothing to {what}; name a run directory, or a table of results with --table")
    from analysis.imported.evidence import evidence_from_tables

    given = {name: value for name in _NAMES if (value := getattr(options, name)) is not None}
    return evidence_from_tables(given.pop("table", None), given.pop("predictions", None), **given)
