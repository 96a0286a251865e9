"""What is measured: each case has its doors go round in turns."""

import random
import statistics
import time

import client
import corpus
import measure
from effort import summary
from load import Gets, Puts
from process import Failed

NEEDLE_GETS = ["hayrick-store", "weed-volume", "nginx", "hyper", "axum"]
NAME_GETS = ["hayrick-proxy", "hayrick-uncached", "hayrick-cluster", "weed-filer", "axum"]
NEEDLE_PUTS = ["hayrick-store", "weed-volume", "weed-volume-fsync"]
NAME_PUTS = ["hayrick-proxy", "hayrick-cluster", "weed-filer", "weed-filer-fsync"]
COLD = ["hayrick-store", "hayrick-proxy", "weed-volume", "weed-filer", "nginx"]
COLD_READS = 500


class LoadCase:
    """A load that every door gets in turns."""

    def __init__(self, key, title, kind, size, connections, doors):
        self.key, self.title, self.kind, self.size = key, title, kind, size
        self.connections, self.doors = connections, doors

    def run(self, doors, effort):
        loads = {door: self.kind(door, self.size, self.connections) for door in doors}
        for door, load in loads.items():
            effort.attempt(door, lambda: load.warm_up(effort))
        return effort.rounds_around(doors, lambda door: loads[door].run(effort.seconds))


class SyncCase(LoadCase):
    """The same load, short, and how many syncs it took."""

    def run(self, doors, effort):
        return effort.rounds_around(doors, lambda door: self.turn(door, effort), 1)

    def turn(self, door, effort):
        load = self.kind(door, self.size, self.connections)
        with measure.Events(door.server.pids(), measure.SYNCS) as syncs:
            puts = load.run(effort.seconds)["requests"]
        if syncs.count is None:
            raise Failed("syncs are counted by the kernel, and only for root")
        # Without any sync, no number of puts is what one takes.
        ratio = {"puts_per_sync": puts / syncs.count} if syncs.count else {}
        return {"syncs": syncs.count, "puts": puts} | ratio


class ColdCase:
    """Needles that are on the disk only, one after another."""

    def __init__(self, key, title, size, doors):
        self.key, self.title, self.size, self.doors = key, title, size, doors

    def run(self, doors, effort):
        # So far apart that no two share a page, where they lie in the order in which they came.
        numbers = corpus.numbers(self.size)[:: corpus.SIZES[self.size][1] // COLD_READS]
        numbers = random.Random(corpus.SEED).sample(numbers, COLD_READS)
        return effort.rounds_around(doors, lambda door: self.turn(door, numbers), min(effort.rounds, 3))

    def turn(self, door, numbers):
        # What only a first request costs, such as a connection between two servers, is no cold read's.
        client.ask(door.address, "GET", door.paths[corpus.numbers(self.size)[1]])
        measure.evict(door.server.folder)
        spent = []

        async def get(connection, number):
            began = time.monotonic()
            status, _, answer = await connection.ask("GET", door.paths[number])
            spent.append((time.monotonic() - began) * 1e6)
            if status != 200 or len(answer) != corpus.SIZES[self.size][0]:
                raise Failed(f"cold GET answered {status} with {len(answer)} bytes")

        pids = door.server.pids()
        with measure.Events(pids, measure.READS) as reads, measure.Usage(pids) as usage:
            client.each(door.address, numbers, get, connections=1)
        counted = {} if reads.count is None else {"disk_reads": reads.count / len(numbers)}
        return counted | {
            "disk_read_bytes": usage.read_bytes / len(numbers),
            "p50_us": statistics.median(spent),
            "p99_us": statistics.quantiles(spent, n=100)[98],
            "cpu_us": usage.cpu_seconds * 1e6 / len(numbers),
        }


class DiskCase:
    """What a needle takes on disk beside its data; it was found when the servers were loaded."""

    def __init__(self, key, title, size, doors):
        self.key, self.title, self.size, self.doors = key, title, size, doors

    def run(self, doors, _):
        found = {door.key: door.disk_overhead.get(self.size) for door in doors}
        return {key: {"disk_overhead_bytes": summary([value])} for key, value in found.items() if value is not None}


CASES = [
    LoadCase("get-1k", "GET 1 KiB by needle, 32 connections, warm", Gets, "1 KiB", 32, NEEDLE_GETS),
    LoadCase("get-64k", "GET 64 KiB by needle, 32 connections, warm", Gets, "64 KiB", 32, NEEDLE_GETS),
    LoadCase("get-1m", "GET 1 MiB by needle, 8 connections, warm", Gets, "1 MiB", 8, NEEDLE_GETS),
    LoadCase("name-1k", "GET 1 KiB by name, 32 connections, warm", Gets, "1 KiB", 32, NAME_GETS),
    LoadCase("put-1k", "PUT 1 KiB by needle, 32 writers", Puts, "1 KiB", 32, NEEDLE_PUTS),
    LoadCase("put-1k-alone", "PUT 1 KiB by needle, 1 writer", Puts, "1 KiB", 1, NEEDLE_PUTS),
    LoadCase("name-put-1k", "PUT 1 KiB by name, 32 writers", Puts, "1 KiB", 32, NAME_PUTS),
    SyncCase("syncs-32", "Syncs of PUT 1 KiB, 32 writers", Puts, "1 KiB", 32, NEEDLE_PUTS + NAME_PUTS),
    SyncCase("syncs-1", "Syncs of PUT 1 KiB, 1 writer", Puts, "1 KiB", 1, NEEDLE_PUTS + NAME_PUTS),
    DiskCase("disk-1k", "Disk for a needle of 1 KiB, as loaded by 32 writers", "1 KiB", NEEDLE_GETS + NAME_PUTS),
    ColdCase("cold-1k", f"GET 1 KiB from the disk, {COLD_READS} random needles one by one", "1 KiB", COLD),
]
