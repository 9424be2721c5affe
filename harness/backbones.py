"""timm encoders by name, with the small-image stems, initialisation and narrow variants of the protocol.

Owns how an encoder is built, tried at a size and given the weights of a file, how wide its output is, and what one
forward pass of it costs. Never downloads weights.
"""

from __future__ import annotations

import copy
import difflib
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
import timm
import torch
from timm.models.resnet import ResNet
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from harness.spec.models import Backbone, Input
from harness.streams import stream_seed

M = TypeVar("M", bound=nn.Module)
T = TypeVar("T")

FILE_OPTIONS = frozenset({"checkpoint_path", "cache_dir"})  # and whatever begins with "pretrained"
FILE_ENDINGS = (".pth", ".pt", ".safetensors", ".bin")
PREFIXES = ("module.", "encoder.")  # of an encoder's parameters in a file: DataParallel's, and a method's own
CLASSIFIERS = ("fc.", "head.", "classifier.")
NESTED = ("state_dict", "model")  # keys under which a training's file keeps its weights
NAMED_AT_MOST = 5  # of each kind of problem


class BackboneError(ValueError):
    """A backbone that cannot be built as asked, or takes no such images or weights."""


def build_encoder(backbone: Backbone, channels: int, image_size: int, seed: int) -> nn.Module:
    """The encoder E: (N, `channels`, `image_size`, `image_size`) -> pooled features h (N, F).

    Weights come from timm's initialisation (for ResNets torchvision's: He normal, fan-out) under the seed's "encoder"
    stream; a replaced first convolution keeps `nn.Conv2d`'s default initialisation, as in the W-MSE authors' code.
    `load_weights` puts those of a file in their place.

    Raises:
        BackboneError: unknown name, a stem, width or option that the model does not have, or a path among the options.
    """
    _check(backbone)
    with forked_rng():
        torch.manual_seed(stream_seed(seed, "encoder"))
        model = _create(backbone, channels, image_size)
        if backbone.stem != "standard" or backbone.width is not None:
            _replace_stem(model, backbone, channels)
    return model


def _check(backbone: Backbone) -> None:
    """What is known to be wrong without building anything."""
    if not timm.is_model(backbone.name):
        near = difflib.get_close_matches(backbone.name, timm.list_models(), n=1)
        hint = f"; did you mean `{near[0]}`?" if near else "; `harness list backbones` names them"
        raise BackboneError(f"backbone.name: timm has no model `{backbone.name}`{hint}")
    if any(_names_a_file(key, value) for key, value in backbone.options.items()):
        raise BackboneError("backbone.options: no paths: name a file of weights in `backbone.weights`")
    if not _is_resnet(backbone) and (
        backbone.stem != "standard" or backbone.width is not None or backbone.zero_init_last
    ):
        raise BackboneError(
            f"backbone: `{backbone.name}` is no timm ResNet: `stem`, `width` and `zero_init_last` do not apply to it; "
            "leave them out (sizes of other families are set through `options`)"
        )
    if backbone.width is not None and backbone.width % 2:
        raise BackboneError(f"backbone.width: {backbone.width} is odd; ResNet stages need an even number of channels")


def _names_a_file(key: str, value: object) -> bool:
    """What a file holds can change behind its name, so it is no part of an identity."""
    if key in FILE_OPTIONS or key.startswith("pretrained"):
        return True
    return isinstance(value, str) and ("/" in value or "\\" in value or value.lower().endswith(FILE_ENDINGS))


def _is_resnet(backbone: Backbone) -> bool:
    return bool(timm.model_entrypoint(backbone.name).__module__ == ResNet.__module__)


