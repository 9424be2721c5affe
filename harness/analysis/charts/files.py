"""Charts as files for slides and papers. The same chart gives the same bytes."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import vl_convert
from altair.typing import ChartType
from PIL import Image

from harness.store.atomic import write_bytes

DPI = 300


def save_chart(chart: ChartType, stem: Path) -> list[Path]:
    """Write `stem`.png, of 300 dots to the inch, and `stem`.svg.

    Raises:
        StoreError: a file cannot be written.
    """
    spec: dict[str, Any] = chart.to_dict()
    pictures = {
        ".png": _compressed(vl_convert.vegalite_to_png(spec, ppi=DPI, allowed_base_urls=[])),
        ".svg": _renumbered(vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])).encode(),
    }
    paths = []
    for suffix, content in pictures.items():
        paths.append(stem.with_name(stem.name + suffix))
        write_bytes(paths[-1], content)
    return paths


def _compressed(png: bytes) -> bytes:
    """The same picture in a third of the bytes."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").save(buffer, "png", optimize=True, dpi=(DPI, DPI))
    return buffer.getvalue()


def _renumbered(svg: str) -> str:
    """Vega counts clip paths and gradients through a whole process; here they begin at 0 in each file."""
    numbers: dict[str, int] = {}
    return re.sub(
        r'(?<=[#"])(clip|gradient_)(\d+)(?=["\)])', lambda m: f"{m[1]}{numbers.setdefault(m[0], len(numbers))}", svg
    )
