"""Compile the Triton kernels for GPUs that are not here; write registers and stack of each."""

import json
import re
import subprocess
import sys
import tempfile

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from tdncalc.fused import triton_kernels
from tdncalc.fused.terms import terms
from tdncalc.fused.triton_operators import block_sizes
from tdncalc.nn.coupling import coupling_tensor

FLOATS, INTEGERS = "*fp32", ("*i32",) * 3
ARGUMENTS = {
    "forward": {"operands": (FLOATS,) * 3, "rows": INTEGERS, "out": FLOATS},
    "backward_target": {
        "operands": (FLOATS,) * 4,
        "rows": INTEGERS,
        "results": (FLOATS,) * 2,
        "n_edges": "i32",
    },
    "backward_source": {"operands": (FLOATS,) * 3, "rows": INTEGERS, "by_s": FLOATS},
    "double_target": {
        "cotangents": (FLOATS,) * 3,
        "operands": (FLOATS,) * 4,
        "rows": INTEGERS,
        "results": (FLOATS,) * 3,
        "n_edges": "i32",
    },
    "double_source": {
        "cotangents": (FLOATS,) * 2,
        "operands": (FLOATS,) * 3,
        "rows": INTEGERS,
        "by_s": FLOATS,
    },
}


def compiled(name, coupling, channels, architecture):
    """Compile a kernel as a launch with aligned tensors would."""
    block, double_block = block_sizes(coupling, channels)
    constants = {
        "M": coupling,
        "C": channels,
        "BLOCK": double_block if name.startswith("double") else block,
    }
    signature = ARGUMENTS[name] | dict.fromkeys(constants, "constexpr")
    aligned = {}
    for place, kind in enumerate(signature.values()):
        if isinstance(kind, tuple):
            aligned |= {(place, part): [["tt.divisibility", 16]] for part in range(len(kind))}
        elif kind == FLOATS:
            aligned[(place,)] = [["tt.divisibility", 16]]
    source = ASTSource(getattr(triton_kernels, name), signature, constants, aligned)
    target = GPUTarget("cuda", architecture, 32)
    return triton.compile(source, target=target, options={"num_warps": 1})


def usage(kernel):
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        command = [triton.knobs.nvidia.cuobjdump.path, "--dump-resource-usage", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {name: int(value) for name, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", text)}


if __name__ == "__main__":
    architecture, l_max, channels = map(int, sys.argv[1:])
    for d_in in (1, (l_max + 1) ** 2):
        coupling = terms(f"{d_in} of L={l_max}", coupling_tensor(l_max)[:d_in])
        for name in ARGUMENTS:
            found = usage(compiled(name, coupling, channels, architecture))
            sys.stdout.write(json.dumps({"kernel": name, "d_in": d_in, **found}) + "\n")
