"""CLAIM, the checklist for artificial intelligence in medical imaging, in its update of 2024."""

from __future__ import annotations

from analysis.checklists import data, results, training
from analysis.checklists.form import Checklist, ChecklistItem, Part, all_of

CHECKLIST = Checklist(
    title="CLAIM 2024",
    source="Tejani et al. 2024, Radiology: Artificial Intelligence, doi:10.1148/ryai.240300",
    parts=(
        Part(
            "Title, abstract, introduction",
            (
                ChecklistItem(
                    "1", "The title or abstract names the kind of AI.", "the wording of the title", training.technique
                ),
                ChecklistItem(
                    "2", "The abstract sums up design, methods, results and conclusions.", "the abstract", results.found
                ),
                ChecklistItem(
                    "3",
                    "Background, and what the AI is meant to be used for.",
                    "the clinical background, the intended use and the clinical role",
                ),
                ChecklistItem("4", "Aims, objectives and hypotheses.", "why these questions are asked", results.asked),
            ),
        ),
        Part(
            "Methods: design",
            (
                ChecklistItem(
                    "5",
                    "Whether the study is prospective or retrospective.",
                    "whether the images existed before the study was planned",
                ),
                ChecklistItem(
                    "6",
                    "What the study is for, such as a new model, a comparison, a feasibility study.",
                    "the goal in a sentence",
                    results.design,
                ),
            ),
        ),
        Part(
            "Methods: data",
            (
                ChecklistItem(
                    "7",
                    "Where the data come from.",
                    "where, when and by whom the images were taken, and how they can be had",
                    data.origins,
                ),
                ChecklistItem(
                    "8",
                    "Which patients or images were included and excluded.",
                    "the criteria by which patients came into each dataset",
                    data.exclusions,
                ),
                ChecklistItem(
                    "9",
                    "How images were prepared.",
                    "what was done to the images before they came into the dataset",
                    data.preparation,
                ),
                ChecklistItem(
                    "10", "How subsets of the data were chosen.", "why these images and these classes", data.subsets
                ),
                ChecklistItem(
                    "11", "How patients were made unidentifiable.", "how and by whom the images were de-identified"
                ),
                ChecklistItem(
                    "12",
                    "What was done about missing data.",
                    "how images without a label or with other gaps were handled",
                    data.missing_values,
                ),
                ChecklistItem("13", "How the images were acquired.", "devices, protocols and settings", data.modality),
            ),
        ),
        Part(
            "Methods: reference standard",
            (
                ChecklistItem(
                    "14",
                    "What counts as the truth, and how it was found.",
                    "how each class was established",
                    data.classes,
                ),
                ChecklistItem(
                    "15", "Why this reference standard was chosen.", "the reason, and what the alternatives are"
                ),
                ChecklistItem(
                    "16", "Who made the reference labels.", "number, qualification and training of the annotators"
                ),
                ChecklistItem(
                    "17",
                    "How the test set was labelled.",
                    "who labelled the test images, and whether they knew anything of the model",
                ),
                ChecklistItem(
                    "18",
                    "How much annotators differ, among themselves and from one time to the next.",
                    "agreement between and within annotators, and how disagreement was settled",
                ),
            ),
        ),
        Part(
            "Methods: partitions and size of the test data",
            (
                ChecklistItem(
                    "19",
                    "How data were assigned to training, tuning and testing.",
                    "by what rule the sides were made, and how large they are",
                    data.partitions,
                    also=False,
                ),
                ChecklistItem(
                    "20",
                    "At which level the sides share nothing: image, study, patient, institution.",
                    "whether any patient is on two sides",
                    all_of(data.patients, data.leaks, data.overlaps),
                ),
                ChecklistItem(
                    "21",
                    "How large the test set was meant to be, and why.",
                    "whether the number of test cases was planned",
                    results.power,
                ),
            ),
        ),
        Part(
            "Methods: model and training",
            (
                ChecklistItem(
                    "22",
                    "The model in full: input, output, layers.",
                    "architecture, inputs and outputs of every model",
                    all_of(training.networks, training.outputs),
                    also=False,
                ),
                ChecklistItem(
                    "23", "Software, frameworks, packages.", "software and versions", training.software, also=False
                ),
                ChecklistItem(
                    "24",
                    "How the weights were initialised.",
                    "what the starting weights were trained on",
                    training.initialisation,
                ),
                ChecklistItem(
                    "25",
                    "How the models were trained.",
                    "loss, optimiser, schedule, augmentation, hyperparameters",
                    all_of(training.practice, training.compute),
                    also=False,
                ),
                ChecklistItem(
                    "26",
                    "How the final model was chosen.",
                    "by what rule the final models were selected",
                    training.selection,
                    also=False,
                ),
                ChecklistItem(
                    "27",
                    "Whether models were combined.",
                    "whether an ensemble was used",
                    training.no_ensemble,
                    also=False,
                ),
            ),
        ),
        Part(
            "Methods: evaluation",
            (
                ChecklistItem(
                    "28",
                    "Which metrics of performance were used.",
                    "why these metrics suit the clinical question",
                    results.metrics,
                ),
                ChecklistItem(
                    "29",
                    "Statistical measures of significance and uncertainty.",
                    "intervals and tests",
                    all_of(results.statistics, results.scopes),
                    also=False,
                ),
                ChecklistItem(
                    "30", "Analyses of robustness or sensitivity.", "which assumptions were varied", results.robust
                ),
                ChecklistItem(
                    "31",
                    "Methods that explain or interpret the model, and how they were validated.",
                    "whether any were used",
                ),
                ChecklistItem(
                    "32",
                    "Evaluation on internal data.",
                    "how performance on data of the same source was found",
                    data.internal,
                    also=False,
                ),
                ChecklistItem(
                    "33", "Testing on external data.", "whether data of another institution were tested", data.external
                ),
                ChecklistItem(
                    "34", "Registration, where it is a clinical trial.", "the registration, or that it is no trial"
                ),
            ),
        ),
        Part(
            "Results",
            (
                ChecklistItem(
                    "35",
                    "How many patients or examinations were included and excluded, as a flow.",
                    "numbers of patients, and a flow diagram",
                    all_of(data.contents, data.exclusions),
                ),
                ChecklistItem(
                    "36",
                    "Demographic and clinical characteristics of the cases on each side.",
                    "age, sex and clinical characteristics by side",
                    data.characteristics,
                ),
                ChecklistItem(
                    "37",
                    "Performance on all data sides, with uncertainty.",
                    "scores with intervals",
                    results.scores,
                    also=False,
                ),
                ChecklistItem(
                    "38",
                    "Estimates of diagnostic performance, with their precision.",
                    "sensitivity, specificity or the like at the threshold of use, with intervals",
                    results.results,
                ),
                ChecklistItem(
                    "39",
                    "Analysis of cases that the model got wrong.",
                    "what the wrong cases have in common",
                    results.mistakes,
                ),
            ),
        ),
        Part(
            "Discussion and other information",
            (
                ChecklistItem("40", "Limitations.", "limits of the data and of the clinical setting", results.limits),
                ChecklistItem("41", "What follows for practice, and the intended use.", "implications for practice"),
                ChecklistItem(
                    "42",
                    "Where the full protocol or further technical details are.",
                    "where protocol and supplement are deposited",
                    all_of(training.declaration, training.reproduction),
                ),
                ChecklistItem(
                    "43",
                    "Whether software, trained model and data are available.",
                    "addresses and conditions",
                    all_of(training.software, training.models, data.licences),
                ),
                ChecklistItem(
                    "44", "Funding, and the role of funders.", "sources of funding, and what funders had a say in"
                ),
            ),
        ),
    ),
)
