"""A JSON schema of suite files, by which editors complete and check them. Owns its assembly; writes no file.

A suite whose first line is `# yaml-language-server: $schema=suite.schema.json` is completed by any editor that
knows YAML.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from harness.suite.facts import Catalogue, DatasetLike, MethodLike
from harness.suite.models import SuiteContent

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FIRST_LINE = "# yaml-language-server: $schema={schema}"
"""What an editor looks for at the top of a suite."""
Schema = dict[str, Any]


def json_schema(known: Catalogue) -> Schema:
    """The schema (draft 2020-12) of suites over these methods, datasets and probes, each with its settings and
    description."""
    catalogue, datasets = known.methods, known.datasets
    schema = SuiteContent.model_json_schema(by_alias=False)
    definitions: Schema = schema.pop("$defs")
    for name, entry in catalogue.items():
        definitions |= _settings(name, entry.settings)
    row = definitions["MethodRow"]
    row["properties"]["method"] |= {"enum": list(catalogue)}
    row["properties"]["axes"] = definitions["Axes"] = _axes()
    row["allOf"] = [_settings_of(name) for name in catalogue]
    overrides_at = definitions["PartialDatasetFields"]["properties"]
    overrides_at["name"] = {"enum": list(datasets), "description": overrides_at["name"].get("description", "")}
    for content in (schema, definitions["PresetContent"]):
        _name_parts(content["properties"], catalogue, datasets)
    probes: dict[str, Schema] = {}
    for name, probe in known.probes.items():
        definitions |= _settings(f"probe.{name}", probe.settings)
        probes[name] = definitions.pop(f"probe.{name}.settings").get("properties", {})
    for question in ("PartialEvaluationFields", "PartialMonitorFields"):
        _name_probes(definitions[question], probes, datasets)
    return {"$schema": DIALECT, **_lenient(schema), "title": "A suite of ssl-harness", "$defs": _lenient(definitions)}


def _settings(name: str, model: type[BaseModel]) -> Schema:
    """The settings of a method or probe and the models they use, under names of their own."""
    schema = model.model_json_schema(ref_template=f"#/$defs/{name}.{{model}}")
    inner = schema.pop("$defs", {})
    return {f"{name}.settings": schema, **{f"{name}.{key}": value for key, value in inner.items()}}


def _settings_of(name: str) -> Schema:
    """In a row with this method, the settings are this method's."""
    chosen = {"properties": {"method": {"const": name}}, "required": ["method"]}
    return {"if": chosen, "then": {"properties": {"settings": {"$ref": f"#/$defs/{name}.settings"}}}}


def _name_parts(properties: Schema, catalogue: Mapping[str, MethodLike], datasets: Mapping[str, DatasetLike]) -> None:
    """Methods and datasets by name: as a label of its own, by `method` or `dataset.name`, or in a list that selects."""
    row, labels = {"$ref": "#/$defs/MethodRow"}, {"type": "array", "items": {"type": "string"}}
    named: Schema = {}
    for name, entry in catalogue.items():
        settings = {"properties": {"settings": {"$ref": f"#/$defs/{name}.settings"}}}
        by_label = {"if": {"not": {"required": ["method"]}}, "then": settings}
        named[name] = {"description": entry.summary, "anyOf": [{"allOf": [row, by_label]}, {"type": "null"}]}
    other = {"anyOf": [row, {"type": "null"}]}
    described = properties["methods"].get("description", "")
    mapping = {"type": "object", "properties": named, "additionalProperties": other}
    properties["methods"] = {"description": described, "anyOf": [mapping, labels]}
    entry_of = {"anyOf": [{"$ref": "#/$defs/DatasetRow"}, {"type": "null"}]}
    described = properties["datasets"].get("description", "")
    mapping = {"type": "object", "properties": dict.fromkeys(datasets, entry_of), "additionalProperties": entry_of}
    properties["datasets"] = {"description": described, "anyOf": [mapping, labels]}
    properties["axes"] = {"$ref": "#/$defs/Axes"}


def _axes() -> Schema:
    values = {"type": "array", "minItems": 1}
    labelled = {"type": "object", "minProperties": 1, "additionalProperties": {"$ref": "#/$defs/PartialRowFields"}}
    count = {"type": "integer", "minimum": 1, "description": "So many seeds: 0, 1, 2, ..."}
    described = "Axis -> values, or labels of overrides. A field's path (`optimiser.lr`) or a name that occurs once."
    return {
        "type": "object",
        "description": described,
        "properties": {"seeds": {"anyOf": [count, values]}, "seed": {"anyOf": [count, values]}},
        "additionalProperties": {"anyOf": [values, labelled, {"type": "null"}]},
    }


def _name_probes(question: Schema, probes: Mapping[str, Schema], datasets: Mapping[str, DatasetLike]) -> None:
    """Probes by name, each with its own settings, and no other's, beside the keys that all have."""
    common = question["properties"]
    common["probe"] = {"enum": list(probes), "description": common["probe"].get("description", "")}
    common["dataset"] = {"enum": [*datasets, None], "description": common["dataset"].get("description", "")}
    every: Schema = {}
    for settings in probes.values():
        for key, schema in settings.items():
            every.setdefault(key, {"anyOf": []})["anyOf"].append(schema)
    question["allOf"] = [
        {
            "if": {"properties": {"probe": {"const": name}}, "required": ["probe"]},
            "then": {"properties": {key: settings.get(key, False) for key in every}},
        }
        for name, settings in probes.items()
    ]
    question["properties"] = {**every, **common}
    question["additionalProperties"] = False


_AS_IT_IS = ("if", "Reference", "SkipRule")  # conditions, and what is never merged over anything


def _lenient(schema: Any) -> Any:
    """What is merged over something below may be written in part: nothing is required, no branch is chosen."""
    if isinstance(schema, list):
        return [_lenient(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    lenient = {key: value if key in _AS_IT_IS else _lenient(value) for key, value in schema.items()}
    if "properties" in lenient:
        lenient.pop("required", None)
    lenient.pop("discriminator", None)
    if "oneOf" in lenient:
        lenient["anyOf"] = lenient.pop("oneOf")
    return lenient
