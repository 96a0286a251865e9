"""Processes that end when they should, also when the bench is killed."""

import ctypes
import os
import signal
import socket
import subprocess
import time

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


class Failed(Exception):
    """A process did not do what it was started for."""


def environment(more):
    """Ours, without settings that somebody has made for a Hayrick of his own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("HAYRICK_")} | more


def die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Process:
    """A server's process with its log."""

    def __init__(self, command, log, settings=None, folder=None):
        self.command = [str(word) for word in command]
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as out:
            self.child = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=folder,
                env=environment(settings or {}),
                # Ctrl-C is for the bench, which then stops what it has started.
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        self.pid = self.child.pid

    def wait_for(self, condition, what, seconds=60):
        """Waits until `condition()` gives something, which is returned."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := condition():
                return found
            if self.child.poll() is not None:
                raise Failed(f"{self.command[0]} ended with {self.child.returncode} before {what}: see {self.log}")
            time.sleep(0.02)
        raise Failed(f"{self.command[0]} did not come to {what} within {seconds} s: see {self.log}")

    def kill(self):
        """As a power cut would, as far as the process can tell."""
        self.child.kill()
        self.child.wait()

    def stop(self, seconds=30):
        if self.child.poll() is not None:
            return
        self.child.terminate()
        try:
            self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            self.child.wait()


def is_free(port):
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def answers(address):
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        return False
    return True
