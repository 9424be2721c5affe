import pytest
import torch
from torch import nn

from harness.evaluation import linear
from harness.evaluation.linear import Probe, initial_weights, lr_at, train_probes
from harness.evaluation.probes.linear import LinearSettings
from harness.streams import stream


def data(images=130, inputs=12, classes=7, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, classes, (images,), generator=generator)
    features = torch.randn(images, inputs, generator=generator, dtype=torch.float64) * 2 + labels[:, None] * 0.3
    return features.to(dtype), labels


def plain(features, labels, classes, probe, order_seed):
    """The protocol as written in the authors' terms: nn.Linear, autograd, torch's Adam and ExponentialLR."""
    spec = probe.spec
    layer = nn.Linear(features.shape[1], classes, dtype=features.dtype)
    initial = initial_weights(probe.seed, features.shape[1], classes).to(features.dtype)
    with torch.no_grad():
        layer.weight.copy_(initial[:-1].T)
        layer.bias.copy_(initial[-1])
    optimiser = torch.optim.Adam(layer.parameters(), lr=spec.lr, weight_decay=spec.weight_decay)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimiser, gamma=(spec.final_lr / spec.lr) ** (1 / spec.epochs))
    for epoch in range(spec.epochs):
        order = torch.randperm(len(features), generator=stream(order_seed, "linear probe order", epoch))
        for rows in order.split(spec.batch_size):
            optimiser.zero_grad()
            nn.functional.cross_entropy(layer(features[rows]), labels[rows]).backward()
            optimiser.step()
        scheduler.step()
    return layer.weight.detach().T, layer.bias.detach()


@pytest.mark.parametrize("batch_size", [50, 65, 1000], ids=["smaller last batch", "even batches", "one batch"])
def test_weights_equal_autograd_and_torch_adam_in_float64(batch_size):
    features, labels = data()
    probe = Probe(3, LinearSettings(epochs=20, batch_size=batch_size, weight_decay=1e-2))
    weights = train_probes(features, labels, 7, [probe], order_seed=5)
    weight, bias = plain(features, labels, 7, probe, 5)
    torch.testing.assert_close(weights.weight[0], weight, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(weights.bias[0], bias, rtol=1e-9, atol=1e-11)


def test_weights_equal_autograd_and_torch_adam_in_float32():
    features, labels = data(dtype=torch.float32)
    probe = Probe(3, LinearSettings(epochs=50, batch_size=50))
    weights = train_probes(features, labels, 7, [probe], order_seed=5)
    weight, bias = plain(features, labels, 7, probe, 5)
    torch.testing.assert_close(weights.weight[0], weight, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(weights.bias[0], bias, rtol=1e-3, atol=1e-4)


def test_learning_rate_schedule():
    spec = LinearSettings()
    assert lr_at(spec, 0) == pytest.approx(1e-2, rel=1e-12)
    assert lr_at(spec, 1) == pytest.approx(1e-2 * 10 ** (-4 / 500), rel=1e-12)
    assert lr_at(spec, 499) == pytest.approx(1e-6 * 10 ** (4 / 500), rel=1e-12)


def test_initial_weights_are_those_of_nn_linear():
    draws = initial_weights(0, 400, 50)
    assert draws.shape == (401, 50)
    assert draws.abs().max() <= 1 / 20
    assert draws.std().item() == pytest.approx(1 / 20 / 3**0.5, rel=0.02)  # U(-a, a) has std a / sqrt(3)
    assert not torch.equal(draws, initial_weights(1, 400, 50))


def varied():
    return [
        Probe(0, LinearSettings(epochs=30, batch_size=50)),
        Probe(1, LinearSettings(epochs=30, batch_size=50)),
        Probe(0, LinearSettings(epochs=30, batch_size=50, weight_decay=0.5)),
        Probe(0, LinearSettings(epochs=30, batch_size=50, lr=1e-3, final_lr=1e-4)),
    ]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-3)])
def test_together_is_as_alone_with_shared_features(dtype, tolerance):
    features, labels = data(dtype=dtype)
    together = train_probes(features, labels, 7, varied(), order_seed=2)
    assert together.weight.shape == (4, 12, 7)
    for i, probe in enumerate(varied()):
        alone = train_probes(features, labels, 7, [probe], order_seed=2)
        torch.testing.assert_close(together.weight[i], alone.weight[0], rtol=tolerance, atol=tolerance / 10)
        torch.testing.assert_close(together.bias[i], alone.bias[0], rtol=tolerance, atol=tolerance / 10)
    assert not torch.allclose(together.weight[0], together.weight[2], rtol=0.1)


