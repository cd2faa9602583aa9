"""Initial weights."""

import math

import torch
from torch import nn

from harness.rng import Stream
from harness.spec import Init


class Xavier(Init):
    """Weights uniform in [-a, a], a = sqrt(6 / (fan in + fan out)); biases 0; γ = 1, β = 0.

    Source: He et al. 2019, section 2.1, after Glorot and Bengio 2010. Slot: `init`. The paper calls d_in and d_out
    "channel sizes"; as in Glorot and in MXNet, which the paper ran, a k x k kernel counts k² times in each fan.
    Each parameter has a stream named after it, so layers that two networks share start alike.
    """

    @torch.no_grad()
    def __call__(self, model: nn.Module, rng: Stream) -> None:
        for name, module in model.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(module.weight)
                a = math.sqrt(6 / (fan_in + fan_out))
                draw = rng("init", f"{name}.weight").uniform(-a, a, module.weight.shape)
                module.weight.copy_(torch.from_numpy(draw))
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, nn.BatchNorm2d):
                module.weight.fill_(1)
                module.bias.zero_()
