"""Launch the Triton kernels as on a GPU, but for the last call; write the options of each."""

import json
import sys

import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from tdncalc.fused import triton_kernels
from tdncalc.fused.operator import coupling_key
from tdncalc.fused.terms import terms
from tdncalc.fused.triton_operators import TritonKernels
from tdncalc.nn.coupling import coupling_tensor

NAMES = ("forward", "backward_target", "backward_source", "double_target", "double_source")
N_ATOMS, N_EDGES, CHANNELS = 3, 5, 32


class Driver:
    """Stands for the driver of an H200: kernels are compiled for it, and then not run."""

    def __init__(self):
        self.grids = []
        self.utils = self

    def launcher_cls(self, _source, _metadata):
        return lambda *arguments: self.grids.append(arguments[:3])

    def load_binary(self, *_):
        return 1, 2, 32, 0, 1024  # module, function, registers, spills, threads

    def get_device_properties(self, _device):
        return {"max_shared_mem": 232448}

    def get_current_device(self):
        return 0

    def get_current_stream(self, _device):
        return 0

    def get_current_target(self):
        return GPUTarget("cuda", 90, 32)


if __name__ == "__main__":
    stand_in = Driver()
    driver.set_active(stand_in)
    coupling = coupling_tensor(1)
    kernels = TritonKernels(terms(coupling_key(coupling), coupling), CHANNELS)
    shapes = (N_ATOMS, 4, CHANNELS), (N_EDGES, 4), (N_EDGES, 2, CHANNELS)
    given = [torch.zeros(shape) for shape in shapes]
    ends = [torch.arange(N_EDGES) % N_ATOMS] * 2
    kernels.forward(*given, *ends)
    kernels.backward(given[0], *given, *ends)
    kernels.double_backward(given, given[0], *given, *ends)
    for name, grid in zip(NAMES, stand_in.grids, strict=True):
        (compiled,) = getattr(triton_kernels, name).device_caches[0][0].values()
        told = {"kernel": name, "grid": grid, "fused": compiled.metadata.enable_fp_fusion}
        sys.stdout.write(json.dumps(told) + "\n")
