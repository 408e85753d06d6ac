"""What makes a training faster without changing what it computes."""
