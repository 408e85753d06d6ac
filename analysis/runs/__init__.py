"""Run directories, read: frames, summaries, evidence, the trials behind a number."""
