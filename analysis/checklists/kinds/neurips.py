"""The paper checklist of NeurIPS, with the 15 questions of 2024."""

from __future__ import annotations

from analysis.checklists import data, results, training
from analysis.checklists.form import Checklist, ChecklistItem, Part, all_of

CHECKLIST = Checklist(
    title="NeurIPS paper checklist 2024",
    source="NeurIPS 2024, Paper Checklist, https://neurips.cc/public/guides/PaperChecklist",
    note="These are the 15 questions of 2024; later years add one on the use of language models. Each wants yes, no or "
    "not applicable and a short justification: the answers here are material for that, and yes or no is yours.",
    parts=(
        Part(
            "Questions",
            (
                ChecklistItem(
                    "1",
                    "Claims: abstract and introduction say what the paper shows, and no more.",
                    "whether abstract and introduction keep to these findings and scopes",
                    all_of(results.found, results.scopes),
                ),
                ChecklistItem(
                    "2", "Limitations are discussed.", "limits beyond the design of this run", results.limits
                ),
                ChecklistItem(
                    "3",
                    "Theory: assumptions are stated and proofs complete.",
                    "assumptions and proofs, or that there is no theory",
                ),
                ChecklistItem(
                    "4",
                    "Reproducibility: all that is needed to reproduce the main results is said.",
                    "how a reader without this run can repeat it",
                    all_of(training.practice, training.reproduction),
                ),
                ChecklistItem(
                    "5",
                    "Data and code are open, with instructions.",
                    "addresses and instructions",
                    all_of(training.software, data.origins),
                ),
                ChecklistItem(
                    "6",
                    "Settings of training and testing: splits, hyperparameters, how they were chosen, optimiser.",
                    "all details of training",
                    all_of(data.partitions, training.practice, training.selection),
                    also=False,
                ),
                ChecklistItem(
                    "7",
                    "Significance: error bars or tests, and what they cover.",
                    "error bars or tests",
                    all_of(results.scores, results.results, results.statistics),
                    also=False,
                ),
                ChecklistItem(
                    "8",
                    "Compute: kind of machine, memory, time of each experiment and of all together.",
                    "compute of experiments that are not in this run",
                    training.compute,
                ),
                ChecklistItem(
                    "9", "The work keeps to the NeurIPS code of ethics.", "that you have read it, and any deviation"
                ),
                ChecklistItem("10", "Broader impact, good and bad.", "possible effects on patients and care"),
                ChecklistItem(
                    "11",
                    "Safeguards for models or data with a high risk of misuse.",
                    "safeguards, or that none are needed",
                    training.models,
                ),
                ChecklistItem(
                    "12",
                    "Assets of others are credited, and their licences kept.",
                    "licences of code and pretrained weights, and that their terms are kept",
                    all_of(data.origins, training.initialisation),
                ),
                ChecklistItem(
                    "13",
                    "New assets come with documentation.",
                    "which assets are released, and their documentation",
                    training.models,
                ),
                ChecklistItem(
                    "14",
                    "Crowdsourcing and people as subjects: instructions and pay.",
                    "instructions and pay, or that no people took part",
                ),
                ChecklistItem(
                    "15",
                    "Approval by a review board, where people were studied, and risks to them.",
                    "the approval of each dataset, or why none was needed",
                ),
            ),
        ),
    ),
)
