"""A YAML text becomes a list of cells: models, loading, expansion, identity. Knows nothing of torch."""
