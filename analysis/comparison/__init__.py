"""What a comparison rests on and what follows from it: from evidence to verdicts."""
