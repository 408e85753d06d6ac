"""Checklists of the field, filled in from what a run knows; each is a module in ``analysis/checklists/kinds/``."""
