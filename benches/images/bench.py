"""How much CPU time a picture costs, here and elsewhere, and how good it is.

Each contestant is a process of its own with one thread for pixels. It says its
name and version in its first line. Then it is told what to make, one line at a
time with fields parted by tabs:

    source file, source width, format, width, height, quality, times, output file

reads the source into memory, makes the picture that many times, writes the last
one and answers with one line: the CPU milliseconds, user and system, per picture.
Rounds go around all contestants, so that a noisy minute troubles them alike.

A picture is scored with SSIMULACRA2 against a Lanczos-3 reduction of the fully
decoded source in linear light, made in 32-bit floats by Pillow, which is no
contestant; and once more against the same in sRGB's own, non-linear values.
"""

import argparse
import html
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

import numpy
from PIL import Image, features
from ssimulacra2 import compute_ssimulacra2

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORK = ROOT / "target" / "bench-images"
PHOTOS = ROOT / "testdata" / "photos"
WIDTH, QUALITY = 400, 80
KINDS = [("jpeg", "jpeg"), ("jpeg", "webp"), ("png", "jpeg"), ("png", "webp"), ("webp", "webp")]
EXTENSION = {"jpeg": "jpg", "png": "png", "webp": "webp"}
ROUND_MS = 150  # a contestant's turn is about this long


class Source:
    """One photo at one size in every format."""

    def __init__(self, name, photo, size=None):
        self.name = name
        picture = Image.open(PHOTOS / photo).convert("RGB")
        # Scores are of resizing and coding; some contestants leave profiles alone.
        picture.info.clear()
        if size:
            picture = picture.resize(size, Image.LANCZOS)
        self.width, self.height = picture.size
        self.target = WIDTH, round(self.height * WIDTH / self.width)
        self.paths = {}
        for format, options in {
            "jpeg": {"quality": 90},
            "png": {"compress_level": 6},
            "webp": {"quality": 90},
        }.items():
            path = WORK / "sources" / f"{name}.{EXTENSION[format]}"
            if format == "jpeg" and not size:
                path.write_bytes((PHOTOS / photo).read_bytes())
            elif not path.exists():
                picture.save(path, **options)
            self.paths[format] = path

    def reference(self, format, linear):
        """Where to find the best possible reduction of one of the files."""
        path = WORK / "pictures" / f"{self.name}-{format}-{'linear' if linear else 'srgb'}.png"
        pixels = numpy.asarray(Image.open(self.paths[format]).convert("RGB"), numpy.float32) / 255
        if linear:
            low = pixels / 12.92
            pixels = numpy.where(pixels <= 0.04045, low, ((pixels + 0.055) / 1.055) ** 2.4)
        channels = [
            numpy.asarray(Image.fromarray(pixels[..., n].astype(numpy.float32)).resize(self.target, Image.LANCZOS))
            for n in range(3)
        ]
        small = numpy.stack(channels, axis=-1).clip(0, 1)
        if linear:
            small = numpy.where(small <= 0.0031308, small * 12.92, 1.055 * small ** (1 / 2.4) - 0.055)
        Image.fromarray((small * 255 + 0.5).astype(numpy.uint8)).save(path)
        return path


class Contestant:
    def __init__(self, key, command):
        self.key = key
        environment = os.environ | {"VIPS_CONCURRENCY": "1", "UV_THREADPOOL_SIZE": "1"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.name = self.process.stdout.readline().strip()
        if not self.name:
            raise RuntimeError("it does not start")

    def make(self, source, kind, times, out):
        start, end = kind
        fields = [source.paths[start], source.width, end, *source.target, QUALITY, times, out]
        self.process.stdin.write("\t".join(map(str, fields)) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} gave up on {source.name} {start} > {end}")
        return float(line)


def contestants(wanted):
    commands = {
        "hayrick": [os.environ.get("BENCH_HAYRICK", ROOT / "target/release/examples/bench_images")],
        "sharp": ["node", HERE / "sharp.mjs", WORK / "sharp"],
        "libvips": [sys.executable, HERE / "peers.py", "vips"],
        "opencv-reduced": [sys.executable, HERE / "peers.py", "opencv-reduced"],
        "opencv": [sys.executable, HERE / "peers.py", "opencv"],
        "oximg": [WORK / "oximg/release/bench-oximg"],
    }
    found = []
    for key, command in commands.items():
        if wanted and key not in wanted:
            continue
        try:
            found.append(Contestant(key, command))
        except (OSError, RuntimeError) as error:
            print(f"skipped {key}: {error}", file=sys.stderr)
    return found


def score(reference, picture):
    """Both as PNG: some readers of the scorer's would decode WebP their own way."""
    png = picture.with_suffix(picture.suffix + ".png")
    Image.open(picture).convert("RGB").save(png)
    return compute_ssimulacra2(str(reference), str(png))


def run(sources, found, rounds):
    results = []
    for source in sources:
        for kind in KINDS:
            start, end = kind
            references = [source.reference(start, linear) for linear in (True, False)]
            cells = []
            for one in found:
                out = WORK / "pictures" / f"{source.name}-{start}-{end}-{one.key}.{EXTENSION[end]}"
                warm = one.make(source, kind, 2, out)
                cells.append((one, out, max(1, round(ROUND_MS / max(warm, 0.01))), []))
            for _ in range(rounds):
                for one, out, times, spent in cells:
                    spent.append(one.make(source, kind, times, out))
            for one, out, times, spent in cells:
                size = Image.open(out).size
                assert size == source.target, f"{one.name} made {size}, not {source.target}"
                result = {
                    "source": source.name,
                    "from": start,
                    "to": end,
                    "contestant": one.key,
                    "cpu_ms": statistics.median(spent),
                    "cpu_ms_min": min(spent),
                    "cpu_ms_max": max(spent),
                    "pictures": times * rounds,
                    "bytes": out.stat().st_size,
                    "ssimulacra2_linear": score(references[0], out),
                    "ssimulacra2_srgb": score(references[1], out),
                    "picture": out.name,
                }
                results.append(result)
                print(row(result), flush=True)
            print(flush=True)
    return results


HEAD = f"{'source':6} {'case':12} {'contestant':15} {'CPU ms':>8} {'min':>8} {'max':>8} {'bytes':>8} {'linear':>7} {'sRGB':>7}"


def row(result):
    case = f"{result['from']} > {result['to']}"
    return (
        f"{result['source']:6} {case:12} {result['contestant']:15} {result['cpu_ms']:8.2f} "
        f"{result['cpu_ms_min']:8.2f} {result['cpu_ms_max']:8.2f} {result['bytes']:8} "
        f"{result['ssimulacra2_linear']:7.2f} {result['ssimulacra2_srgb']:7.2f}"
    )


def machine():
    model = "unknown processor"
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].split(":")[1].strip() if lines else model
    return f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()} {platform.machine()}"


STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 84rem; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: .5rem 0 1rem } th, td { padding: .2rem .8rem; text-align: right }
th { border-bottom: 1px solid #999; font-weight: 600 } td:first-child, th:first-child { text-align: left }
tr.ours td { background: #e8f3e8 } td.best { font-weight: 700 }
.pictures { display: flex; flex-wrap: wrap; gap: .8rem } figure { margin: 0 } figcaption { font-size: 13px }
img { display: block; width: 400px; max-width: 90vw; height: auto } h2 { margin-top: 2.5rem }
"""


def page(report):
    text = html.escape
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>Pictures: CPU time and quality</title><style>{STYLE}</style><h1>Pictures: CPU time and quality</h1>",
        f"<p>{text(report['machine'])}; {text(report['date'])}. One thread each, {report['rounds']} rounds around all "
        f"contestants, to {WIDTH} pixels wide at quality {QUALITY}. CPU time is user and system, per picture: "
        "the median of the rounds, the fastest and the slowest. The score is SSIMULACRA2 (100: no difference) against "
        "a Lanczos-3 reduction of the whole picture in linear light, and in sRGB values.</p>",
        "<p>" + "; ".join(text(f"{key}: {name}") for key, name in report["versions"].items()) + ".</p>",
    ]
    cases = {}
    for result in report["results"]:
        cases.setdefault((result["source"], result["from"], result["to"]), []).append(result)
    for (source, start, end), results in cases.items():
        fastest = min(result["cpu_ms"] for result in results)
        best = max(result["ssimulacra2_linear"] for result in results)
        parts.append(f"<h2>{source}: {start} to {end}</h2><table><tr><th>contestant<th>CPU ms<th>fastest<th>slowest"
                     "<th>bytes<th>score, linear light<th>score, sRGB</tr>")
        for result in results:
            mark = lambda yes: " class=best" if yes else ""
            parts.append(
                f"<tr{' class=ours' if result['contestant'] == 'hayrick' else ''}><td>{text(result['contestant'])}"
                f"<td{mark(result['cpu_ms'] == fastest)}>{result['cpu_ms']:.2f}<td>{result['cpu_ms_min']:.2f}"
                f"<td>{result['cpu_ms_max']:.2f}<td>{result['bytes']:,}"
                f"<td{mark(result['ssimulacra2_linear'] == best)}>{result['ssimulacra2_linear']:.2f}"
                f"<td>{result['ssimulacra2_srgb']:.2f}</tr>"
            )
        parts.append("</table><div class=pictures>")
        shown = [("reference, linear light", f"{source}-{start}-linear.png")]
        shown += [(result["contestant"], result["picture"]) for result in results]
        for name, file in shown:
            parts.append(f"<figure><img loading=lazy src='pictures/{file}' alt='{text(name)}'>"
                         f"<figcaption>{text(name)}</figcaption></figure>")
        parts.append("</div>")
    return "\n".join(parts)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--only", nargs="*", help="contestants")
    arguments.add_argument("--sources", nargs="*", help="12MP, 2MP, 0.3MP")
    arguments = arguments.parse_args()
    for folder in ("sources", "pictures"):
        (WORK / folder).mkdir(parents=True, exist_ok=True)
    sources = {
        "12MP": lambda: Source("12MP", "astronaut_4000x3000.jpg"),
        "2MP": lambda: Source("2MP", "astronaut_4000x3000.jpg", (1632, 1224)),
        "0.3MP": lambda: Source("0.3MP", "rocket.jpg", (640, 427)),
    }
    sources = [make() for name, make in sources.items() if name in (arguments.sources or sources)]
    found = contestants(arguments.only)
    versions = {one.key: one.name for one in found}
    versions["sources and references"] = f"Pillow {features.version('pil')}"
    print(machine())
    print("\n".join(f"{key}: {name}" for key, name in versions.items()))
    print(HEAD)
    report = {
        "machine": machine(),
        "date": time.strftime("%Y-%m-%d"),
        "rounds": arguments.rounds,
        "versions": versions,
        "results": run(sources, found, arguments.rounds),
    }
    (WORK / "results.json").write_text(json.dumps(report, indent=1))
    (WORK / "index.html").write_text(page(report))
    print(f"pictures side by side: {WORK / 'index.html'}")


main()
