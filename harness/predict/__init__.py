"""Predicting new images with the models that a run kept."""
