"""TRIPOD+AI, for studies that develop or evaluate a clinical prediction model."""

from __future__ import annotations

from analysis.checklists import data, results, training
from analysis.checklists.form import Checklist, ChecklistItem, Part, all_of

CHECKLIST = Checklist(
    title="TRIPOD+AI",
    source="Collins et al. 2024, BMJ 385:e078378, doi:10.1136/bmj-2023-078378",
    note="A run develops models and evaluates them on held-out images. The predictors of an image model are the pixels "
    "of its image, and its outcome is the class.",
    parts=(
        Part(
            "Title, abstract, introduction",
            (
                ChecklistItem(
                    "1",
                    "The title says that a prediction model is developed or evaluated, for whom, and for which "
                    "outcome.",
                    "the wording of the title",
                    training.technique,
                ),
                ChecklistItem("2", "An abstract by the companion list for abstracts.", "the abstract", results.found),
                ChecklistItem(
                    "3a",
                    "Healthcare context, why the model is needed, and which models exist.",
                    "the diagnostic or prognostic setting, and earlier models",
                ),
                ChecklistItem(
                    "3b",
                    "For whom the model is, where in care it is used, and by whom.",
                    "target population, place in the care pathway, and users",
                ),
                ChecklistItem(
                    "3c", "Known health inequalities between groups.", "what is known of inequalities in this field"
                ),
                ChecklistItem(
                    "4",
                    "Objectives, and whether a model is developed, evaluated or both.",
                    "whether the model of the title is new",
                    results.asked,
                ),
            ),
        ),
        Part(
            "Methods: data and participants",
            (
                ChecklistItem(
                    "5a",
                    "Sources of the data for development and for evaluation, and how representative they are.",
                    "why these data, and whom they represent",
                    data.origins,
                ),
                ChecklistItem("5b", "Dates of the data.", "when the images were taken, and the end of follow-up"),
                ChecklistItem("6a", "Setting, number and place of the centres.", "the centres"),
                ChecklistItem(
                    "6b",
                    "Who was eligible.",
                    "the criteria by which participants came into each dataset",
                    data.exclusions,
                ),
                ChecklistItem(
                    "6c", "Treatments that participants had, and how they were handled.", "treatments, where relevant"
                ),
                ChecklistItem(
                    "7",
                    "How data were prepared and their quality checked, and whether this was alike across groups.",
                    "checks of the raw images",
                    all_of(data.preparation, data.leaks),
                ),
            ),
        ),
        Part(
            "Methods: outcome and predictors",
            (
                ChecklistItem(
                    "8a",
                    "What is predicted, at which time, and how it was established.",
                    "how and when the outcome was established, and why it",
                    data.classes,
                ),
                ChecklistItem(
                    "8b", "Who judged an outcome that needs judgement.", "qualification and background of the assessors"
                ),
                ChecklistItem("8c", "Whether outcome assessors were blinded.", "what the assessors knew"),
                ChecklistItem(
                    "9a",
                    "How the initial predictors were chosen.",
                    "why images alone, or why this kind of image",
                    data.modality,
                ),
                ChecklistItem(
                    "9b",
                    "Definition of every predictor, and how and when it was measured.",
                    "how and when the images were acquired",
                    data.preparation,
                ),
                ChecklistItem(
                    "9c", "Who judged predictors that need judgement.", "whether anybody chose or graded the images"
                ),
            ),
        ),
        Part(
            "Methods: size, gaps, analysis",
            (
                ChecklistItem(
                    "10", "How the size of the study was decided.", "whether the size was planned", results.power
                ),
                ChecklistItem(
                    "11",
                    "How missing data were handled.",
                    "images or labels that were missing before the dataset was made",
                    data.missing_values,
                ),
                ChecklistItem(
                    "12a",
                    "How the data were used, and whether they were divided.",
                    "how the data were divided",
                    all_of(data.partitions, training.replicates),
                    also=False,
                ),
                ChecklistItem(
                    "12b",
                    "How predictors entered the analyses.",
                    "resizing, normalisation and augmentation",
                    all_of(data.preparation, training.augmentation),
                    also=False,
                ),
                ChecklistItem(
                    "12c",
                    "Kind of model, how it was built, tuned and validated internally.",
                    "model, tuning and internal validation",
                    all_of(training.networks, training.practice, training.selection),
                    also=False,
                ),
                ChecklistItem(
                    "12d",
                    "How differences between clusters such as hospitals were handled.",
                    "whether performance was compared between centres",
                    all_of(data.independence, data.subgroups),
                ),
                ChecklistItem(
                    "12e",
                    "All measures and plots of performance, and how models were compared.",
                    "why these measures",
                    all_of(results.metrics, results.statistics),
                ),
                ChecklistItem(
                    "12f", "Whether the model was updated after its evaluation.", "any recalibration or other update"
                ),
                ChecklistItem(
                    "12g",
                    "How predictions were calculated in the evaluation.",
                    "code or formula of the predictions",
                    all_of(training.outputs, training.no_ensemble, training.models),
                    also=False,
                ),
                ChecklistItem(
                    "13",
                    "Whether and how class imbalance was handled, and what that did to the predictions.",
                    "why it was or was not corrected, and any recalibration",
                    all_of(data.imbalance, training.balancing),
                ),
                ChecklistItem(
                    "14", "What was done for the model's fairness.", "approaches to fairness, and why", data.subgroups
                ),
                ChecklistItem(
                    "15",
                    "What the model puts out, and how thresholds were chosen.",
                    "how a probability becomes a decision in use",
                    training.outputs,
                ),
                ChecklistItem(
                    "16",
                    "How the data for training differ from those for evaluation.",
                    "differences in setting, eligibility, outcome and predictors",
                    data.external,
                ),
                ChecklistItem(
                    "17", "Ethical approval and consent.", "the approval of each dataset, or why none was needed"
                ),
            ),
        ),
        Part(
            "Open science and involvement",
            (
                ChecklistItem("18a", "Funding and the role of funders.", "sources of funding"),
                ChecklistItem("18b", "Conflicts of interest.", "conflicts of interest of all authors"),
                ChecklistItem(
                    "18c",
                    "Where the protocol can be found.",
                    "the protocol, or that there is none",
                    training.declaration,
                ),
                ChecklistItem("18d", "Registration.", "the register and number, or that it was not registered"),
                ChecklistItem(
                    "18e",
                    "Whether the data are available.",
                    "addresses and conditions",
                    data.origins,
                ),
                ChecklistItem(
                    "18f",
                    "Whether the code is available.",
                    "the address of the code",
                    all_of(training.software, training.reproduction),
                ),
                ChecklistItem(
                    "19", "Involvement of patients and the public.", "how patients were involved, or that they were not"
                ),
            ),
        ),
        Part(
            "Results",
            (
                ChecklistItem(
                    "20a",
                    "The flow of participants, with numbers with and without the outcome.",
                    "numbers of participants, and follow-up",
                    all_of(data.contents, data.exclusions),
                ),
                ChecklistItem(
                    "20b",
                    "Characteristics overall and for each source or setting.",
                    "dates, demographics, treatments",
                    data.characteristics,
                ),
                ChecklistItem(
                    "20c",
                    "How the evaluation data compare with the development data.",
                    "a comparison of important predictors and of the outcome",
                    data.characteristics,
                ),
                ChecklistItem(
                    "21",
                    "Participants and outcome events in each analysis.",
                    "the number of participants",
                    all_of(results.test_cases, data.contents),
                ),
                ChecklistItem(
                    "22",
                    "The full model, so that others can predict with it, and restrictions on its use.",
                    "where the model can be had",
                    all_of(training.models, training.networks),
                ),
                ChecklistItem(
                    "23a",
                    "Performance with intervals, for key subgroups too.",
                    "performance in key subgroups",
                    all_of(results.scores, results.results, data.subgroups),
                ),
                ChecklistItem(
                    "23b",
                    "Differences in performance between clusters, where they were examined.",
                    "differences between centres",
                    all_of(data.subgroups, data.external),
                ),
                ChecklistItem(
                    "24",
                    "Results of updating the model.",
                    "the updated model and its performance, or that there is none",
                ),
            ),
        ),
        Part(
            "Discussion",
            (
                ChecklistItem(
                    "25", "Interpretation of the main results, fairness included.", "the interpretation", results.found
                ),
                ChecklistItem(
                    "26",
                    "Limitations.",
                    "limits of the data, such as a sample that is not representative",
                    results.limits,
                ),
                ChecklistItem(
                    "27a",
                    "How input of poor quality, or none, is handled in use.",
                    "what is to be done with poor images",
                ),
                ChecklistItem(
                    "27b",
                    "Whether users must handle the input or the model, and with what expertise.",
                    "what users must do and know",
                ),
                ChecklistItem(
                    "27c", "Next steps for research on use and generalisability.", "next steps", data.external
                ),
            ),
        ),
    ),
)
