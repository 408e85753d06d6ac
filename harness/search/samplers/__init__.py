"""The built-in samplers, one file each; ``search.sampler`` names one, or one of a user's."""
