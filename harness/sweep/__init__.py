"""A fair search for every method: the same budget, a validation split, trials that are cells like any other."""
