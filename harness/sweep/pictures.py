"""Which pictures a sweep leaves, by file name; where they and the winners' suite lie. No matplotlib, no Optuna."""

from __future__ import annotations

DIRECTORY = "search"
HEADINGS = {
    "history": "How the search went",
    "landscape": "Landscape",
    "slices": "Slices",
    "importances": "Importances",
}
BEST = "best.yaml"
