"""The built-in evaluations, one a module."""
