"""Hayrick beside SeaweedFS, nginx and two bare servers: the same data, client and machine.

All servers are started on loopback, loaded with the same bytes and driven by wrk in alternating
rounds. `docs/performance.md` tells how, and what to make of the results.
"""

import argparse
import contextlib
import json
import shutil
import signal
import sys

import bars
import big
import cases
import client
import corpus
import hayrick
import page
import peers
import report
from effort import TROUBLE, Effort, reason
from places import REPORT, Missing
from server import LOGS, RUN

QUICK = {"rounds": 2, "seconds": 1, "needles": 5_000_000}
FULL = {"rounds": 5, "seconds": 2, "needles": 50_000_000}


def contestants(effort):
    """The servers that can be had here."""
    makers = [hayrick.Hayrick, hayrick.UncachedHayrick, hayrick.HayrickCluster, peers.SeaweedFs, peers.Nginx]
    makers += [lambda: peers.Bare("hyper"), lambda: peers.Bare("axum")]
    for make in makers:
        try:
            yield make()
        except Missing as error:
            effort.note(f"skipped: {error}")


def started(server, effort):
    """Whether it runs, is loaded, and answers what was put."""
    print(f"starting and loading {server.key}", file=sys.stderr, flush=True)
    try:
        server.start()
        server.load()
        for door in server.doors:
            sample = list(door.paths.items())[::199]
            client.check_all(door.address, [(path, corpus.path(number)) for number, path in sample])
        return True
    except TROUBLE as error:
        effort.note(f"skipped {server.key}: {reason(error)}")
        return False


def measure(wanted, effort, found):
    """Starts all servers and goes through the cases."""
    if not wanted:
        return
    running = []
    try:
        for server in contestants(effort):
            running.append(server)
            if not started(server, effort):
                running.remove(server)
                server.stop()
        doors = {door.key: door for server in running for door in server.doors}
        found["servers"] = {server.key: [server.version, server.settings] for server in running}
        found["names"] |= {key: door.name for key, door in doors.items()}
        for case in wanted:
            effort.begin(case)
            results = case.run([doors[key] for key in case.doors if key in doors], effort)
            tell(case, results, found)
    finally:
        # One that does not stop must not keep the others running.
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, RUN, ignore_errors=True)
            for server in running:
                stack.callback(server.stop)


def measure_big(wanted, effort, found):
    """The cases that start servers of their own."""
    for case in wanted:
        print(f"{case.key}: making volumes", file=sys.stderr, flush=True)
        results = case.run(effort)
        found["names"] |= case.names
        found["servers"] |= {server.key: [server.version, server.settings] for server in case.servers}
        tell(case, results, found)


def tell(case, results, found):
    found["titles"][case.key] = case.title
    found["results"][case.key] = results
    print(f"\n{report.table(f'{case.key}: {case.title}', results, found['names'])}", flush=True)


def run(arguments):
    """What was found, with each bar judged."""
    given = {"rounds": arguments.rounds, "seconds": arguments.seconds}
    chosen = QUICK if arguments.quick else FULL
    effort = Effort(**chosen | {name: value for name, value in given.items() if value})
    found = {"machine": report.machine(), "effort": {"rounds": effort.rounds, "seconds": effort.seconds}}
    found |= {"servers": {}, "names": {}, "titles": {}, "results": {}, "notes": effort.notes}
    print("\n".join(f"{name}: {value}" for name, value in found["machine"].items()), flush=True)
    shutil.rmtree(LOGS, ignore_errors=True)
    corpus.make()
    measure([case for case in cases.CASES if case.key in arguments.only], effort, found)
    measure_big([case for case in big.CASES if case.key in arguments.only], effort, found)
    found["bars"] = bars.judge(found["results"])
    print(f"\n{report.bars_table(found['bars'])}")
    REPORT.mkdir(parents=True, exist_ok=True)
    (REPORT / "results.json").write_text(json.dumps(found, indent=1))
    (REPORT / "index.html").write_text(page.page(found))
    print(f"\nwith plots: {REPORT / 'index.html'}")
    return found


def variable(setting):
    """The variable of the environment that makes a setting of Hayrick's."""
    key, value = setting.split("=", 1)
    return "HAYRICK_" + key.upper().replace(".", "__"), value


def main():
    keys = [case.key for case in cases.CASES + big.CASES]
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--quick", action="store_true", help="fewer and shorter rounds, smaller volumes")
    arguments.add_argument("--only", nargs="+", choices=keys, default=keys, metavar="CASE", help=", ".join(keys))
    arguments.add_argument("--check", action="store_true", help="exit with 1 if a bar is missed")
    arguments.add_argument("--rounds", type=int, help="turns of each server")
    arguments.add_argument("--seconds", type=int, help="length of a turn")
    arguments.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="try hayrick up with log.filter=warn"
    )
    arguments = arguments.parse_args()
    hayrick.Hayrick.tried = dict(map(variable, arguments.set))
    # An exception, so that everything that was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        found = run(arguments)
    except KeyboardInterrupt:
        sys.exit("interrupted")
    if arguments.check and any(bar["met"] is False for bar in found["bars"]):
        sys.exit(1)


main()
