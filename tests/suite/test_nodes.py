"""Merging, positions and the error's text."""

from __future__ import annotations

import pytest

from harness.suite.nodes import BUILT_IN, Mark, Node, Problem, SuiteError, marked, merge, nested, plain


@pytest.mark.parametrize(
    ("base", "top", "merged"),
    [
        ({"a": 1, "b": {"x": 1, "y": 2}}, {"b": {"y": 3, "z": 4}}, {"a": 1, "b": {"x": 1, "y": 3, "z": 4}}),
        ({"a": [1, 2, 3]}, {"a": [4]}, {"a": [4]}),
        ({"a": {"x": 1}}, {"a": None}, {"a": None}),
        ({"a": None}, {"a": {"x": 1}}, {"a": {"x": 1}}),
        ({"a": {"x": 1}}, {"a": 5}, {"a": 5}),
        ({"a": {"x": 1}}, {"a": {}}, {"a": {"x": 1}}),
        ({"t": {"kind": "p", "x": 1}}, {"t": {"kind": "q", "y": 2}}, {"t": {"kind": "q", "y": 2}}),
        ({"t": {"kind": "p", "x": 1}}, {"t": {"kind": "p", "y": 2}}, {"t": {"kind": "p", "x": 1, "y": 2}}),
        ({"t": {"kind": "p", "x": 1}}, {"t": {"y": 2}}, {"t": {"kind": "p", "x": 1, "y": 2}}),
        ({"t": {"x": 1}}, {"t": {"kind": "q"}}, {"t": {"x": 1, "kind": "q"}}),
        ({"q": {"probe": "knn", "k": 5}}, {"q": {"probe": "lbfgs", "c": 1}}, {"q": {"probe": "lbfgs", "c": 1}}),
        ({"q": {"probe": "knn", "k": 5}}, {"q": {"k": 20}}, {"q": {"probe": "knn", "k": 20}}),
    ],
)
def test_merge(base: object, top: object, merged: object) -> None:
    assert plain(merge(marked(base), marked(top))) == merged


def test_merged_values_keep_their_places() -> None:
    low, high = Mark("low.yaml", 1, 1), Mark("high.yaml", 9, 1)
    both = merge(marked({"a": {"x": 1, "y": 2}}, low), marked({"a": {"y": 3}}, high))
    x, y = both.find(["a", "x"]), both.find(["a", "y"])
    assert (x and x.mark, y and y.mark) == (low, high)


def test_find_looks_into_mappings_and_lists() -> None:
    node = marked({"a": [{"b": 7}]})
    found = node.find(["a", 0, "b"])
    assert found == Node(7, BUILT_IN, "a[0].b")
    for path in (["a", 1], ["a", "b"], ["z"], ["a", 0, "b", "c"]):
        assert node.find(path) is None


def test_nested_builds_the_path() -> None:
    assert plain(nested(("a", "b"), marked(3))) == {"a": {"b": 3}}


def test_an_error_has_a_line_for_each_problem_in_the_order_of_the_file() -> None:
    late, early = Problem(Mark("s.yaml", 12, 3), "b", "wrong"), Problem(Mark("s.yaml", 2, 1), "a", "also wrong")
    no_path = Problem(Mark("--set x"), "", "write key=value")
    error = SuiteError([late, early, late, no_path])
    assert str(error) == "s.yaml:2: a: also wrong\ns.yaml:12: b: wrong\n--set x: write key=value"
    assert isinstance(error, ValueError)
    assert error.problems == (early, late, no_path)
