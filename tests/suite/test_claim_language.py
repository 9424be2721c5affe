"""Claims taken apart, and which rows they mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from harness.suite.claim_language import Claim, ClaimError, parse, selected

Errors = Callable[..., list[str]]
TEXT = """\
datasets: [cifar, stl]
defaults: {epochs: 2, batch_size: 128}
methods:
  whiten: {axes: {d: [2, 4], sub_batch_size: [64, 128]}}
  chase: {}
  whiten, no L2: {method: whiten}
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a d=4 > a d=2 on linear_top5, every dataset", Claim("", ">", "a d=4", "a d=2", metric="linear_top5")),
        ("a < b by more than 1.5 points", Claim("", "<", "a", "b", margin=1.5)),
        ("a > b, every dataset", Claim("", ">", "a", "b")),
        ("SimCLR, no L2 not better than SimCLR", Claim("", "not better", "SimCLR, no L2", "SimCLR")),
        ("a is not worse than b by more than 2 on c", Claim("", "not worse", "a", "b", margin=2.0, datasets=("c",))),
        ("A equals B within 0.5 on knn5_top1", Claim("", "equals", "A", "B", margin=0.5, metric="knn5_top1")),
        ("VICReg (PR, BN) of=v + c collapses", Claim("", "collapses", "VICReg (PR, BN) of=v + c")),
        ("w_mse does not collapse on a, b", Claim("", "does not collapse", "w_mse", datasets=("a", "b"))),
        ("a reaches 80 % of its final k-NN earlier than b", Claim("", "earlier", "a", "b", metric="knn", share=80.0)),
        (
            "a reaches 99.5% of its final knn20_top1 earlier than b in seconds on c",
            Claim("", "earlier", "a", "b", metric="knn20_top1", datasets=("c",), share=99.5, unit="seconds"),
        ),
    ],
)  # fmt: skip
def test_claims_are_taken_apart(text: str, expected: Claim) -> None:
    assert parse(text) == replace(expected, text=text)


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
        parse(text)
    assert message in str(caught.value)


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
    assert len({here.row for here in selected(name, placed)}) == count


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
