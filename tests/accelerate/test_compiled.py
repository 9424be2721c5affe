"""torch.compile on the way: the same numbers, and a way back where it does not work."""

import warnings

import pytest
import torch
from torch import nn

from harness.accelerate.cuda.compiled import CompileWarning, compile_encoders
from methods.method import Batch, Method, Step

CPU = torch.device("cpu")


class Plain(Method):
    def loss(self, batch, step):
        return self.encoder(batch.views[0][0]).square().mean()


def method():
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    return Plain(encoder)


def stepped(made):
    views = torch.randn(2, 5, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    made.train()
    loss = made.loss(Batch((views,), torch.zeros(5), torch.arange(5)), Step(0, 1, 0, 1, torch.Generator()))
    loss.backward()
    return loss.detach(), [p.grad for p in made.parameters()], made.state_dict()


@pytest.fixture(autouse=True)
def _fresh():
    yield
    torch.compiler.reset()


def test_a_compiled_encoder_gives_the_same_loss_gradients_and_statistics(monkeypatch):
    plain, made = method(), method()
    # the tracer without a code generator: what is tested is what is left as it was, and no compiler is needed
    monkeypatch.setattr(nn.Module, "compile", lambda self, **options: _eager(self, **options))
    assert compile_encoders(made, (5, 1, 6, 6), "float32", CPU, "on")
    assert made.encoder._compiled_call_impl is not None
    for ours, theirs in zip(stepped(made), stepped(plain), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)
    assert list(made.state_dict()) == list(plain.state_dict())


def _eager(module, **options):
    module._compiled_call_impl = torch.compile(module._call_impl, backend="aot_eager", **options)


def test_where_it_does_not_work_the_encoder_runs_as_it_is_and_a_warning_says_what_is_lost(monkeypatch):
    def broken(self, **options):
        def call(*given):
            raise RuntimeError("no compiler found\nand a long story")

        self._compiled_call_impl = call

    monkeypatch.setattr(nn.Module, "compile", broken)
    made = method()
    with pytest.warns(CompileWarning, match=r"run without it: the same results.*\(no compiler found\)"):
        assert not compile_encoders(made, (5, 1, 6, 6), "float32", CPU, "on")
    loss, gradients, _ = stepped(made)
    assert loss == stepped(method())[0]
    assert all(gradient is not None for gradient in gradients)


@pytest.mark.parametrize("wish", ["auto", "off"])
def test_on_a_cpu_nothing_is_compiled_unless_asked_for(wish):
    made = method()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not compile_encoders(made, (5, 1, 6, 6), "float32", CPU, wish)
    assert made.encoder._compiled_call_impl is None
