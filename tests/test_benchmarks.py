"""What the benchmarks say of what they measured; that they run is seen by running them."""

import ast
import json
import re
import sys
import xml.etree.ElementTree as ElementTree

import pytest
from support.modules import ROOT

from benchmarks.clusters import PAGE, _add_large, _add_many, _content
from benchmarks.floor import SEGMENT, Segments
from benchmarks.measure import Comparison, Failed, Probe, Run, Side, compare
from benchmarks.profiles import profile, profiled
from benchmarks.report import BEGIN, END, About, Report, facts, plot, replaced, section, text
from benchmarks.row import ON_DISK, Limit, Row

BENCHMARKS = sorted((ROOT / "benchmarks").glob("bench_*.py"))
README = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
ABOUT = About("0.1", "3.11", "17.1", "a machine", 2, "2026-01-31", 10**9, 2 * 10**9, 3, 0.5)
NOWHERE = Limit("nowhere", "WAL to nowhere", 10**9, None)
FLOOR = Limit("floor", "the floor", 0, None)


def runs(*speeds, work=1):
    return tuple(Run(work / speed, 0.5, 100 << 20, work) for speed in speeds)


def row(what, goal, nbytes=10**9, limits=(NOWHERE,)):
    return Row(what, what, "theirs", ON_DISK, goal, nbytes, None, None, limits=limits)


@pytest.fixture
def report():
    reached = Comparison(runs(1.0, 1.1, 1.2), runs(1.0, 1.0, 1.0), {"nowhere": runs(2, 2, 2)})
    short = Comparison(runs(0.5, 0.5, 0.5), runs(1.0, 0.5, 1.0), {"nowhere": runs(1, 1, 1)})
    commits = Comparison(runs(90, work=900), runs(100, work=1000), {"floor": runs(95, work=950)})
    found = [(row("good", 1.0), reached), (row("bad", 1.2), short), (row("commits", 1, 0, (FLOOR,)), commits)]
    return Report(ABOUT, found)


def cells(report, first):
    (line,) = [line for line in text(report).splitlines() if line.startswith(first)]
    return re.split(r"\s{2,}", line)


def test_a_row_says_both_figures_their_ratio_and_how_much_of_its_limit_is_reached(report):
    good = ["good", "theirs", ON_DISK, "1100 MB/s", "1000 MB/s", "1.10", "1.00-1.20", "1.00", "55% nowhere"]
    assert cells(report, "good")[:9] == good
    assert cells(report, "commits")[3:9] == ["90 /s", "100 /s", "0.90", "0.90-0.90", "1.00 *", "95% floor"]


def test_a_row_that_falls_short_is_marked(report):
    assert cells(report, "bad")[5:8] == ["0.50", "0.50-1.00", "1.20 *"]


def test_a_limit_is_told_once_with_the_runs_of_all_rows_that_it_bounds(report):
    assert cells(report, "WAL to nowhere")[:4] == ["WAL to nowhere", "nowhere", "1500 MB/s", "1000-2000"]


def test_the_range_of_a_time_begins_with_the_shortest():
    start = Limit("start", "a start", SEGMENT, None)
    found = Comparison(runs(10, 20), runs(10, 10), {"start": runs(20, 5)})
    line = cells(Report(ABOUT, [(row("quick", 1.0, SEGMENT, (start,)), found)]), "a start")
    assert line[2:4] == ["80 ms", "50-200"]


def test_memory_is_marked_where_ours_is_what_needs_it():
    small, large = ((Run(1.0, 0.5, megabytes << 20),) for megabytes in (20, 151))
    ours, server = (row(what, 1.0, limits=()) for what in ("ours", "server"))
    found = [(ours, Comparison(large, small)), (server, Comparison(large, large))]
    assert text(Report(ABOUT, found)).count("151 : 20 *") == 1
    assert "151 : 151 *" not in text(Report(ABOUT, found))


def test_all_figures_of_all_runs_are_in_the_json(report):
    found = json.loads(json.dumps(facts(report)))
    assert (found["machine"], found["date"]) == ("a machine", "2026-01-31")
    bad = found["rows"][1]
    assert (bad["ratio"], bad["goal"], bad["limits"]) == (0.5, 1.2, {"nowhere": 0.5})
    assert [run["seconds"] for run in bad["theirs"]] == [1.0, 2.0, 1.0]
    assert len(found["limits"][0]["runs"]) == 6


