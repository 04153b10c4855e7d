"""The house: rooms import in one direction only, and each big library enters by one door."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "raysign"
ROOMS = [
    "errors",
    "remote",
    "pace",
    "kinds",
    "trees",
    "config",
    "bones",
    "skeleton",
    "graph",
    "schema",
    "store",
    "engine",
    "sources",
    "extract",
    "clips",
    "writers",
    "models",
    "learn",
    "report",
    "infer",
    "serve",
    "checks",
    "forecast",
    "pipeline",
    "experiments",
    "views",
    "bench",
    "cli",
]
DOORS = {
    "mediapipe": {"extract/landmarker.py", "extract/assemble.py"},
    "torchvision": {"extract/inception.py"},
    "mlflow": {"learn/mlflow_server.py", "learn/tracking.py", "infer/registry.py", "infer/pyfunc.py"},
    "ray.train": {"learn/distribute.py"},
    "ray.data": {"engine.py"},
    "ray.tune": {"learn/trials.py"},
    "ray.serve": {"serve/deploy.py"},
    "fastapi": {"serve/app.py", "serve/service.py"},
    "optuna": {"learn/study.py"},
    "onnxruntime": {"infer/parity.py"},
}
FILES = sorted(ROOT.rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Every module a file imports anywhere, late imports included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_room_imports_only_from_the_rooms_before_it(path):
    if room(path) == "__init__":
        return
    own = ROOMS.index(room(path))
    for module in imports(path):
        parts = module.split(".")
        if parts[0] == "raysign" and len(parts) > 1 and parts[1] in ROOMS:
            late = room(path) == "trees" and parts[1] == "sources"  # the path of a source, given without its kind
            assert ROOMS.index(parts[1]) <= own or late, f"{room(path)} imports {module}"


@pytest.mark.parametrize(("library", "doors"), DOORS.items(), ids=DOORS)
def test_a_big_library_enters_by_its_door_only(library, doors):
    entered = {
        path.relative_to(ROOT).as_posix()
        for path in FILES
        if any(module == library or module.startswith(library + ".") for module in imports(path))
    }
    assert entered <= doors


def test_every_room_is_in_the_law():
    assert {room(path) for path in FILES} - {"__init__"} <= set(ROOMS)
