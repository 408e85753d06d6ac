"""Scoring the models of a finished run on further images."""