def test_in_the_plot_a_bar_is_as_long_as_the_goal_is_reached_and_of_another_colour_when_it_is_not(report):
    bars = [
        bar for bar in ElementTree.fromstring(plot(report)).iter() if bar.get("class", "").startswith("bar")
    ]
    good, bad = bars[:2]
    assert float(good.get("width")) / float(bad.get("width")) == pytest.approx(1.1 / (0.5 / 1.2), rel=0.01)
    assert (good.get("class"), bad.get("class")) == ("bar blue", "bar orange")


def test_the_plot_names_each_row_and_each_limit_with_both_figures(report):
    texts = {each.text for each in ElementTree.fromstring(plot(report)).iter() if each.tag.endswith("}text")}
    assert {"good, synced", "WAL to nowhere", "the floor", "commits", "the goal"} <= texts
    assert "0.50 of 1.20  (500 MB/s : 1000 MB/s)" in texts


def test_figures_take_the_place_of_those_that_a_page_has(report):
    page = f"before\n\n{BEGIN}\n\nold\n\n{END}\n\nbehind\n"
    new = replaced(page, section(report))
    assert new.startswith("before") and new.endswith("behind\n") and "old" not in new
    assert "| good, synced | theirs | 1100 MB/s |" in new
    assert replaced(new, section(report)) == new


def test_a_page_without_a_place_for_figures_is_refused(report):
    with pytest.raises(ValueError):
        replaced("# Speed\n", section(report))


def test_the_page_about_speed_has_a_place_for_figures(report):
    assert "2026-01-31" in replaced((ROOT / "docs" / "speed.md").read_text(encoding="utf-8"), section(report))


class Counted:
    """A contender that notes when it runs."""

    def __init__(self, name, log):
        self.name, self.log = name, log

    def run(self):
        self.log.append(self.name)
        return Run(1.0, 0.0, 0)


def test_both_sides_and_what_limits_them_run_in_turn():
    log = []
    ours, theirs, limit = (Counted(name, log) for name in ("ours", "theirs", "limit"))
    found = compare(ours, theirs, 2, {"limit": limit})
    assert log == ["theirs", "ours", "limit"] * 2
    assert (len(found.ours), len(found.theirs), len(found.limits["limit"])) == (2, 2, 2)


@pytest.mark.parametrize(
    "words", [("hash", "sha256", "5000"), ("hash", "crc32c", "5000"), ("compress", "zstd")]
)
def test_a_probe_counts_the_bytes_that_it_handled(words, tmp_path):
    (tmp_path / "file").write_bytes(bytes(5000))
    files = [str(tmp_path / "file")] if words[0] == "compress" else []
    run = Probe([sys.executable, "-m", "benchmarks.probes", *words, *files], 10_000).run()
    assert run.work == 0.5
    assert run.seconds > 0


def test_a_probe_that_fails_is_told_with_what_it_said():
    with pytest.raises(Failed, match="no such thing"):
        Probe([sys.executable, "-c", "raise SystemExit('no such thing')"], 1).run()


def test_a_program_of_ours_is_run_under_the_profiler_and_no_other_one(tmp_path):
    path = tmp_path / "profile"
    ours, theirs = [sys.executable, "-m", "walstream", "--version"], ["pg_receivewal", "--version"]
    assert profiled(theirs, path) == theirs
    assert profile(Side("ours", lambda: ours), path)
    assert "function calls" in path.read_text()
    assert not profile(Side("theirs", lambda: ["true"]), path)


def test_the_floor_writes_each_byte_into_its_segment(tmp_path):
    segments = Segments(str(tmp_path))
    segments.write(7 * SEGMENT - 3, memoryview(b"abcdef"))
    segments.write(7 * SEGMENT + 3, memoryview(b"ghi"))
    first, second = (tmp_path / name for name in ("6", "7"))
    assert first.read_bytes() == bytes(SEGMENT - 3) + b"abc"
    assert second.read_bytes() == b"defghi" + bytes(SEGMENT - 6)


def test_a_cluster_is_made_as_large_as_asked_for_and_a_large_one_in_several_files(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.clusters.TABLE_FILE", 4 << 20)
    (tmp_path / "base" / "1").mkdir(parents=True)
    _add_large(10 << 20, tmp_path / "base" / "1")
    assert _content(tmp_path) == (3, 10 << 20)


def test_a_cluster_has_as_many_files_as_asked_for(tmp_path):
    (tmp_path / "base" / "1").mkdir(parents=True)
    _add_many(300, tmp_path / "base" / "1")
    assert _content(tmp_path) == (300, 300 * PAGE)


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_a_benchmark_of_single_functions_asks_one_question_and_is_listed(path):
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring.split("\n\n")[0].count("?") == 1
    assert f"`{path.name}`" in README
