"""The paragraph on methods: what was compared, on what, and by which statistics, from the facts alone."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.comparison.compare import Analysis
from analysis.comparison.draws import cells_on, searches_of, splits_of
from analysis.comparison.evidence import Evidence, Provenance
from analysis.comparison.phrases import counted, listed, network_phrase, seeds_phrase, tasks_phrase
from analysis.runs.conduct import Conduct
from analysis.stats.twoway import TwoWay
from analysis.words.hardware import hardware_sentences, software_sentences
from analysis.words.recipe import (
    augmentation_sentences,
    checkpoint_sentences,
    loss_sentences,
    optimiser_sentences,
    recipe_sentences,
)
from analysis.words.spaces import space_sentences
from analysis.words.statistics import statistics_sentences
from harness.core.origin import GroupState
from harness.run.sweep_records import SweepRecord, domains_in, searches_in

_SAMPLERS = {
    "tpe": "a tree-structured Parzen estimator",
    "gp": "a Gaussian process",
    "cmaes": "CMA-ES",
    "random": "random search",
    "grid": "grid search",
    "qmc": "quasi-random search",
}
_PRUNERS = {
    "median": "the median rule",
    "percentile": "the percentile rule",
    "asha": "asynchronous successive halving",
    "hyperband": "Hyperband",
    "patience": "a limit on rungs without a better score",
}
_SHARES = "into 64 % training, 16 % validation and 20 % test images"
_HELD = "into 64 % training, 16 % validation and 20 % held-out images"
_FOLDS = "into folds that are tested in turn, the rest into 80 % training and 20 % validation images"
_TOGETHER: dict[GroupState, str] = {
    "known": "all images of a patient, lesion or duplicate on one side",
    "none": "each image being a unit of its own, duplicates on one side",
    "unknown": "duplicates on one side",
}
"""What a grouped split keeps on one side, by what is known of patients."""


def methods_paragraph(analysis: Analysis, conduct: Conduct | None = None) -> str:
    """A paragraph for the methods section of a paper.

    Args:
        analysis: what was done.
        conduct: how the trainings were made; None where the results do not come from a sweep.
    """
    parts = (compared, training, data_sentences, tuning, searched, seeds)
    design = [sentence for part in parts for sentence in part(analysis, conduct)]
    made = () if conduct is None else (*hardware_sentences(conduct), *software_sentences(conduct))
    return " ".join((*design, *statistics_sentences(analysis), *made))


def compared(analysis: Analysis, conduct: Conduct | None) -> Iterator[str]:
    """Which methods were compared on which datasets, from which networks on."""
    evidence = analysis.evidence
    plan, methods = evidence.plan, evidence.methods
    control = plan.control if plan.family == "vs_control" else None
    rivals = [method for method in methods if method != control]
    where = f"on {tasks_phrase(len(evidence.datasets), len(set(evidence.in_file)))} ({listed(evidence.datasets)})"
    if len(methods) < 2:
        yield f"We evaluated {listed(methods)} {where}; with one method there is nothing to compare."
    elif len(methods) == 2:
        other = f"the control {control}" if control else methods[1]
        yield f"We compared {rivals[0]} with {other} {where}."
    else:
        how = f"each with the control {control}" if control else "every one with every other"
        yield f"We compared {counted(len(rivals), 'method')} ({listed(rivals)}), {how}, {where}."
    if conduct is not None:
        yield network_sentence(evidence, conduct.spec)


def network_sentence(evidence: Evidence, spec: SweepRecord) -> str:
    """From which networks and weights on methods were trained."""
    methods = evidence.methods
    own = {label: entry.get("backbone") for label, entry in spec["methods"].items() if label in methods}
    others = [f"for {label} it was {network_phrase(backbone)}" for label, backbone in own.items() if backbone]
    start = network_phrase(spec["backbone"])
    return f"{'; '.join([f'The starting point was {start}', *others])}."


def training(analysis: Analysis, conduct: Conduct | None) -> Iterator[str]:
    """How every method was trained, and which epoch of a training counts."""
    if conduct is None:
        return
    evidence, train = analysis.evidence, conduct.spec["train"]
    several = [name for name, card in conduct.cards.items() if card.get("multi_label")]
    yield from recipe_sentences(train)
    yield from optimiser_sentences({name: own for name, own in conduct.optimisers.items() if name in evidence.methods})
    yield from loss_sentences(train, several)
    yield from augmentation_sentences(conduct.augmentation, train.get("augment"))
    yield from _heads(evidence, conduct)
    yield from checkpoint_sentences(train, evidence.plan.facts(conduct.spec["search"]["metric"]).in_text)


def _heads(evidence: Evidence, conduct: Conduct) -> Iterator[str]:
    """What images were trained on, where that is not the same for all methods."""
    train = conduct.spec["train"]
    own = [method for method in evidence.methods if method in conduct.heads]
    if own and train.get("features") == "once" and train.get("augment") is not False:
        rest = len(evidence.methods) > len(own)
        others = "; the others were trained with each dataset's augmentation" if rest else ""
        yield f"Of {listed(own)} the head alone was trained, on features of images without augmentation{others}."


def data_sentences(analysis: Analysis, conduct: Conduct | None) -> Iterator[str]:
    """How images were divided, what is known of patients, and on how many cases intervals rest."""
    spec = None if conduct is None else conduct.spec
    if spec is not None:
        split = spec["split"]
        yield from split_sentences(analysis.evidence, spec)
        if split.get("allow_leakage"):
            yield f"Leakage between the sides was allowed, with this reason: {str(split['allow_leakage']).rstrip('.')}."
    evidence = analysis.evidence
    sizes = {name: _cases(analysis, name) for name in evidence.datasets}
    strangers = [
        name
        for name, phrase in sizes.items()
        if evidence.about(name).groups == "unknown" and (spec is not None or phrase is not None)
    ]
    if strangers:
        known_split = all(_by_patient(evidence.about(name)) for name in strangers)
        sides = "" if known_split else ", and may stand on several sides of the split"
        yield (
            f"It is not known which images of {listed(strangers)} show the same patient; those that do count as "
            f"independent{sides}."
        )
    known = [f"{phrase} ({name})" for name, phrase in sizes.items() if phrase is not None]
    if known:
        yield f"Predictions were analysed for {listed(known)}."
    several = [name for name in evidence.datasets if splits_of(cells_on(evidence, name))]
    by_image = {one.pair.dataset for one in analysis.of("primary") if one.pair.interval == "over_images"}
    by_score = [name for name in several if name not in by_image and name not in evidence.one_test_side]
    fixed = [name for name in several if name in evidence.one_test_side]
    if fixed and analysis.comparisons:
        yield (
            f"On {listed(fixed)} the test images are the same on every split, and what varies between them counts "
            "beside what varies between splits."
        )
    if by_score and analysis.comparisons:
        yield (
            f"On {listed(by_score)} the analysis rests on one score for each replicate, because the test images change "
            "with the split."
        )
    unknown = [name for name, phrase in sizes.items() if phrase is None and name not in several]
    if unknown and analysis.comparisons:
        yield f"On {listed(unknown)} the analysis rests on one score for each seed, without single test cases."


def split_sentences(evidence: Evidence, spec: SweepRecord) -> Iterator[str]:
    """How each dataset was split, those that were split alike together."""
    ways: dict[str, list[str]] = {}
    for dataset in evidence.datasets:
        several = len(splits_of(cells_on(evidence, dataset)))
        folds = "folds" if spec["split"].get("folds") else "times anew"
        number = f"{several} {folds}" if several else f"split seed {spec['split']['seed']}"
        ways.setdefault(f"{split_way(dataset, evidence.about(dataset), spec)} ({number})", []).append(dataset)
    for way, datasets in ways.items():
        everywhere = "The dataset" if len(evidence.datasets) == 1 else "Each dataset"
        subject = everywhere if len(ways) == 1 else listed(datasets)
        were = "were" if len(ways) > 1 and len(datasets) > 1 else "was"
        yield f"{subject} {were} split {way}."


def _by_patient(about: Provenance) -> bool:
    """Whether the split in use is by patient though the archive names nobody."""
    return about.split_kind == "official" and about.official_by_patient


def split_way(dataset: str, about: Provenance, spec: SweepRecord) -> str:
    """By which rule a dataset was split, behind "was split"."""
    # A report without the dataset's card has what the sweep file asked for.
    kind = about.split_kind or spec["split"].get("kind") or "grouped"
    if kind == "official":
        return f"as its publishers did{', by patient' if _by_patient(about) else ''}"
    if kind == "domain":
        by, tested = domains_in(spec, dataset)
        together = _TOGETHER[about.groups]
        return f"by {by}: the images of {listed(tested)} are tested, and the others were divided {_HELD}, {together}"
    shares = _FOLDS if spec["split"].get("folds") else _SHARES
    if kind == "random":
        return f"{shares} at random, without regard to patients, lesions or duplicates"
    near = ", near-duplicates included" if spec["split"].get("near_duplicates") else ""
    return f"{shares}, {_TOGETHER[about.groups]}{near}"


def _cases(analysis: Analysis, dataset: str) -> str | None:
    """Test cases behind the intervals of a dataset, and of how many patients or sets of copies they are."""
    pair = next(
        (one.pair for one in analysis.comparisons if one.pair.dataset == dataset and one.pair.cases is not None), None
    )
    if pair is None or pair.cases is None:
        return None
    units = pair.estimate.mean_squares.cases if isinstance(pair.estimate, TwoWay) else pair.cases
    of = f" of {analysis.evidence.about(dataset).units(units)}" if units < pair.cases else ""
    return f"{counted(pair.cases, 'test case')}{of}"


def tuning(analysis: Analysis, conduct: Conduct | None) -> Iterator[str]:
    """How configurations were found and chosen."""
    evidence, spec = analysis.evidence, None if conduct is None else conduct.spec
    trials = sorted({cell.search_trials for cell in evidence.cells.values() if cell.search_trials is not None})
    followers = {cell.dataset: cell.tuned_as for cell in evidence.cells.values() if cell.tuned_as is not None}
    if not trials:
        yield "Nothing is known here of how the methods were tuned."
        return
    if len(trials) == 1:
        searched = [dataset for dataset in evidence.datasets if dataset not in followers]
        where = f" on {listed(searched)}" if followers else _on_each(evidence)
        budget = f"{counted(trials[0], 'search trial')} for each method{where}"
    else:
        budget = f"{trials[0]:,} to {trials[-1]:,} search trials for a method on a dataset, not the same for all"
    how = ""
    if spec is not None:
        search = spec["search"]
        sampler = search.get("sampler")
        how = f" by {_SAMPLERS.get(sampler, f'the sampler {sampler}')}" if isinstance(sampler, str) else ""
        how += (
            f" on validation {evidence.plan.phrase(search['metric'])}, the default configuration among the candidates"
        )
    yield f"Hyperparameters were tuned with {budget}{how}."
    for leader in dict.fromkeys(followers.values()):
        led = [dataset for dataset in evidence.datasets if followers.get(dataset) == leader]
        yield f"On {listed(led)} each method has the configurations that its search on {leader} gave."
    several = {name: searches_of(cells_on(evidence, name)) for name in evidence.datasets}
    most = {name: number for name, number in several.items() if number > 1}
    if most:
        where = "" if len(most) == len(evidence.datasets) else f" on {listed(list(most))}"
        numbers = " to ".join(f"{number:,}" for number in sorted({min(most.values()), max(most.values())}))
        yield _several_searches(spec, where, numbers)
    pruner = None if spec is None else spec["search"].get("pruner", "none")
    if pruner in _PRUNERS:
        yield f"Unpromising search trials were ended early by {_PRUNERS[pruner]}."
    if spec is not None:
        rule = spec["search"].get("choose", "best")
        if rule == "top_k":
            yield (
                f"The {spec['search']['top']} best configurations of each search were trained once more on a further "
                "tuning seed, and the one with the best mean over the tuning seeds was chosen."
            )
        elif rule == "surrogate_mean":
            yield "The configuration was chosen of which a Gaussian process over its scores expects most."
        yield "The chosen configurations were trained again on fresh seeds, and only these were scored on the test set."


def searched(analysis: Analysis, conduct: Conduct | None) -> Iterator[str]:
    """Which hyperparameters were searched, among which values."""
    if conduct is not None:
        methods = analysis.evidence.methods
        yield from space_sentences({name: space for name, space in conduct.spaces.items() if name in methods})


def _several_searches(spec: SweepRecord | None, where: str, numbers: str) -> str:
    """Where the configurations of replicates come from."""
    if spec is None:
        return f"The configurations of a method{where} come from up to {numbers} searches."
    searches = len(searches_in(spec))
    if searches > 1:
        own = ", one on each split," if spec["split"].get("tune") == "each" else ""
        return (
            f"These were divided among {searches} independent searches{own} whose choices the replicates{where} took "
            "in turn."
        )
    return (
        f"One search served all replicates{where}: each was trained with the configuration that a resample of the "
        "search's slots, drawn with replacement, would have chosen."
    )


def seeds(analysis: Analysis, conduct: Conduct | None) -> Iterator[str]:
    """On which seeds methods were confirmed, and what became of these trainings."""
    evidence = analysis.evidence
    cells = list(evidence.cells.values())
    declared = {cell.declared for cell in cells}
    if len(declared) == 1:
        own = sorted(next(iter(declared)))
        yield f"Each method ran on {counted(len(own), 'seed')}{_on_each(evidence)} ({seeds_phrase(own)})."
    elif declared:
        sizes = sorted({len(numbers) for numbers in declared})
        size = f"{sizes[0]} to {sizes[-1]} seeds" if len(sizes) > 1 else counted(sizes[0], "seed")
        yield f"The methods ran on {size}, which were not the same for all; comparisons use those that both have."
    splits: dict[int, list[str]] = {}
    for dataset in evidence.datasets:
        splits.setdefault(len(splits_of(cells_on(evidence, dataset))), []).append(dataset)
    for number, names in splits.items():
        if number:
            where = f" on {listed(names)}" if len(names) < len(evidence.datasets) else _on_each(evidence)
            yield f"The seeds{where} stand for {number} splits, each seed for the same one in every method."
    total, failed = sum(len(cell.declared) for cell in cells), sum(len(cell.failures) for cell in cells)
    missing = sum(len(cell.missing) for cell in cells)
    if failed or missing:
        rest = [f"{amount} {what}" for amount, what in ((failed, "failed"), (missing, "had no result yet")) if amount]
        yield f"Of {total} declared trainings {listed([f'{total - failed - missing} were done', *rest])}."
    absent = [
        f"{method} on {dataset}"
        for dataset in evidence.datasets
        for method in evidence.methods
        if (dataset, method) not in evidence.cells
    ]
    if absent:
        yield f"Not begun: {listed(absent)}."
    if evidence.plan.looks:
        yield f"Looks at the results were planned at {listed([str(look) for look in evidence.plan.looks])} seeds."
    repeats = sum(len(cell.repeats) for cell in cells)
    if repeats:
        yield (
            f"{counted(repeats, 'training')} {'was' if repeats == 1 else 'were'} repeated with the same seed; a "
            "difference no larger than what this changed was never called better or worse."
        )


def _on_each(evidence: Evidence) -> str:
    return " on each dataset" if len(evidence.datasets) > 1 else ""
