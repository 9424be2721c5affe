"""Claims: what a suite may say that a paper claims, so that a run can answer it. Owns the model, its reading from
prose, and which rows a name stands for. `harness.analysis.claims` has the verdicts.

A claim is a mapping of `Claim`'s fields, or a sentence that is read into one:

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

A sentence may end in `on PLACES`: a metric (linear_top1 if none is named), datasets, or `every dataset` (of the suite,
where both rows are; the default), with commas between. ROW is a row as tables print it, `w_mse d=4`. Axes may be left
out: `w_mse d=4 > w_mse d=2` is then said of every sub-batch size, and rows that differ in it are not compared.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, ValidationError, model_validator

from harness.spec.identity import Frozen
from harness.suite.fields import nearest
from harness.suite.metrics import DEFAULT_METRIC

if TYPE_CHECKING:
    from harness.suite.planned import Placed

Relation = Literal[">", "<", "not better", "not worse", "equals", "collapses", "does not collapse", "earlier"]
MARGIN = 0.5
"""Points of per cent: what `not better than` means where it does not say by how much."""
KNN = "knn"
"""A claim's metric where it says `k-NN`: the curve of any k."""
_SENTENCES: tuple[tuple[str, Relation], ...] = (
    (r"(?P<left>.+?) reaches (?P<share>[\d.]+) ?% of its final (?P<metric>.+?) earlier than (?P<right>.+)", "earlier"),
    (r"(?P<left>.+?) does not collapse", "does not collapse"),
    (r"(?P<left>.+?) collapses", "collapses"),
    (r"(?P<left>.+?)(?: is)? not better than (?P<right>.+)", "not better"),
    (r"(?P<left>.+?)(?: is)? not worse than (?P<right>.+)", "not worse"),
    (r"(?P<left>.+?) equals (?P<right>.+)", "equals"),
    (r"(?P<left>.+?) > (?P<right>.+)", ">"),
    (r"(?P<left>.+?) < (?P<right>.+)", "<"),
)
_WORDS = ("not better than", "not worse than", "equals", "collapses", "does not collapse", "reaches", "earlier than")
_EXAMPLES = "`A > B`, `A not better than B`, `A equals B within 0.5`, `A collapses`, `A does not collapse`"
_AXIS = re.compile(r" (?=[\w.]+=)")  # between the parts of `w_mse d=4 transform.eps=0`
_ACCURACY = re.compile(r".*_(top\d+|balanced)")  # a metric, whether or not there is one of that name


class ClaimError(ValueError):
    """A claim that cannot be read; says what can be written."""


class Claim(Frozen):
    """A claim about one row, or about two on the same seeds."""

    left: Annotated[str, Field(min_length=1)]
    """A row as tables print it; axes may be left out."""
    relation: Relation
    """`collapses` and `does not collapse` are about `left` alone; all others compare it with `right`."""
    right: str | None = None
    margin: Annotated[float, Field(ge=0)] | None = None
    """In points or the metric's unit."""
    metric: str = DEFAULT_METRIC
    """For `earlier` that of a monitor's curve, or `knn` for the k-NN curve of any k."""
    datasets: tuple[str, ...] = ()
    """Labels; empty for every dataset that has the rows."""
    share: Annotated[float, Field(gt=0, le=100)] | None = None
    """Per cent of the final value that is reached earlier."""
    unit: Literal["epochs", "seconds", "views"] = "epochs"
    """What `earlier` counts in."""
    text: str = ""
    """The sentence that it was read from; results print it."""

    @property
    def rows(self) -> tuple[str, ...]:
        """The rows that it names."""
        return (self.left,) if self.right is None else (self.left, self.right)

    def __str__(self) -> str:
        """Its sentence."""
        if self.relation == "earlier":
            curve = "k-NN" if self.metric == KNN else self.metric
            said = f"{self.left} reaches {self.share:g} % of its final {curve} earlier than {self.right} in {self.unit}"
        else:
            than = " than" if self.relation in ("not better", "not worse") else ""
            said = f"{self.left} {self.relation}{than} {self.right or ''}".rstrip()
        if self.margin is not None:
            said += f" {'within' if self.relation == 'equals' else 'by more than'} {self.margin:g}"
        metric = [self.metric] if self.metric != DEFAULT_METRIC and self.relation != "earlier" else []
        places = ", ".join([*metric, *self.datasets])
        return self.text or said + (f" on {places}" if places else "")

    @model_validator(mode="after")
    def _complete(self) -> Claim:
        if (self.right is None) != ("collapse" in self.relation):
            verb = "needs" if self.right is None else "takes no"
            raise ClaimError(f"`{self.relation}` {verb} `right`")
        if (self.share is None) == (self.relation == "earlier"):
            verb = "needs" if self.share is None else "takes no"
            raise ClaimError(f"`{self.relation}` {verb} `share`, in per cent of the final value")
        if self.relation == "equals" and self.margin is None:
            raise ClaimError("`equals` needs `within`, such as `A equals B within 0.5`")
        if self.margin is not None and self.relation not in (">", "<", "not better", "not worse", "equals"):
            raise ClaimError("only a comparison takes `by more than`, such as `A > B by more than 0.5`")
        return self

    def with_metric(self, metrics: Collection[str]) -> Claim:
        """The same claim; a metric that its sentence names among the datasets becomes its metric.

        Raises:
            ClaimError: it names several metrics.
        """
        named = [name for name in self.datasets if name in metrics]
        if not named:
            return self
        if len(named) > 1 or "metric" in self.model_fields_set:
            raise ClaimError(f"one metric a claim, not {len(named) + 1}: write it again for each")
        datasets = tuple(name for name in self.datasets if name not in named)
        return self.model_copy(update={"metric": named[0], "datasets": datasets})


