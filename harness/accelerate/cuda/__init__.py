"""What makes a training step fast on CUDA besides torch's own means: torch.compile."""
