"""cached_property: computed once for each instance, without a lock."""

import os

import pytest

from nbsoftmax.cached import cached_property
from tests.processes import run


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
    script = """
import os, signal, threading, warnings
import numpy as np
from nbsoftmax.encoding.column import CATEGORY, Column

begun, ended = threading.Event(), threading.Event()
class Slow:
    def __ge__(self, other):
        begun.set()
        ended.wait()
        raise SystemExit
warnings.simplefilter("ignore")  # Python's own, of forking beside threads
thread = threading.Thread(target=lambda: Column("a", CATEGORY, Slow(), ("x",)).counts)
thread.start()
begun.wait()
child = os.fork()
if child == 0:
    signal.alarm(20)
    os._exit(0 if Column("a", CATEGORY, np.array([0, 1, 1]), ("x", "y")).counts.tolist() == [1, 2] else 1)
status = os.waitpid(child, 0)[1]
ended.set()
thread.join()
raise SystemExit(os.waitstatus_to_exitcode(status))
"""
    done = run(script)
    assert done.returncode == 0, done.stderr
