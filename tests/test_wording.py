import pytest

from tdncalc.wording import counted


@pytest.mark.parametrize(("count", "text"), [(0, "0 steps"), (1, "1 step"), (2, "2 steps")])
def test_one_alone_has_no_plural(count, text):
    assert counted(count, "step") == text
