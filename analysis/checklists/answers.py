"""What a run says to the questions that several checklists ask; each is None where the run does not know."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from analysis.checklists.form import Reply, Teller, together
from analysis.checklists.known import Known
from analysis.comparison.phrases import circumstance, counted, decimals, found_with_power, listed
from analysis.runs.conduct import Conduct
from analysis.runs.declared import day, sentence
from analysis.stats.scopes import scope_phrase
from analysis.tables.cells import sizes, span
from analysis.words.data import (
    MOST_CLASSES,
    content_sentence,
    excluded_sentence,
    leaks_found,
    origin_sentence,
    overlap_sentences,
    patients_sentence,
    preparation_sentence,
    split_sentence,
)
from analysis.words.findings import question, results_paragraphs
from analysis.words.hardware import hardware_sentences, software_sentences
from analysis.words.limitations import limitations
from analysis.words.methods import compared, data_sentences, network_sentence, searched, seeds, training, tuning
from analysis.words.recipe import augmentation_sentences, checkpoint_sentences
from analysis.words.statistics import statistics_sentences
from harness.pages.contents import count, number
from harness.run.data_records import Card, group_state_of
from harness.run.sweep_records import SUBGROUPS, domains_in

FINDINGS, LIMITS = "Findings", "What may not be concluded"
METHODS, DATA = "How the methods were compared", "Data statement"
MOST_COLUMNS = 12
"""Columns of metadata that an answer names."""


def _answer(sentences: Iterable[str], *where: str) -> Reply | None:
    said = tuple(filter(None, sentences))
    return Reply(said, where) if said else None


def _of_run(tell: Callable[[Known, Conduct], Reply | None]) -> Teller:
    """A teller that needs a run directory."""
    return lambda known: None if known.conduct is None else tell(known, known.conduct)


def _each(about: Callable[[Card], str], *where: str) -> Teller:
    """A teller that says something of the card of each dataset."""

    def tell(known: Known, conduct: Conduct) -> Reply | None:
        said = {name: about(conduct.cards[name]) for name in known.datasets}
        return _answer((f"{name}: {text}" for name, text in said.items() if text), *where)

    return _of_run(tell)


def design(known: Known) -> Reply | None:
    """Which methods were compared on what."""
    return _answer(compared(known.analysis, known.conduct), METHODS)


def asked(known: Known) -> Reply | None:
    """The question of the declared comparisons, and the declared hypotheses."""
    hypotheses = () if known.locked is None else known.locked.declared["hypotheses"]
    own = [f"Declared hypothesis {place}: {text}" for place, text in enumerate(hypotheses, start=1)]
    return _answer((*own, *question(known.analysis)[:1]), FINDINGS)


def found(known: Known) -> Reply | None:
    """The question and its answer in one sentence."""
    return _answer(question(known.analysis), FINDINGS)


origins = _each(origin_sentence, DATA)
contents = _each(content_sentence, DATA)
exclusions = _each(excluded_sentence, DATA)
preparation = _each(preparation_sentence, DATA)
modality = _each(lambda card: f"kind of image: {card['modality']}." if card.get("modality") else "", DATA)
licences = _each(lambda card: f"licence {card['licence']}." if card.get("licence") else "", DATA)


def _named_classes(card: Card) -> str:
    names = card["classes"][:MOST_CLASSES]
    more = f" and {len(card['classes']) - len(names)} more" if len(names) < len(card["classes"]) else ""
    several = "; an image may bear several" if card.get("multi_label") else ""
    return f"{counted(len(card['classes']), 'class')}: {', '.join(names)}{more}{several}."


classes = _each(_named_classes, DATA)


def _imbalance(card: Card) -> str:
    tested = card["counts"]["test"]
    largest, smallest = max(tested), min(tested)
    if not smallest:
        return "a class has no test image."
    return (
        f"of the test images, {count(smallest)} are of the rarest class and {count(largest)} of the most frequent one, "
        f"a ratio of 1 to {number(largest / smallest, 1)}."
    )


imbalance = _each(_imbalance, DATA)


def _missing(card: Card) -> str:
    columns = card.get("metadata", [])[:MOST_COLUMNS]
    return ", ".join(f"{one['name']} is missing for {count(one['missing'])} images" for one in columns)


missing_values = _each(lambda card: f"{_missing(card)}." if _missing(card) else "", DATA)


def _by_side(card: Card) -> str:
    parts = []
    for side, name in (("train", "training"), ("val", "validation"), ("test", "test")):
        counts = card["counts"][side]  # type: ignore[literal-required]
        own = [f"{label}: {count(images)}" for label, images in zip(card["classes"], counts, strict=True)]
        parts.append(f"{name} {', '.join(own[:MOST_CLASSES])}{' …' if len(own) > MOST_CLASSES else ''}")
    names = [one["name"] for one in card.get("metadata", [])]
    known = f" Metadata on record: {', '.join(names[:MOST_COLUMNS])}." if names else " No metadata are on record."
    return f"{'; '.join(parts)}.{known}"


characteristics = _each(_by_side, DATA)
patients = _each(patients_sentence, DATA)
leaks = _each(lambda card: " ".join(leaks_found(card)), DATA)


@_of_run
def overlaps(known: Known, conduct: Conduct) -> Reply | None:
    """Images that two datasets share, or that a backbone sees before they are tested."""
    return _answer((one for found in conduct.overlaps for one in overlap_sentences(found)), DATA)


@_of_run
def partitions(known: Known, conduct: Conduct) -> Reply | None:
    """How images were assigned to sides, with what sizes."""
    return _answer((f"{name}: {split_sentence(known.analysis, conduct, name)}" for name in known.datasets), DATA)


@_of_run
def subsets(known: Known, conduct: Conduct) -> Reply | None:
    """Whether training used fewer images than there are."""
    own = {
        name: [f"{key} {value}" for key in ("per_class", "fraction") if (value := task.get(key)) is not None]
        for name, entry in conduct.spec["datasets"].items()
        if (task := entry.get("task")) is not None
    }
    said = [f"{name}: a task with a part of the training images ({', '.join(parts)})." for name, parts in own.items()]
    whole = "The sweep file asks for no smaller training sets: all training images of each split were used."
    contents_of = contents(known)
    return _answer((*(said or [whole]), *(contents_of.sentences if contents_of else ())), DATA)


@_of_run
def replicates(known: Known, conduct: Conduct) -> Reply | None:
    """What each replicate drew anew."""
    varied = None if known.locked is None else known.locked.declared.get("vary", ["seed"])
    drawn = f"Declared to be drawn anew for each replicate: {', '.join(varied)}." if varied else ""
    return _answer((drawn, *seeds(known.analysis, conduct)), METHODS, "Seeds")


def test_cases(known: Known) -> Reply | None:
    """How many seeds and test cases are behind the comparison."""
    said = sizes(known.analysis) if known.analysis.scores else ""
    return _answer((f"Behind the scores: {said}." if said else "",), FINDINGS)


def power(known: Known) -> Reply | None:
    """What differences the design can find, and on how many cases it rests."""
    plan, groups = known.analysis.evidence.plan, []
    for name in known.analysis.evidence.datasets:
        own = [one for one in known.analysis.of("primary", name) if one.detectable is not None]
        estimates = [one.pair.estimate for one in own if one.pair.estimate is not None]
        if own and estimates:
            least = [one.detectable for one in own if one.detectable is not None]
            digits = max(map(decimals, estimates))
            groups.append(f"{name}: 80 % power {found_with_power(least, plan.metric, plan, digits)}.")
    size = test_cases(known)
    return _answer((*(size.sentences if size else ()), *groups), "Seeds and power")


@_of_run
def technique(known: Known, conduct: Conduct) -> Reply | None:
    """Kind of model and what it does."""
    return _answer(
        ("Deep learning: image classification by pretrained convolutional networks that were adapted.",
         network_sentence(known.analysis.evidence, conduct.spec)),
        METHODS,
    )  # fmt: skip


@_of_run
def networks(known: Known, conduct: Conduct) -> Reply | None:
    """Networks, what each method trains of them, input and output."""
    studies = [] if known.summary is None else known.summary.studies
    trained = {
        study.method: f"{study.method}: {study.summary} Trained parameters {' / '.join(map(count, study.trainable))}, "
        f"head {' / '.join(map(count, study.head))}."
        for study in studies
        if study.trainable
    }
    size = conduct.spec["train"].get("image_size")
    given = f"Input: images of {size} × {size} pixels. Output: a logit for each class." if size else ""
    start = network_sentence(known.analysis.evidence, conduct.spec)
    return _answer((start, given, *trained.values()), "Methods", "Networks and budget")


@_of_run
def initialisation(known: Known, conduct: Conduct) -> Reply | None:
    """Where the weights come from before training."""
    return _answer((network_sentence(known.analysis.evidence, conduct.spec),), METHODS)


@_of_run
def software(known: Known, conduct: Conduct) -> Reply | None:
    """Commit and versions."""
    return _answer(software_sentences(conduct), "Code and machine")


@_of_run
def compute(known: Known, conduct: Conduct) -> Reply | None:
    """Devices and hours, of all work."""
    return _answer(hardware_sentences(conduct), "Cost", "Networks and budget")


@_of_run
def practice(known: Known, conduct: Conduct) -> Reply | None:
    """How networks were trained, and among which hyperparameters."""
    return _answer((*training(known.analysis, conduct), *searched(known.analysis, conduct)), METHODS, "Settings")


@_of_run
def selection(known: Known, conduct: Conduct) -> Reply | None:
    """Which epoch and which configuration count."""
    plan = known.analysis.evidence.plan
    epoch = checkpoint_sentences(conduct.spec["train"], plan.facts(conduct.spec["search"]["metric"]).in_text)
    studies = [] if known.summary is None else known.summary.studies
    chosen = [
        f"{study.method} on {study.dataset}: {counted(len(study.configurations), 'configuration')} chosen from "
        f"{counted(study.slots, 'slot')}."
        for study in studies
        if study.configurations
    ]
    return _answer((*epoch, *tuning(known.analysis, conduct), *chosen), METHODS, "Search")


@_of_run
def no_ensemble(known: Known, conduct: Conduct) -> Reply | None:
    """That scores are those of single networks."""
    return Reply(
        ("No ensemble: every score is that of one trained network, and means are over replicates.",), ("Scores",)
    )


def metrics(known: Known) -> Reply | None:
    """The primary metric, and what else was computed."""
    plan = known.analysis.evidence.plan
    facts = plan.facts(plan.metric)
    others = [plan.phrase(name) for name in plan.metrics if name != plan.metric]
    beside = f" Secondary: {listed(others)}." if others else ""
    return Reply((f"Primary: {facts.phrase} ({facts.direction}).{beside}",), (METHODS,))


def statistics(known: Known) -> Reply | None:
    """Intervals, tests, corrections."""
    return _answer(statistics_sentences(known.analysis), METHODS)


def scopes(known: Known) -> Reply | None:
    """What the intervals draw anew."""
    kinds = dict.fromkeys(one.pair.drawn for one in known.analysis.comparisons if one.pair.interval is not None)
    return _answer((f"Intervals are for {scope_phrase(kind)}." for kind in kinds), METHODS)


def robust(known: Known) -> Reply | None:
    """Whether verdicts hold under other circumstances."""
    looked = known.analysis.robustness
    checks = dict.fromkeys(check.what for one in looked for check in one.checks)
    held = sum(one.holds for one in looked)
    again = ", ".join(circumstance(what, known.analysis.evidence.plan) for what in checks)
    said = f"Verdicts were judged again {again}; {held} of {len(looked)} hold throughout." if checks else ""
    shifts = f"Models were also scored on: {listed(list(known.shifts))}." if known.shifts else ""
    return _answer((said, shifts), "Comparisons")


def internal(known: Known) -> Reply | None:
    """What was tested on the same source."""
    return _answer((*data_sentences(known.analysis, known.conduct),), METHODS)


@_of_run
def external(known: Known, conduct: Conduct) -> Reply | None:
    """Tests on images of another source, domain or preparation."""
    spec = conduct.spec
    domains = [
        f"{name}: tested on {listed(tested)}, told apart by {by}, which training did not see."
        for name in spec["datasets"]
        for by, tested in [domains_in(spec, name)]
        if tested
    ]
    entries = [f"{one['name']} ({one['kind']})" for one in spec.get("evaluate", []) if one["kind"] != SUBGROUPS]
    declared = f"Declared evaluations beside the test split: {', '.join(entries)}." if entries else ""
    scored = f"Scored so far: {listed(list(known.shifts))}." if known.shifts else ""
    nothing = "" if domains or entries else "No images from another source, site or preparation were scored."
    return _answer((*domains, declared, scored, nothing), METHODS)


@_of_run
def subgroups(known: Known, conduct: Conduct) -> Reply | None:
    """Whether performance was looked at by subgroup."""
    own = [one for one in conduct.spec.get("evaluate", []) if one["kind"] == SUBGROUPS]
    if own:
        names = ", ".join(one["name"] for one in own)
        return Reply((f"Subgroups by metadata: {names}. Differences between them are exploratory.",), ())
    return Reply(("Performance by subgroup was not examined: the sweep file asks for none.",), ())


def scores(known: Known) -> Reply | None:
    """Mean score and widest interval of every method on every dataset, and what is missing."""
    analysis, plan, parts = known.analysis, known.analysis.evidence.plan, []
    for name in analysis.evidence.datasets:
        own = []
        for method in analysis.evidence.methods:
            one = analysis.score(name, method)
            if one is not None and one.mean is not None:
                interval = "" if one.widest is None else f" {span(one.widest[1], 3)}"
                own.append(f"{method} {number(one.mean, 3)}{interval}")
        if own:
            level = f"{100 * plan.confidence:g} % interval"
            parts.append(f"{name}, {plan.phrase(plan.metric)}, mean [{level}]: {'; '.join(own)}.")
    return _answer((*parts, *_gaps(known)), FINDINGS)


def _gaps(known: Known) -> Iterable[str]:
    """Studies without all of their results."""
    summary = known.summary
    if summary is None:
        return
    gaps = [f"{method} on {name}: not begun" for name, method in summary.absent]
    gaps += [f"{one.method} on {one.dataset}: {'; '.join(one.missing)}" for one in summary.studies if one.missing]
    if gaps:
        yield f"The run is not finished. Missing: {'. '.join(gaps)}."


def results(known: Known) -> Reply | None:
    """The declared comparisons in words."""
    if not known.analysis.of("primary"):
        return None
    return _answer(results_paragraphs(known.analysis), FINDINGS)


@_of_run
def mistakes(known: Known, conduct: Conduct) -> Reply | None:
    """Where wrong answers can be looked at, and what failed for good."""
    failed = () if known.summary is None else known.summary.failures
    trials = f"{counted(len(failed), 'trial')} failed for good." if failed else "No trial failed for good."
    names = listed(list(known.analysis.evidence.datasets))
    return _answer(
        (
            f"The report has the confusion matrix and the sensitivity of each class; python -m harness.cases shows the "
            f"test images of {names} that no method gets right.",
            trials,
        ),
        "Predictions", "Failures",
    )  # fmt: skip


def limits(known: Known) -> Reply | None:
    """What the design did not vary."""
    spec = None if known.conduct is None else known.conduct.spec
    return _answer(limitations(known.analysis, spec), LIMITS)


def declaration(known: Known) -> Reply | None:
    """What was locked before there were results, and what was changed since."""
    own = known.locked
    if own is None:
        return None
    when = (
        "before there was any test result"
        if own.confirmed == 0
        else f"when {counted(own.confirmed, 'confirm trial')} had results"
    )
    changes = [sentence(change) for change in own.changes]
    return _answer(
        (f"Hypotheses, primary metric, control, family, correction, margin, seeds and search spaces were locked on "
         f"{day(own.time)}, {when}.", *(changes or ["Nothing was changed since."])),
        "Declaration",
    )  # fmt: skip


@_of_run
def reproduction(known: Known, conduct: Conduct) -> Reply | None:
    """What is on record for whoever repeats the work."""
    prints = []
    for name in known.datasets:
        card = conduct.cards[name]
        if "fingerprint" in card and "digest" in card["split"]:
            prints.append(f"{name}: data fingerprint {card['fingerprint']}, split digest {card['split']['digest']}.")
    kept = (
        "The run directory holds the resolved sweep file, splits by case id, every trial with its seed and "
        "configuration, and the predictions of each confirmed model; python -m analysis.reproduce trains the trials "
        "behind a number again and compares."
    )
    return _answer((kept, *prints), "Settings", "Identities", "Data and splits")


@_of_run
def models(known: Known, conduct: Conduct) -> Reply | None:
    """Whether trained models exist."""
    if known.kept:
        return Reply((f"{counted(known.kept, 'confirmed model')} were kept in the run directory.",), ())
    return Reply(("No trained model was kept (confirm.keep of the sweep file).",), ())


@_of_run
def independence(known: Known, conduct: Conduct) -> Reply | None:
    """Whether test cases are independent of one another."""
    words = {
        "known": "cases of one patient or lesion count as one unit in the intervals.",
        "none": "each image is a unit of its own.",
        "unknown": "unknown: several test images may show one patient, and they count as independent.",
    }
    return _answer((f"{name}: {words[group_state_of(conduct.cards[name])]}" for name in known.datasets), DATA)


def problem(known: Known) -> Reply | None:
    """Category of the problem: all that the program does."""
    names = listed(list(known.analysis.evidence.datasets))
    return Reply((f"Image-level classification, on {names}.",), ()) if names else None


def whole_images(known: Known) -> Reply | None:
    """Why properties of structures do not apply."""
    return Reply(("Not applicable: a class is given to a whole image.",), ())


def weighting(known: Known) -> Reply | None:
    """How the primary metric weighs classes."""
    plan = known.analysis.evidence.plan
    by_class = ("balanced_accuracy", "macro_f1", "auc")
    said = {
        **dict.fromkeys(by_class, "is a mean over classes, so that each weighs as much as every other"),
        "accuracy": "counts each image once, so that frequent classes weigh more",
    }
    return _answer(
        (f"The primary metric, {plan.phrase(plan.metric)}, {said[plan.metric]}." if plan.metric in said else "",),
        METHODS,
    )


@_of_run
def decision(known: Known, conduct: Conduct) -> Reply | None:
    """By which rule a class is predicted in the scores of the run."""
    several = [name for name in known.datasets if conduct.cards[name].get("multi_label")]
    labels = f"; on {listed(several)} every label above 0.5" if several else ""
    plan = known.analysis.evidence.plan
    at = [plan.phrase(name) for name in plan.metrics if not plan.facts(name).by_case]
    fixed = f"For {listed(at)} each training fixed a threshold on its own validation images." if at else ""
    said = f"In the scores of this run the class with the largest probability is predicted{labels}."
    return _answer((said, fixed))


def calibration(known: Known) -> Reply | None:
    """Which computed metrics look at probabilities."""
    plan = known.analysis.evidence.plan
    names = ("nll", "brier", "ece", "calibration_slope_error", "calibration_intercept_error")
    own = [plan.phrase(name) for name in names if name in plan.metrics]
    return _answer((f"Computed of the probabilities: {listed(own)}." if own else "",), "Predictions")


@_of_run
def outputs(known: Known, conduct: Conduct) -> Reply | None:
    """What a network puts out, and which class that predicts."""
    several = [name for name in known.datasets if conduct.cards[name].get("multi_label")]
    sigmoid = f", on {listed(several)} by a sigmoid" if several else ""
    said = f"A network puts out a logit for each class; probabilities come from them by softmax{sigmoid}."
    return together(Reply((said,)), decision(known))


@_of_run
def balancing(known: Known, conduct: Conduct) -> Reply | None:
    """What training does about rare classes."""
    train = conduct.spec["train"]
    if "class_weights" not in train or "sampling" not in train:
        return None
    if train["class_weights"] == "balanced":
        return Reply(("The loss of each class is weighted by its inverse frequency.",), (METHODS,))
    if train["sampling"] == "balanced":
        return Reply(("Each class is drawn as often as every other in training, with replacement.",), (METHODS,))
    return Reply(("Training does nothing about rare classes: no weights, no other sampling.",), (METHODS,))


@_of_run
def augmentation(known: Known, conduct: Conduct) -> Reply | None:
    """How training images were changed at random."""
    said = augmentation_sentences(conduct.augmentation, conduct.spec["train"].get("augment"))
    return _answer(said, METHODS)


@_of_run
def class_scores(known: Known, conduct: Conduct) -> Reply | None:
    """That predictions are logits."""
    return Reply(("Yes: the run holds a logit for each class of each test image.",), ())


@_of_run
def invalid(known: Known, conduct: Conduct) -> Reply | None:
    """That a training whose predictions are not finite fails, and how many did."""
    failed = () if known.summary is None else known.summary.failures
    trials = f"{counted(len(failed), 'trial')} failed for good."
    return Reply((f"No: a training whose logits are not finite fails. {trials}",), ("Failures",))
