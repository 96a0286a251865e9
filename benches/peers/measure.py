"""What the kernel knows of processes and files.

| measure | source |
|---|---|
| CPU time | `utime` and `stime` of `/proc/PID/stat`, of a process and all of its descendants |
| memory | `Pss` of `/proc/PID/smaps_rollup`: resident bytes, shared ones by halves |
| bytes read from a disk | `read_bytes` of `/proc/PID/io` |
| reads sent to a disk | events `block:block_bio_queue` of the processes' threads, counted by the kernel |
| syncs | events `syscalls:sys_enter_fsync` and `sys_enter_fdatasync`, in the same way |
| bytes on disk | blocks of 4 KiB of files but logs, up to their ends: what is behind is only set aside |

Events need root; without it there are no such numbers.
"""

import contextlib
import ctypes
import os
import pathlib
import subprocess
import time

TICK = os.sysconf("SC_CLK_TCK")
BLOCK = 4096
PROC = pathlib.Path("/proc")
TRACING = pathlib.Path("/sys/kernel/tracing")
READS = {"block/block_bio_queue": 'rwbs ~ "R*"'}
SYNCS = {"syscalls/sys_enter_fsync": None, "syscalls/sys_enter_fdatasync": None}


def stat(pid):
    """The fields of `/proc/PID/stat` behind the name, of which the first is number 3."""
    return (PROC / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()


def family(roots):
    """Processes and all that descend from them."""
    parents = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int(stat(entry.name)[1])
    found = set(roots)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def cpu_seconds(pids):
    return sum(int(fields[11]) + int(fields[12]) for fields in map(stat, pids)) / TICK


def memory_bytes(pids):
    total = 0
    for pid in pids:
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) << 10
    return total


def disk_read_bytes(pids):
    total = 0
    for pid in pids:
        for line in (PROC / str(pid) / "io").read_text().splitlines():
            if line.startswith("read_bytes:"):
                total += int(line.split()[1])
    return total


def disk_bytes(folder):
    """Bytes of the blocks that hold what is in the files of a folder."""
    return sum(file_disk_bytes(path) for path in pathlib.Path(folder).rglob("*") if path.name != "log")


def file_disk_bytes(path):
    known = path.lstat()
    return min(known.st_blocks * 512, -(-known.st_size // BLOCK) * BLOCK)


def sync(folder):
    """Has everything of the file system that a folder is on written to the disk."""
    subprocess.run(["sync", "--file-system", str(folder)], check=True)


def evict(folder):
    """Has the kernel forget the data of all files of a folder, and nothing else.

    What describes the files (inodes, names) stays, as do pages that a process has mapped.
    """
    for entry in pathlib.Path(folder).rglob("*"):
        if entry.is_file():
            with contextlib.suppress(OSError):
                file = os.open(entry, os.O_RDONLY)
                try:
                    os.fsync(file)
                    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
                finally:
                    os.close(file)


class Events:
    """Counts kernel events of some processes, in a buffer of our own; `None` where that is not allowed."""

    def __init__(self, pids, events):
        self.pids, self.events, self.folder, self.count = pids, events, None, None

    def __enter__(self):
        try:
            self.folder = TRACING / "instances" / f"hayrick-bench-{os.getpid()}"
            mount_tracing()
            self.folder.mkdir()
            (self.folder / "options" / "event-fork").write_text("1")
            threads = [thread.name for pid in self.pids for thread in (PROC / str(pid) / "task").iterdir()]
            (self.folder / "set_event_pid").write_text(" ".join(threads))
            for event, condition in self.events.items():
                if condition:
                    (self.folder / "events" / event / "filter").write_text(condition)
                (self.folder / "events" / event / "enable").write_text("1")
        except OSError:
            self.remove()
        return self

    def __exit__(self, *_):
        if self.folder:
            for event in self.events:
                (self.folder / "events" / event / "enable").write_text("0")
            self.count = sum(map(events_of, (self.folder / "per_cpu").iterdir()))
        self.remove()

    def remove(self):
        if self.folder and self.folder.exists():
            self.folder.rmdir()
        self.folder = None


def events_of(processor):
    """All that happened: what is still in the buffer, and what fell out of it."""
    fields = dict(line.split(": ") for line in (processor / "stats").read_text().splitlines() if ": " in line)
    return int(fields["entries"]) + int(fields["overrun"]) + int(fields["dropped events"])


def mount_tracing():
    if not (TRACING / "instances").exists():
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"nodev", bytes(TRACING), b"tracefs", 0, None) != 0:
            raise OSError(ctypes.get_errno(), "tracefs cannot be mounted")


class Usage:
    """What some processes spend while it is open."""

    def __init__(self, pids):
        self.pids = pids

    def __enter__(self):
        self.began = time.monotonic(), cpu_seconds(self.pids), disk_read_bytes(self.pids)
        return self

    def __exit__(self, *_):
        now = time.monotonic(), cpu_seconds(self.pids), disk_read_bytes(self.pids)
        self.seconds, self.cpu_seconds, self.read_bytes = (after - before for after, before in zip(now, self.began))
