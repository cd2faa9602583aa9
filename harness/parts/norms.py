"""Batch norm over the shares of all ranks."""

from typing import Any

import torch
from torch import Tensor, distributed, nn

from harness import Problem
from harness.ranks import Alone, gone


class Whole(torch.autograd.Function):
    """Images normalised by the mean and the variance of all ranks' images, which are given; backward, one collective.

    In `fine` numbers, rounded once: where a channel hardly varies, float32's last bit came to 2 % of a gradient.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, eps: float, group: Any
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, (variance + eps).rsqrt())
        ctx.group = group
        normal = (fine(x) - row(mean)) * row((variance + eps).rsqrt())
        return (normal * row(weight) + row(bias)).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        x, weight, mean, scale = ctx.saved_tensors
        normal = (fine(x) - row(mean)) * row(scale)
        wide = fine(slope)
        own = torch.stack([wide.sum((0, 2, 3)), (wide * normal).sum((0, 2, 3))])
        every = own.clone()
        with gone():
            distributed.all_reduce(every, group=ctx.group)
        count = x.numel() // x.shape[1] * distributed.get_world_size(ctx.group)
        off, along = every / count
        gradient = row(weight * scale) * (wide - row(off) - normal * row(along))
        return gradient.to(x.dtype), own[1].to(weight.dtype), own[0].to(weight.dtype), None, None, None, None


class SyncBatchNorm2d(nn.BatchNorm2d):
    """Batch norm in training by the images of all ranks, as one process would have it.

    torch's own runs on GPUs alone, and is no `BatchNorm2d`, which initialisation, zero γ and the evidence look for.
    This one is for both; on CUDA it was never run, and torch's fused kernels may be faster.
    """

    alike = True  # its running statistics are the same on every rank
    ranks: Any

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The mean and the variance of all ranks' images, whose shares are alike in size."""
        variances, means = torch.var_mean(fine(x), (0, 2, 3), correction=0)
        means, variances = self.ranks.gather(torch.stack([means, variances])[None]).unbind(1)
        mean = means.mean(0)
        return mean, (variances + (means - mean) ** 2).mean(0)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        assert self.weight is not None
        mean, variance = self.moments(x.detach())
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            assert self.num_batches_tracked is not None
            self.num_batches_tracked += 1
            share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            count = self.ranks.size * x.numel() // x.shape[1]
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
            self.running_var.lerp_((variance * (count / (count - 1))).to(self.running_var.dtype), share)
        made: Tensor = Whole.apply(x, self.weight, self.bias, mean, variance, self.eps, self.ranks.group)
        return made


def fine(x: Tensor) -> Tensor:
    """In float64 on CPUs; in float32, if less, elsewhere."""
    return x.double() if x.device.type == "cpu" else x.to(torch.promote_types(x.dtype, torch.float32))


def row(channels: Tensor) -> Tensor:
    return channels.view(1, -1, 1, 1)


def synchronise(model: nn.Module, ranks: Alone) -> None:
    """Make every batch norm of `model` one of all ranks'. Raises Problem on what cannot be synchronised, or audited."""
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.p:
            raise Problem(f"sync_norms: {name} drops by draws of each rank's own: leave sync_norms or the dropout out")
        if not isinstance(module, nn.modules.batchnorm._BatchNorm) or getattr(module, "alike", False):
            continue
        if type(module) is not nn.BatchNorm2d or not module.affine:
            raise Problem(f"sync_norms: {name} is a {type(module).__name__}, which is not synchronised: leave it out")
        module.__class__ = SyncBatchNorm2d
        module.ranks = ranks  # type: ignore[assignment]


def layer_kind(layer: nn.Module) -> str:
    """What a layer is called; whether its statistics are of all ranks is no other kind."""
    return nn.BatchNorm2d.__name__ if isinstance(layer, SyncBatchNorm2d) else type(layer).__name__
