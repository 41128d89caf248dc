"""A child ends with its parent, whenever the parent dies, and is told apart from a zombie."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from emeterai.infra.process import ChildCommand, is_alive

ORPHAN = """
import os, signal
from emeterai.infra.process import die_with_parent
die_with_parent(signal.SIGTERM, parent_pid=os.getppid() + 1)
signal.pause()
"""
PARENT = """
import os, signal
from emeterai.infra.process import ChildCommand
child = ChildCommand(("sleep", "600")).spawn(output=None)
print(child.pid, flush=True)
signal.pause()
"""


def test_a_child_whose_parent_is_gone_already_obeys_at_once() -> None:
    """Between the fork and the call the parent may die: the child notices and does not wait for ever."""
    assert subprocess.run([sys.executable, "-c", ORPHAN], check=False, timeout=60).returncode == -signal.SIGTERM


def test_a_child_dies_with_a_killed_parent() -> None:
    """Kill -9 of the parent leaves no child: its end closes the pipe that it holds."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child_pid = int(parent.stdout.readline())
    assert is_alive(child_pid)
    parent.kill()
    assert parent.stdout.read() == ""
    parent.wait()


def test_a_zombie_is_not_alive() -> None:
    """A process that has ended but was not waited for does not count."""
    process = ChildCommand(("true",)).spawn(output=None)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(process.pid)
    process.wait()


def test_a_program_runs_to_its_end_with_its_text() -> None:
    """What goes in comes out; a failing program gives its code instead of an exception."""
    assert ChildCommand(("cat",)).run("text", timeout_s=60).stdout == "text"
    assert ChildCommand(("false",)).run(timeout_s=60).returncode == 1
