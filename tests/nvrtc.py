"""NVIDIA's runtime compiler through ctypes: compiles kernels for any GPU, without one."""

from __future__ import annotations

import ctypes
import importlib.util
import json
import re
from pathlib import Path
from typing import NamedTuple

from toolkit.backends.cuda.kernels import OPTIONS, defines_of, source
from toolkit.backends.cuda.shape import Shape


class Usage(NamedTuple):
    """What a kernel takes: registers of a thread, and bytes spilled, of its stack, and of shared memory."""

    registers: int
    spilled: int
    stack: int
    shared: int


def library():
    """Return libnvrtc, or None where the package nvidia-cuda-nvrtc is not installed."""
    for name in ("nvidia.cuda_nvrtc", "nvidia.cu13"):
        try:
            found = importlib.util.find_spec(name)
        except ModuleNotFoundError:
            continue
        for folder in (found.submodule_search_locations or ()) if found else ():
            for path in sorted(Path(folder, "lib").glob("libnvrtc.so.*")):
                return ctypes.CDLL(str(path))
    return None


def architectures(nvrtc):
    """Return the architectures that this version compiles for, such as 90 for sm_90."""
    n = ctypes.c_int()
    assert nvrtc.nvrtcGetNumSupportedArchs(ctypes.byref(n)) == 0
    found = (ctypes.c_int * n.value)()
    assert nvrtc.nvrtcGetSupportedArchs(found) == 0
    return list(found)


def compile_kernels(nvrtc, source, architecture, options):
    """Return the `Usage` of each kernel of a source, compiled to machine code, or fail with the log."""
    program = ctypes.c_void_p()
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None) == 0
    words = [f"--gpu-architecture=sm_{architecture}", *options, "--ptxas-options=-v"]
    passed = (ctypes.c_char_p * len(words))(*(word.encode() for word in words))
    result = nvrtc.nvrtcCompileProgram(program, len(words), passed)
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, text)
    log = text.value.decode()
    assert result == 0, log
    nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size))
    assert size.value > 0, log
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return usages(log)


_ENTRY = re.compile(
    r"Compiling entry function '(\w+)' for 'sm_\d+\w?'(.*?)(?=Compiling entry function|\Z)", re.DOTALL
)


def usages(log):
    """Return the `Usage` of each kernel that the assembler's report names."""

    def number(pattern, text):
        found = re.search(pattern, text)
        return int(found[1]) if found else 0

    return {
        name: Usage(
            number(r"Used (\d+) registers", text),
            number(r"(\d+) bytes spill stores", text),
            number(r"(\d+) bytes stack frame", text),
            number(r"(\d+) bytes smem", text),
        )
        for name, text in _ENTRY.findall(log)
    }


TABLE = Path(__file__).with_name("cuda_usage.json")
# Every generation from Volta to Blackwell; 12.9 is the last that knows Volta, and knows Blackwell.
ARCHITECTURES = (70, 75, 80, 86, 89, 90, 100, 120)
RANKS = (16, 34, 64, 128, 256)


def variants():
    """Return (file, shape) of all kernels that are compiled; ranks with biases, as by default."""
    found = []
    for k in RANKS:
        shape = Shape.of(k, biased=True)
        found += [("rows", shape), ("mend", Shape.of(k, biased=True, exact=True))]
        if k == 34:
            found += [("table", shape), ("metrics", Shape.of_factors(k))]
    return found


def name_of(file, shape):
    return f"{file} {shape.factors}"


def table():
    """Return the committed table: kernels by architecture and variant, each with its `Usage`."""
    read = json.loads(TABLE.read_text(encoding="utf-8"))
    return {
        int(architecture): {
            variant: {name: Usage(*usage) for name, usage in kernels.items()}
            for variant, kernels in variants_.items()
        }
        for architecture, variants_ in read.items()
    }


def main():
    """Write the table anew: ``PYTHONPATH=. python tests/nvrtc.py``, from the root of the repository."""
    nvrtc = library()
    lines = []
    for architecture in ARCHITECTURES:
        of_variants = []
        for file, shape in variants():
            text = source(file, defines_of(shape, "int"))
            usage = compile_kernels(nvrtc, text, architecture, OPTIONS)
            of_variants.append(f'  "{name_of(file, shape)}": {json.dumps(usage)}')
        lines.append(f' "{architecture}": {{\n' + ",\n".join(of_variants) + "\n }")
    TABLE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
