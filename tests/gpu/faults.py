"""Plants faults in the source of kernels: what proves that the checks can fail."""

import inspect
import textwrap


def planted(module, make, old, new):
    """A factory of `module` whose source has been changed; `old` must be in it."""
    source = textwrap.dedent(inspect.getsource(inspect.unwrap(make))).replace("@cache\n", "")
    assert source.count(old) >= 1
    space = dict(vars(module))
    exec(compile(source.replace(old, new), module.__file__, "exec"), space)
    return space[make.__name__]
