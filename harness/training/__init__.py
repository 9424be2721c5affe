"""The one trainer: loop, optimisers, schedules, precision, checkpoints."""
