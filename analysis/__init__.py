"""From run directories to frames, statistics and reports. Imports neither torch nor the training code."""
