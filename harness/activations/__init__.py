"""Activation functions that train: those that start as the network's own, and the published ones they are compared to.

Modules of this package import torch and belong into methods, never on the path of a command's ``--help``.
"""
