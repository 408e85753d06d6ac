"""What the card of a model says, section by section, from what the report of its run rests on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from analysis.comparison.claims import STATUS_WORDS, claims
from analysis.comparison.compare import Analysis, analyse
from analysis.comparison.phrases import counted, listed, network_phrase, seeds_phrase
from analysis.comparison.scores import MethodScore
from analysis.comparison.under_shift import ShiftFindings, findings_under
from analysis.runs.evidence import evidence_of, shifts_in
from analysis.runs.study_summary import StudySummary
from analysis.runs.summary import Summary, summarise
from analysis.runs.trials_of import TracedCell, cell_of, choice_in_words, configurations, hyperparameters_in_words
from analysis.stats.scopes import scope_phrase
from analysis.tables.cells import Scopes, span
from analysis.tables.shifts import drops
from analysis.words.flags import flags
from analysis.words.limitations import limitations
from analysis.words.recipe import recipe_sentences
from harness.core.errors import RequestError
from harness.pages.cards import data_section
from harness.pages.contents import NOT_AVAILABLE, Facts, Item, PageSection, PageTable, Row, count, number
from harness.run import frames
from harness.run.cells import confirm_trials, searches_by_cell
from harness.run.directory import RunDirectory
from harness.run.study_records import StudyRecord

_USE = (
    "The models are results of an experiment. Nobody has tested them for use on patients, and their scores say nothing "
    "of images of another kind, source or preparation than those named here."
)

_SUBJECT = re.compile(r"([^\s,:]+)(?:, |: )")
"""What a reservation is about, in front of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """What is known of one method on one dataset."""

    method: str
    dataset: str
    summary: Summary
    study: StudySummary
    record: StudyRecord
    traced: TracedCell
    kept: tuple[int, ...]
    """Seeds of the replicates whose models were kept."""
    analysis: Analysis
    """Of the whole run: verdicts are corrected for all of it."""
    shifts: tuple[ShiftFindings, ...]


def read_facts(run: RunDirectory, method: str, dataset: str) -> CardFacts:
    """Read what a card says from a run directory.

    Args:
        run: the run directory.
        method: label of the method.
        dataset: label of the dataset.

    Raises:
        RequestError: the sweep no longer names the cell, or no confirm trial of it is done.
        TornFileError: a file of the run is not readable.
    """
    records = frames.read(run)
    summary = summarise(run, records)
    study = next((one for one in summary.of(dataset) if one.method == method), None)
    if study is None:
        raise RequestError(f"{method}@{dataset}: the sweep no longer names it, so its report says nothing of it")
    if not study.seeds:
        raise RequestError(f"{method}@{dataset}: no confirm trial is done yet; run the sweep command again")
    evidence = evidence_of([run], [records])
    searches = searches_by_cell(run)[method, dataset]
    return CardFacts(
        method=method,
        dataset=dataset,
        summary=summary,
        study=study,
        record=searches[0].description(),
        traced=cell_of(run, method, dataset),
        kept=tuple(one.replicate.seed for one in confirm_trials(searches) if one.folder.trained_path.exists()),
        analysis=analyse(evidence),
        shifts=findings_under(shifts_in([run], [records], evidence)),
    )


def lead(facts: CardFacts) -> str:
    """What the models are, in one sentence."""
    spec, seeds = facts.summary.spec, counted(len(facts.study.seeds), "model")
    return (
        f"{seeds} of the sweep {spec['name']}: {_network(facts)}, adapted by {facts.method} (plugin "
        f"{facts.study.plugin}) to {facts.dataset}."
    )


def reservations(facts: CardFacts) -> tuple[str, ...]:
    """What is to be known before anything else; what concerns other datasets or methods alone is left out."""
    said = (*flags(facts.summary), *(caution.sentence for caution in facts.analysis.cautions))
    return tuple(dict.fromkeys(sentence for sentence in said if not _of_others(facts, sentence)))


def _of_others(facts: CardFacts, sentence: str) -> bool:
    """Whether a sentence begins with the names of others: ``DATASET: ``, ``DATASET, METHOD: ``."""
    spec, named, rest = facts.summary.spec, set[str](), sentence
    known = {*spec["datasets"], *spec["methods"]}
    while (found := _SUBJECT.match(rest)) and found[1] in known:
        named.add(found[1])
        rest = rest[found.end() :]
    kinds = ((facts.dataset, named & spec["datasets"].keys()), (facts.method, named & spec["methods"].keys()))
    return any(others and own not in others for own, others in kinds)


def card_sections(facts: CardFacts) -> list[PageSection]:
    """The sections of a card, in their order."""
    card = facts.summary.cards.get(facts.dataset)
    data = [] if card is None else [replace(data_section(facts.dataset, card, None), title="Data")]
    return [_use(facts), *data, _training(facts), _scores(facts), _limits(facts)]


