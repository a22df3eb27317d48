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


def fork_beside_a_thread(setup, *, busy, child):
    """Fork while a thread evaluates `busy`, which sets `begun` and waits for `ended`; in the child, `child` is true."""
    lines = [
        "import os, signal, threading, warnings",
        "begun, ended = threading.Event(), threading.Event()",
        textwrap.dedent(setup),
        'warnings.simplefilter("ignore")  # Python\'s own, of forking beside threads',
        f"thread = threading.Thread(target=lambda: {busy})",
        "thread.start()",
        "begun.wait()",
        "pid = os.fork()",
        "if pid == 0:",
        "    signal.alarm(20)",
        f"    os._exit(0 if {child} else 1)",
        "status = os.waitpid(pid, 0)[1]",
        "ended.set()",
        "thread.join()",
        "raise SystemExit(os.waitstatus_to_exitcode(status))",
    ]
    done = run("\n".join(lines))
    assert done.returncode == 0, done.stderr
