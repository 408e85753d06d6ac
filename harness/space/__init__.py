"""Search spaces: typed hyperparameters, and the conditions between them."""
