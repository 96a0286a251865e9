"""Who Hayrick is measured against."""

import json
import os
import resource
import subprocess

import client
import corpus
import measure
from places import RELEASE, built, program
from process import answers, free_port, is_free
from server import Door, NameDoor, Server, numbered


class Bare(Server):
    """hyper or axum alone: the limit of what a server on them can do."""

    def __init__(self, kind):
        super().__init__(kind)
        self.program = built(RELEASE / f"bare_{kind}")
        self.version = f"bare {kind}, of this project's Cargo.lock"
        self.settings = "answers from memory, default tokio runtime"

    def start(self):
        address = f"127.0.0.1:{free_port()}"
        process = self.start_process([self.program, address, corpus.FOLDER])
        process.wait_for(lambda: answers(address), "answers")
        door = Door(self.key, f"bare {self.key}", self, address)
        door.paths = numbered("/{}")
        self.doors = [door]


class Nginx(Server):
    """The corpus as files, as many of them kept open as the system allows."""

    SPARE_FILES = 300
    CONFIG = """
daemon off; worker_processes auto; worker_rlimit_nofile {files}; error_log stderr; pid nginx.pid; {user}
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; default_type image/jpeg; keepalive_requests 1000000000;
  open_file_cache max={cached} inactive=1h; open_file_cache_valid 1h; open_file_cache_min_uses 1;
  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
  server {{ listen {address} reuseport; root {corpus}; }}
}}
"""

    def __init__(self):
        super().__init__("nginx")
        self.program = program("nginx")
        told = subprocess.run([self.program, "-v"], capture_output=True, text=True)
        self.version = told.stderr.strip().removeprefix("nginx version: ")
        self.files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        cached = f"open_file_cache for {self.files - self.SPARE_FILES:,} files"
        self.settings = f"worker_processes auto, sendfile, {cached}, no access log"

    def start(self):
        folder = self.fresh_folder()
        address = f"127.0.0.1:{free_port()}"
        config = self.CONFIG.format(
            address=address,
            corpus=corpus.FOLDER,
            user="user root;" if os.geteuid() == 0 else "",
            files=self.files,
            cached=self.files - self.SPARE_FILES,
        )
        (folder / "nginx.conf").write_text(config)
        process = self.start_process([self.program, "-p", folder, "-c", "nginx.conf", "-e", "stderr"])
        process.wait_for(lambda: answers(address), "answers")
        self.folder = corpus.FOLDER
        door = Door("nginx", "nginx, files", self, address)
        door.paths = numbered("/{}")
        for size, (data, count) in corpus.SIZES.items():
            blocks = sum(measure.file_disk_bytes(corpus.path(n)) for n in corpus.numbers(size))
            door.disk_overhead[size] = blocks / count - data
        self.doors = [door]


class SeaweedFs(Server):
    """Master, volume server and filer, a process each, without replication."""

    def __init__(self):
        super().__init__("seaweedfs")
        self.program = program("weed")
        told = subprocess.run([self.program, "version"], capture_output=True, text=True)
        self.version = "SeaweedFS " + told.stdout.splitlines()[0].removeprefix("version ")
        self.settings = "weed master, volume and filer with their defaults, telemetry off"

    def start(self):
        folder = self.fresh_folder()
        for name in ("master", "volume", "filer"):
            (folder / name).mkdir()
        master = self.part("master", "-mdir", folder / "master", "-peers", "none", "-telemetry=false")
        volume = self.part("volume", "-dir", folder / "volume", "-master", master)
        filer = self.part("filer", "-defaultStoreDir", folder / "filer", "-master", master)
        self.master = master
        self.processes[-1].wait_for(self.is_writable, "volumes")
        self.doors = [
            VolumeDoor("weed-volume", "SeaweedFS volume, by fid", self, volume),
            VolumeDoor("weed-volume-fsync", "SeaweedFS volume, fsync=true", self, volume, query="?fsync=true"),
            NameDoor("weed-filer", "SeaweedFS filer, by path", self, filer, sizes=["1 KiB"]),
            NameDoor("weed-filer-fsync", "SeaweedFS filer, fsync=true", self, filer, sizes=[], query="?fsync=true"),
        ]

    def part(self, name, *flags):
        # The port of gRPC is the other one and 10,000.
        port = next(port for port in iter(free_port, 0) if port < 50_000 and is_free(port + 10_000))
        address = f"127.0.0.1:{port}"
        bind = ["-ip", "127.0.0.1", "-ip.bind", "127.0.0.1", "-port", port]
        if name == "filer":
            bind += ["-localSocket", self.folder / "filer.sock"]
        process = self.start_process([self.program, "-logtostderr=true", name, *bind, *flags], f"weed-{name}")
        process.wait_for(lambda: answers(address), "answers")
        return address

    def stop(self):
        """At once: an orderly stop takes half a minute, and nobody needs the data any more."""
        for process in self.processes:
            process.kill()

    def is_writable(self):
        try:
            return "fid" in self.assign(1)
        except (client.BadAnswer, OSError, EOFError):
            return False

    def assign(self, count):
        """Keys for that many needles, which follow each other, in one volume."""
        return json.loads(client.ask(self.master, "GET", f"/dir/assign?count={count}")[1])

    def load(self):
        volume, _, filer, _ = self.doors
        for size in corpus.SIZES:
            numbers = corpus.numbers(size)
            pattern, first = volume.assigned(len(numbers))
            volume.paths |= {n: pattern % (first + at) for at, n in enumerate(numbers)}
        self.load_door(volume)
        self.load_door(filer, ["1 KiB"])


class VolumeDoor(Door):
    """Needles by volume, key and cookie, as the master assigned them."""

    COUNT = 1_000_000

    def __init__(self, *place, query=""):
        super().__init__(*place)
        self.query = query

    def assigned(self, count):
        volume, rest = self.server.assign(count)["fid"].split(",")
        key, cookie = int(rest[:-8], 16), rest[-8:]
        return f"/{volume},%x{cookie}{self.query}", key

    def put_pattern(self, turn):
        return self.assigned(self.COUNT)
