"""Features, k-NN, linear probes, collapse diagnostics."""
