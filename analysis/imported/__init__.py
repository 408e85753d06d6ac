"""Anyone's results as evidence: two tables, checked."""
