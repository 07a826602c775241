"""`volstream warmup`: the kernels compiled now, not at the next start."""

from __future__ import annotations

EXAMPLE = "volstream warmup"


def warmup() -> None:
    """Compile the kernels, so that the next start is quick. Done already, it takes a second."""
    from rich.console import Console

    from pricer.kernels.jit import cache_directory, cache_is_kept
    from pricer.launch import warm_kernels

    warm_kernels(Console(stderr=False))
    print(f"{cache_directory()}{'' if cache_is_kept() else ', only until this command ends'}")
