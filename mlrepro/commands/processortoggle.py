"""Processortoggle: libraries that choose other code for this processor than for the recorded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mlrepro.capture import machine
from mlrepro.commands.narrowing import narrowed
from mlrepro.commands.trials import Context, Finding, Outcome, Steps, Trial


@dataclass(frozen=True)
class Cap:
    """A variable that keeps a library from what the recorded processor did not have."""

    variable: str
    value: str
    words: str = ""

    @property
    def told(self) -> str:
        """It as one writes it."""
        return f"{self.variable}={self.value if len(self.value) < 40 else '…'}"


# Linux's name → NumPy's, of all its versions: names that one of them does not know only warn.
_NUMPY = {
    "avx": ("AVX",), "f16c": ("F16C",), "fma": ("FMA3",), "fma4": ("FMA4",),
    "avx2": ("AVX2", "X86_V3"),
    "avx512f": ("AVX512F", "X86_V4"), "avx512cd": ("AVX512CD",),
    "avx512bw": ("AVX512_SKX", "X86_V4"), "avx512_vnni": ("AVX512_CLX",),
    "avx512ifma": ("AVX512_CNL",), "avx512_vbmi2": ("AVX512_ICL",),
    "avx512_fp16": ("AVX512_SPR",),
    "asimdhp": ("ASIMDHP",), "asimddp": ("ASIMDDP",), "asimdfhm": ("ASIMDFHM",), "sve": ("SVE",),
}  # fmt: skip
_GLIBC = {
    "avx": ("AVX", "AVX_Usable"), "avx2": ("AVX2", "AVX2_Usable"), "fma": ("FMA", "FMA_Usable"),
    "fma4": ("FMA4", "FMA4_Usable"), "avx512f": ("AVX512F", "AVX512F_Usable"),
    "avx512bw": ("AVX512BW",), "avx512vl": ("AVX512VL",), "avx512dq": ("AVX512DQ",),
}  # fmt: skip
_LEVELS = (("avx512f", "AVX512"), ("avx2", "AVX2"), ("avx", "AVX"), ("sse4_2", "SSE4_2"))


def about(ctx: Context) -> int:
    """Return how many trials there will be."""
    count = len(caps(ctx))
    return 1 + count.bit_length() if count > 1 else count


def features(ctx: Context) -> Steps:
    """Let the libraries see the recorded processor: all of them, then as few as are enough."""
    whole = caps(ctx)
    if not whole:
        return None
    part, trial, seen = yield from narrowed(ctx, whole, lambda some: _trial(ctx, some))
    if part:
        return _finding(ctx, part, trial, seen)
    if seen.verdict is not None:
        ctx.in_vain.add("openblas kernel")
    return None


def _trial(ctx: Context, given: Sequence[Cap]) -> Trial:
    words = ", ".join(one.told for one in given)
    how = ctx.with_variables({one.variable: one.value for one in given})
    exactly = " ".join(f"{one.variable}={one.value}" for one in given)
    return Trial("CPU features", words, how, exactly=exactly)


def _finding(ctx: Context, given: Sequence[Cap], trial: Trial, seen: Outcome) -> Finding:
    words = " and ".join(f"{one.told}{one.words}" for one in given)
    return Finding("CPU features", f"CPU features: with {words} {ctx.said(seen)}", trial)


def caps(ctx: Context) -> tuple[Cap, ...]:
    """Return what makes this processor look like the recorded one, where they differ."""
    set_already = ctx.record.variables.restored
    known = ctx.record.platform.cpu_features
    more = frozenset(_here(ctx)) - frozenset(known) if known else frozenset()
    found = [*_kernels(ctx), *_libraries(more), *_intel(ctx, known, more)]
    return tuple(one for one in found if one.variable not in set_already)


def _here(ctx: Context) -> tuple[str, ...]:
    recorded, here = ctx.record.platform, machine.platform()
    return here.cpu_features if here.machine == recorded.machine else ()


def _kernels(ctx: Context) -> Iterable[Cap]:
    for change in ctx.report.environment:
        if change.what == "openblas kernel":
            words = f", the recorded kernel, instead of {change.current}"
            yield Cap("OPENBLAS_CORETYPE", change.recorded, words)


def _libraries(more: frozenset[str]) -> Iterable[Cap]:
    """Yield what hides features from NumPy, PyTorch and the C library's mathematics."""
    words = ", as the recorded processor"
    if names := _names(_NUMPY, more):
        yield Cap("NPY_DISABLE_CPU_FEATURES", " ".join(names), words)
    if names := _names(_GLIBC, more):
        value = "glibc.cpu.hwcaps=" + ",".join(f"-{name}" for name in names)
        yield Cap("GLIBC_TUNABLES", value, words)
    if "avx512f" in more:
        yield Cap("ATEN_CPU_CAPABILITY", "default" if "avx2" in more else "avx2", words)
    elif "avx2" in more:
        yield Cap("ATEN_CPU_CAPABILITY", "default", words)


def _names(table: dict[str, tuple[str, ...]], more: frozenset[str]) -> list[str]:
    return list(dict.fromkeys(name for one in table if one in more for name in table[one]))


def _intel(ctx: Context, known: tuple[str, ...], more: frozenset[str]) -> Iterable[Cap]:
    """Yield what keeps Intel's library to the recorded processor's instructions."""
    if more and any(pool.api == "mkl" for pool in ctx.record.threads):
        level = next((word for one, word in _LEVELS if one in known), "COMPATIBLE")
        yield Cap("MKL_CBWR", level, ", as the recorded processor")
