"""What a network may be made of beside convolutions, batch norms and pools: modules of feature maps N x C x H x W."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels at each place (Ba et al. 2016; as ConvNeXt has it), ε 1e-6."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        last = nn.functional.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return last.permute(0, 3, 1, 2)


class DropPath(nn.Module):
    """Stochastic depth (Huang et al. 2016): in training, 0 for an image with chance `rate`, else 1/(1 - rate) of it."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.rate:
            return x
        kept = torch.empty(len(x), 1, 1, 1, device=x.device).bernoulli_(1 - self.rate) / (1 - self.rate)
        return x * kept.to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.rate:g}"


class DropBlock(nn.Module):
    """DropBlock (Ghiasi et al. 2018, algorithm 1): in training squares of each channel are 0, what is left longer.

    Squares of `size` px, or as large as the map is, lie wholly within it; so many are drawn that about `rate` times
    `progress` of a map is 0 where they do not overlap. What is left is divided by its share of the batch. `progress`
    is how far training is, 0 to 1: whoever trains sets it.
    """

    def __init__(self, rate: float, size: int) -> None:
        super().__init__()
        self.rate, self.size = rate, size
        self.progress = 0.0

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        height, width = x.shape[2:]
        high, wide = min(self.size, height), min(self.size, width)
        places = height - high + 1, width - wide + 1  # of a square's first corner
        chance = self.progress * self.rate * height * width / (high * wide * places[0] * places[1])
        corners = (torch.rand(*x.shape[:2], *places, device=x.device) < chance).float()
        around = nn.functional.pad(corners, [wide - 1, wide - 1, high - 1, high - 1])
        kept = 1 - nn.functional.max_pool2d(around, (high, wide), 1)
        return x * (kept * (kept.numel() / kept.sum().clamp(min=1))).to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.rate:g}, {self.size}"


class BlurPool(nn.Module):
    """Blurs by a binomial filter of `size` x `size`, reflected at the edges, and takes every second place (Zhang 2019).

    As size - 1 means of 2 x 2, one after the other, which is that filter: it needs no weights.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.pad(x, [self.size // 2] * 4, mode="reflect")
        for _ in range(self.size - 2):
            x = nn.functional.avg_pool2d(x, 2, 1)
        return nn.functional.avg_pool2d(x, 2, 2)

    def extra_repr(self) -> str:
        return f"{self.size}"


class SqueezeExcitation(nn.Module):
    """Each channel times what two layers make of the means of all (Hu et al. 2018): `reduced` in between, a sigmoid."""

    def __init__(self, channels: int, reduced: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, reduced, 1)
        self.fc2 = nn.Conv2d(reduced, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        squeezed = self.fc1(x.mean((2, 3), keepdim=True)).relu()
        excited: Tensor = x * self.fc2(squeezed).sigmoid()
        return excited


class SelectiveKernel(nn.Module):
    """Two convolutions, the second dilated by 2, and of each channel a share of each (Li et al. 2019).

    The shares are a softmax over the two, of two layers on the means of their sum: C/16 or at least 32 in between. Each
    path has its norm, and its activation where `act` makes one.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int,
        stride: int,
        groups: int,
        norm: Callable[[int], nn.Module],
        act: Callable[[], nn.Module],
        bias: bool,
    ) -> None:
        super().__init__()
        self.paths = nn.ModuleList()
        for reach in (1, 2):
            convolved = nn.Conv2d(c_in, c_out, kernel, stride, reach * (kernel // 2), reach, groups, bias)
            self.paths.append(nn.Sequential(convolved, norm(c_out), act()))
        reduced = max(c_out // 16, 32)
        self.reduce = nn.Sequential(nn.Conv2d(c_out, reduced, 1, bias=bias), norm(reduced), nn.ReLU(inplace=True))
        self.select = nn.Conv2d(reduced, 2 * c_out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        near, far = (path(x) for path in self.paths)
        squeezed = self.reduce((near + far).mean((2, 3), keepdim=True))
        shares = self.select(squeezed).unflatten(1, (2, -1)).softmax(1)
        chosen: Tensor = shares[:, 0] * near + shares[:, 1] * far
        return chosen


class BigLittle(nn.Module):
    """Two branches that are added, an activation, and what follows: `merge(act(big(x) + little(x)))`.

    Chen et al. 2019: `big` has all channels and sees little of the image's detail, `little` has few and sees all of it.
    What `big` gives may be longer by a row and a column, where a map of odd sides was halved and doubled: they are cut.
    """

    def __init__(self, big: nn.Module, little: nn.Module, act: nn.Module, merge: nn.Module) -> None:
        super().__init__()
        self.big, self.little = big, little
        self.act, self.merge = act, merge

    def forward(self, x: Tensor) -> Tensor:
        wide, detailed = self.big(x), self.little(x)
        height, width = detailed.shape[2:]
        merged: Tensor = self.merge(self.act(wide[:, :, :height, :width] + detailed))
        return merged


class LayerScale(nn.Module):
    """Each channel times a learned number that starts at `value` (Touvron et al. 2021, "Going deeper…")."""

    def __init__(self, channels: int, value: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), value))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight.view(1, -1, 1, 1)
