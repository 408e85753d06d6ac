"""The problem fingerprint of Metrics Reloaded, as far as it concerns the classification of whole images."""

from __future__ import annotations

from analysis.checklists import data, results, training
from analysis.checklists.form import Checklist, ChecklistItem, Part, all_of

CHECKLIST = Checklist(
    title="Metrics Reloaded: problem fingerprint for image-level classification",
    source="Maier-Hein et al. 2024, Nature Methods 21:195-212, doi:10.1038/s41592-023-02151-z",
    note="The groups FP1 to FP5 are those of the paper. Numbers within a group count here and are not the paper's, "
    "which are in its figures SN 2.7 to 2.9. The last part is the choice that the fingerprint leads to.",
    parts=(
        Part(
            "FP1. Problem category",
            (ChecklistItem("FP1", "Which category of problem it is.", "the category", results.problem, also=False),),
        ),
        Part(
            "FP2. Interest of the domain",
            (
                ChecklistItem(
                    "FP2 (1)",
                    "Whether some classes matter more than others.",
                    "which classes matter more, and by how much",
                    data.classes,
                ),
                ChecklistItem(
                    "FP2 (2)", "Whether some confusions are worse than others.", "what each one costs a patient"
                ),
                ChecklistItem(
                    "FP2 (3)",
                    "Whether classes should count alike however rare they are.",
                    "whether rare classes should weigh as much as frequent ones",
                    results.weighting,
                ),
                ChecklistItem(
                    "FP2 (4)",
                    "By what rule scores become a decision: the largest, a threshold, costs.",
                    "the rule that is meant for use",
                    training.decision,
                ),
                ChecklistItem(
                    "FP2 (5)",
                    "Whether predicted probabilities must be right, and not only their order.",
                    "whether somebody will read the probabilities",
                    results.calibration,
                ),
            ),
        ),
        Part(
            "FP3. Target structure",
            (
                ChecklistItem(
                    "FP3",
                    "Properties of structures within an image, such as size and shape.",
                    "nothing: a class is given to a whole image",
                    results.whole_images,
                    also=False,
                ),
            ),
        ),
        Part(
            "FP4. Dataset",
            (
                ChecklistItem(
                    "FP4 (1)",
                    "Whether classes are imbalanced.",
                    "how frequent each class is",
                    data.imbalance,
                    also=False,
                ),
                ChecklistItem(
                    "FP4 (2)",
                    "Whether the shares of the classes are those of the population of interest.",
                    "the prevalence of each class where the model is to be used",
                    data.characteristics,
                ),
                ChecklistItem(
                    "FP4 (3)",
                    "Whether the test set is small.",
                    "the number of test cases of each class",
                    results.power,
                    also=False,
                ),
                ChecklistItem(
                    "FP4 (4)",
                    "Whether test cases depend on one another, as images of one patient do.",
                    "which test cases belong together",
                    all_of(data.independence, data.leaks),
                    also=False,
                ),
                ChecklistItem("FP4 (5)", "Whether the reference labels are uncertain.", "how reliable the labels are"),
                ChecklistItem(
                    "FP4 (6)",
                    "Whether an image may have several labels, or classes have an order.",
                    "whether the classes have an order",
                    data.classes,
                ),
            ),
        ),
        Part(
            "FP5. Output of the algorithm",
            (
                ChecklistItem(
                    "FP5 (1)",
                    "Whether there are scores for each class, and not the decision alone.",
                    "whether class scores are available",
                    training.class_scores,
                    also=False,
                ),
                ChecklistItem(
                    "FP5 (2)",
                    "Whether predictions may be missing or invalid.",
                    "what happens to cases without a prediction",
                    training.invalid,
                    also=False,
                ),
            ),
        ),
        Part(
            "Metrics that were chosen",
            (
                ChecklistItem(
                    "1",
                    "Metrics by one decision, over all thresholds and of calibration.",
                    "why these fit the fingerprint",
                    results.metrics,
                ),
                ChecklistItem(
                    "2",
                    "How scores are aggregated, and with what uncertainty.",
                    "how scores were aggregated",
                    all_of(training.no_ensemble, results.scopes),
                    also=False,
                ),
            ),
        ),
    ),
)
