"""An installable plugin of gpaf-bench: the method ``stage_gates``."""
