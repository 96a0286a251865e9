"""What servers have in common: processes, a folder, and doors.

A door is a way to ask a server for the same objects: Hayrick's store by needle and its proxy by name
are two doors of one server. What a server spends is that of all its processes, whichever door was
used.
"""

import shutil

import client
import corpus
import measure
from places import WORK, Missing
from process import Process

RUN, LOGS = WORK / "run", WORK / "logs"


class Door:
    """A way to ask a server. `paths` has, for each number of the corpus, where to get it."""

    put_headers = ()

    def __init__(self, key, name, server, address):
        self.key, self.name, self.server, self.address = key, name, server, address
        self.paths = {}
        self.disk_overhead = {}
        self.next_put = 0

    def put(self):
        """Where the next objects go: a pattern for a number, and the first number to use."""
        self.next_put += 1
        return self.put_pattern(self.next_put)

    def put_pattern(self, turn):
        raise Missing(f"{self.name} takes no uploads")


class NameDoor(Door):
    """Objects by bucket and name. `query` goes behind the names of uploads."""

    def __init__(self, *place, sizes=tuple(corpus.SIZES), query=""):
        super().__init__(*place)
        self.query = query
        self.paths = numbered("/photos/2026/07/{:07d}.jpg", sizes)

    def put_pattern(self, turn):
        return f"/photos/{self.key}/{turn}/%d.jpg{self.query}", 0


def numbered(form, sizes=tuple(corpus.SIZES)):
    """A path for each number of the corpus."""
    return {number: form.format(number) for size in sizes for number in corpus.numbers(size)}


class Server:
    """One or more processes with a folder for their data."""

    def __init__(self, key):
        self.key = key
        self.folder = RUN / key
        self.processes = []
        self.doors = []

    def pids(self):
        return measure.family(one.pid for one in self.processes)

    def start_process(self, command, name=None, settings=None):
        process = Process(command, LOGS / f"{name or self.key}.log", settings)
        self.processes.append(process)
        return process

    def fresh_folder(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        return self.folder

    def stop(self):
        # Who asks is stopped before who answers.
        for process in reversed(self.processes):
            process.stop()

    def load(self):
        """Stores the corpus, where it is not there already."""

    def load_door(self, door, sizes=tuple(corpus.SIZES), then=lambda number, fields: None, folders=None):
        """Stores the corpus through a door. What a needle takes on disk beside its data is noted for
        the doors of `folders`, from what these have grown by."""
        folders = folders or {door: self.folder}
        for size in sizes:
            data, count = corpus.SIZES[size]
            before = {one: measure.disk_bytes(folder) for one, folder in folders.items()}
            client.put_all(door.address, ((n, door.paths[n], corpus.path(n)) for n in corpus.numbers(size)), then)
            measure.sync(self.folder)
            for one, folder in folders.items():
                one.disk_overhead[size] = (measure.disk_bytes(folder) - before[one]) / count - data
