"""Control: an encoder whose weights someone else trained, under the same probes as every other row."""

from __future__ import annotations

from methods.entry import MethodEntry, Settings


class GivenWeightsSettings(Settings):
    """Nothing to choose: the backbone names the file."""


METHOD = MethodEntry(
    name="given_weights",
    summary="an encoder with weights from a file, not trained here",
    source="control: what published or earlier weights reach under the same probes",
    settings=GivenWeightsSettings,
    build=None,
    kind="control",
    min_views=1,
    needs_weights=True,
)
