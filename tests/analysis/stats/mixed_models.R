# Mean, standard error and Satterthwaite's degrees of freedom of lme4 and lmerTest for balanced designs of replicates.
# Rscript tests/analysis/stats/mixed_models.R > tests/analysis/stats/mixed_models.json
suppressMessages({ library(lme4); library(lmerTest) })
number <- function(x) sprintf("%.10g", x)
list_of <- function(x) paste0("[", paste(number(x), collapse = ", "), "]")
told <- function(model) {
  row <- coef(summary(model))[1, ]
  sprintf('"estimate": %s, "standard_error": %s, "df": %s', number(row["Estimate"]), number(row["Std. Error"]), number(row["df"]))
}
set.seed(20261129)

# Splits, several trainings on each: one score a replicate.
nested <- data.frame(split = factor(rep(1:6, each = 4)))
nested$score <- round(0.03 + rep(rnorm(6, 0, 0.02), each = 4) + rnorm(24, 0, 0.01), 6)
splits <- lmer(score ~ 1 + (1 | split), nested)

# Searches, two trainings of each choice, the same test cases for all.
crossed <- expand.grid(case = factor(1:25), replicate = factor(1:2), search = factor(1:5))
effect <- function(n, sd) rnorm(n, 0, sd)
of_search <- effect(5, 0.2); of_case <- effect(25, 0.3); of_both <- matrix(effect(125, 0.25), 5)
of_training <- matrix(effect(10, 0.1), 5)
crossed$value <- with(crossed, round(0.1 + of_search[search] + of_case[case] + of_both[cbind(search, case)] +
  of_training[cbind(search, replicate)] + effect(250, 0.2), 6))
searches <- lmer(value ~ 1 + (1 | search) + (1 | case) + (1 | search:case) + (1 | search:replicate), crossed,
  control = lmerControl(optCtrl = list(ftol_abs = 1e-14, xtol_abs = 1e-14)))

cat(sprintf('{\n "lme4": "%s",\n "splits": {"values": %s, %s},\n "searches": {"values": %s, %s}\n}\n',
  packageVersion("lme4"), list_of(nested$score), told(splits), list_of(crossed$value), told(searches)))
