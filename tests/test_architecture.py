"""The house as DESIGN.md draws it, read from the source: floors, doors, and who may touch a hypervisor."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "webvirt"

FLOORS = {
    "hypervisor": 0,
    "models": 1,
    "bus": 1,
    "publicurl": 1,
    "migrations": 1,
    "services": 2,
    "web": 3,
    "api": 3,
    "realtime": 3,
    "consoleproxy": 3,
    "management": 3,
    "tasks": 3,
    "settings": 4,
    "urls": 4,
    "asgi": 4,
    "celery": 4,
    "lanes": 4,
    "logs": 4,
    "apps": 4,
}
"""Each part of the package stands on a floor; a new part has to be given one."""
DOORS = {name for name, floor in FLOORS.items() if floor == 3}
VOCABULARY = tuple(
    f"webvirt.hypervisor.{name}"
    for name in (
        "types",
        "errors",
        "addresses",
        "domain_rules",
        "network_rules",
        "pool_rules",
        "xml.displays",
        "xml.domain_copies",
        "xml.domains",
        "xml.filters",
        "xml.secrets",
    )
)
AT_HYPERVISORS = (
    "webvirt.hypervisor",
    "webvirt.services.runners",
    "webvirt.services.watcher",
    "webvirt.services.ourkey",
    "webvirt.consoleproxy",
)
"""Who may hold a live connection."""
UPWARD_ON_PURPOSE = {("webvirt.services.operations", "webvirt.celery")}
"""To send an operation's number by the task's name."""
COMMANDS_OF_DOORS = {("webvirt.management.commands.consoleproxy", "webvirt.consoleproxy")}
"""A command may start the door it is named after."""
MOST_LINES = 500
MOST_LINES_OF_A_FUNCTION = 60


@dataclass(frozen=True)
class Module:
    path: Path
    name: str
    tree: ast.Module

    @property
    def part(self) -> str:
        """`services` of `webvirt.services.access`; empty for the package itself."""
        return [*self.name.split("."), ""][1]

    @property
    def package(self) -> str:
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]

    def nodes(self, *kinds: type[ast.AST]) -> Iterator[ast.AST]:
        return (node for node in ast.walk(self.tree) if isinstance(node, kinds))


def read(path: Path) -> Module:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Module(path, name, ast.parse(path.read_text(), str(path)))


MODULES = [read(path) for path in sorted(PACKAGE.rglob("*.py"))]
NAMES = {module.name for module in MODULES}


def imported(module: Module) -> set[str]:
    """Full names of all that a module imports, wherever in it; of a package's part the part itself."""
    found: set[str] = set()
    for node in module.nodes(ast.Import, ast.ImportFrom):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = module.package.split(".")[: len(module.package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            parts = {f"{base}.{alias.name}" for alias in node.names}
            found |= {part if part in NAMES else base for part in parts}
    return found


def own(module: Module) -> set[str]:
    return {name for name in imported(module) if name == "webvirt" or name.startswith("webvirt.")}


def part_of(name: str) -> str:
    return [*name.split("."), ""][1]


def where(module: Module, node: ast.AST) -> str:
    return f"{module.path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"


def test_the_source_was_found() -> None:
    assert {"webvirt.services.catalogue", "webvirt.hypervisor.types", "webvirt.asgi"} <= NAMES


def test_every_part_stands_on_a_floor() -> None:
    parts = {module.part for module in MODULES} - {""}
    assert parts - FLOORS.keys() == set()


def test_nothing_is_imported_upward() -> None:
    upward = [
        f"{module.name} -> {name}"
        for module in MODULES
        for name in own(module)
        if module.part and part_of(name) and FLOORS[part_of(name)] > FLOORS[module.part]
        if (module.name, name) not in UPWARD_ON_PURPOSE
    ]
    assert upward == []


def test_doors_never_import_each_other() -> None:
    sideways = [
        f"{module.name} -> {name}"
        for module in MODULES
        for name in own(module)
        if {module.part, part_of(name)} <= DOORS and module.part != part_of(name)
        if not any(module.name == command and name.startswith(door) for command, door in COMMANDS_OF_DOORS)
    ]
    assert sideways == []


def test_imports_stand_at_the_top() -> None:
    inside = [
        where(module, node)
        for module in MODULES
        for function in module.nodes(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert inside == []


def test_nothing_is_imported_behind_our_back() -> None:
    """`__import__` and `importlib` would get around all of the above."""
    hidden = [
        where(module, node)
        for module in MODULES
        for node in module.nodes(ast.Name, ast.Attribute)
        if (node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")) in ("__import__", "import_module")
    ]
    assert hidden == []


@pytest.mark.parametrize("library", ["libvirt", "libvirt_qemu", "libvirtmod", "lxml"])
def test_one_room_touches_libvirt_and_its_xml(library: str) -> None:
    users = {module.name for module in MODULES if any(part_before(name) == library for name in imported(module))}
    assert {name for name in users if not name.startswith("webvirt.hypervisor")} == set()


def part_before(name: str) -> str:
    return name.partition(".")[0]


def test_the_hypervisor_room_knows_no_django() -> None:
    strangers = {"django", "channels", "celery", "redis", "ninja", "pydantic"}
    known = [
        f"{module.name} -> {name}"
        for module in MODULES
        if module.part == "hypervisor"
        for name in imported(module)
        if part_before(name) in strangers
    ]
    assert known == []


def test_live_connections_are_for_runners_watcher_and_console_proxy() -> None:
    holders = [
        f"{module.name} -> {name}"
        for module in MODULES
        if not module.name.startswith(AT_HYPERVISORS)
        for name in own(module)
        if part_of(name) == "hypervisor" and not name.startswith(VOCABULARY)
    ]
    assert holders == []


OPENERS = ("webvirt.services.runners", "webvirt.services.watcher", "webvirt.consoleproxy", "webvirt.management")
"""Who may open what `services.seals` closed."""


def test_secrets_are_opened_by_no_door_that_answers_people() -> None:
    opening = {"webvirt.services.unsealing"}
    found = [
        f"{module.name} -> {name}"
        for module in MODULES
        if not module.name.startswith(OPENERS)
        for name in own(module)
        if name in opening
    ]
    assert found == []


def test_the_web_process_never_loads_libvirt_nor_opens_secrets() -> None:
    program = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "webvirt.settings"
import django
django.setup()
import webvirt.asgi
import webvirt.services.operations
from django.urls import get_resolver
get_resolver().url_patterns
print(sorted(name for name in sys.modules if name.startswith(("libvirt", "webvirt.services.unsealing"))))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def calls(module: Module) -> Iterator[tuple[ast.Call, str]]:
    """Every call in a module with the name it calls by, as written: `time.sleep`."""
    for node in module.nodes(ast.Call):
        assert isinstance(node, ast.Call)
        yield node, ast.unparse(node.func)


def test_what_answers_people_never_sleeps() -> None:
    """Sockets wait with asyncio; nothing in the web process may block."""
    sleepers = [
        where(module, node)
        for module in MODULES
        if module.part in ("web", "api", "realtime")
        for node, name in calls(module)
        if name in ("time.sleep", "sleep")
    ]
    assert sleepers == []


def test_no_shell_ever() -> None:
    shells = [
        where(module, node)
        for module in [*MODULES, *map(read, sorted((ROOT / "deploy").rglob("*.py")))]
        for node, name in calls(module)
        if name in ("os.system", "os.popen", "eval", "exec", "subprocess.getoutput")
        or any(word.arg == "shell" for word in node.keywords)
    ]
    assert shells == []


def test_files_and_functions_fit() -> None:
    long = [
        f"{module.path.relative_to(ROOT)}: {len(lines)} lines"
        for module in MODULES
        # Django writes the migrations.
        if module.path.parent.name != "migrations"
        and (lines := module.path.read_text().splitlines())
        and len(lines) > MOST_LINES
    ]
    for module in MODULES:
        for node in module.nodes(ast.FunctionDef, ast.AsyncFunctionDef):
            assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MOST_LINES_OF_A_FUNCTION:
                long.append(f"{where(module, node)} {node.name}: {length} lines")
    assert long == []


def test_public_modules_say_what_they_are_for() -> None:
    silent = [
        str(module.path.relative_to(ROOT))
        for module in MODULES
        if module.tree.body and not ast.get_docstring(module.tree) and module.part != "migrations"
    ]
    assert silent == []


def test_consumers_share_nothing() -> None:
    """A mutable value on a consumer's class would be one for all sockets: somebody else's answer."""
    shared = [
        where(module, statement)
        for module in MODULES
        if module.part == "realtime"
        for node in module.nodes(ast.ClassDef)
        if isinstance(node, ast.ClassDef)
        for statement in node.body
        if isinstance(statement, ast.Assign | ast.AnnAssign)
        and isinstance(statement.value, ast.List | ast.Dict | ast.Set | ast.Call | ast.ListComp)
    ]
    assert shared == []


def test_the_version_is_said_once_and_the_same() -> None:
    says = {
        line.split('"')[1]
        for path, start in ((PACKAGE / "__init__.py", "__version__ ="), (ROOT / "pyproject.toml", "version ="))
        for line in path.read_text().splitlines()
        if line.startswith(start)
    }
    assert len(says) == 1
