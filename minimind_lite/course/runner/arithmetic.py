"""Arithmetic modes, written ``kernels:threads``: ``default:2`` is torch's oldest kernels with two threads.

torch, oneDNN and MKL pick their kernels by what the processor can do, and results differ in the last bits. Environment
variables make them pretend to an older one; the number of threads changes the order of sums as well. Processors other
than x86 ignore the variables.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..kit.errors import CourseError

# Oldest first. MKL has to be told too: GELU goes through its vector functions, whose last bit decides between 0.0 and
# -0.0.
KERNELS = {
    "default": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"},
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "AVX2"},
    "avx512": {"ATEN_CPU_CAPABILITY": "avx512", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE", "MKL_CBWR": "AVX512"},
}


def environment(mode: str) -> dict[str, str]:
    """The variables that make a process compute in ``mode``. Raises CourseError for what is no mode."""
    kernels, _, threads = mode.partition(":")
    if kernels not in KERNELS or not threads.isdecimal() or int(threads) < 1:
        raise CourseError(f"no arithmetic mode is called {mode!r}: it is {'|'.join(KERNELS)}, a colon, the threads")
    return KERNELS[kernels] | {"OMP_NUM_THREADS": threads}


def check_mode(mode: str) -> str:
    """Return ``mode``, or raise CourseError if it is none or this processor lacks its kernels."""
    kernels, best = environment(mode)["ATEN_CPU_CAPABILITY"], best_kernels()
    if list(KERNELS).index(kernels) > list(KERNELS).index(best):
        raise CourseError(f"this processor has no {kernels} kernels; its best are called {best}")
    return mode


@contextmanager
def computing(mode: str) -> Iterator[None]:
    """Inside ``with computing("default:2"):`` every process that is started computes on the CPU, in that mode."""
    before = dict(os.environ)
    os.environ.update(environment(mode) | {"MINIMIND_DEVICE": "cpu"})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def mode_here() -> str:
    """The mode in which the chapters that this process starts compute on the CPU; one thread unless it is told more."""
    kernels = os.environ.get("ATEN_CPU_CAPABILITY") or best_kernels()
    return f"{kernels}:{os.environ.get('OMP_NUM_THREADS') or 1}"


def best_kernels() -> str:
    """The newest kernels that this process has: those of the processor, unless it was started with older ones."""
    import torch

    name = torch.backends.cpu.get_cpu_capability().lower()
    return name if name in KERNELS else "default"
