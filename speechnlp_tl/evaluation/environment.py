"""What a number was measured on: commit, versions, processor and memory. Nothing that names a machine or a person."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = (
    "speechnlp_tl",
    "torch",
    "torchaudio",
    "accelerate",
    "transformers",
    "numpy",
    "kaldi-decoder",
    "kaldifst",
    "jiwer",
    "kaldialign",
)


def environment() -> dict[str, str | int]:
    """Commit, Python and package versions, system, processor, cores and, where there is one, the GPU.

    `commit` is absent outside a checkout of this project, and ends in `-dirty` when code or configs differ from it.
    `cores` counts the cores this process may use.
    """
    facts: dict[str, str | int] = {}
    if commit := _commit():
        facts["commit"] = commit
    facts["python"] = platform.python_version()
    for package in _PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            continue
    facts["system"] = f"{platform.system()} {platform.machine()}"
    facts["cpu"] = _cpu()
    facts["cores"] = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if gpu := _gpu():
        facts["gpu"] = gpu
    return facts


def peak_mb() -> float:
    """The most memory this process or one of its ended children has held (resident, on the CPU), in MB of 10^6 bytes.

    Raises:
        OSError: the system does not count it (Windows).
    """
    try:
        import resource
    except ImportError as error:
        raise OSError("this system does not report peak memory") from error

    # Linux counts in KiB, macOS in bytes
    unit = 1 if sys.platform == "darwin" else 1024
    own, children = (
        resource.getrusage(who).ru_maxrss * unit for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return max(_high_water_mark() or own, children) / 1e6


def _high_water_mark() -> int | None:
    """Bytes, as Linux counts them for this program. Its getrusage also counts the program that started this one."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def _commit() -> str | None:
    """The checkout's commit; None for an installed package, even one that lies inside some other repository."""
    here = Path(__file__).resolve()
    try:
        if _git(here.parent, "ls-files", "--error-unmatch", here.name) is None:
            return None
        commit = _git(here.parent, "rev-parse", "--short=12", "HEAD")
    except (OSError, subprocess.SubprocessError):
        return None
    code = ("*.py", "*.sh", "*.yaml", "*.toml")
    clean = _git(here.parent, "diff", "--quiet", "HEAD", "--", *(f":/{pattern}" for pattern in code)) is not None
    return commit and commit + ("" if clean else "-dirty")


def _git(folder: Path, *arguments: str) -> str | None:
    """Output of git, or None when it fails."""
    run = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=20, check=False)
    return run.stdout.strip() if run.returncode == 0 else None


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _gpu() -> str | None:
    """Names of the GPUs. Asks torch where it is loaded already and the driver otherwise: importing takes seconds."""
    torch = sys.modules.get("torch")
    if torch is not None:
        if not torch.cuda.is_available():
            return None
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    else:
        names = []
        for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
            lines = path.read_text(encoding="utf-8").splitlines()
            names += [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]
    counted = {name: names.count(name) for name in names}
    return ", ".join(f"{count} x {name}" if count > 1 else name for name, count in counted.items()) or None
