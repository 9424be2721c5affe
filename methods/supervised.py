"""Control: the same encoder and augmentation, trained with labels. An upper bound for the probes."""

from __future__ import annotations

from methods.entry import MethodEntry, Settings


class SupervisedSettings(Settings):
    """Nothing to choose: one linear layer on the encoder's features."""

    def problem(self, views: int, batch_size: int) -> str | None:
        if batch_size < 2:
            return f"batch statistics need at least 2 images, not {batch_size}: use a larger batch"
        return None


METHOD = MethodEntry(
    name="supervised",
    summary="cross-entropy with labels: the upper bound",
    source="control: what encoder, augmentation and budget reach when labels are known",
    settings=SupervisedSettings,
    build="methods.classifier:Classifier",
    kind="control",
    min_views=1,
    reads_labels=True,
)
