"""The targets, a module each with a function ``export(run, destination) -> str`` that says what was written."""
