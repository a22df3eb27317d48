"""Changes the source of kernels to introduce faults, which the tests must detect."""

import inspect
import textwrap


def planted(module, make, old, new):
    """Return a factory of `module` with `old` replaced by `new` in its source; `old` must occur."""
    source = textwrap.dedent(inspect.getsource(inspect.unwrap(make))).replace("@cache\n", "")
    assert source.count(old) >= 1
    space = dict(vars(module))
    exec(compile(source.replace(old, new), module.__file__, "exec"), space)
    return space[make.__name__]
