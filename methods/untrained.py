"""Control: the encoder as it was initialised. What any method must beat, and by how much."""

from __future__ import annotations

from methods.entry import MethodEntry, Settings


class UntrainedSettings(Settings):
    """Nothing to choose."""


METHOD = MethodEntry(
    name="untrained",
    summary="the encoder with its random initial weights",
    source="control: what architecture and probe reach without any pretraining",
    settings=UntrainedSettings,
    build=None,
    kind="control",
    min_views=1,
)
