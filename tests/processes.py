"""Scripts in processes of their own, whose environment is that of the tests."""

import os
import subprocess
import sys
import textwrap


def run(script, *arguments, **environment):
    """Run a script with these changes of the environment (None removes a variable); return the completed process."""
    env = {name: value for name, value in (os.environ | environment).items() if value is not None}
    command = [sys.executable, "-c", textwrap.dedent(script), *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=600, check=False)


def output(script, *arguments, **environment):
    """Run a script, which must succeed; return what it prints on standard output."""
    done = run(script, *arguments, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout
