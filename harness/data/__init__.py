"""Datasets by name, packed uint8 images, batched augmentation, batches of views."""
