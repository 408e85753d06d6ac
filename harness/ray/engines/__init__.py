"""The built-in engines, one file each; ``search.engine`` names one where workers do not ask the sampler themselves."""
