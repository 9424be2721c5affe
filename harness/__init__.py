"""A comparative benchmarking harness for self-supervised image representation learning."""
