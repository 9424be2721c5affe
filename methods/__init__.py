"""Every method and control, one file each; `harness.registry` finds them. None of the files imports torch."""
