"""What of a model enters an identity, and that an id belongs to the values that a model has."""

from __future__ import annotations

import hashlib
import json
import pickle
from functools import cached_property
from typing import Any

import pytest
from pydantic import Field, ValidationError

from harness.registry import all_methods, all_probes
from harness.spec import models
from harness.spec.identity import ID_LENGTH, SCHEMA_VERSION, Frozen, canonical, digest, identity_of
from harness.suite.fields import models_in


class Before(Frozen):
    lr: float = 0.1
    drops: tuple[int, ...] = (3, 1)


class Inner(Frozen):
    depth: int = 2
    gate: bool = Field(default=False, json_schema_extra={"neutral": False})


class After(Before):
    """`Before`, with what was added once results existed."""

    warm: bool = Field(default=False, json_schema_extra={"neutral": False})
    note: str | None = Field(default=None, json_schema_extra={"neutral": None})
    sizes: tuple[int, ...] = Field(default=(1, 2), json_schema_extra={"neutral": [1, 2]})
    inner: Inner | None = Field(default=None, json_schema_extra={"neutral": None})


class Described(Frozen):
    """A field with a schema of its own and no neutral value."""

    size: int = Field(default=0, json_schema_extra={"examples": [3]})


class Named(Frozen):
    name: str
    content: str | None = None

    def identity(self) -> dict[str, Any]:
        return {"content": self.content} if self.content else {"name": self.name}


class Numbered(Frozen):
    size: int

    @cached_property
    def id(self) -> str:
        return digest(canonical("numbered", self))


def test_added_fields_keep_the_identity_while_they_are_neutral() -> None:
    assert canonical("x", After()) == canonical("x", Before())
    assert canonical("x", After(lr=0.2)) == canonical("x", Before(lr=0.2))


@pytest.mark.parametrize(
    ("update", "entered"),
    [
        ({"warm": True}, {"warm": True}),
        ({"note": ""}, {"note": ""}),
        ({"sizes": (2, 1)}, {"sizes": [2, 1]}),
        ({"sizes": ()}, {"sizes": []}),
        ({"inner": Inner()}, {"inner": {"depth": 2}}),
        ({"inner": Inner(gate=True)}, {"inner": {"depth": 2, "gate": True}}),
    ],
)
def test_they_enter_it_with_any_other_value(update: dict[str, Any], entered: dict[str, Any]) -> None:
    assert identity_of(After(**update)) == {"lr": 0.1, "drops": [3, 1], **entered}


def test_a_field_without_a_neutral_value_always_enters() -> None:
    assert identity_of(Described()) == {"size": 0}
    assert identity_of(Before()) == {"lr": 0.1, "drops": [3, 1]}


def test_a_model_may_say_itself_what_stands_for_it_at_any_depth() -> None:
    named = Named(name="a", content="c"), Named(name="b", content="c"), Named(name="b")
    assert [identity_of(value) for value in named] == [{"content": "c"}, {"content": "c"}, {"name": "b"}]
    assert identity_of({"sources": list(named)}) == {"sources": [{"content": "c"}, {"content": "c"}, {"name": "b"}]}


def test_the_canonical_text_is_compact_json_with_sorted_keys_and_says_what_it_is_of() -> None:
    text = canonical("kind of thing", Before())
    assert text == f'{{"drops":[3,1],"kind":"kind of thing","lr":0.1,"schema":{SCHEMA_VERSION}}}'
    assert canonical("other", Before()) != text


def test_an_id_is_the_beginning_of_a_sha256() -> None:
    assert digest("text") == hashlib.sha256(b"text").hexdigest()[:20]
    assert ID_LENGTH == 20


def test_a_copy_with_other_values_has_another_id() -> None:
    one = Numbered(size=1)
    assert one.id == Numbered(size=1).id  # computed, and kept, before it is copied
    two = one.model_copy(update={"size": 2})
    assert (two.size, two.id) == (2, Numbered(size=2).id)
    assert one.model_copy().id == one.model_copy(deep=True).id == one.id
    assert pickle.loads(pickle.dumps(one)).id == one.id


def test_what_is_frozen_stays_and_takes_no_strangers() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Before().lr = 0.2  # type: ignore[misc]
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Before(rate=1)  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="finite"):
        Before(lr=float("nan"))


def declared() -> list[tuple[str, Any, Any]]:
    """Every field with a neutral value in the specs and in the settings of built-in methods and probes, with both its
    values."""
    found: list[tuple[str, Any, Any]] = []
    todo: list[Any] = [
        value for value in vars(models).values() if isinstance(value, type) and issubclass(value, Frozen)
    ]
    todo += [entry.settings for entry in (*all_methods().values(), *all_probes().values())]
    seen = set()
    while todo:
        model = todo.pop()
        if model in seen:
            continue
        seen.add(model)
        for name, info in model.model_fields.items():
            extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
            if "neutral" in extra:
                default = json.loads(json.dumps(identity_of(info.get_default(call_default_factory=True))))
                found.append((f"{model.__name__}.{name}", default, extra["neutral"]))
            todo += models_in(info.annotation)
    assert len(seen) > 20
    return found


def test_every_neutral_value_is_the_default() -> None:
    """Settings are validated again from their identity, and a field that is left out takes its default."""
    assert [name for name, default, neutral in declared() if default != neutral] == []
