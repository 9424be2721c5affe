"""Control: the normalised image itself in place of features. What the probes reach without any encoder."""

from __future__ import annotations

from methods.entry import MethodEntry, Settings


class PixelsSettings(Settings):
    """Nothing to choose."""


METHOD = MethodEntry(
    name="pixels",
    summary="the image itself, normalised and flattened",
    source="control: what the probes reach without any encoder",
    settings=PixelsSettings,
    build=None,
    kind="control",
    min_views=1,
    represents="pixels",
)
