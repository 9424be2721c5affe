"""The speed table: what is fast, by how much, and how far from what the hardware allows."""
