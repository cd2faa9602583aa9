"""Networks kept from a fault of oneDNN's, which writes beyond its memory."""

import torch
from torch import Tensor, nn

LANES = 8  # numbers in a register of AVX2


def sheltered(model: nn.Module) -> nn.Module:
    """The network, whose strided 1 x 1 convolutions of few channels work on one channel after the other.

    In torch 2.14.1 on a CPU without AVX-512, the backward pass of such a convolution in channels_last corrupts the heap
    where its channels fill no register: seen with 4, 6 and 12. Other networks are left as they are.
    """
    for module in model.modules():
        one = isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.stride != (1, 1)
        if one and module.in_channels % LANES:
            module.weight.data = module.weight.data.clone(memory_format=torch.contiguous_format)
            module.register_forward_pre_hook(_contiguous)
    return model


def _contiguous(module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
    return (args[0].contiguous(),)
