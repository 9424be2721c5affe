"""What finished cells leave on disk. Torch-free: a table or a status can be read where nothing can be trained."""
