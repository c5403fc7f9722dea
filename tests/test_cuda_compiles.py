"""Every kernel, compiled for every generation of GPUs without one, beside a table of what it takes."""

from __future__ import annotations

import ctypes

import nvrtc
import pytest
from nvrtc import ARCHITECTURES, RANKS, Usage, compile_kernels, name_of, table, variants

from toolkit.backends.cuda.kernels import OPTIONS, defines_of, source
from toolkit.backends.cuda.shape import Shape

COMPILER = nvrtc.library()
needs_nvrtc = pytest.mark.skipif(COMPILER is None, reason="nvidia-cuda-nvrtc-cu12 is not installed")
TABLE = table()
FILES = {file for file, _ in variants()}
# In `make test`: the card that is aimed at, without the rows in double precision.
CASES = [
    pytest.param(90, 34, FILES - {"mend"}, id="quick"),
    *(pytest.param(a, k, FILES, marks=pytest.mark.slow, id=f"{a}-{k}") for a in ARCHITECTURES for k in RANKS),
]


@needs_nvrtc
@pytest.mark.parametrize(("architecture", "k", "files"), CASES)
def test_kernels_compile_and_take_no_more_than_the_table_says(architecture, k, files):
    if architecture not in nvrtc.architectures(COMPILER):
        pytest.skip(f"this version of NVRTC does not compile for sm_{architecture}")
    for file, shape in variants():
        if shape.factors != k or file not in files:
            continue
        found = compile_kernels(COMPILER, source(file, defines_of(shape, "int")), architecture, OPTIONS)
        expected = TABLE[architecture][name_of(file, shape)]
        assert found.keys() == expected.keys()
        over = {
            name: (u, expected[name]) for name, u in found.items() if is_over(u, expected[name], architecture)
        }
        assert over == {}


def is_over(found, expected, architecture):
    """Return whether a kernel takes more than the table says.

    The assembler is not the same from run to run where it spills: it may take a step more of registers, and
    spill a little more. What must not spill, does not.
    """
    strict = architecture == 90 and expected.spilled == 0
    some = 0 if strict else 32 + expected.spilled // 4
    return (
        found.registers > expected.registers + 8
        or found.spilled > expected.spilled + some
        or found.stack > expected.stack + some
        or found.shared > expected.shared
    )


def test_the_table_is_of_all_variants():
    assert set(TABLE) == set(ARCHITECTURES)
    for kernels in TABLE.values():
        assert list(kernels) == [name_of(file, shape) for file, shape in variants()]


def test_nothing_is_spilled_up_to_rank_128_on_hopper():
    for file, shape in variants():
        if shape.factors <= 128:
            for name, usage in TABLE[90][name_of(file, shape)].items():
                assert (usage.spilled, usage.stack) == (0, 0), (file, shape.factors, name)


def test_more_than_the_table_says_is_seen():
    table = Usage(100, 0, 0, 0)
    assert not is_over(Usage(104, 0, 0, 0), table, 90)
    assert is_over(Usage(109, 0, 0, 0), table, 90)
    assert is_over(Usage(100, 4, 0, 0), table, 90)
    assert not is_over(Usage(100, 4, 8, 0), table, 80)
    assert is_over(Usage(96, 800, 0, 0), Usage(96, 600, 0, 0), 90)
    assert is_over(Usage(100, 0, 0, 16), table, 80)


def test_threads_and_registers_fit_a_multiprocessor_everywhere():
    for of_variants in TABLE.values():
        for file, shape in variants():
            for usage in of_variants[name_of(file, shape)].values():
                threads = shape.group * shape.groups if file in ("rows", "mend") else 256
                # Registers are given to whole warps in steps of 8 a thread.
                assert -(-usage.registers // 8) * 8 * threads <= 65536
                # All of it is asked for at the launch.
                assert usage.shared == 0


def test_the_report_of_the_assembler_is_read():
    log = """
ptxas info    : Compiling entry function 'first' for 'sm_90a'
ptxas info    : Function properties for first
    16 bytes stack frame, 20 bytes spill stores, 24 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 128 bytes smem
ptxas info    : Compiling entry function 'second' for 'sm_70'
ptxas info    : Used 7 registers, used 0 barriers, 400 bytes cmem[0]
"""
    assert nvrtc.usages(log) == {"first": Usage(40, 20, 16, 128), "second": Usage(7, 0, 0, 0)}


@needs_nvrtc
@pytest.mark.parametrize("broken", ["SHARED_BYTES", "GROUP"])
def test_a_plan_that_counts_otherwise_than_the_kernels_does_not_compile(broken):
    defines = defines_of(Shape.of(34, biased=True), "int")
    defines[broken] -= 32
    with pytest.raises(AssertionError, match="static assertion"):
        compile_kernels(COMPILER, source("rows", defines), 90, OPTIONS)


@needs_nvrtc
@pytest.mark.parametrize("file", ["table", pytest.param("rows", marks=pytest.mark.slow)])
def test_64_bit_column_numbers_compile(file):
    text = source(file, defines_of(Shape.of(16, biased=True), "long long"))
    assert compile_kernels(COMPILER, text, 90, OPTIONS)


@needs_nvrtc
def test_the_compiler_says_what_it_compiles_for():
    assert {75, 80, 90} <= set(nvrtc.architectures(COMPILER))
    assert isinstance(COMPILER, ctypes.CDLL)
