"""What every test shares."""

import torch

# Small tensors are quicker on one thread, and tests that run side by side do not slow each other down.
torch.set_num_threads(1)
