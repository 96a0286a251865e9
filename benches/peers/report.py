"""Tables for the terminal, and what is known of the machine."""

import os
import pathlib
import platform
import subprocess
import time

from places import ROOT

# Measure, heading, unit, how it is written.
MEASURES = [
    ("requests_per_s", "requests", "1/s", "{:,.0f}"),
    ("mb_per_s", "data", "MB/s", "{:,.1f}"),
    ("p50_us", "p50", "us", "{:,.0f}"),
    ("p99_us", "p99", "us", "{:,.0f}"),
    ("p999_us", "p99.9", "us", "{:,.0f}"),
    ("cpu_us", "CPU", "us/req", "{:,.1f}"),
    ("mb_per_cpu_s", "data/CPU", "MB/s", "{:,.0f}"),
    ("client_cpu_us", "client CPU", "us/req", "{:,.1f}"),
    ("memory_bytes", "memory", "MiB", "{:,.0f}"),
    ("puts", "puts", "", "{:,.0f}"),
    ("syncs", "syncs", "", "{:,.0f}"),
    ("puts_per_sync", "puts/sync", "", "{:,.1f}"),
    ("disk_reads", "disk reads", "/needle", "{:,.2f}"),
    ("disk_read_bytes", "read", "B/needle", "{:,.0f}"),
    ("disk_overhead_bytes", "beside data", "B/needle", "{:,.0f}"),
    ("first_read_s", "first read", "s", "{:,.2f}"),
    ("loaded_s", "loaded", "s", "{:,.2f}"),
]
SCALE = {"memory_bytes": 1 / (1 << 20)}


def measures_of(results):
    """The columns that a case has."""
    return [one for one in MEASURES if any(one[0] in result for result in results.values())]


def written(result, measure, which="median"):
    name, _, _, form = measure
    if name not in result:
        return "-"
    return form.format(result[name][which] * SCALE.get(name, 1))


def table(title, results, names):
    """One case as lines of text."""
    columns = measures_of(results)
    rows = [[""] + [column[1] for column in columns]]
    if any(column[2] for column in columns):
        rows.append([""] + [column[2] for column in columns])
    for key, result in results.items():
        rows.append([names.get(key, key)] + [written(result, column) for column in columns])
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = [title]
    for row in rows:
        cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join(lines)


def number(value, unit=""):
    return f"{value:.3g}{' ' + unit if unit else ''}"


def verdict(bar):
    return {True: "met", False: "missed", None: "not measured"}[bar["met"]]


def bars_table(bars):
    width = max((len(bar["text"]) for bar in bars), default=0)
    lines = ["Bars"]
    for bar in bars:
        value = "-" if bar["value"] is None else number(bar["value"], bar["unit"])
        limit = f"{bar['how']} {number(bar['limit'], bar['unit'])}"
        lines.append(f"  {bar['text'].ljust(width)}  {value:>8}  {limit:<15}  {verdict(bar)}")
    return "\n".join(lines)


def machine():
    """What it is, as lines of name and value."""
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    models = [line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
    memory = pathlib.Path("/proc/meminfo").read_text().split()[1]
    return {
        "processor": f"{models[0] if models else platform.processor()}, {os.cpu_count()} cores",
        "memory": f"{int(memory) / (1 << 20):.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "file system": told("findmnt", "-no", "FSTYPE,SOURCE,OPTIONS", "--target", ROOT),
        "load before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "revision": told("git", "-C", ROOT, "describe", "--always", "--dirty"),
        "client": told("wrk", "-v").split("[")[0].strip() + ", one thread",
    }


def told(*command):
    """The first line that a command prints."""
    try:
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    except OSError:
        return "unknown"
    return (done.stdout or done.stderr).strip().partition("\n")[0] or "unknown"
