"""What makes a training step fast on a CPU: compiled normalisation, small convolutions as products, views side by side,
memory that is kept."""
