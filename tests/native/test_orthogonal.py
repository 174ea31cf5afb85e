import pytest
import torch

from tdncalc.native.build import find_compiler
from tdncalc.native.orthogonal import compiled_iterations

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


@pytest.mark.parametrize("shape", [(8, 64), (3, 20, 20), (2, 1, 5), (96, 200), (0, 4, 6)], ids=str)
def test_compiled_iterations_are_those_of_the_definition(shape: tuple[int, ...]) -> None:
    if find_compiler() is None:
        pytest.fail("there is no C++ compiler: install one, or the package ziglang")
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    x = x / x.square().sum((-2, -1), keepdim=True).sqrt()
    before, exact = x.clone(), x.double()
    for _ in range(4):
        gram = exact @ exact.mT
        exact = 3.4445 * exact + (-4.7750 * gram + 2.0315 * gram @ gram) @ exact
    iterate = compiled_iterations()
    assert iterate is not None
    torch.testing.assert_close(iterate(x, COEFFICIENTS, 4).double(), exact, rtol=0, atol=1e-5)
    assert torch.equal(x, before)
