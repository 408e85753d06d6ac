"""What a run says of images that two of its datasets share, or that a backbone was trained on, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.run.data_records import BackboneOverlap, DatasetOverlap, OverlapsRecord


def overlap_warnings(found: OverlapsRecord) -> Iterator[str]:
    """What a reader must know: a sentence for each pair of datasets of two sources, and for each backbone."""
    for pair in found["datasets"]:
        if len(set(pair["sources"])) > 1:
            yield (
                f"{_shared(pair)}{_named(pair['named'])}, but they name two sources ({' and '.join(pair['sources'])}): "
                "averages, ranks and claims about new datasets count these images twice. Datasets of one collection "
                "should name one `source`."
            )
    for leak in found["backbones"]:
        said = backbone_leak(leak)
        reason = f" The sweep file allows leakage, with this reason: {found['allow_leakage']}"
        yield f"{said[0].upper()}{said[1:]}.{reason if leak['identical'] else ''}"


def overlap_notes(found: OverlapsRecord) -> Iterator[str]:
    """What needs no action: how many images datasets of one source share."""
    for pair in found["datasets"]:
        if len(set(pair["sources"])) == 1:
            yield f"{_shared(pair)}; both are of one source ({pair['sources'][0]}) and count once in averages."


def backbone_leak(leak: BackboneOverlap) -> str:
    """That a backbone is trained on images that are tested, or nearly so; without a full stop."""
    parts = [f"{leak['identical']:,} of the {leak['test']:,} test images"] if leak["identical"] else []
    if leak["near"]:
        of = "further ones" if parts else f"of the {leak['test']:,} test images"
        parts.append(f"what look like near-duplicates of {leak['near']:,} {of}")
    return (
        f"the backbone that is trained first on {leak['backbone']} sees {' and '.join(parts)} of {leak['dataset']} in "
        f"training or validation{_named(leak['named'])}"
    )


def _shared(pair: DatasetOverlap) -> str:
    (first, second), (one, other) = pair["datasets"], pair["identical"]
    parts = [f"{_images(one)} of {first} and {other:,} of {second} are the same"] if one else []
    if pair["near"] is not None and any(pair["near"]):
        one, other = pair["near"]
        parts.append(f"{_images(one)} of {first} and {other:,} of {second} look like near-duplicates")
    return ", and ".join(parts)


def _images(number: int) -> str:
    return f"{number:,} image" if number == 1 else f"{number:,} images"


def _named(pairs: Sequence[Sequence[str]]) -> str:
    """The first pairs, in brackets."""
    return f" (such as {', '.join(' = '.join(pair) for pair in pairs)})"
