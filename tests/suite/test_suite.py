"""Includes, presets, selection and what survives of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.suite.nodes import SuiteError, plain
from harness.suite.suite import Suite, load_suite, suite_as_dict

Load = Callable[..., Suite]
BASE = """
title: Base
defaults: {epochs: 10, batch_size: 256, optimiser: {lr: 1e-2, weight_decay: 1e-6}}
datasets: {cifar: {epochs: 20}, stl: {}}
methods: {whiten: {views: 4}, contrast: {}}
tables: [{title: one}]
"""


def test_an_included_suite_is_overridden(load: Load) -> None:
    load("")
    Path("base.yaml").write_text(BASE)
    suite = load("include: base.yaml\ntitle: Mine\ndefaults: {optimiser: {lr: 1e-3}}\nmethods: {chase: {}}\n")
    assert suite.title == "Mine"
    defaults = plain(suite.root.entries["defaults"])
    assert defaults == {"epochs": 10, "batch_size": 256, "optimiser": {"lr": 0.001, "weight_decay": 1e-6}}
    assert list(suite.content.methods) == ["whiten", "contrast", "chase"]
    assert suite.content.tables[0].title == "one"
    assert suite.files == (Path("base.yaml"), Path("s.yaml"))


def test_of_several_included_the_later_wins_and_paths_are_relative_to_the_file(load: Load) -> None:
    load("")
    Path("parts/deep").mkdir(parents=True)
    Path("parts/a.yaml").write_text("include: deep/c.yaml\ndefaults: {epochs: 1, batch_size: 8}\n")
    Path("parts/b.yaml").write_text("defaults: {epochs: 2}\n")
    Path("parts/deep/c.yaml").write_text("defaults: {epochs: 3, batch_size: 9, seed: 7}\n")
    suite = load("include: [parts/a.yaml, parts/b.yaml]\n")
    assert plain(suite.root.entries["defaults"]) == {"epochs": 2, "batch_size": 8, "seed": 7}


def test_an_error_in_an_included_file_names_that_file(load: Load) -> None:
    load("")
    Path("base.yaml").write_text("title: x\ndefaults:\n  epochs: ten\n")
    with pytest.raises(SuiteError) as caught:
        load("include: base.yaml\ndefaults: {batch_size: 0}\n")
    assert str(caught.value).splitlines() == [
        'base.yaml:3: defaults.epochs: should be a valid integer, not `"ten"`',
        "s.yaml:2: defaults.batch_size: should be greater than 0, not `0`",
    ]


def test_include_cycles_name_the_chain(load: Load) -> None:
    load("")
    Path("a.yaml").write_text("title: a\ninclude: b.yaml\n")
    Path("b.yaml").write_text("include: [s.yaml]\n")
    with pytest.raises(SuiteError) as caught:
        load("include: a.yaml\n")
    assert str(caught.value) == (
        "b.yaml:1: include[0]: suites include each other: s.yaml -> a.yaml -> b.yaml -> s.yaml"
    )


def test_a_file_may_be_included_twice_without_a_cycle(load: Load) -> None:
    load("")
    Path("base.yaml").write_text("defaults: {epochs: 1}\n")
    Path("a.yaml").write_text("include: base.yaml\n")
    suite = load("include: [a.yaml, base.yaml]\n")
    assert suite.files == (Path("base.yaml"), Path("a.yaml"), Path("s.yaml"))


def test_a_missing_include_is_located_with_the_nearest_name(load: Load) -> None:
    load("")
    Path("base.yaml").write_text("")
    with pytest.raises(SuiteError) as caught:
        load("title: x\ninclude: bsae.yaml\n")
    assert str(caught.value) == "s.yaml:2: include: there is no file bsae.yaml; did you mean `base.yaml`?"


def test_null_takes_an_entry_out(load: Load) -> None:
    load("")
    Path("base.yaml").write_text(BASE)
    suite = load("include: base.yaml\nmethods: {contrast: null}\ndatasets: {stl: null}\n")
    assert list(suite.content.methods) == ["whiten"]
    assert list(suite.content.datasets) == ["cifar"]
    assert suite.known_datasets == {"cifar", "stl"}


def test_null_with_nothing_to_take_out_is_an_error(load: Load) -> None:
    with pytest.raises(SuiteError) as caught:
        load("methods:\n  whiten:\n  contrast: {}\n")
    assert str(caught.value) == (
        "s.yaml:2: methods.whiten: there is nothing to take out; write `{}` for an entry with nothing of its own"
    )


def test_a_list_selects_and_keeps_what_was_said(load: Load) -> None:
    load("")
    Path("base.yaml").write_text(BASE)
    suite = load("include: base.yaml\ndatasets: [cifar, grey]\nmethods: [whiten]\n")
    assert plain(suite.root.entries["datasets"]) == {"cifar": {"epochs": 20}, "grey": {}}
    assert plain(suite.root.entries["methods"]) == {"whiten": {"views": 4}}


def test_a_preset_is_laid_over_the_suite(load: Load) -> None:
    text = (
        BASE
        + "presets: {tiny: {title: Tiny, datasets: [grey], overrides: {epochs: 1}}, other: {defaults: {seed: 3}}}\n"
    )
    plainly, tiny = load(text), load(text, "tiny")
    assert (plainly.name, tiny.name) == ("s", "s-tiny")
    assert (plainly.title, tiny.title) == ("Base", "Tiny")
    assert list(plainly.content.datasets) == ["cifar", "stl"]
    assert list(tiny.content.datasets) == ["grey"]
    assert plain(tiny.root.entries["overrides"]) == {"epochs": 1}
    assert "presets" not in suite_as_dict(tiny)


def test_an_unknown_preset_is_an_error(load: Load) -> None:
    with pytest.raises(SuiteError, match=r"^s.yaml: there is no preset `tinny`; did you mean `tiny`\?$"):
        load("presets: {tiny: {}}\n", "tinny")
    with pytest.raises(SuiteError, match=r"^s.yaml: there is no preset `tiny`; presets: none$"):
        load("", "tiny")


def test_presets_are_checked_even_when_not_chosen(load: Load) -> None:
    with pytest.raises(SuiteError) as caught:
        load("presets:\n  tiny:\n    defaults: {epoch: 3}\n")
    assert str(caught.value) == "s.yaml:3: presets.tiny.defaults.epoch: unknown key; did you mean `epochs`?"


def test_files_of_extensions_are_found_from_where_we_are(load: Load) -> None:
    load("")
    Path("lib").mkdir()
    Path("lib/base.yaml").write_text("extensions: [mine.py, ../other.py]\n")
    assert load("include: lib/base.yaml\n").extensions == (Path("lib/mine.py"), Path("other.py"))


def test_an_empty_suite_is_a_suite(load: Load) -> None:
    suite = load("# yaml-language-server: $schema=suite.schema.json\n")
    assert (suite.title, suite.content.methods, suite.content.claims) == ("s", {}, ())


def test_claims_and_references_are_kept(load: Load) -> None:
    suite = load(
        "claims: [w_mse d=4 > w_mse d=2 on linear_top1]\n"
        "tables:\n"
        "  - references:\n"
        "      - {source: Paper, confidence: verified, metric: linear_top1, values: {SimCLR: {cifar: 91.8}}}\n"
    )
    assert [str(claim) for claim in suite.content.claims] == ["w_mse d=4 > w_mse d=2 on linear_top1"]
    assert suite.content.tables[0].references[0].values == {"SimCLR": {"cifar": 91.8}}


@pytest.mark.parametrize("text", ["epochs", "=3", ""])
def test_command_line_settings_are_key_value(load: Load, text: str) -> None:
    with pytest.raises(SuiteError) as caught:
        load("", None, (text,))
    assert str(caught.value) == f"--set {text}: write key=value, such as epochs=10 or optimiser.lr=1e-3"


def test_command_line_values_are_yaml(load: Load) -> None:
    suite = load("", None, ("lr=1e-3", "dataset.name=no", "backbone={width: 16}"))
    assert [(name, plain(node)) for name, node in suite.fixed] == [
        ("lr", 0.001),
        ("dataset.name", "no"),
        ("backbone", {"width": 16}),
    ]


def test_a_missing_suite_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="cannot be read: No such file or directory"):
        load_suite(tmp_path / "none.yaml")
