"""The alert rules and the dashboard of the documentation: every metric, label and value they name exists."""

import json
import re
import shutil
import subprocess

import pytest
import yaml
from support.modules import ROOT

from walstream.ops.figures import STATUSES
from walstream.ops.metric_table import WAL_STATUSES
from walstream.ops.metrics import names
from walstream.ops.observer import RECEIVER, REPOSITORY

RULES = ROOT / "docs" / "monitoring" / "alerts.yaml"
DASHBOARD = ROOT / "docs" / "monitoring" / "grafana.json"
SCRAPED = {"job", "instance"}


def rules():
    (group,) = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return group["rules"]


def dashboard():
    return json.loads(DASHBOARD.read_text(encoding="utf-8"))


def queries():
    """Every expression, by where it stands."""
    found = {rule["alert"]: rule["expr"] for rule in rules()}
    for panel in dashboard()["panels"]:
        found |= {f"{panel['title']} {target['refId']}": target["expr"] for target in panel["targets"]}
    variables = dashboard()["templating"]["list"]
    return found | {each["name"]: each["definition"] for each in variables if each["type"] == "query"}


def values_of(metric, label):
    """The values that a label can have; None when any text will do."""
    if label == "status":
        return set(WAL_STATUSES if "slot" in metric else STATUSES)
    return {RECEIVER, REPOSITORY} if label == "part" else None


@pytest.mark.parametrize(("place", "query"), queries().items(), ids=lambda each: each[:30])
def test_every_metric_and_label_of_a_query_exists(place, query):
    named = re.findall(r"\b(walstream_\w+)\s*(?:\{([^}]*)\})?", query)
    assert named and {name for name, _ in named} <= set(names())
    for name, matchers in named:
        for label, value in re.findall(r'(\w+)\s*[!=]~?\s*"([^"]*)"', matchers):
            assert label in names()[name], f"{name} has no label {label}"
            known = values_of(name, label)
            assert known is None or set(value.split("|")) <= known
    for labels in re.findall(r"\b(?:on|by|ignoring|without)\s*\(([^)]*)\)", query):
        assert {each.strip() for each in labels.split(",")} <= SCRAPED | {"server", "status", "item", "part"}


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_says_of_which_server_how_bad_it_is_and_what_to_do(rule):
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert set(rule["annotations"]) == {"summary", "description"}
    fields = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
    (first, *_) = [name for name in names() if name in rule["expr"]]
    if "absent(" in rule["expr"]:
        assert not fields
    else:
        assert "server" in fields and fields <= set(names()[first]), rule["alert"]


def test_alerts_have_names_of_their_own():
    found = [rule["alert"] for rule in rules()]
    assert len(set(found)) == len(found) > 10


def test_panels_do_not_overlap_and_ask_the_chosen_data_source():
    taken = set()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken and at["x"] + at["w"] <= 24
        taken |= cells
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}" and "$server" in target["expr"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no Prometheus here")
def test_the_rules_are_what_prometheus_accepts():
    done = subprocess.run(["promtool", "check", "rules", str(RULES)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
