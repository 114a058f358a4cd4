"""The READMEs name every command, setting and module, and what they name exists. Only CI runs it: yours may differ."""

import re
import shlex
import shutil
from pathlib import Path
from textwrap import dedent

import click
import pytest
from conftest import ROOT

from app.safe_migrations.commands.group import group
from app.safe_migrations.settings import DEFAULTS
from app.safe_migrations.tests.support import PACKAGE, Project

COMMANDS = {name: group.get_command(click.Context(group), name) for name in group.list_commands(click.Context(group))}
DOCUMENTS = ("README", "RULES", "GUARANTEES", "HISTORIES", "LARGE")
README = (ROOT / "README.md").read_text()
BLOCKS = [
    (language, dedent(text)) for language, text in re.findall(r"^ *```(\w+)\n(.*?)^ *```$", README, re.M | re.DOTALL)
]


def test_short() -> None:
    """At most 120 lines, and the first two blocks are one command line each: one installs, one tests."""
    start, tests = (text for language, text in BLOCKS[:2] if language == "sh")
    assert len(README.splitlines()) <= 120
    assert (1, 1) == (start.count("\n"), tests.count("\n"))
    assert "flask db upgrade" in start
    assert "pytest" in tests


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_told(name: str) -> None:
    """Each command of `flask db`."""
    assert f"flask db {name}" in README


def test_every_command_that_is_told_exists() -> None:
    """Each `flask db ...`, with its options."""
    for name, rest in re.findall(r"flask db (?:-x \S+ )*([a-z-]+)([^`\n|]*)", README):
        command = COMMANDS[name]
        assert command, name
        known = {option for param in command.params for option in param.opts}
        assert set() == {word for word in rest.split() if re.fullmatch(r"--?[a-z][a-z-]*", word)} - known, name


@pytest.mark.parametrize("file", ["README.md", ".env.example"])
def test_every_setting_is_told(file: str) -> None:
    """Each variable that config.py reads, and each setting of safe_migrations."""
    read = set(re.findall(r"\"((?:[A-Z]+_)+[A-Z]+)\"", (ROOT / "config.py").read_text()))
    read |= {f"MIGRATION_{name.upper()}" for name in DEFAULTS}
    assert set() == {name for name in read if not re.search(rf"\b{name}\b", (ROOT / file).read_text())}


def test_defaults() -> None:
    """The package's README has each of its settings with its default; it has at most 200 lines."""
    told = (PACKAGE / "README.md").read_text()
    rows = re.findall(r"^\| `MIGRATION_([A-Z_]+)` \| `?(\w*)`? ?\|", told, re.MULTILINE)
    assert {name: str(value or "") for name, value in DEFAULTS.items()} == {name.lower(): value for name, value in rows}
    assert len(told.splitlines()) <= 200


@pytest.mark.parametrize("name", ["README.md", *(f"app/safe_migrations/{name}.md" for name in DOCUMENTS)])
def test_links(name: str) -> None:
    """Each link to a file, and to a heading in it, leads somewhere."""
    file = ROOT / name
    for path, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)", file.read_text()):
        target = (file.parent / path) if path else file
        assert target.exists(), path
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_every_module_is_told() -> None:
    """Each module and each folder of safe_migrations stands in its README."""
    told = (PACKAGE / "README.md").read_text()
    modules = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py"}
    folders = {f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")}
    assert set() == {name for name in modules | folders if f"`{name}`" not in told}


@pytest.mark.parametrize("folder", ["adapters", "adapters/mysql", "adapters/postgresql", "adapters/sqlite"])
def test_every_module_of_a_folder_is_told(folder: str) -> None:
    """Each module of these folders stands in what their __init__.py says at its top, and nothing that is not there."""
    path = ROOT / "app" / "safe_migrations" / folder
    told = re.findall(r"\w+\.py", (path / "__init__.py").read_text().split('"""')[1])
    assert sorted(file.name for file in path.glob("*.py") if file.name != "__init__.py") == sorted(told)


def test_no_warnings(project: Project) -> None:
    """Nothing that the project does warns, where warnings are errors."""
    project.environ["PYTHONWARNINGS"] = "error"
    project.ok("upgrade")


def test_tests_pass_after_taking_it_out(tmp_path: Path) -> None:
    """What is left of the tests passes on the app with stock Flask-Migrate, as the package's README makes it.

    An import in the same line stays, wherever it stands. No test reads the project's README: it is yours to change.
    """
    ignored = shutil.ignore_patterns(".git", ".venv", "instance", "__pycache__", "*.pyc")
    shutil.copytree(ROOT, tmp_path / "clone", ignore=ignored)
    project = Project(tmp_path / "clone", {})
    factory = project.path / "app" / "__init__.py"
    factory.write_text(factory.read_text().replace("health, safe_migrations", "health, safe_migrations, shop"))
    project.write("app/shop.py", "")
    project.take_out()
    (project.path / "README.md").unlink()
    assert "from app import health, shop\n" in factory.read_text()
    done = project.run("pytest", "-q")
    assert (0, True) == (done.returncode, " passed" in done.stdout), done.stdout


def test_tour(project: Project) -> None:
    """The README's model, its migration, its page and its test work, with the commands and the output that it shows."""
    model, page, example = (text for language, text in BLOCKS if language == "python")
    (console,) = (text for language, text in BLOCKS if language == "console")
    models, factory = (project.path / "app" / name for name in ("models.py", "__init__.py"))
    models.write_text(models.read_text() + "\n\n" + model)
    project.write("app/pets.py", page)
    project.write("tests/test_pets.py", example)
    (add,) = re.findall(r"add `(app\.\w+\(\w+\.\w+\))`", README)
    wired = factory.read_text().replace("import health", "import health, pets")
    factory.write_text(wired.replace("    return app", f"    {add}\n    return app"))
    project.ok("upgrade")
    shown = [line.split("flask db ")[1] for line in console.splitlines() if line.startswith("$ flask db ")]
    said = "".join(project.ok(*shlex.split(line)) for line in shown)
    revision = re.findall(r"The database is at (\w+)", said)[-1]
    output = {line.replace("2bea3dc115f4", revision) for line in console.splitlines() if line.startswith("INFO")}
    assert set() == {line for line in output if "Database" not in line} - set(said.splitlines())
    done = project.run(
        "pytest", "tests/test_pets.py", "tests/test_migrations.py", "tests/test_revisions.py", "-k", "sqlite"
    )
    assert (0, True) == (done.returncode, "5 passed" in done.stdout), done.stdout
