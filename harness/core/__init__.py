"""What every room may use, and that knows nothing of methods, datasets or sweeps."""