def test_together_is_as_alone_with_a_feature_set_a_probe():
    features, labels = data()
    sets = torch.stack([features, features.flip(1), features * 0.5, features.square()])
    together = train_probes(sets, labels, 7, varied(), order_seed=2)
    for i, probe in enumerate(varied()):
        alone = train_probes(sets[i], labels, 7, [probe], order_seed=2)
        torch.testing.assert_close(together.weight[i], alone.weight[0], rtol=1e-10, atol=1e-11)
        torch.testing.assert_close(together.logits(sets)[i], alone.logits(sets[i])[0], rtol=1e-10, atol=1e-9)


def test_logits_are_an_affine_map():
    features, labels = data()
    weights = train_probes(features, labels, 7, varied()[:2], order_seed=2)
    expected = torch.stack([features @ weights.weight[i] + weights.bias[i] for i in range(2)])
    torch.testing.assert_close(weights.logits(features), expected)


def test_same_seeds_same_bits_and_global_state_untouched():
    features, labels = data(dtype=torch.float32)
    probe = [Probe(0, LinearSettings(epochs=3))]
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    first = train_probes(features, labels, 7, probe, order_seed=2)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.get_num_threads() == threads
    assert torch.equal(first.weight, train_probes(features, labels, 7, probe, order_seed=2).weight)


def test_order_seed_changes_batches():
    features, labels = data()
    probe = [Probe(0, LinearSettings(epochs=3, batch_size=10))]
    one, other = (train_probes(features, labels, 7, probe, order_seed=s).weight for s in (1, 2))
    assert not torch.allclose(one, other)


def test_a_class_without_images_is_never_preferred():
    features, labels = data()
    kept = labels != 4
    weights = train_probes(
        features[kept], labels[kept], 9, [Probe(0, LinearSettings(epochs=200, batch_size=10))], order_seed=0
    )
    predictions = weights.logits(features[kept])[0].argmax(1)
    assert not torch.isin(predictions, torch.tensor([4, 7, 8])).any()


def test_converges_to_the_minimum_of_the_penalised_loss():
    # At the end the gradient of cross-entropy + (decay / 2) |theta|^2 (coupled decay, bias included) is nearly zero.
    features, labels = data(images=60, inputs=3, classes=3)
    decay = 0.1
    spec = LinearSettings(epochs=3000, batch_size=60, lr=0.1, final_lr=1e-4, weight_decay=decay)
    weights = train_probes(features, labels, 3, [Probe(0, spec)], order_seed=0)
    w, b = weights.weight[0].requires_grad_(), weights.bias[0].requires_grad_()
    penalty = decay / 2 * (w.square().sum() + b.square().sum())
    (nn.functional.cross_entropy(features @ w + b, labels) + penalty).backward()
    assert w.grad.abs().max() < 1e-5
    assert b.grad.abs().max() < 1e-5


def test_single_thread_for_small_steps_changes_nothing(monkeypatch):
    features, labels = data()
    probe = [Probe(0, LinearSettings(epochs=5))]
    small = train_probes(features, labels, 7, probe, order_seed=0)
    monkeypatch.setattr(linear, "SERIAL_PRODUCTS", 0)
    torch.testing.assert_close(train_probes(features, labels, 7, probe, order_seed=0).weight, small.weight)


def test_errors():
    features, labels = data(dtype=torch.float32)
    mixed = [Probe(0, LinearSettings(epochs=2)), Probe(0, LinearSettings(epochs=3))]
    with pytest.raises(ValueError, match="need the same epochs and batch_size: train the others apart"):
        train_probes(features, labels, 7, mixed, order_seed=0)
    with pytest.raises(ValueError, match="2 feature sets for 3 probes: give one set, or one a probe"):
        train_probes(
            features.expand(2, -1, -1), labels, 7, [Probe(i, LinearSettings()) for i in range(3)], order_seed=0
        )
    with pytest.raises(
        ValueError,
        match=r"the linear probe overflowed: features reach 1\.0e\+25; look whether the "
        "encoder diverged, or lower the probe's lr",
    ):
        train_probes(features.clone().fill_(1e25), labels, 7, [Probe(0, LinearSettings(epochs=3))], order_seed=0)
