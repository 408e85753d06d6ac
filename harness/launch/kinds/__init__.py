"""The built-in launchers, one a file."""
