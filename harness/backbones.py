"""timm encoders by name, with the small-image stems, initialisation and narrow variants of the protocol.

Owns how an encoder is built and what one forward pass of it costs. Never loads pretrained weights.
"""

from __future__ import annotations

import difflib
from typing import Any

import timm
import torch
from timm.models.resnet import ResNet
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from harness.streams import stream_seed
from harness.suite.cell import BackboneSpec


class BackboneError(ValueError):
    """A backbone that cannot be built as asked."""


def build_encoder(spec: BackboneSpec, channels: int, image_size: int, seed: int) -> nn.Module:
    """The encoder E: (N, `channels`, `image_size`, `image_size`) -> pooled features h (N, F).

    Weights come from timm's initialisation (for ResNets torchvision's: He normal, fan-out) under the cell's "encoder"
    stream; a replaced first convolution keeps `nn.Conv2d`'s default initialisation, as in the W-MSE authors' code.

    Raises:
        BackboneError: unknown name, or a stem, width or option that the model does not have.
    """
    if not timm.is_model(spec.name):
        near = difflib.get_close_matches(spec.name, timm.list_models(), n=1)
        hint = f"; did you mean `{near[0]}`?" if near else "; `harness list backbones` names them"
        raise BackboneError(f"backbone.name: timm has no model `{spec.name}`{hint}")
    devices = list(range(torch.cuda.device_count()))
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(stream_seed(seed, "encoder"))
        model = _create(spec, channels, image_size)
        if spec.stem != "standard" or spec.width is not None:
            _replace_stem(model, spec, channels)
    return model


def _create(spec: BackboneSpec, channels: int, image_size: int) -> nn.Module:
    arguments: dict[str, Any] = {"pretrained": False, "num_classes": 0, "in_chans": channels, **spec.options}
    entry = timm.model_entrypoint(spec.name)
    is_resnet = entry.__module__ == ResNet.__module__
    if is_resnet:
        arguments["zero_init_last"] = spec.zero_init_last
    elif spec.stem != "standard" or spec.width is not None or spec.zero_init_last:
        raise BackboneError(
            f"backbone: `{spec.name}` is no timm ResNet: `stem`, `width` and `zero_init_last` do not apply to it; "
            "leave them out (sizes of other families are set through `options`)"
        )
    if spec.width is not None:
        if spec.width % 2:
            raise BackboneError(f"backbone.width: {spec.width} is odd; ResNet stages need an even number of channels")
        # timm ties the stem's channels to the deep stem's width; the deep stem itself is replaced afterwards
        stages = tuple(spec.width * 2**i for i in range(4))
        arguments |= {"stem_type": "deep", "stem_width": spec.width // 2, "channels": stages}
    config = timm.get_pretrained_cfg(spec.name, allow_unregistered=True)
    if config is not None and config.fixed_input_size:
        arguments.setdefault("img_size", image_size)
    try:
        model: nn.Module = timm.create_model(spec.name, **arguments)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise BackboneError(f"backbone: timm cannot build `{spec.name}` with {arguments}: {error}") from error
    return model


def _replace_stem(model: nn.Module, spec: BackboneSpec, channels: int) -> None:
    """Give a ResNet its first convolution anew, with as many output channels as its first BN expects."""
    assert isinstance(model, ResNet)
    norm = model.get_submodule("bn1")
    assert isinstance(norm, nn.BatchNorm2d)
    if spec.stem == "standard":
        conv = nn.Conv2d(channels, norm.num_features, 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    else:
        conv = nn.Conv2d(channels, norm.num_features, 3, stride=1, padding=1, bias=False)
    model.set_submodule("conv1", conv)
    if spec.stem == "small":
        model.set_submodule("maxpool", nn.Identity())


def feature_size(encoder: nn.Module) -> int:
    """Width F of the encoder's pooled output."""
    return int(encoder.num_features)  # type: ignore[arg-type]


def flops_per_view(encoder: nn.Module, channels: int, image_size: int) -> int:
    """Floating-point operations of one forward pass of one image, by torch's counter (a multiply-add is two)."""
    training = encoder.training
    parameter = next(encoder.parameters())
    image: Tensor = torch.zeros(1, channels, image_size, image_size, device=parameter.device, dtype=parameter.dtype)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encoder.eval()(image)
    encoder.train(training)
    return int(counter.get_total_flops())