def _network(facts: CardFacts) -> str:
    weights, spec = facts.record["backbone"]["weights"], facts.summary.spec
    if weights is None or isinstance(weights, str):
        return network_phrase({"name": facts.record["backbone"]["name"], "weights": weights})
    return network_phrase(spec["methods"][facts.method].get("backbone") or spec["backbone"])


def _use(facts: CardFacts) -> PageSection:
    cell = f"{facts.method}@{facts.dataset}"
    if not facts.kept:
        how = "No model was kept (confirm.keep of the sweep file), so this card describes models that are gone."
    else:
        how = (
            f"The models of {counted(len(facts.kept), 'replicate')} were kept (seeds {seeds_phrase(facts.kept)}). "
            f"python -m harness.predict RUN {cell} IMAGES --out FILE predicts new images with the mean of their "
            "probabilities."
        )
    return PageSection("Use", (how,), ())


def _training(facts: CardFacts) -> PageSection:
    study, traced = facts.study, facts.traced
    sentences = [*recipe_sentences(facts.summary.spec["train"]), *_counts(study)]
    sentences += [f"Chosen: {choice_in_words(choice, traced['metric'])}." for choice in traced["choices"]]
    pairs = [
        (f"Configuration {name}", hyperparameters_in_words(values)) for name, values in configurations(traced).items()
    ]
    pairs += [
        ("Method", facts.record["summary"]),
        ("Trials of the search", f"{study.search.done} done, {study.search.failed} failed"),
        ("Devices", listed(sorted({trial["device"] or NOT_AVAILABLE for trial in traced["trials"]}))),
        ("Commit", traced["commit"] or NOT_AVAILABLE),
    ]
    return PageSection("Training", tuple(sentences), (Facts(tuple(pairs)),))


def _counts(study: StudySummary) -> Iterator[str]:
    if study.trainable:
        heads = f", beside {listed([count(one) for one in study.head])} of the head" if study.head else ""
        yield f"Trained parameters: {listed([count(one) for one in study.trainable])}{heads}."


def _scores(facts: CardFacts) -> PageSection:
    plan = facts.analysis.evidence.plan
    own = [one for one in facts.analysis.scores if (one.dataset, one.method) == (facts.dataset, facts.method)]
    # The widest interval of each, as in the report's main table.
    scopes = Scopes.of(None if one.widest is None else one.drawn for one in own)
    held = scopes.sentence or f"Scope of the intervals: {scope_phrase(scopes.kinds[0])}."
    table = PageTable(
        caption=f"Test scores, mean over {counted(len(facts.study.seeds), 'replicate')} "
        f"(seeds {seeds_phrase(facts.study.seeds)}).",
        head=("Metric", "Mean", "SD", f"{100 * plan.confidence:g} % interval"),
        align="lrrr",
        groups=(("", tuple(_score_row(one, plan.label(one.metric), scopes) for one in own)),),
        note=f"{held} Scores are those of single models; an ensemble of them was not scored.",
    )
    items: list[Item] = [table, *_claims(facts), *_shifts(facts)]
    return PageSection("Scores", (), tuple(items))


def _score_row(one: MethodScore, label: str, scopes: Scopes) -> Row:
    widest = one.widest
    interval = NOT_AVAILABLE if widest is None else span(widest[1], 4, scopes.mark(one.drawn))
    return label, number(one.mean), number(one.sd), interval


def _claims(facts: CardFacts) -> Iterator[PageTable]:
    """The declared comparisons that the method is part of."""
    rows = tuple(
        (one.statement, STATUS_WORDS.get(one.status, one.status), one.evidence, one.scope or NOT_AVAILABLE)
        for one in claims(facts.analysis)
        if one.comparison.pair.dataset == facts.dataset
        and facts.method in (one.comparison.pair.first, one.comparison.pair.second)
    )
    if rows:
        yield PageTable(
            caption="Claims about this method on this dataset.",
            head=("Claim", "Outcome", "Evidence", "It holds for"),
            align="llll",
            groups=(("", rows),),
        )


def _shifts(facts: CardFacts) -> Iterator[PageTable]:
    """What is lost under each shift, by this method on this dataset."""
    for found in facts.shifts:
        own = [one for one in found.drops if (one.dataset, one.method) == (facts.dataset, facts.method)]
        if own:
            yield drops(replace(found, drops=tuple(own)), "card")


def _limits(facts: CardFacts) -> PageSection:
    return PageSection("Limits", (*limitations(facts.analysis, facts.summary.spec), _USE), ())
