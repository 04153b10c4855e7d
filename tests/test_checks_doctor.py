"""The doctor: every line is ok or says how to mend it, whatever is broken."""

import socket

import pytest

from raysign import config
from raysign.checks import doctor


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYSIGN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def settings(*arguments: str) -> config.Config:
    return config.load(["source.kind=synthetic", *arguments])


def line(name: str, *arguments: str) -> doctor.Check:
    """The check called `name` under a config."""
    return next(check for check in doctor.checks(settings(*arguments)) if check.name == name)


def test_every_line_is_ok_or_says_how_to_mend_it(tmp_path):
    found = list(doctor.checks(settings(f"out={tmp_path / 'runs'}")))
    assert all(check.ok or check.fix for check in found)
    assert {"python", "ray", "mediapipe", "CPUs", "memory", "disk", "MLflow store"} <= {check.name for check in found}
    assert all(check.ok for check in found if check.name in ("python", *doctor.NAMED))


def test_looking_leaves_nothing_behind(tmp_path):
    list(doctor.checks(settings(f"out={tmp_path / 'results' / 'runs'}")))
    assert not (tmp_path / "results").exists()


def test_a_broken_config_still_prints_every_line(tmp_path):
    (tmp_path / "mlflow.db").write_text("no database, but long enough to be taken for something else " * 40)
    (tmp_path / "file").write_text("in the way of a folder")
    broken = settings(
        f"out={tmp_path / 'runs'}", f"extract.model={tmp_path / 'none.task'}", "train.device=cuda",
        "ray.address=127.0.0.1:1",
    )  # fmt: skip
    found = list(doctor.checks(broken))
    text = doctor.render(found)
    assert not doctor.ready(found)
    for name in ("model (extract.model)", "MLflow store", "cluster"):
        assert f"FIX   {name}" in text
    assert text.count("->") >= 3


@pytest.mark.parametrize("folder", ["a#b", "a?b", "a%20b"])
def test_a_store_is_found_by_any_path(tmp_path, folder):
    place = tmp_path / folder
    place.mkdir()
    (place / "mlflow.db").write_text("no database, but long enough to be taken for something else " * 40)
    check = line("MLflow store", f"mlflow.uri=sqlite:///{place / 'mlflow.db'}")
    assert (check.ok, "not a database" in check.found) == (False, True)
    assert [path.name for path in tmp_path.rglob("*")] == [folder, "mlflow.db"]


def test_an_output_folder_below_a_file_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    check = line("disk", f"out={tmp_path / 'file' / 'runs'}")
    assert not check.ok
    assert "out=" in check.fix


def test_a_check_that_breaks_is_a_line_and_the_others_follow(monkeypatch):
    monkeypatch.setattr(doctor, "_cpus", lambda _: 1 / 0)
    found = list(doctor.checks(settings()))
    broken = next(check for check in found if check.name == "CPUs")
    assert not broken.ok
    assert "ZeroDivisionError" in broken.found
    assert found[-1].name.startswith("cluster")


def test_a_missing_system_library_is_answered_with_the_apt_line(monkeypatch):
    monkeypatch.setattr(doctor, "LIBRARIES", {"libnone.so.9": "libnone9"})
    monkeypatch.setattr(doctor.sys, "platform", "linux")
    check = line("system libraries")
    assert not check.ok
    assert check.fix == "sudo apt-get install -y libnone9"


def test_an_mlflow_server_that_does_not_answer_is_named():
    check = line("MLflow store", "mlflow.uri=http://127.0.0.1:1")
    assert not check.ok
    assert "127.0.0.1:1" in check.found


def test_mlflow_switched_off_needs_no_store():
    assert line("MLflow store", "mlflow.enabled=false").ok


def test_a_cluster_that_listens_is_ok():
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert line("cluster", f"ray.address=127.0.0.1:{server.getsockname()[1]}").ok


def test_models_that_are_not_fetched_are_a_note_with_the_command(tmp_path):
    check = line("model holistic", f"out={tmp_path}")
    assert not check.ok
    assert not check.required
    assert "raysign models fetch holistic" in check.fix


def test_the_verdict_counts_what_is_required_only():
    found = [doctor.Check("a", False, "x", "do", required=False), doctor.Check("b", True, "y")]
    assert doctor.ready(found)
    assert "ready" in doctor.render(found)
