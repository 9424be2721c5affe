"""The one trainer: loop, optimisers, schedules, checkpoints."""
