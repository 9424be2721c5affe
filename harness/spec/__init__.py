"""What can be asked, as frozen models, and the identity of each. Knows no torch, no file and no suite."""
