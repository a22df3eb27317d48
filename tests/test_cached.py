"""cached_property: computed once for each instance, without a lock."""

import os

import pytest

from nbsoftmax.cached import cached_property
from tests.processes import fork_beside_a_thread


def test_a_value_is_computed_once_for_each_instance():
    made = []

    class Thing:
        @cached_property
        def value(self):
            """The documentation."""
            made.append(self)
            return len(made)

    one, other = Thing(), Thing()
    assert [one.value, one.value, other.value, one.value] == [1, 1, 2, 1]
    assert made == [one, other]
    assert Thing.value.__doc__ == "The documentation."


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_child_computes_a_value_while_another_thread_of_its_parent_does():
    setup = """
        import numpy as np
        from nbsoftmax.encoding.column import CATEGORY, Column

        class Slow:
            def __ge__(self, other):
                begun.set()
                ended.wait()
                raise SystemExit
    """
    fork_beside_a_thread(
        setup,
        busy='Column("a", CATEGORY, Slow(), ("x",)).counts',
        child='Column("a", CATEGORY, np.array([0, 1, 1]), ("x", "y")).counts.tolist() == [1, 2]',
    )
