"""The language of claims: what a suite may say that a paper claims, so that a run can answer it.

    ROW > ROW                              the first is better (of a loss: lower); `<` likewise
    ROW > ROW by more than 0.5             better by more than so many points, or in the metric's own unit
    ROW not better than ROW                by more than 0.5 points, or `by more than` what is said, which metrics in
                                           another unit than % need
    ROW not worse than ROW
    ROW equals ROW within 0.5              the difference is within so many points
    ROW collapses                          in every run
    ROW does not collapse                  in no run
    ROW reaches 80 % of its final k-NN earlier than ROW [in epochs | in seconds | in views]
                                           of `k-NN`, or of a monitor's metric such as `knn5_top1`

A claim may end in `on PLACES`: a metric (linear_top1 if none is named), datasets, or `every dataset` (of the suite,
where both rows are; the default), with commas between. ROW is a row as tables print it, `w_mse d=4`. Axes may be left
out: `w_mse d=4 > w_mse d=2` is then said of every sub-batch size, and rows that differ in it are not compared.

Owns the syntax and which rows a name stands for. Judges nothing; see `harness.analysis.claims`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, cast

from pydantic import AfterValidator

from harness.suite.fields import nearest
from harness.suite.metrics import DEFAULT_METRIC

if TYPE_CHECKING:
    from harness.suite.planned import Placed

Kind = Literal[">", "<", "not better", "not worse", "equals", "collapses", "does not collapse", "earlier"]
Unit = Literal["epochs", "seconds", "views"]
MARGIN = 0.5
"""Points of per cent: what `not better than` means where it does not say by how much."""
METRIC = DEFAULT_METRIC
KNN = "knn"
"""A claim's metric where it says `k-NN`: the curve of any k."""
_FORMS: tuple[tuple[str, Kind], ...] = (
    (r"(?P<row>.+?) reaches (?P<share>[\d.]+) ?% of its final (?P<curve>.+?) earlier than (?P<other>.+)", "earlier"),
    (r"(?P<row>.+?) does not collapse", "does not collapse"),
    (r"(?P<row>.+?) collapses", "collapses"),
    (r"(?P<row>.+?)(?: is)? not better than (?P<other>.+)", "not better"),
    (r"(?P<row>.+?)(?: is)? not worse than (?P<other>.+)", "not worse"),
    (r"(?P<row>.+?) equals (?P<other>.+)", "equals"),
    (r"(?P<row>.+?) > (?P<other>.+)", ">"),
    (r"(?P<row>.+?) < (?P<other>.+)", "<"),
)
_WORDS = ("not better than", "not worse than", "equals", "collapses", "does not collapse", "reaches", "earlier than")
_EXAMPLES = "`A > B`, `A not better than B`, `A equals B within 0.5`, `A collapses`, `A does not collapse`"
_PART = re.compile(r" (?=[\w.]+=)")  # between the parts of `w_mse d=4 transform.eps=0`
_ACCURACY = re.compile(r".*_(top\d+|balanced)")  # a metric, whether or not there is one of that name


class ClaimError(ValueError):
    """A claim that is none; says what can be written."""


@dataclass(frozen=True)
class Claim:
    """A claim, taken apart."""

    text: str
    kind: Kind
    row: str
    other: str | None = None
    margin: float | None = None
    """In points or the metric's unit, where the claim says one."""
    metric: str = METRIC
    """For `earlier` that of the curve, or KNN."""
    datasets: tuple[str, ...] = ()
    """Labels; empty for every dataset."""
    share: float | None = None
    """Of the final value, for `earlier`."""
    unit: Unit = "epochs"

    @property
    def rows(self) -> tuple[str, ...]:
        """The rows that it names."""
        return (self.row,) if self.other is None else (self.row, self.other)


