"""Launchers: what starts workers. A launcher only starts and ends processes; what they do is in the run directory."""
