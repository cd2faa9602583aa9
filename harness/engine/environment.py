"""What a run ran on."""

import os
import platform
import subprocess
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from harness.engine.mps import used_mps

OPENCV = [f"opencv{contrib}-python{headless}" for contrib in ("", "-contrib") for headless in ("", "-headless")]
PIXELS = ("Pillow", "imgaug", "scikit-image", "scipy", *OPENCV)  # what reads or changes images
PACKAGES = ("torch", "torchvision", "timm", "expectigrad", "numpy", *PIXELS, "pandas", "mlflow", "scikit-learn")


def environment(device: Any, sharing: int = 1) -> dict[str, Any]:
    """Versions, commit and device of this process, JSON-ready; `sharing` is how many runs have that device."""
    import torch

    shared = {"sharing": sharing} if sharing > 1 else {}
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
    return {
        "device": device.type,
        "device_name": name,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "system": platform.system(),
        "commit": repository(Path(__file__)),
        **shared,
        **(used_mps() if device.type == "cuda" else {}),
        **libraries(),
        "torch": torch.__version__,  # with the build: +cpu, +cu130
    }


@lru_cache
def libraries() -> dict[str, str]:
    """The versions of `PACKAGES`, of those that are installed, and of what decodes JPEGs."""
    from PIL import features

    found = {}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    name = "libjpeg_turbo" if features.check("libjpeg_turbo") else "jpg"
    return found | {name: str(features.version(name))}


@lru_cache
def repository(path: Path) -> str:
    """The commit of the repository that has `path`, with "+" where its tree differs from it; "" where none tracks it.

    Git takes the first repository that it finds, by GIT_DIR or in any folder above: it may be of something else.
    """
    path = path.resolve()
    folder, name = (path, ".") if path.is_dir() else (path.parent, path.name)
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    def git(*words: str) -> str | None:
        command = ["git", "--literal-pathspecs", "-C", str(folder), *words]
        done = subprocess.run(command, env=own | {"GIT_OPTIONAL_LOCKS": "0"}, capture_output=True, check=False)
        return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else None

    try:
        if git("ls-files", "--error-unmatch", "--", name) is None:
            return ""
        head = git("rev-parse", "HEAD") or ""
        return head + ("+" if head and git("status", "--porcelain", "--untracked-files=no") else "")
    except OSError:
        return ""


@lru_cache
def cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return names[0].partition(":")[2].strip() if names else platform.processor()
