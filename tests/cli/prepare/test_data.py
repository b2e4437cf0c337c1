"""`semivl prepare data` without a dataset lists them all."""

import json

from typer.testing import CliRunner

from semivl_cli.cli.prepare import app


def test_the_datasets_are_listed_for_people_and_for_machines():
    shown = CliRunner().invoke(app, ["data"])
    listed = json.loads(CliRunner().invoke(app, ["data", "--json"]).stdout)
    assert shown.exit_code == 0
    assert {"shapes", "folder", "voc"} <= {entry["name"] for entry in listed}
    assert [line.split(":")[0] for line in shown.stdout.splitlines()] == [entry["name"] for entry in listed]
    assert all(entry["broken"] is None and entry["title"] for entry in listed)
