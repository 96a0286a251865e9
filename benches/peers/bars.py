"""What Hayrick wants to reach, as ratios of medians within one run."""

import operator

MOST, LEAST = "at most", "at least"
HOLDS = {MOST: operator.le, LEAST: operator.ge}


class Bar:
    """`measure` of `door` in `case`, over that of `against`, or as it is without `against`."""

    def __init__(self, text, case, measure, door, against, how, limit, unit=""):
        self.text, self.case, self.measure, self.door = text, case, measure, door
        self.against, self.how, self.limit, self.unit = against, how, limit, unit

    def judge(self, results):
        """`value` is missing where the run did not measure it."""
        value = self.value(results)
        verdict = None if value is None else HOLDS[self.how](value, self.limit)
        return {
            "text": self.text,
            "case": self.case,
            "value": value,
            "how": self.how,
            "limit": self.limit,
            "unit": self.unit,
            "met": verdict,
        }

    def value(self, results):
        found = [results.get(self.case, {}).get(door, {}).get(self.measure) for door in self.doors()]
        if not all(found):
            return None
        ours, *theirs = (one["median"] for one in found)
        if not theirs:
            return ours
        return ours / theirs[0] if theirs[0] else None

    def doors(self):
        return [self.door] + ([self.against] if self.against else [])


BARS = [
    Bar("store GET 1 KiB: CPU against bare axum", "get-1k", "cpu_us", "hayrick-store", "axum", MOST, 1.3),
    Bar("store GET 1 KiB: CPU against SeaweedFS", "get-1k", "cpu_us", "hayrick-store", "weed-volume", MOST, 1 / 4),
    Bar(
        "store GET 1 KiB: requests/s against SeaweedFS",
        "get-1k",
        "requests_per_s",
        "hayrick-store",
        "weed-volume",
        LEAST,
        3,
    ),
    Bar("store GET 1 KiB: p99 against nginx", "get-1k", "p99_us", "hayrick-store", "nginx", MOST, 1),
    Bar(
        "store GET 64 KiB: bytes per CPU second against nginx",
        "get-64k",
        "mb_per_cpu_s",
        "hayrick-store",
        "nginx",
        LEAST,
        0.8,
    ),
    Bar(
        "store GET 1 MiB: bytes per CPU second against nginx",
        "get-1m",
        "mb_per_cpu_s",
        "hayrick-store",
        "nginx",
        LEAST,
        0.8,
    ),
    Bar(
        "proxy GET by name, the name not in memory: CPU against the filer",
        "name-1k",
        "cpu_us",
        "hayrick-uncached",
        "weed-filer",
        MOST,
        1 / 6,
    ),
    Bar("proxy GET by name: CPU against bare axum", "name-1k", "cpu_us", "hayrick-proxy", "axum", MOST, 1.5),
    Bar(
        "cluster GET by name, all processes: CPU against the filer",
        "name-1k",
        "cpu_us",
        "hayrick-cluster",
        "weed-filer",
        MOST,
        1 / 3,
    ),
    Bar(
        "proxy PUT by name, durable: CPU against the filer, unsynced",
        "name-put-1k",
        "cpu_us",
        "hayrick-proxy",
        "weed-filer",
        MOST,
        1 / 5,
    ),
    Bar(
        "proxy PUT by name, durable: requests/s against the filer, unsynced",
        "name-put-1k",
        "requests_per_s",
        "hayrick-proxy",
        "weed-filer",
        LEAST,
        2,
    ),
    Bar(
        "store PUT 1 KiB, durable: requests/s against SeaweedFS with fsync",
        "put-1k",
        "requests_per_s",
        "hayrick-store",
        "weed-volume-fsync",
        LEAST,
        4,
    ),
    Bar(
        "store PUT 1 KiB, durable: requests/s against SeaweedFS without",
        "put-1k",
        "requests_per_s",
        "hayrick-store",
        "weed-volume",
        LEAST,
        1,
    ),
    Bar(
        "store PUT 1 KiB, 32 writers: puts for each sync", "syncs-32", "puts_per_sync", "hayrick-store", None, LEAST, 8
    ),
    Bar("store cold GET 1 KiB: disk reads for each needle", "cold-1k", "disk_reads", "hayrick-store", None, MOST, 1.02),
    Bar("start with 50 million needles: first read", "start", "first_read_s", "clean-50000000", None, MOST, 1, "s"),
    Bar("start with 50 million needles: everything loaded", "start", "loaded_s", "clean-50000000", None, MOST, 5, "s"),
    Bar(
        "store GET 1 KiB: CPU with 50 million needles against 100,000",
        "size",
        "cpu_us",
        "50000000",
        "100000",
        MOST,
        1.1,
    ),
    Bar("compaction: bytes/s against cp", "compaction", "mb_per_s", "compaction", "cp", LEAST, 0.7),
    Bar("compaction: p99 of GET meanwhile against idle", "compaction-reads", "p99_us", "compacting", "idle", MOST, 3),
]


def judge(results):
    """The bars of all cases that were run."""
    return [bar.judge(results) for bar in BARS if bar.case in results]
