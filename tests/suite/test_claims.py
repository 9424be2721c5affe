"""Claims taken apart, and which rows they mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.suite.claims import Claim, ClaimError, matching_cells, read_claim

Errors = Callable[..., list[str]]
TEXT = """\
datasets: [cifar, stl]
defaults: {epochs: 2, batch_size: 128}
methods:
  whiten: {axes: {d: [2, 4], sub_batch_size: [64, 128]}}
  chase: {}
  whiten, no L2: {method: whiten}
"""


def claim(left: str, relation: Any, right: str | None = None, **fields: Any) -> Claim:
    return Claim(left=left, relation=relation, right=right, **fields)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a d=4 > a d=2 on linear_top5, every dataset", claim("a d=4", ">", "a d=2", metric="linear_top5")),
        ("a < b by more than 1.5 points", claim("a", "<", "b", margin=1.5)),
        ("a > b, every dataset", claim("a", ">", "b")),
        ("SimCLR, no L2 not better than SimCLR", claim("SimCLR, no L2", "not better", "SimCLR")),
        ("a is not worse than b by more than 2 on c", claim("a", "not worse", "b", margin=2, datasets=("c",))),
        ("A equals B within 0.5 on knn5_top1", claim("A", "equals", "B", margin=0.5, metric="knn5_top1")),
        ("VICReg (PR, BN) of=v + c collapses", claim("VICReg (PR, BN) of=v + c", "collapses")),
        ("w_mse does not collapse on a, b", claim("w_mse", "does not collapse", datasets=("a", "b"))),
        ("a reaches 80 % of its final k-NN earlier than b", claim("a", "earlier", "b", metric="knn", share=80.0)),
        (
            "a reaches 99.5% of its final knn20_top1 earlier than b in seconds on c",
            claim("a", "earlier", "b", metric="knn20_top1", datasets=("c",), share=99.5, unit="seconds"),
        ),
    ],
)  # fmt: skip
def test_claims_are_taken_apart(text: str, expected: Claim) -> None:
    assert read_claim(text) == expected.model_copy(update={"text": text})
    assert read_claim(str(expected)).model_copy(update={"text": ""}) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a colapses", "`a colapses` is no claim that a run can answer; did you mean `collapses`?"),
        ("a not beter than b", "`a not beter than b` is no claim that a run can answer; did you mean `not better"),
        ("Whitening is nice.", "`Whitening is nice.` is no claim that a run can answer; write `A > B`, `A not"),
        ("a equals b", "`equals` needs `within`, such as `A equals B within 0.5`"),
        ("a > b within 2", "only `equals` takes `within`"),
        ("a collapses by more than 2", "only a comparison takes `by more than`"),
        ("a > b on linear_top1, knn5_top1", "one metric a claim, not 2: write it again for each"),
        ("a > b on every dataset, cifar", "either `every dataset`, or those that are named"),
        ("a reaches 80 % of its final accuracy earlier than b", "training has curves of `k-NN` or a monitor's metric"),
        ("a reaches 120 % of its final k-NN earlier than b", "at most 100 %, not 120"),
        ("a reaches 80 % of its final k-NN earlier than b in days", "in epochs, seconds or views, not in `days`"),
        ("a > b by more than 1.2.3", "`1.2.3` is no number"),
    ],
)  # fmt: skip
def test_what_is_no_claim_says_what_to_write(text: str, message: str) -> None:
    with pytest.raises(ClaimError) as caught:
        read_claim(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"left": "a", "relation": ">"}, "`>` needs `right`"),
        ({"left": "a", "relation": "collapses", "right": "b"}, "`collapses` takes no `right`"),
        ({"left": "a", "relation": "earlier", "right": "b"}, "`earlier` needs `share`"),
        ({"left": "a", "relation": ">", "right": "b", "share": 50}, "`>` takes no `share`"),
    ],
)
def test_fields_that_do_not_go_together(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Claim(**fields)


def test_a_claim_may_be_a_mapping(cells: Any, errors: Errors) -> None:
    mapping = "{left: whiten d=4, relation: not worse, right: chase, margin: 1, datasets: [stl]}"
    assert cells(TEXT + f"claims: [{mapping}]\n").planned
    assert errors(TEXT + f"claims:\n  - {mapping.replace('chase', 'chace')}\n") == [
        "s.yaml:8: claims[0]: there is no row `chace`; did you mean `chase`?"
    ]
    (message,) = errors(TEXT + f"claims:\n  - {mapping.replace('not worse', 'not wrose')}\n")
    assert message.startswith('s.yaml:8: claims[0].relation: `"not wrose"` is not `>`, ')
    assert message.endswith("did you mean `not worse`?")


def test_a_metric_that_only_the_suite_knows_is_told_from_datasets() -> None:
    said = read_claim("a > b on fit_nll, c")
    assert said.datasets == ("fit_nll", "c")
    resolved = said.with_metric({"fit_nll", "linear_top1"})
    assert (resolved.metric, resolved.datasets) == ("fit_nll", ("c",))
    with pytest.raises(ClaimError, match="one metric a claim, not 2"):
        read_claim("a > b on fit_nll, linear_top1").with_metric({"fit_nll"})


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("whiten", 4),
        ("whiten d=4", 2),
        ("whiten sub_batch_size=64", 2),
        ("whiten sub_batch_size=64 d=2", 1),
        ("whiten d=8", 0),
        ("whiten 4", 0),
        ("whit", 0),
        ("whiten, no L2", 1),
        ("chase", 1),
        ("chase d=2", 0),
    ],
)
def test_a_name_means_the_rows_that_agree_in_what_it_says(cells: Any, name: str, count: int) -> None:
    placed = cells(TEXT).planned
    assert len({here.row for here in matching_cells(name, placed)}) == count


def test_a_suites_claims_are_checked_when_it_is_read(errors: Errors) -> None:
    text = TEXT + "claims:\n  - whiten d=4 > chase\n  - whiten d=3 > chase\n  - whiten colapses\n"
    assert errors(text) == [
        "s.yaml:10: claims[2]: `whiten colapses` is no claim that a run can answer; did you mean `collapses`?"
    ]


def test_rows_datasets_and_metrics_that_there_are_not(errors: Errors) -> None:
    claims = "claims:\n  - whiten d=4 > chace\n  - whiten d=3 collapses\n  - whiten > chase on cifar, stll\n"
    found = errors(TEXT + claims)
    assert found[0] == "s.yaml:8: claims[0]: there is no row `chace`; did you mean `chase`?"
    assert found[1].startswith("s.yaml:9: claims[1]: there is no row `whiten d=3`; did you mean `whiten")
    assert found[2] == "s.yaml:10: claims[2]: there is no dataset or metric `stll`; did you mean `stl`?"
    assert errors(TEXT + "claims: [whiten > chase on liner_top1]\n") == [
        "s.yaml:7: claims[0]: no evaluation of this suite gives `liner_top1`; did you mean `linear_top1`?"
    ]


def test_a_claim_about_what_was_taken_out_is_no_mistake(cells: Any, errors: Errors) -> None:
    claims = "claims: [whiten d=4 > chase]\n"
    assert cells(TEXT + claims + "presets: {small: {methods: [whiten]}}\n", "small").planned
    assert cells(TEXT + claims, None, ("d=2",)).planned
    changed = "presets: {small: {methods: {whiten: {axes: {d: [2, 8]}}}}}\n"
    assert "there is no row `whiten d=4`" in errors(TEXT + claims + changed, "small")[0]
