"""Which pictures a sweep leaves, by file name; where they and the winners' suite lie. No Altair, no Optuna."""

from __future__ import annotations

DIRECTORY = "search"
HEADINGS = {
    "history": "How the search went",
    "landscape": "Landscape",
    "slices": "Slices",
    "importances": "Importances",
}
CHART = ".vl.json"  # the Vega-Lite specification beside each PNG and SVG
BEST = "best.yaml"