def read_claim(text: str) -> Claim:
    """A claim from its sentence.

    Raises:
        ClaimError: it is none; says what is nearest.
    """
    text = " ".join(text.split())
    body, places = _split_places(text)
    body, unit = _split_ending(body, r" in (\w+)", r" earlier than .* in \w+")
    body, within = _split_ending(body, r" within ([\d.]+)(?: points?)?")
    body, beyond = _split_ending(body, r" by more than ([\d.]+)(?: points?)?")
    matches = ((re.fullmatch(pattern, body), relation) for pattern, relation in _SENTENCES)
    match, relation = next(((m, relation) for m, relation in matches if m), (None, ">"))
    if match is None:
        raise ClaimError(_no_claim(body))
    if within is not None and relation != "equals":
        raise ClaimError("only `equals` takes `within`, such as `A equals B within 0.5`")
    if beyond is not None and relation == "equals":
        raise ClaimError("`equals` needs `within`, such as `A equals B within 0.5`")
    if unit not in (None, "epochs", "seconds", "views"):
        raise ClaimError(f"earlier in epochs, seconds or views, not in `{unit}`")
    parts: dict[str, Any] = match.groupdict()
    if relation == "earlier":
        parts |= {"share": _number(parts["share"]), "metric": _curve(parts["metric"])}
    parts = places | parts | {"relation": relation, "unit": unit, "margin": _number(within or beyond), "text": text}
    try:
        return Claim(**{key: value for key, value in parts.items() if value is not None})
    except ValidationError as error:
        detail = error.errors()[0]
        if detail["loc"] == ("share",):
            raise ClaimError(f"a share is above 0 and at most 100 %, not {parts['share']:g}") from None
        raise ClaimError(str(detail.get("ctx", {}).get("error", detail["msg"]))) from None


if TYPE_CHECKING:
    WrittenClaim = Claim
else:
    WrittenClaim = Annotated[
        Annotated[str, AfterValidator(read_claim), Tag("sentence")] | Annotated[Claim, Tag("mapping")],
        Discriminator(lambda value: "sentence" if isinstance(value, str) else "mapping"),
    ]
    """A claim as a suite writes it, checked but for the names of its rows and datasets."""


def matching_cells(name: str, placed: Iterable[Placed]) -> list[Placed]:
    """The cells that a claim means by a row's name: a method's label, with none, some or all of its axes."""
    return [cell for cell in placed if cell.row == name or _names(name, cell)]


def named_axes(name: str, placed: Placed) -> Mapping[str, str]:
    """The axes that a row's name names, where it is this cell's."""
    rest = name.removeprefix(placed.label).strip()
    parts = [part.partition("=") for part in _AXIS.split(rest) if part]
    return {axis: value for axis, _, value in parts}


def _names(name: str, placed: Placed) -> bool:
    if name == placed.label:
        return True
    if not name.startswith(f"{placed.label} "):
        return False
    axes = {part.partition("=")[0]: part for part in _AXIS.split(placed.row.removeprefix(f"{placed.label} "))}
    return all(axes.get(axis) == f"{axis}={value}" for axis, value in named_axes(name, placed).items())


def _split_places(text: str) -> tuple[str, dict[str, Any]]:
    """What stands before `on`, and the metric and the datasets behind it."""
    body, on, places = text.rpartition(" on ")
    if not on:
        return text.removesuffix(", every dataset"), {}
    items = [item.strip() for item in places.split(",")]
    metrics = [item for item in items if _ACCURACY.fullmatch(item)]
    if len(metrics) > 1:
        raise ClaimError(f"one metric a claim, not {len(metrics)}: write it again for each")
    datasets = tuple(item for item in items if item not in metrics and item != "every dataset")
    if datasets and "every dataset" in items:
        raise ClaimError("either `every dataset`, or those that are named")
    return body, {"metric": metrics[0] if metrics else None, "datasets": datasets or None}


def _split_ending(body: str, ending: str, where: str = "") -> tuple[str, str | None]:
    """The body without an ending, and what the ending says; as it is, where it has none."""
    match = re.search(ending + "$", body)
    if match is None or (where and not re.search(where + "$", body)):
        return body, None
    return body[: match.start()], match.group(1)


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
    near = next((word for span in spans if (word := nearest(span, _WORDS))), None)
    hint = f"did you mean `{near}`?" if near and near not in body else f"write {_EXAMPLES}, ..."
    return f"`{body}` is no claim that a run can answer; {hint}"
