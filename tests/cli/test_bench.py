"""The command `bench`."""

import pytest

from tests.cli.commands import refused


@pytest.mark.parametrize("size", ["--samples", "--features", "--classes"])
def test_bench_says_what_a_size_would_take(size, capsys):
    said = refused(capsys, "bench", size, 10**18)
    assert "GiB" in said
    assert "this machine has" in said
    for value in (0, -1):
        assert f"{size} is {value}, expected at least" in refused(capsys, "bench", size, value)
