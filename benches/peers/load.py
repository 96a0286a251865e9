"""Load: wrk with one thread, and what a server spends under it."""

import json
import os
import subprocess

import corpus
import measure
from places import HERE, WORK, program
from process import Failed

SCRIPT = HERE / "wrk.lua"
# wrk needs the other half of a small machine; one thread of it sends more than any server answers.
THREADS = 1


def request_list(door, size):
    """The file with the paths of all needles of a size, in the order that all servers get."""
    file = WORK / "lists" / f"{door.key}-{size.replace(' ', '')}"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{door.paths[number]}\n" for number in corpus.shuffled(size)))
    return file


def wrk(address, arguments, connections, seconds):
    """What wrk tells, with the CPU time that it took itself."""
    command = [program("wrk"), "-t", THREADS, "-c", connections, "-d", f"{seconds}s", "--timeout", "10s"]
    command += ["-s", SCRIPT, f"http://{address}/", "--", *arguments]
    before = os.times()
    told = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    after = os.times()
    if told.returncode != 0:
        raise Failed(f"wrk: {told.stderr or told.stdout}")
    result = json.loads(told.stdout.splitlines()[-1])
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    result["client_cpu_us"] = spent * 1e6 / max(result["requests"], 1)
    return result


class Load:
    """Requests of one kind for one door."""

    def __init__(self, door, size, connections):
        self.door, self.connections = door, connections
        self.data_bytes = corpus.SIZES[size][0]

    def warm_up(self, effort):
        if effort.rounds > 2:
            self.run(1)

    def run(self, seconds):
        """One turn: what a request cost, and what the client saw."""
        pids = self.door.server.pids()
        arguments = self.arguments()
        with measure.Usage(pids) as usage:
            told = wrk(self.door.address, arguments, self.connections, seconds)
        self.check(told)
        requests = told["requests"]
        megabytes = requests * self.data_bytes / 1e6
        return {
            "requests_per_s": requests / told["seconds"],
            "mb_per_s": megabytes / told["seconds"],
            "p50_us": told["p50_us"],
            "p99_us": told["p99_us"],
            "p999_us": told["p999_us"],
            "cpu_us": usage.cpu_seconds * 1e6 / requests,
            "mb_per_cpu_s": megabytes / max(usage.cpu_seconds, 1 / measure.TICK),
            "client_cpu_us": told["client_cpu_us"],
            "memory_bytes": measure.memory_bytes(pids),
            "requests": requests,
        }

    def check(self, told):
        if told["failed"] or not told["requests"]:
            raise Failed(f"wrk saw failures: {told}")


class Gets(Load):
    """Random needles of one size, each as often as the others."""

    def __init__(self, door, size, connections):
        super().__init__(door, size, connections)
        self.list = request_list(door, size)

    def arguments(self):
        return ["GET", self.list]

    def check(self, told):
        super().check(told)
        if told["bytes"] < told["requests"] * self.data_bytes:
            raise Failed(f"answers were shorter than the needles: {told}")


class Puts(Load):
    """New objects, a name or key each."""

    def __init__(self, door, size, connections):
        super().__init__(door, size, connections)
        self.body = corpus.path(corpus.numbers(size)[0])

    def arguments(self):
        pattern, first = self.door.put()
        return ["PUT", pattern, first, self.body, *self.door.put_headers]
