"""Hand-written paths of the models: the same numbers as the plain ones, in less time."""
