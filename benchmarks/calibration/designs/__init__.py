"""Which design of a confirmation keeps a comparison of a method with itself at its level, and at what cost."""
