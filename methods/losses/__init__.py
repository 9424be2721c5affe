"""Every objective as a pure function of embeddings. Owns the formulas and their gradients: nothing is imported here but
torch, so that a file of this folder can be copied out of the project with those it names."""

from methods.losses.objectives import (
    barlow_twins_loss,
    byol_loss,
    contrastive_loss,
    plain_mse_loss,
    simsiam_loss,
    supervised_loss,
    vicreg_loss,
    w_mse_loss,
    whitened_contrastive_loss,
)

__all__ = [
    "barlow_twins_loss",
    "byol_loss",
    "contrastive_loss",
    "plain_mse_loss",
    "simsiam_loss",
    "supervised_loss",
    "vicreg_loss",
    "w_mse_loss",
    "whitened_contrastive_loss",
]
