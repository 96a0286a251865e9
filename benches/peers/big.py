"""What depends on the size of volumes: starting, looking up, compacting.

The volumes are made by `big_volume.rs`. Of those that are only looked up in, all but some thousand
needles are a hole in the volume file; those that are compacted are whole.
"""

import json
import math
import random
import shutil
import subprocess
import time

import client
import corpus
import measure
from effort import TROUBLE, reason, summaries
from hayrick import Hayrick, NeedleDoor, address_of
from load import Load
from places import RELEASE, WORK, built
from process import Failed, free_port
from server import Door

# Two volumes hold 50 million needles of 1 KiB; one would end at 32 GiB.
NEEDLES_PER_VOLUME = 25_000_000
FIRST_VOLUME = 1001
READ = 20_000
# Nothing of its own accord while something is measured.
QUIET = {"HAYRICK_STORE__SCRUB_PASS": "0s", "HAYRICK_STORE__COMPACT_AT_GARBAGE_RATIO": "0"}


class BigHayrick(Hayrick):
    """`hayrick up` on volumes that were made for it."""

    def __init__(self, key, settings=None):
        super().__init__(key, QUIET | (settings or {}))
        self.paths = []

    def make(self, needles, real, delete_every=0):
        """Makes the volumes; the server must have been started once, and does not run."""
        self.fresh_folder()
        self.start_up()
        self.stop()
        self.volumes = math.ceil(needles / NEEDLES_PER_VOLUME)
        for number in range(self.volumes):
            command = [built(RELEASE / "big_volume"), self.disk(), FIRST_VOLUME + number]
            command += ["--needles", needles // self.volumes, "--real", real // self.volumes]
            command += ["--delete-every", delete_every]
            told = subprocess.run([str(word) for word in command], capture_output=True, text=True)
            if told.returncode != 0:
                raise Failed(f"big_volume: {told.stderr}")
            self.paths += told.stdout.split()
        random.Random(corpus.SEED).shuffle(self.paths)

    def disk(self):
        return self.folder / "data" / "disk"

    def one_of_each_volume(self):
        return list({path.split("/")[1]: path for path in self.paths}.values())

    def stop(self):
        super().stop()
        self.processes.clear()

    def kill(self):
        self.processes.pop().kill()

    def timed_start(self):
        """Seconds from exec to the first needle served, and to one of each volume and readiness."""
        self.address = f"127.0.0.1:{free_port()}"
        file = self.folder / "ready.json"
        file.unlink(missing_ok=True)
        began = time.monotonic()
        process = self.start_process(self.command(file, store=self.address), settings=self.variables)
        first, left = None, self.one_of_each_volume()
        while left or not file.exists():
            if process.child.poll() is not None or time.monotonic() - began > 600:
                raise Failed(f"it does not start: see {process.log}")
            left = [path for path in left if not self.serves(path)]
            if first is None and len(left) < self.volumes:
                first = time.monotonic() - began
            time.sleep(0.002)
        loaded = time.monotonic() - began
        self.ready = json.loads(file.read_text())
        return {"first_read_s": first, "loaded_s": loaded, "memory_bytes": measure.memory_bytes(self.pids())}

    def serves(self, path):
        try:
            client.ask(self.address, "GET", path)
        except (OSError, EOFError, client.BadAnswer):
            return False
        return True

    def put(self, count):
        """Stores needles that no index file covers."""
        volume = FIRST_VOLUME
        door = NeedleDoor("", "", self, self.address)
        puts = ((n, f"/{volume}/{door.FIRST + n}/7", corpus.path(n)) for n in range(count))
        client.put_all(self.address, puts)


class ListedGets(Load):
    """Needles of a list."""

    def __init__(self, server, connections):
        door = Door(server.key, server.key, server, server.address)
        super().__init__(door, "1 KiB", connections)
        self.list = WORK / "lists" / server.key
        self.list.parent.mkdir(parents=True, exist_ok=True)
        self.list.write_text("".join(f"{path}\n" for path in server.paths))

    def arguments(self):
        return ["GET", self.list]


class BigCase:
    """A case with servers of its own, which it stops."""

    names = {}

    def run(self, effort):
        self.servers = []
        try:
            return self.measure(effort)
        except TROUBLE as error:
            effort.note(f"{self.key}: {reason(error)}")
            return {}
        finally:
            for server in self.servers:
                server.stop()
                shutil.rmtree(server.folder)

    def server(self, key, settings=None):
        server = BigHayrick(key, settings)
        self.servers.append(server)
        return server


class Start(BigCase):
    """From exec to a served read."""

    key, title = "start", "Start, from exec to a GET that is answered"
    UNCOVERED = 20_000

    def measure(self, effort):
        server = self.server("big-start")
        server.make(effort.needles, READ)
        found = {"clean": [], "cached": [], "unclean": []}
        for _ in range(min(effort.rounds, 3)):
            for kind, results in found.items():
                results.append(self.turn(server, kind))
        amount = f"{effort.needles:,} needles, "
        self.names = {
            self.row("clean", effort): amount + "clean stop, from the disk",
            self.row("cached", effort): amount + "clean stop, from the page cache",
            self.row("unclean", effort): f"{amount}killed with {self.UNCOVERED:,} not in the index file",
        }
        return {self.row(kind, effort): summaries(results) for kind, results in found.items()}

    def row(self, kind, effort):
        return f"{kind}-{effort.needles}"

    def turn(self, server, kind):
        if kind == "unclean":
            # A volume with needles behind its index file that only a scan finds.
            server.timed_start()
            server.put(self.UNCOVERED)
            server.kill()
        if kind != "cached":
            measure.evict(server.folder)
        told = server.timed_start()
        server.stop()
        return told


class Size(BigCase):
    """Whether a read costs more where there is more."""

    key, title = "size", f"GET 1 KiB against the size of the index, the same {READ:,} needles' worth of data"

    def measure(self, effort):
        loads = {}
        self.names = {}
        for needles in (100_000, effort.needles // 10, effort.needles):
            server = self.server(f"big-{needles}")
            server.make(needles, READ)
            server.timed_start()
            load = ListedGets(server, 32)
            load.warm_up(effort)
            loads[load.door] = load
            load.door.key = str(needles)
            self.names[load.door.key] = load.door.name = f"{needles:,} needles"
        return effort.rounds_around(list(loads), lambda door: loads[door].run(effort.seconds))


class Compacting(BigCase):
    """A volume of which one needle of ten is deleted."""

    VOLUME = FIRST_VOLUME

    def started(self, effort, key, settings=None):
        server = self.server(key, settings)
        needles = effort.needles // 50
        server.make(needles, needles, delete_every=10)
        server.timed_start()
        self.admin = address_of(server.ready["admin"])
        return server

    def begin(self):
        _, answer = client.ask(self.admin, "POST", f"/store/volumes/{self.VOLUME}/compact")
        return json.loads(answer)["id"]

    def is_running(self, job):
        told = json.loads(client.ask(self.admin, "GET", f"/store/jobs/{job}")[1])
        outcome = told.get("outcome")
        if outcome and "compacted" not in outcome:
            raise Failed(f"compaction: {told}")
        return not outcome

    def wait(self, job):
        while self.is_running(job):
            time.sleep(0.02)


class Compaction(Compacting):
    """How fast a volume is compacted."""

    key, title = "compaction", "Compaction of a volume on an idle machine, both from the disk"
    names = {"cp": "cp and sync of its file", "compaction": "compaction, without a rate"}

    def measure(self, effort):
        server = self.started(effort, "big-compaction", {"HAYRICK_STORE__COMPACTION_MAX_RATE": "0"})
        found = {"cp": [], "compaction": []}
        for _ in range(min(effort.rounds, 3)):
            found["cp"].append(self.copy(server))
            found["compaction"].append(self.compact(server))
        return {kind: summaries(rounds) for kind, rounds in found.items()}

    def file(self, server):
        return server.disk() / f"{self.VOLUME:010}.vol"

    def copy(self, server):
        copy = server.folder / "copy"
        measure.evict(server.folder)
        began = time.monotonic()
        subprocess.run(["cp", "--reflink=never", self.file(server), copy], check=True)
        subprocess.run(["sync", copy], check=True)
        spent = time.monotonic() - began
        megabytes = copy.stat().st_size / 1e6
        copy.unlink()
        return {"mb_per_s": megabytes / spent}

    def compact(self, server):
        megabytes = self.file(server).stat().st_size / 1e6
        measure.evict(server.folder)
        with measure.Usage(server.pids()) as usage:
            self.wait(self.begin())
        return {"mb_per_s": megabytes / usage.seconds, "mb_per_cpu_s": megabytes / usage.cpu_seconds}


class CompactionReads(Compacting):
    """What reads feel of a compaction."""

    key, title = "compaction-reads", "GET 1 KiB, 8 connections, while the volume is compacted at the default rate"
    names = {"idle": "nothing else goes on", "compacting": "while compacting"}

    def measure(self, effort):
        server = self.started(effort, "big-compaction-reads")
        server.paths = server.paths[:READ]
        load = ListedGets(server, 8)
        load.warm_up(effort)
        found = {"idle": [], "compacting": []}
        for _ in range(min(effort.rounds, 3)):
            found["idle"].append(load.run(effort.seconds))
            job = self.begin()
            found["compacting"].append(load.run(effort.seconds))
            if not self.is_running(job):
                raise Failed("the compaction was over before the reads were")
            self.wait(job)
        return {kind: summaries(rounds) for kind, rounds in found.items()}


CASES = [Start(), Size(), Compaction(), CompactionReads()]
