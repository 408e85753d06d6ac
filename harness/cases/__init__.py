"""Single test cases: which methods get them right."""
