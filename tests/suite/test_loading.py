"""YAML 1.2, positions, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from harness.suite.loading import parse, read
from harness.suite.nodes import SuiteError, plain


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("3e5", 300000.0), ("1.", 1.0), (".5", 0.5), ("-2.5E+2", -250.0), ("+1", 1), ("-0", 0),
        ("017", 17), ("0o17", 15), ("0xFF", 255), ("1_000", "1_000"), ("12:30", "12:30"), ("2024-01-01", "2024-01-01"),
        ("no", "no"), ("yes", "yes"), ("on", "on"), ("off", "off"), ("y", "y"), ("true", True), ("False", False),
        ("null", None), ("~", None), ("", None), ("'1'", "1"), ('"true"', "true"), ("!!str 1", "1"), (".inf", math.inf),
        ("-.inf", -math.inf), ("=", "="), ("1e", "1e"), ("|\n text\n", "text\n"),
    ],
)  # fmt: skip
def test_scalars_follow_the_core_schema(text: str, value: object) -> None:
    found = parse(f"a: {text}", "s.yaml").entries["a"].value
    assert found == value
    assert type(found) is type(value)


def test_every_key_and_item_knows_its_place() -> None:
    node = parse("a: 1\nb:\n  c: [x,\n    y]\n  d:\n    - e: 2\n", "s.yaml")
    places = {"a": (1, 1), "b": (2, 1), "b.c": (3, 3), "b.c[0]": (3, 7), "b.c[1]": (4, 5), "b.d[0]": (6, 7)}
    nodes = [node, *node.entries.values(), *node.entries["b"].entries.values()]
    nodes += [*node.entries["b"].entries["c"].items, *node.entries["b"].entries["d"].items]
    found = {here.path: (here.mark.line, here.mark.column) for here in nodes if here.path in places}
    assert found == places
    assert {here.mark.file for here in nodes} == {"s.yaml"}


def test_aliases_repeat_a_value() -> None:
    assert plain(parse("a: &x {k: 1}\nb: *x\n", "s.yaml")) == {"a": {"k": 1}, "b": {"k": 1}}


def test_keys_are_text() -> None:
    assert plain(parse("2: a\ntrue: b\n", "s.yaml")) == {"2": "a", "true": "b"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "s.yaml:3: a: key written twice, first at line 1"),
        ("x:\n  a: 1\n  a: 3\n", "s.yaml:3: x.a: key written twice, first at line 2"),
        ("a: &x\n  b: *x\n", "s.yaml:2: a.b: an alias to a value that it is part of"),
        ("a: !thing 3\n", "s.yaml:1: a: unknown tag `!thing`; write a plain value"),
        ("a: !!python/object:os.f x\n", "s.yaml:1: a: unknown tag `!!python/object:os.f`; write a plain value"),
        ("a: !!set {x}\n", "s.yaml:1: a: unknown tag `!!set`; write a plain value"),
        ("? [1, 2]\n: 3\n", "s.yaml:1: a key must be plain text"),
        (
            "b: &b {}\na:\n  <<: *b\n",
            "s.yaml:3: a.<<: merge keys are not in YAML 1.2; use `include`, `defaults` or an alias of a whole value",
        ),
        ("a: *nobody\n", "s.yaml:1: not YAML: found undefined alias 'nobody'"),
    ],
)  # fmt: skip
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(SuiteError) as caught:
        parse(text, "s.yaml")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "line"),
    [("a: [1\nb: 2\n", 2), ("a: 1\n\tb: 2\n", 2), ("a: 1\n---\nb: 1\n", 2), ("a: 'x\n", 2), ("a: b: c\n", 1)],
)
def test_what_is_not_yaml_is_located(text: str, line: int) -> None:
    with pytest.raises(SuiteError) as caught:
        parse(text, "s.yaml")
    assert str(caught.value).startswith(f"s.yaml:{line}: not YAML: ")


def test_control_characters_are_not_yaml() -> None:
    with pytest.raises(SuiteError, match=r"^s.yaml: not YAML: "):
        parse("a: \x01\n", "s.yaml")


def test_all_problems_are_collected() -> None:
    with pytest.raises(SuiteError) as caught:
        parse("a: !x 1\na: 2\nb: !y 3\n", "s.yaml")
    assert [found.mark.line for found in caught.value.problems] == [1, 2, 3]


def test_a_file_must_be_a_mapping(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("- a\n- b\n")
    with pytest.raises(SuiteError, match=r"s.yaml:1: a suite is a mapping of keys to values, such as `title: ...`"):
        read(path)


def test_an_empty_file_is_an_empty_mapping(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("# nothing yet\n")
    assert plain(read(tmp_path / "s.yaml")) == {}


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"none.yaml: cannot be read: No such file or directory"):
        read(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"title: \xe9\n")
    with pytest.raises(SuiteError, match=r"latin.yaml: cannot be read: not UTF-8 text"):
        read(tmp_path / "latin.yaml")
