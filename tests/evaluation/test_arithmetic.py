import pytest
import torch

from harness.evaluation.arithmetic import full_float32
from harness.evaluation.knn import nearest
from harness.evaluation.linear import Probe, train_probes
from harness.evaluation.probes.linear import LinearSettings


@pytest.fixture
def low_precision():
    """As a trainer might leave it: TF32 on CUDA, bfloat16 on the CPU."""
    torch.set_float32_matmul_precision("medium")
    yield
    torch.set_float32_matmul_precision("highest")


def test_precision_is_put_back_even_after_an_error(low_precision):
    with full_float32():
        assert torch.backends.cuda.matmul.fp32_precision == "ieee"
        assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"
    with pytest.raises(RuntimeError), full_float32():
        raise RuntimeError
    assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"
    assert torch.get_float32_matmul_precision() == "medium"


def evaluation():
    generator = torch.Generator().manual_seed(0)
    features, labels = torch.randn(300, 64, generator=generator), torch.arange(300) % 3
    weights = train_probes(features, labels, 3, [Probe(0, LinearSettings(epochs=5, batch_size=50))], order_seed=0)
    return weights.weight, weights.logits(features), nearest(features, features + 1e-4, 5)


def test_evaluation_does_not_depend_on_the_process_setting(low_precision):
    lowered = evaluation()
    torch.set_float32_matmul_precision("highest")
    assert all(torch.equal(a, b) for a, b in zip(lowered, evaluation(), strict=True))
