"""Names of libraries that are not public: each is listed here with a proof that it still does what we use it for, and
no other is used."""

import ast
from pathlib import Path

import torch
from torch import nn

import harness
import methods

SOURCES = [file for package in (harness, methods) for file in Path(package.__path__[0]).rglob("*.py")]


def hooks_are_seen():
    linear = nn.Linear(2, 2)
    for register, held in [
        (linear.register_forward_hook, "_forward_hooks"),
        (linear.register_forward_pre_hook, "_forward_pre_hooks"),
        (linear.register_full_backward_hook, "_backward_hooks"),
        (linear.register_full_backward_pre_hook, "_backward_pre_hooks"),
    ]:
        assert not getattr(linear, held)
        register(lambda *arguments: None)
        assert len(getattr(linear, held)) == 1


def global_hooks_are_seen():
    assert not nn.modules.module._has_any_global_hook()
    handle = nn.modules.module.register_module_forward_hook(lambda *arguments: None)
    assert nn.modules.module._has_any_global_hook()
    handle.remove()


def compilation_is_seen_and_undone():
    linear, x = nn.Linear(2, 2), torch.ones(1, 2)
    assert linear._compiled_call_impl is None
    linear.compile(backend="eager")
    assert linear._compiled_call_impl is not None
    assert torch.equal(linear._call_impl(x), linear.forward(x))
    linear._compiled_call_impl = None
    assert torch.equal(linear(x), linear.forward(x))


def a_graph_that_is_used_again_says_so():
    answers = []

    class Asks(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            answers.append(torch._C._autograd._get_current_graph_task_keep_graph())
            return gradient

    y = Asks.apply(torch.ones(1, requires_grad=True))
    y.backward(retain_graph=True)
    y.backward()
    assert answers == [True, False]


def lists_of_tensors_are_added():
    a, b = [torch.ones(2), torch.zeros(3)], [torch.full((2,), 2.0), torch.ones(3)]
    torch._foreach_add_(a, b)
    assert [x.tolist() for x in a] == [[3, 3], [1, 1, 1]]


def lists_of_tensors_are_interpolated():
    a, b = [torch.zeros(2)], [torch.full((2,), 4.0)]
    torch._foreach_lerp_(a, b, 0.25)
    assert a[0].tolist() == [1, 1]


def float16_is_asked_for():
    assert isinstance(torch.ops.mkldnn._is_mkldnn_fp16_supported(), bool)


PROOFS = {
    "_forward_hooks": hooks_are_seen,
    "_forward_pre_hooks": hooks_are_seen,
    "_backward_hooks": hooks_are_seen,
    "_backward_pre_hooks": hooks_are_seen,
    "_has_any_global_hook": global_hooks_are_seen,
    "_compiled_call_impl": compilation_is_seen_and_undone,
    "_call_impl": compilation_is_seen_and_undone,
    "_C": a_graph_that_is_used_again_says_so,
    "_autograd": a_graph_that_is_used_again_says_so,
    "_get_current_graph_task_keep_graph": a_graph_that_is_used_again_says_so,
    "_foreach_add_": lists_of_tensors_are_added,
    "_foreach_lerp_": lists_of_tensors_are_interpolated,
    "_is_mkldnn_fp16_supported": float16_is_asked_for,
}


def private_names(file: Path) -> set[str]:
    """Names with one leading underscore that a file takes from anything but itself, its classes and our packages."""
    tree = ast.parse(file.read_text())
    own = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and is_own(node.value)}
    used = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and not is_own(node.value):
            used.add(node.attr)
        if isinstance(node, ast.ImportFrom) and node.module and not node.module.startswith(("harness", "methods", "_")):
            used |= {*node.module.split("."), *(alias.name for alias in node.names)} - {"__future__"}
    return {name for name in used - own if name.startswith("_") and not name.startswith("__")}


def is_own(value: ast.expr) -> bool:
    return isinstance(value, ast.Name) and value.id in ("self", "cls")


def test_every_private_name_of_a_library_is_proved():
    used = {name: file for file in SOURCES for name in private_names(file)}
    assert used.keys() == PROOFS.keys()


def test_each_still_does_what_it_is_used_for():
    for proof in dict.fromkeys(PROOFS.values()):
        proof()
