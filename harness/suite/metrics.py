"""Names of metrics as a suite writes them: NAME_METRIC, of an evaluation and of what its probe measures.

Which there are is known only once the suite's evaluations are; see `names`.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

DEFAULT_METRIC = "linear_top1"
_SHAPE = r"^.+_[^_]+$"


def _of_two_parts(name: str) -> str:
    if not re.match(_SHAPE, name):
        raise ValueError(f"`{name}` is no metric; write EVALUATION_METRIC, such as `{DEFAULT_METRIC}`")
    return name


Metric = Annotated[str, AfterValidator(_of_two_parts), Field(json_schema_extra={"pattern": _SHAPE})]
