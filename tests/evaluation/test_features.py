import pytest
import torch
from torch import nn

from harness.evaluation.features import extract


class Probe(nn.Module):
    """Pools its input and notes how it was called."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.linear = nn.Linear(3, 4)
        self.seen = []

    def forward(self, x):
        channels_last = x.is_contiguous(memory_format=torch.channels_last)
        y = self.linear(self.norm(x).mean((2, 3)))
        self.seen.append((self.training, torch.is_grad_enabled(), channels_last, y.dtype))
        return y


def batches():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, 3, 8, 8, generator=generator) for n in (5, 5, 2)]


def test_features_are_the_eval_mode_outputs_in_order():
    encoder = Probe()
    encoder.norm.running_mean.fill_(0.3)
    features = extract(encoder, batches(), "cpu", "float32")
    with torch.no_grad():
        expected = encoder.eval()(torch.cat(batches()))
    torch.testing.assert_close(features, expected)
    assert features.dtype == torch.float32
    assert not features.is_inference()
    assert all(seen[:3] == (False, False, True) for seen in encoder.seen[:3])


def test_running_statistics_do_not_move():
    encoder = Probe()
    extract(encoder, batches(), "cpu", "float32")
    assert torch.equal(encoder.norm.running_mean, torch.zeros(3))
    assert int(encoder.norm.num_batches_tracked) == 0


def test_every_module_gets_its_own_mode_back_even_after_an_error():
    encoder = Probe()
    encoder.train()
    encoder.norm.eval()
    extract(encoder, batches(), "cpu", "float32")
    assert (encoder.training, encoder.norm.training, encoder.linear.training) == (True, False, True)
    with pytest.raises(RuntimeError):
        extract(encoder, [torch.randn(2, 5, 8, 8)], "cpu", "float32")
    assert (encoder.training, encoder.norm.training, encoder.linear.training) == (True, False, True)


def test_autocast_follows_precision():
    encoder = Probe()
    features = extract(encoder, batches(), "cpu", "bfloat16")
    assert encoder.seen[0][3] == torch.bfloat16
    assert features.dtype == torch.float32
    torch.testing.assert_close(features, extract(encoder, batches(), "cpu", "float32"), atol=0.02, rtol=0.02)


def test_pixels_are_flattened_channel_by_channel():
    images = torch.arange(2 * 3 * 4 * 4.0).view(2, 3, 4, 4)
    assert torch.equal(extract(nn.Flatten(), [images], "cpu", "float32"), images.reshape(2, 48))


def test_errors():
    with pytest.raises(ValueError, match="no images to extract features of: the split is empty"):
        extract(Probe(), [], "cpu", "float32")
    with pytest.raises(
        ValueError, match=r"returns \(5, 3, 8, 8\) for 5 images, not \(images, features\): evaluate pooled"
    ):
        extract(nn.Identity(), batches(), "cpu", "float32")
