import subprocess
import sys

import torch
from torch import nn

from harness.parts.models.sheltered import sheltered

PROGRAM = """
import torch
from torch import nn
from harness.parts.models.sheltered import sheltered
torch.set_num_threads(1)
for size in (8, 10, 14):
    for channels in (4, 6, 12):
        net = sheltered(nn.Conv2d(channels, 8, 1, 2).to(memory_format=torch.channels_last))
        x = torch.randn(32, channels, size, size).contiguous(memory_format=torch.channels_last).requires_grad_()
        net(x).sum().backward()
"""


def test_memory_is_whole_after_what_corrupted_it():
    """By glibc's own checks, where they are; without the shelter this is aborted on a CPU without AVX-512."""
    checks = {"LD_PRELOAD": "libc_malloc_debug.so.0", "MALLOC_CHECK_": "3"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=checks, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_only_what_is_struck_is_changed_and_gives_the_same():
    net = nn.Sequential(nn.Conv2d(4, 8, 1, 2), nn.Conv2d(8, 8, 1, 2), nn.Conv2d(8, 4, 3, 2, 1), nn.Conv2d(4, 4, 1))
    x = torch.randn(2, 4, 9, 9)
    before = net(x)
    sheltered(net)
    assert [len(layer._forward_pre_hooks) for layer in net] == [1, 0, 0, 0]
    assert torch.equal(net(x), before)
