"""The report as one page: the bars, then each case with plots and its table."""

import html
import io

import matplotlib

matplotlib.use("svg")

from matplotlib import pyplot

import report

OURS, THEIRS, LIMITS = "#2f7d4f", "#8a93a3", "#c9b27c"
# What is worth a plot, and whether more is better.
PLOTS = {
    "cpu_us": False,
    "requests_per_s": True,
    "mb_per_cpu_s": True,
    "p99_us": False,
    "puts_per_sync": True,
    "disk_reads": False,
    "disk_read_bytes": False,
    "disk_overhead_bytes": False,
    "first_read_s": False,
    "loaded_s": False,
    "mb_per_s": True,
}
MOST_PLOTS = 4

STYLE = """
:root { color-scheme: light }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #23262b }
h1 { font-size: 1.7rem; margin-bottom: .2rem } h2 { font-size: 1.15rem; margin: 2.6rem 0 .4rem }
table { border-collapse: collapse; margin: .5rem 0 1rem; font-variant-numeric: tabular-nums }
th, td { padding: .22rem .7rem; text-align: right; white-space: nowrap }
th { font-weight: 600; vertical-align: bottom }
thead tr:last-child th { border-bottom: 1px solid #b6bcc6 }
.unit th { font-weight: 400; color: #6b7280; font-size: 13px; padding-top: 0 }
td:first-child, th:first-child { text-align: left; padding-left: .4rem } tr.ours td { background: #eaf4ed }
.met, .missed, .not { border-radius: 4px; padding: 0 .5rem } .met { background: #d7efdf; color: #14532d }
.missed { background: #fbdfd9; color: #7f1d1d } .not { background: #eceef1; color: #4b5563 }
.scroll { overflow-x: auto } .scroll svg { max-width: 100%; height: auto } .left td { text-align: left; white-space: normal }
p.note { color: #4b5563; max-width: 60rem } nav a { margin-right: .8rem; white-space: nowrap }
"""


def page(found):
    text = html.escape
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>Hayrick beside its peers</title><style>{STYLE}</style><h1>Hayrick beside its peers</h1>",
        f"<p class=note>{text(found['machine']['processor'])}, {text(found['machine']['date'])}, revision "
        f"{text(found['machine']['revision'])}. All servers ran at the same time and were asked in turns, "
        f"{found['effort']['rounds']} rounds of {found['effort']['seconds']} s each, for the same bytes by the same client. "
        "A number is the median of the rounds; the thin lines in the plots go from the least to the most, which a "
        "table shows when the pointer rests on a number. "
        "CPU is user and system time of all of a server's processes for each request. "
        "<code>docs/performance.md</code> tells the method and its limits.</p>",
        "<nav>" + "".join(f"<a href='#{key}'>{text(key)}</a>" for key in found["results"]) + "</nav>",
        bars_table(found["bars"]),
    ]
    for key, results in found["results"].items():
        parts.append(f"<h2 id='{key}'>{text(found['titles'][key])}</h2>")
        if results:
            parts.append(f"<div class=scroll>{plots(results, found['names'])}{table(results, found['names'])}</div>")
        else:
            parts.append("<p class=note>No results; see the notes below.</p>")
    parts.append(about(found))
    return "\n".join(parts)


def bars_table(bars):
    rows = ["<h2>Bars</h2><table><thead><tr><th>what<th>ratio or value<th>bar<th></tr></thead>"]
    for bar in bars:
        value = "-" if bar["value"] is None else report.number(bar["value"], bar["unit"])
        verdict = report.verdict(bar)
        rows.append(
            f"<tr><td>{html.escape(bar['text'])}<td>{value}<td>{bar['how']} {report.number(bar['limit'], bar['unit'])}"
            f"<td><span class={verdict.split()[0]}>{verdict}</span></tr>"
        )
    return "".join(rows) + "</table>"


def table(results, names):
    columns = report.measures_of(results)
    head = "".join(f"<th>{column[1]}" for column in columns)
    units = "".join(f"<th>{column[2]}" for column in columns)
    rows = [f"<table><thead><tr><th>{head}</tr><tr class=unit><th>{units}</tr></thead>"]
    for key, result in results.items():
        cells = "".join(f"<td>{cell(result, column)}" for column in columns)
        rows.append(f"<tr{' class=ours' if is_ours(key) else ''}><td>{html.escape(names.get(key, key))}{cells}</tr>")
    return "".join(rows) + "</table>"


def cell(result, column):
    median = report.written(result, column)
    if len(result.get(column[0], {}).get("rounds", [])) < 2:
        return median
    least, most = (report.written(result, column, which) for which in ("min", "max"))
    return f"<span title='{least} to {most}'>{median}</span>"


def is_ours(key):
    return not key.startswith(("weed", "nginx", "cp")) and not is_limit(key)


def is_limit(key):
    return key in ("hyper", "axum")


def plots(results, names):
    columns = [column for column in report.measures_of(results) if column[0] in PLOTS]
    columns = sorted(columns, key=lambda column: list(PLOTS).index(column[0]))[:MOST_PLOTS]
    if not columns:
        return ""
    keys = list(reversed(results))
    figure, axes = pyplot.subplots(
        1, len(columns), figsize=(2.2 + 2.35 * len(columns), 0.75 + 0.3 * len(keys)), sharey=True, squeeze=False
    )
    for axis, column in zip(axes[0], columns):
        plot(axis, column, keys, results)
    axes[0][0].set_yticks(range(len(keys)), [names.get(key, key) for key in keys])
    figure.tight_layout(w_pad=1.2)
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    return out.getvalue()[out.getvalue().index("<svg") :]


def plot(axis, column, keys, results):
    name, heading, unit, form = column
    scale = report.SCALE.get(name, 1)
    largest = max(result[name]["max"] for result in results.values() if name in result) * scale
    for at, key in enumerate(keys):
        if name not in results[key]:
            continue
        found = results[key][name]
        colour = OURS if is_ours(key) else LIMITS if is_limit(key) else THEIRS
        axis.barh(at, found["median"] * scale, color=colour, height=0.62)
        axis.plot([found["min"] * scale, found["max"] * scale], [at, at], color="#23262b", linewidth=0.9)
        axis.text(
            max(found["max"], found["median"]) * scale + largest * 0.03,
            at,
            form.format(found["median"] * scale),
            va="center",
            fontsize=8,
        )
    axis.set_xlim(0, (largest or 1) * 1.35)
    axis.set_title(f"{heading}, {unit}\n{'more' if PLOTS[name] else 'less'} is better", fontsize=9)
    axis.spines[["top", "right", "bottom"]].set_visible(False)
    axis.set_xticks([])
    axis.tick_params(left=False, labelsize=9)


def about(found):
    text = html.escape
    rows = "".join(f"<tr><td>{text(name)}<td>{text(str(value))}</tr>" for name, value in found["machine"].items())
    versions = "".join(
        f"<tr><td>{text(key)}<td>{text(version)}<td>{text(settings)}</tr>"
        for key, (version, settings) in found["servers"].items()
    )
    notes = "".join(f"<li>{text(note)}</li>" for note in found["notes"])
    return f"<h2>Machine</h2><table class=left>{rows}</table><h2>Servers</h2><table class=left>{versions}</table>" + (
        f"<h2>Notes</h2><ul>{notes}</ul>" if notes else ""
    )
