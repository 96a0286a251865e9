"""Hayrick in one process, and as a cluster of many."""

import json
import subprocess

from places import HAYRICK, built
from server import Door, NameDoor, Server

ANY_PORT = "127.0.0.1:0"


class Hayrick(Server):
    """All roles in one process: `hayrick up`. `tried` are settings that somebody wants to try out."""

    tried = {}

    def __init__(self, key="hayrick", settings=None):
        super().__init__(key)
        self.program = built(HAYRICK)
        told = subprocess.run([self.program, "--version"], capture_output=True, text=True)
        self.version = told.stdout.strip()
        self.variables = self.tried | (settings or {})
        self.settings = "hayrick up with its defaults" + "".join(
            f", {name.removeprefix('HAYRICK_').lower().replace('__', '.')} = {value}"
            for name, value in self.variables.items()
        )

    def start(self):
        self.fresh_folder()
        ready = self.start_up()
        by_needle = NeedleDoor("hayrick-store", "Hayrick store, by needle", self, address_of(ready["internal"]))
        by_name = NameDoor("hayrick-proxy", "Hayrick proxy, by name", self, address_of(ready["public"]))
        self.doors = [by_needle, by_name]

    def start_up(self):
        """Starts it in its folder, whatever is there, and waits until it says that it serves."""
        file = self.folder / "ready.json"
        file.unlink(missing_ok=True)
        process = self.start_process(self.command(file), settings=self.variables)
        process.wait_for(file.exists, "readiness", 300)
        return json.loads(file.read_text())

    def command(self, ready_file, store=ANY_PORT):
        command = [self.program, "up", "--data", self.folder / "data", "--ready-file", ready_file]
        return [*command, "--listen", ANY_PORT, "--store-listen", store, "--admin-listen", ANY_PORT]

    def load(self):
        by_needle, by_name = self.doors

        def note(number, fields):
            by_needle.paths[number] = "/" + fields["x-hayrick-needle"].replace(",", "/").replace(" ", "")

        folders = {by_needle: self.folder / "data" / "disk", by_name: self.folder}
        self.load_door(by_name, then=note, folders=folders)


class UncachedHayrick(Hayrick):
    """Every read by name asks the database of names."""

    def __init__(self):
        super().__init__("hayrick-uncached", {"HAYRICK_DIRECTORY__NAMES__RECENT_BYTES": "0"})

    def start(self):
        super().start()
        _, by_name = self.doors
        by_name.key, by_name.name = self.key, "Hayrick proxy, by name, uncached"

    def load(self):
        super().load()
        self.doors = self.doors[1:]


class NeedleDoor(Door):
    """Needles by volume, key and cookie."""

    # Far from the keys that the directory gives out.
    FIRST = 1 << 40
    COUNT = 1 << 24
    # That of a volume that has never moved.
    put_headers = ("X-Hayrick-Epoch: 1",)

    def put_pattern(self, turn):
        volume = next(iter(self.paths.values())).split("/")[1]
        return f"/{volume}/%d/7", self.FIRST + turn * self.COUNT


class HayrickCluster(Server):
    """A process for each role: `hayrick cluster dev`, with one store as the others have one."""

    def __init__(self):
        super().__init__("hayrick-cluster")
        self.program = built(HAYRICK)
        self.version = ""
        self.settings = "hayrick cluster dev --stores 1: store, directory, keeper, proxy and ZooKeeper"

    def start(self):
        folder = self.fresh_folder()
        file = folder / "ready.json"
        command = [self.program, "cluster", "dev", "--stores", "1", "--port", "0"]
        process = self.start_process([*command, "--data", folder / "data", "--ready-file", file])
        process.wait_for(file.exists, "readiness", 120)
        running = {one["name"]: one for one in json.loads(file.read_text())["processes"]}
        address = address_of(running["proxy"]["public"])
        self.doors = [NameDoor("hayrick-cluster", "Hayrick cluster, by name", self, address, sizes=["1 KiB"])]

    def load(self):
        self.load_door(self.doors[0], ["1 KiB"])


def address_of(url):
    return url.removeprefix("http://").rstrip("/")
