"""Commands that prove something of a run, of a method or of the harness itself."""
