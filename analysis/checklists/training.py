"""What a run says of its trainings: networks, practice, what was kept and declared.

Each teller gives None where the run does not know.
"""

from __future__ import annotations

from analysis.checklists.form import METHODS, Reply, answer, of_run, together
from analysis.checklists.known import Known
from analysis.comparison.phrases import counted, listed
from analysis.runs.conduct import Conduct
from analysis.runs.declared import day, sentence
from analysis.words.hardware import hardware_sentences, software_sentences
from analysis.words.methods import network_sentence, searched, seeds, training, tuning
from analysis.words.recipe import augmentation_sentences, checkpoint_sentences
from harness.pages.contents import count


@of_run
def replicates(known: Known, conduct: Conduct) -> Reply | None:
    """What each replicate drew anew."""
    varied = None if known.locked is None else known.locked.declared.get("vary", ["seed"])
    drawn = f"Declared to be drawn anew for each replicate: {', '.join(varied)}." if varied else ""
    return answer((drawn, *seeds(known.analysis, conduct)), METHODS, "Seeds")


@of_run
def technique(known: Known, conduct: Conduct) -> Reply | None:
    """Kind of model and what it does."""
    return answer(
        ("Deep learning: image classification by pretrained convolutional networks that were adapted.",
         network_sentence(known.analysis.evidence, conduct.spec)),
        METHODS,
    )  # fmt: skip


@of_run
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
    return answer((start, given, *trained.values()), "Methods", "Networks and budget")


@of_run
def initialisation(known: Known, conduct: Conduct) -> Reply | None:
    """Where the weights come from before training."""
    return answer((network_sentence(known.analysis.evidence, conduct.spec),), METHODS)


@of_run
def software(known: Known, conduct: Conduct) -> Reply | None:
    """Commit and versions."""
    return answer(software_sentences(conduct), "Code and machine")


@of_run
def compute(known: Known, conduct: Conduct) -> Reply | None:
    """Devices and hours, of all work."""
    return answer(hardware_sentences(conduct), "Cost", "Networks and budget")


@of_run
def practice(known: Known, conduct: Conduct) -> Reply | None:
    """How networks were trained, and among which hyperparameters."""
    return answer((*training(known.analysis, conduct), *searched(known.analysis, conduct)), METHODS, "Settings")


@of_run
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
    return answer((*epoch, *tuning(known.analysis, conduct), *chosen), METHODS, "Search")


@of_run
def no_ensemble(known: Known, conduct: Conduct) -> Reply | None:
    """That scores are those of single networks."""
    return Reply(
        ("No ensemble: every score is that of one trained network, and means are over replicates.",), ("Scores",)
    )


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
    return answer(
        (f"Hypotheses, primary metric, control, family, correction, margin, seeds and search spaces were locked on "
         f"{day(own.time)}, {when}.", *(changes or ["Nothing was changed since."])),
        "Declaration",
    )  # fmt: skip


@of_run
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
    return answer((kept, *prints), "Settings", "Identities", "Data and splits")


@of_run
def models(known: Known, conduct: Conduct) -> Reply | None:
    """Whether trained models exist."""
    if known.kept:
        return Reply((f"{counted(known.kept, 'confirmed model')} were kept in the run directory.",), ())
    return Reply(("No trained model was kept (confirm.keep of the sweep file).",), ())


@of_run
def decision(known: Known, conduct: Conduct) -> Reply | None:
    """By which rule a class is predicted in the scores of the run."""
    several = [name for name in known.datasets if conduct.cards[name].get("multi_label")]
    labels = f"; on {listed(several)} every label above 0.5" if several else ""
    plan = known.analysis.evidence.plan
    at = [plan.phrase(name) for name in plan.metrics if not plan.facts(name).by_case]
    fixed = f"For {listed(at)} each training fixed a threshold on its own validation images." if at else ""
    said = f"In the scores of this run the class with the largest probability is predicted{labels}."
    return answer((said, fixed))


@of_run
def outputs(known: Known, conduct: Conduct) -> Reply | None:
    """What a network puts out, and which class that predicts."""
    several = [name for name in known.datasets if conduct.cards[name].get("multi_label")]
    sigmoid = f", on {listed(several)} by a sigmoid" if several else ""
    said = f"A network puts out a logit for each class; probabilities come from them by softmax{sigmoid}."
    return together(Reply((said,)), decision(known))


@of_run
def balancing(known: Known, conduct: Conduct) -> Reply | None:
    """What training does about rare classes."""
    train = conduct.spec["train"]
    if "class_weights" not in train or "sampling" not in train:
        return None
    weighted = "The loss of each class is weighted by its inverse frequency."
    drawn = "Each class is drawn as often as every other in training, with replacement."
    done = [text for key, text in (("class_weights", weighted), ("sampling", drawn)) if train[key] == "balanced"]  # type: ignore[literal-required]
    return answer(done or ["Training does nothing about rare classes: no weights, no other sampling."], METHODS)


@of_run
def augmentation(known: Known, conduct: Conduct) -> Reply | None:
    """How training images were changed at random."""
    said = augmentation_sentences(conduct.augmentation, conduct.spec["train"].get("augment"))
    return answer(said, METHODS)


@of_run
def class_scores(known: Known, conduct: Conduct) -> Reply | None:
    """That predictions are logits."""
    return Reply(("Yes: the run holds a logit for each class of each test image.",), ())


@of_run
def invalid(known: Known, conduct: Conduct) -> Reply | None:
    """That a training whose predictions are not finite fails, and how many did."""
    failed = () if known.summary is None else known.summary.failures
    trials = f"{counted(len(failed), 'trial')} failed for good."
    return Reply((f"No: a training whose logits are not finite fails. {trials}",), ("Failures",))
