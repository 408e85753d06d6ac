"""The statistical core: pure functions over numpy arrays. It reads no file and knows no method and no dataset.

``estimate`` what every interval is; ``twoway`` the primary interval, over seeds and cases; ``paired`` exact tests over
seeds; ``effects`` effect sizes; ``multiplicity`` families of tests; ``decisions`` equivalence and outcomes; ``power``
what a number of seeds can detect; ``stratified`` means and interquartile means over many datasets; ``across_datasets``
and ``ranks`` several datasets; ``case_sets`` drops and other sums over sets of cases; ``corruption_error``,
``subgroups`` and ``learning_curve`` what a shift, a subgroup and a training size change; ``variance`` what the
uncertainty is made of; ``budget_curve`` the best of so many trials; ``cautions`` what is refused or flagged, in words.
"""