def _create(backbone: Backbone, channels: int, image_size: int) -> nn.Module:
    arguments: dict[str, Any] = {"pretrained": False, "num_classes": 0, "in_chans": channels, **backbone.options}
    if _is_resnet(backbone):
        arguments["zero_init_last"] = backbone.zero_init_last
    if backbone.width is not None:
        # timm ties the stem's channels to the deep stem's width; the deep stem itself is replaced afterwards
        stages = tuple(backbone.width * 2**i for i in range(4))
        arguments |= {"stem_type": "deep", "stem_width": backbone.width // 2, "channels": stages}
    config = timm.get_pretrained_cfg(backbone.name, allow_unregistered=True)
    if config is not None and config.fixed_input_size:
        arguments.setdefault("img_size", image_size)
    try:
        model: nn.Module = timm.create_model(backbone.name, **arguments)
    except Exception as error:  # every family has errors of its own
        raise BackboneError(
            f"backbone: timm cannot build `{backbone.name}` with {arguments}: {_first_line(error)}"
        ) from error
    return model


def _replace_stem(model: nn.Module, backbone: Backbone, channels: int) -> None:
    """Give a ResNet its first convolution anew, with as many output channels as its first BN expects."""
    assert isinstance(model, ResNet)
    norm = model.get_submodule("bn1")
    assert isinstance(norm, nn.BatchNorm2d)
    if backbone.stem == "standard":
        conv = nn.Conv2d(channels, norm.num_features, 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    else:
        conv = nn.Conv2d(channels, norm.num_features, 3, stride=1, padding=1, bias=False)
    model.set_submodule("conv1", conv)
    if backbone.stem == "small":
        model.set_submodule("maxpool", nn.Identity())


def try_backbone(backbone: Backbone, input: Input) -> str | None:
    """Why no such encoder can be built, or why it cannot be trained on images of that size and channels, in one line;
    None if it can.

    Tried on the meta device, where it takes no memory; on the CPU only where that fails, as some models look at values.
    """
    try:
        _check(backbone)
    except BackboneError as error:
        return str(error)
    try:
        _forward_once(backbone, input, "meta")
    except Exception:  # the model's own fault, or no more than the meta device's: the CPU tells which
        try:
            _forward_once(backbone, input, "cpu")
        except BackboneError as error:
            return str(error)
        except Exception as error:
            return _cannot_take(f"`{backbone.name}`", input.channels, input.size, error)
    return None


def _forward_once(backbone: Backbone, input: Input, device: str) -> None:
    """Two images in train mode, as a training step begins."""
    with warnings.catch_warnings(), torch.device(device), forked_rng(), torch.no_grad():
        warnings.simplefilter("ignore")
        encoder = build_encoder(backbone, input.channels, input.size, 0).train()
        _width(encoder(torch.zeros(2, input.channels, input.size, input.size)))


def feature_size(encoder: nn.Module, channels: int, image_size: int) -> int:
    """Width F of the encoder's output (N, F) in eval mode, by a forward pass of a copy of it.

    Raises:
        BackboneError: it takes no such images, or its output is no (N, F).
    """
    try:
        output = _with_copy(encoder, (2, channels, image_size, image_size), lambda copied, images: copied(images))
    except Exception as error:
        raise BackboneError(_cannot_take("the encoder", channels, image_size, error)) from error
    return _width(output)


def _width(output: object) -> int:
    """F of the encoder's output for two images."""
    if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != 2:
        shape = f"of shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise BackboneError(
            f"backbone: the encoder's output for 2 images is {shape}, not a row of features each, (2, F): choose "
            "another model, or let it pool (`options`)"
        )
    return output.shape[1]


def on_meta(module: M) -> M:
    """A copy on the meta device, where tensors have shapes and no values: parameters, buffers and whatever else its
    objects hold. No memory is copied on the way."""
    memo = {
        id(parameter): nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)
        for parameter in module.parameters()
    }
    with _CopyShapes():
        return copy.deepcopy(module, memo)


