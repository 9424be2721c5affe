"""Numbers beside an encoder's worth: what cannot be had is None with its reason, and what is looked at is fixed."""

import pytest
import torch
from torch import nn

from harness.engines.describe import diagnose_features, facts_of, sample_rows
from harness.engines.pretrain import build
from harness.evaluation.collapse import diagnose
from methods.method import Method


@pytest.fixture
def networks(original):
    task = original.task("w_mse")
    return task.pretraining, build(task.pretraining, original.methods["w_mse"], original.context(None))


def test_facts_of_a_training_are_known(networks):
    spec, built = networks
    facts = facts_of(spec, built.encoder, built.method, steps=6)
    assert facts.unknown == {}
    assert facts.parameters == sum(p.numel() for p in built.method.parameters())
    assert facts.features == 32
    assert facts.train_flops % 6 == 0
    # a pass backward costs about two forward ones; two views of 64 images, and small heads
    assert facts.train_flops / 6 == pytest.approx(3 * 128 * facts.encoder_flops_per_view, rel=0.1)


def test_each_fact_that_cannot_be_had_has_its_reason_and_costs_no_other(networks, monkeypatch):
    spec, built = networks
    monkeypatch.setattr("harness.engines.describe.step_flops", lambda *_: {"cpu": 1}["meta"])
    monkeypatch.setattr("harness.engines.describe.flops_per_view", lambda *_: 1 / 0)
    facts = facts_of(spec, built.encoder, built.method, steps=6)
    assert (facts.train_flops, facts.encoder_flops_per_view) == (None, None)
    assert facts.unknown == {
        "train_flops": "KeyError: 'meta'",
        "encoder_flops_per_view": "ZeroDivisionError: division by zero",
    }
    assert facts.features == 32


def test_facts_of_pixels(networks):
    spec, _ = networks
    facts = facts_of(spec.model_copy(update={"training": None}), nn.Flatten(), None, steps=0)
    assert (facts.features, facts.parameters, facts.train_flops) == (64, 0, None)
    assert facts.unknown == {"train_flops": "nothing is trained", "encoder_flops_per_view": "there is no encoder"}


def test_the_sample_is_drawn_once_and_bounded():
    assert len(sample_rows(10_000)) == 2048
    assert torch.equal(sample_rows(10_000), sample_rows(10_000))
    assert sorted(sample_rows(200).tolist()) == list(range(200))


class Doubling(Method):
    def loss(self, batch, step):
        raise NotImplementedError

    def embed(self, features):
        assert not self.training
        return features[:, :2] * 2


def test_diagnostics_are_of_h_and_where_there_is_a_head_of_v():
    h = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    views = (h + 0.1, h - 0.1)
    without = diagnose_features(h, None)
    assert without.values == diagnose(h).values("h")
    assert set(without.spectra) == {"h"}
    method = Doubling(nn.Identity()).train()
    found = diagnose_features(h, method, views)
    assert method.training
    v = diagnose(h[:, :2] * 2, (views[0][:, :2] * 2, views[1][:, :2] * 2))
    assert {name: value for name, value in found.values.items() if name.startswith("v_")} == v.values("v")
    assert found.spectra == {"h": list(diagnose(h).spectrum), "v": list(v.spectrum)}
    assert {"h_alignment", "v_alignment"} <= set(found.values)
    assert "h_alignment" not in without.values
