"""Where things are, and what is missing to run them."""

import os
import pathlib
import shutil
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = ROOT / "target"
WORK = TARGET / "bench-peers"
REPORT = TARGET / "bench-report"
RELEASE = TARGET / "release"
HAYRICK = pathlib.Path(os.environ.get("BENCH_HAYRICK", RELEASE / "hayrick"))


class Missing(Exception):
    """Something cannot be had, so what needs it is skipped."""


def program(name):
    """A program of the virtual environment, of the system, or one that was unpacked for this."""
    folders = [f"{sys.prefix}/bin", os.environ.get("PATH", ""), "/usr/sbin", str(WORK / "nginx/usr/sbin")]
    found = shutil.which(name, path=os.pathsep.join(folders))
    if not found:
        raise Missing(f"there is no {name}")
    return found


def built(path):
    if not path.exists():
        raise Missing(f"{path} is not built")
    return str(path)
