"""`cached_property` without a lock.

In Python 3.11, `functools.cached_property` holds a lock of the class while it computes a value: threads wait for each
other, and a process forked meanwhile waits for ever at its first use. Later versions have no lock: two threads may both
compute a value.
"""

import functools
import sys
from typing import TYPE_CHECKING, Any

__all__ = ["cached_property"]

if TYPE_CHECKING or sys.version_info >= (3, 12):
    cached_property = functools.cached_property
else:

    class cached_property(functools.cached_property):  # noqa: N801 (the name of Python)
        """Compute the value at the first use, and keep it in the instance."""

        def __get__(self, instance: Any, owner: Any = None) -> Any:
            if instance is None:
                return self
            values = instance.__dict__
            if self.attrname not in values:
                values[self.attrname] = self.func(instance)
            return values[self.attrname]
