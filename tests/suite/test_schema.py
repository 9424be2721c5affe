"""The schema for editors: what it completes and what it accepts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from harness.registry import all_probes
from harness.spec.identity import Frozen
from harness.suite.facts import Catalogue
from harness.suite.loading import parse
from harness.suite.nodes import plain
from harness.suite.schema import DIALECT, json_schema
from tests.suite.fakes import CATALOGUE, DATASETS, METHODS

GOOD = """
include: base.yaml
title: x
defaults:
  epochs: 1
  optimiser: {lr: 1e-3}
  settings: {head: {embedding: 3}}
  split: validation
  evaluations: {linear: {epochs: 5}, knn5: null, few: {probe: lbfgs, c: 0.1, label_fraction: 0.01}}
  monitors: {knn5: {probe: knn, k: 5, every_epochs: 2}}
collapse: {min_std: 0.2}
datasets: [cifar]
methods:
  whiten: {settings: {transform: {sub_batch_size: 64}}, axes: {d: [2, 4]}}
  W: {method: contrast, settings: {temperature: 0.1}}
axes: {seeds: 3, size: {small: {epochs: 1}}}
skip: [{method: W, d: 4, reason: because}]
tables: [{metrics: [linear_top1, knn20_top1], rows: [method, d]}]
sweep:
  space: {optimiser.lr: {low: 1e-4, high: 0.1, log: true}, sub_batch_size: {choices: [8, 16], divides: batch_size}}
  methods: {W: {space: {sub_batch_size: null}, prune: false, reason: slow}}
  sampler: tpe
presets: {tiny: {datasets: {grey: {epochs: 1}}, methods: {W: null}, sweep: {trials: 2}}}
"""


@pytest.fixture
def schema() -> dict[str, Any]:
    return json_schema(CATALOGUE)


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        for key, value in part.items():
            if key == "$ref":
                yield value
            yield from references(value)
    elif isinstance(part, list):
        for item in part:
            yield from references(item)


def test_it_is_self_contained_json(schema: dict[str, Any]) -> None:
    assert json.loads(json.dumps(schema)) == schema
    assert schema["$schema"] == DIALECT
    assert {reference.removeprefix("#/$defs/") for reference in references(schema)} <= set(schema["$defs"])


def test_methods_and_datasets_are_named(schema: dict[str, Any]) -> None:
    names = list(METHODS)
    assert schema["$defs"]["MethodRow"]["properties"]["method"]["enum"] == names
    assert list(schema["properties"]["methods"]["anyOf"][0]["properties"]) == names
    assert schema["$defs"]["PartialDatasetFields"]["properties"]["name"]["enum"] == list(DATASETS)


def test_settings_and_fields_have_their_descriptions(schema: dict[str, Any]) -> None:
    definitions = schema["$defs"]
    assert definitions["whiten.Head"]["properties"]["hidden"]["description"] == "Widths."
    warmup = definitions["PartialSchedule"]["properties"]["warmup_steps"]
    assert (warmup["description"], warmup["default"]) == ("Optimiser steps.", 500)
    assert "seed" in definitions["PartialRowFields"]["properties"]
    assert "fingerprint" not in definitions["PartialDatasetFields"]["properties"]


def test_evaluations_have_the_keys_of_their_probes(schema: dict[str, Any]) -> None:
    asked, watched = (schema["$defs"][f"Partial{name}Fields"]["properties"] for name in ("Evaluation", "Monitor"))
    common = {"probe", "dataset", "label_fraction"}
    of_probes = {name for probe in all_probes().values() for name in probe.settings.model_fields}
    assert set(asked) == common | of_probes
    assert set(watched) == common | of_probes | {"every_epochs"}
    assert asked["probe"]["enum"] == sorted(all_probes())
    assert asked["dataset"]["enum"] == [*DATASETS, None]


class Tree(Frozen):
    depth: int = 3


class ForestSettings(Frozen):
    trees: tuple[Tree, ...] = ()


@dataclass(frozen=True)
class Forest:
    name: str = "forest"
    summary: str = "A probe whose settings have parts."
    settings: type[Frozen] = ForestSettings


def test_the_parts_of_a_probes_settings_are_there_too() -> None:
    schema = json_schema(Catalogue(METHODS, {"forest": Forest()}, DATASETS))  # type: ignore[dict-item]
    assert {reference.removeprefix("#/$defs/") for reference in references(schema)} <= set(schema["$defs"])
    assert "depth" in schema["$defs"]["probe.forest.Tree"]["properties"]


def test_nothing_that_is_merged_is_required(schema: dict[str, Any]) -> None:
    required = {name for name, definition in schema["$defs"].items() if "required" in definition}
    assert required == {"Reference", "SkipRule"}


def test_a_validator_accepts_good_suites_and_refuses_bad_ones(schema: dict[str, Any]) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    assert [error.message for error in validator.iter_errors(plain(parse(GOOD, "s.yaml")))] == []
    for good, bad in [
        ("lr: 1e-3", "lrr: 1e-3"),
        ("sub_batch_size", "sub_batch"),
        ("temperature", "temprature"),
        ("method: contrast", "method: contrst"),
        ("linear_top1", "lineartop1"),
        ("split: validation", "split: train"),
        ("probe: lbfgs", "probe: lbgfs"),
        ("c: 0.1", "k: 1"),
        ("linear: {epochs: 5}", "linear: {epochs: none}"),
        ("label_fraction", "labels"),
        ("every_epochs: 2", "every_epochs: 0"),
        ("min_std", "sample_images"),
        ("reason: because", "because: reason"),
        ("seeds: 3", "seeds: 0"),
        ("divides: batch_size", "divide: batch_size"),
        ("sampler: tpe", "sampler: tp"),
        ("trials: 2", "trials: 0"),
    ]:
        assert list(validator.iter_errors(plain(parse(GOOD.replace(good, bad), "s.yaml")))), bad
