"""How the folders may import each other, and that each module with logic has a test file of its own.

The order of floors and wings is the one that `docs/architecture.md` draws. An import inside a function counts like one
at the top of the file; one under `if TYPE_CHECKING` counts as well.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# What each floor may import beside itself.
FLOORS: dict[str, set[str]] = {
    "index": set(),
    "retrieval": {"index"},
    "mining": {"index", "retrieval"},
    "customize": {"index", "retrieval", "mining"},
    "scenes": {"index"},
    "jobs": {"index", "retrieval", "customize", "mining", "scenes"},
    "clipmine": {"index", "retrieval", "customize", "mining", "jobs"},
}
# The wings of each floor, upper ones first: a wing imports only those after it. A floor's files outside the wings may
# stand between them; no circle may lead through such a file.
WINGS = {
    "index": ["duplicates", "graph", "store", "corpus", "encoder"],
    "retrieval": ["client", "service", "export", "search"],
    "mining": ["pages", "annotate", "chat", "export", "select", "strategies", "sets", "text"],
    "customize": ["lmm", "clip"],
    "jobs": ["commands", "demo", "serve_ray", "executors"],
    "scenes": ["gallery", "training", "held_out", "comparing", "language", "drawing", "world", "shapes"],
}
# The wings of `customize/lmm`, in the same order; `train` and `evaluate` do not import each other.
LMM_WINGS = ["evaluate", "train", "data", "model"]
# A module has logic when it holds one of these.
LOGIC = (ast.If, ast.For, ast.While, ast.Try, ast.With, ast.comprehension, ast.IfExp, ast.BoolOp)


@cache
def modules() -> dict[str, Path]:
    """All modules of the floors by dotted name; a package stands for its `__init__.py`."""
    found = {"clipmine": ROOT / "clipmine.py"}
    for floor in FLOORS:
        for file in (ROOT / floor).rglob("*.py"):
            found[".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")] = file
    return found


@cache
def imports(module: str) -> frozenset[str]:
    """The modules of the floors that `module` imports, anywhere in its file."""
    known = modules()
    found: set[str] = set()
    for node in ast.walk(ast.parse(known[module].read_text())):
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for name in node.names:
                inner = f"{node.module}.{name.name}"
                found.add(inner if inner in known else node.module)
    return frozenset(name for name in found if name in known and name != module)


def is_package(module: str) -> bool:
    return modules()[module].name == "__init__.py"


def find_circle(graph: dict[str, set[str]]) -> list[str]:
    """One circle of the graph as a list that begins and ends with the same name; [] where there is none."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for other in sorted(graph.get(name, ())):
            if circle := visit(other, [*path, name]):
                return circle
        done.add(name)
        return []

    return next((circle for name in sorted(graph) if (circle := visit(name, []))), [])


def unit(module: str) -> str:
    """A module's wing (`index.graph`), or itself where it is a file outside the wings (`index.files`)."""
    return ".".join(module.split(".")[:2])


def test_a_circle_is_found() -> None:
    assert find_circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == ["b", "c", "b"]
    assert find_circle({"a": {"b", "c"}, "b": {"c"}}) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert find_circle({name: set(imports(name)) for name in modules() if not is_package(name)}) == []


@pytest.mark.parametrize("floor", FLOORS)
def test_a_floor_imports_only_lower_floors(floor: str) -> None:
    wrong = [
        f"{name} imports {other}"
        for name in modules()
        if name.split(".")[0] == floor
        for other in imports(name)
        if other.split(".")[0] not in FLOORS[floor] | {floor}
    ]
    assert wrong == []


def test_nothing_but_the_door_imports_the_jobs() -> None:
    importers = {name.split(".")[0] for name in modules() for other in imports(name) if other.split(".")[0] == "jobs"}
    assert importers <= {"jobs", "clipmine"}


def test_the_scenes_know_only_the_errors_of_the_engine() -> None:
    foreign = {other for name in modules() if name.startswith("scenes") for other in imports(name)}
    assert {other for other in foreign if not other.startswith("scenes")} <= {"index.errors"}


@pytest.mark.parametrize("floor", WINGS)
def test_every_wing_has_its_place_in_the_order(floor: str) -> None:
    folders = {folder.name for folder in (ROOT / floor).iterdir() if (folder / "__init__.py").exists()}
    assert folders == set(WINGS[floor])


@pytest.mark.parametrize("floor", WINGS)
def test_wings_import_only_lower_wings(floor: str) -> None:
    order = [f"{floor}.{wing}" for wing in WINGS[floor]]
    wrong = [
        f"{name} imports {other}"
        for name in modules()
        if unit(name) in order
        for other in imports(name)
        if unit(other) in order and order.index(unit(other)) < order.index(unit(name))
    ]
    assert wrong == []


def test_the_wings_of_multimodal_models_import_only_lower_wings() -> None:
    order = [f"customize.lmm.{wing}" for wing in LMM_WINGS]
    wing_of = {name: ".".join(name.split(".")[:3]) for name in modules()}
    wrong = [
        f"{name} imports {other}"
        for name in modules()
        if wing_of[name] in order
        for other in imports(name)
        if wing_of[other] in order and order.index(wing_of[other]) < order.index(wing_of[name])
    ]
    folders = {folder.name for folder in (ROOT / "customize" / "lmm").iterdir() if (folder / "__init__.py").exists()}
    assert wrong == []
    assert folders == set(LMM_WINGS)


@pytest.mark.parametrize("floor", WINGS)
def test_no_circle_leads_through_a_floors_wings_and_files(floor: str) -> None:
    graph: dict[str, set[str]] = {}
    for name in modules():
        if name.split(".")[0] == floor and name != floor and not is_package(name):
            graph.setdefault(unit(name), set()).update(
                unit(other) for other in imports(name) if other.startswith(f"{floor}.") and unit(other) != unit(name)
            )
    assert find_circle(graph) == []


def has_logic(module: str) -> bool:
    """Whether a function or method of the module holds a branch, a loop, a comprehension or the like."""
    functions = [
        node
        for node in ast.walk(ast.parse(modules()[module].read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return any(isinstance(inner, LOGIC) for function in functions for inner in ast.walk(function))


def mirror(module: str) -> Path:
    """Where a module's tests are: index/corpus/tars.py -> tests/index/corpus/test_tars.py."""
    file = modules()[module].relative_to(ROOT)
    return ROOT / "tests" / file.parent / f"test_{file.name}"


@pytest.mark.parametrize("module", sorted(name for name in modules() if not is_package(name) and has_logic(name)))
def test_a_module_with_logic_has_its_mirror_test(module: str) -> None:
    assert mirror(module).exists(), f"write {mirror(module).relative_to(ROOT)}"


def test_every_test_file_mirrors_a_module() -> None:
    """But for tests of the repository as a whole, and those of the pages, whose scripts are not Python."""
    of_the_whole = {
        f"test_{name}.py"
        for name in (
            "architecture", "benchmarks", "change_sequences", "cluster_files", "docs", "localized_narratives",
            "object_store", "old_outputs", "package_data", "proxy_files", "react_gain", "react_imagenet",
            "repository", "service_attack",
        )
    }  # fmt: skip
    mirrors = {mirror(name) for name in modules()}
    strays = [
        str(file.relative_to(ROOT))
        for file in (ROOT / "tests").rglob("test_*.py")
        if file not in mirrors and file.name not in of_the_whole and not file.name.startswith("test_page")
    ]
    assert strays == []