def parse(text: str, metrics: Collection[str] = ()) -> Claim:
    """A claim from its text.

    Args:
        metrics: that the suite has, which are told from datasets by their names. Accuracies are without it.

    Raises:
        ClaimError: it is none, or says something that its kind does not take.
    """
    said = " ".join(text.split())
    body, metric, datasets = _places(said, metrics)
    body, unit = _cut(body, r" in (\w+)", r" earlier than .* in \w+")
    body, within = _cut(body, r" within ([\d.]+)(?: points?)?")
    body, beyond = _cut(body, r" by more than ([\d.]+)(?: points?)?")
    kind, parts = _form(body)
    if (within is not None) != (kind == "equals"):
        what = "`equals` needs" if kind == "equals" else "only `equals` takes"
        raise ClaimError(f"{what} `within`, such as `A equals B within 0.5`")
    if beyond is not None and kind not in (">", "<", "not better", "not worse"):
        raise ClaimError("only a comparison takes `by more than`, such as `A > B by more than 0.5`")
    if kind == "earlier":
        metric = _curve(str(parts["curve"]))
        if unit not in (None, "epochs", "seconds", "views"):
            raise ClaimError(f"earlier in epochs, seconds or views, not in `{unit}`")
    margin = _number(within if within is not None else beyond)
    share = _number(parts.get("share"))
    if share is not None and not 0 < share <= 100:
        raise ClaimError(f"a share of the final value is above 0 and at most 100 %, not {share:g}")
    in_unit = cast(Unit, unit or "epochs")
    return Claim(said, kind, str(parts["row"]), parts.get("other"), margin, metric or METRIC, datasets, share, in_unit)


def _written(text: str) -> str:
    parse(text)
    return text


ClaimText = Annotated[str, AfterValidator(_written)]
"""A claim as a suite writes it, checked but for the names of its rows and datasets."""


def selected(name: str, placed: Iterable[Placed]) -> list[Placed]:
    """The cells that a claim means by a row's name: a method's label, with none, some or all of its axes."""
    return [here for here in placed if here.row == name or _says(name, here)]


def named_axes(name: str, placed: Placed) -> Mapping[str, str]:
    """The axes that a row's name names, where it is this cell's."""
    rest = name.removeprefix(placed.label).strip()
    parts = [part.partition("=") for part in _PART.split(rest) if part]
    return {axis: value for axis, _, value in parts}


def _says(name: str, placed: Placed) -> bool:
    if name == placed.label:
        return True
    if not name.startswith(f"{placed.label} "):
        return False
    axes = {part.partition("=")[0]: part for part in _PART.split(placed.row.removeprefix(f"{placed.label} "))}
    return all(axes.get(axis) == f"{axis}={value}" for axis, value in named_axes(name, placed).items())


def _form(body: str) -> tuple[Kind, Mapping[str, str | None]]:
    """Which form a claim has, and its parts."""
    for form, kind in _FORMS:
        if (found := re.fullmatch(form, body)) is not None:
            return kind, found.groupdict()
    raise ClaimError(_no_claim(body))


def _places(text: str, known: Collection[str]) -> tuple[str, str | None, tuple[str, ...]]:
    """What stands before `on`, the metric and the datasets behind it."""
    body, on, places = text.rpartition(" on ")
    if not on:
        return text.removesuffix(", every dataset"), None, ()
    items = [item.strip() for item in places.split(",")]
    metrics = [item for item in items if item in known or _ACCURACY.fullmatch(item)]
    if len(metrics) > 1:
        raise ClaimError(f"one metric a claim, not {len(metrics)}: write it again for each")
    datasets = [item for item in items if item not in metrics and item != "every dataset"]
    if datasets and "every dataset" in items:
        raise ClaimError("either `every dataset`, or those that are named")
    return body, metrics[0] if metrics else None, tuple(datasets)


def _cut(body: str, ending: str, where: str = "") -> tuple[str, str | None]:
    """The body without an ending, and what the ending says; as it is, where it has none."""
    found = re.search(ending + "$", body)
    if found is None or (where and not re.search(where + "$", body)):
        return body, None
    return body[: found.start()], found.group(1)


def _curve(name: str) -> str:
    """The metric of a curve, which is a monitor's."""
    if name == "k-NN":
        return KNN
    if re.fullmatch(r"\S+_[^_\s]+", name):
        return name
    raise ClaimError(f"training has curves of `k-NN` or a monitor's metric, such as `knn5_top1`, not of `{name}`")


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        raise ClaimError(f"`{text}` is no number") from None


def _no_claim(body: str) -> str:
    """What is wrong with a text of no form: the nearest words that a claim has, if some of its own are near."""
    words = body.split()
    spans = [" ".join(words[at : at + size]) for size in (3, 2, 1) for at in range(1, len(words) - size + 1)]
    near = next((found for span in spans if (found := nearest(span, _WORDS))), None)
    hint = f"did you mean `{near}`?" if near and near not in body else f"write {_EXAMPLES}, ..."
    return f"`{body}` is no claim that a run can answer; {hint}"