class _CopyShapes(TorchFunctionMode):
    """While it is entered, a deep copy of a tensor is a meta tensor."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is Tensor.__deepcopy__:
            return torch.empty_like(args[0], device="meta", requires_grad=args[0].requires_grad)
        return func(*args, **(kwargs or {}))


def flops_per_view(encoder: nn.Module, channels: int, image_size: int) -> int:
    """Floating-point operations of one forward pass of one image, by torch's counter (a multiply-add is two).

    Raises whatever the model or the counter raises: neither works for every model.
    """
    return _with_copy(encoder, (1, channels, image_size, image_size), _counted)


def _counted(encoder: nn.Module, images: Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        encoder(images)
    return int(counter.get_total_flops())


def _with_copy(encoder: nn.Module, shape: tuple[int, ...], use: Callable[[nn.Module, Tensor], T]) -> T:
    """`use` of a copy of the encoder, frozen and in eval mode, and of images of zeros: on the meta device or, where a
    model looks at values and fails there, on the encoder's own. Encoder and generators stay as they are."""
    parameter = next(encoder.parameters(), torch.empty(0))
    images = torch.zeros(shape, dtype=parameter.dtype)
    with forked_rng(), torch.no_grad():
        try:
            return use(on_meta(encoder).eval().requires_grad_(False), images.to("meta"))
        except Exception:
            return use(copy.deepcopy(encoder).eval().requires_grad_(False), images.to(parameter.device))


def load_weights(encoder: nn.Module, path: Path) -> None:
    """Give an encoder the weights of a file: .safetensors, or a torch file of tensors (the state dict itself, or one
    under `state_dict` or `model`).

    Prefixes `module.` and `encoder.` are taken off; a classifier (`fc.`, `head.`, `classifier.`) that the encoder lacks
    is left out. Counts of batches (`num_batches_tracked`), which old files lack, may be missing.

    Raises:
        BackboneError: the file cannot be read, or its names or shapes are not the encoder's.
    """
    own = encoder.state_dict()
    given = {_own_name(name, own): value for name, value in _read_weights(path).items()}
    given = {name: value for name, value in given.items() if name in own or not name.startswith(CLASSIFIERS)}
    missing = [name for name in own if name not in given and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in given if name not in own]
    reshaped = [
        f"{name} {tuple(value.shape)}, not {tuple(own[name].shape)}"
        for name, value in given.items()
        if name in own and value.shape != own[name].shape
    ]
    if missing or unexpected or reshaped:
        problems = {"missing": missing, "not in the encoder": unexpected, "of another shape": reshaped}
        told = "; ".join(f"{what}: {_some(names)}" for what, names in problems.items() if names)
        raise BackboneError(
            f"backbone.weights: {path} does not fit the encoder ({told}). Set name, stem, width and options of "
            "`backbone`, and the images' channels and size, to those that it was trained with"
        )
    encoder.load_state_dict(own | given)


def _own_name(name: str, own: Mapping[str, Tensor]) -> str:
    """The name without the prefixes that the encoder does not have itself."""
    while name not in own and name.startswith(PREFIXES):
        name = name.partition(".")[2]
    return name


def _read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name, on the CPU. BackboneError if that is not what the file holds."""
    if not path.is_file():
        raise BackboneError(f"backbone.weights: no file {path}")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file that is damaged, or something else, fails in many ways
        raise BackboneError(
            f"backbone.weights: {path} cannot be read as weights: {_first_line(error)}. Save the tensors alone, as "
            ".safetensors or by `torch.save(encoder.state_dict(), ...)`"
        ) from error
    for key in NESTED:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping):
        raise BackboneError(f"backbone.weights: {path} holds a {type(state).__name__}: save `encoder.state_dict()`")
    others = [str(key) for key, value in state.items() if not isinstance(value, Tensor)]
    if others:
        raise BackboneError(
            f"backbone.weights: {path} holds more than tensors ({_some(others)}): save `encoder.state_dict()`"
        )
    return {str(key): value for key, value in state.items()}


def _some(names: Iterable[str]) -> str:
    """Up to five names, and how many more there are."""
    listed = list(names)
    more = len(listed) - NAMED_AT_MOST
    return ", ".join(listed[:NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")


def _cannot_take(who: str, channels: int, image_size: int, error: Exception) -> str:
    return f"backbone: {who} cannot take {channels}x{image_size}x{image_size} images: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def forked_rng() -> AbstractContextManager[None]:
    """A context after which the global generators are as before. CUDA is not started for it."""
    started = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return torch.random.fork_rng(devices=range(torch.cuda.device_count()) if started else ())
