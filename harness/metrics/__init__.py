"""Scores of predictions: one table of metrics, and how each is computed."""
