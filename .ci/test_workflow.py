"""Tests that GitHub accepts the workflow, and that each command in it exists."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from conftest import ROOT

from app.safe_migrations.commands.group import group
from app.safe_migrations.tests.support import SERVERS, Project

WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
# Programs of GitHub's runner that may be missing where the tests run.
OF_RUNNER = ("sudo", "apt-get", "pip")
# docs.github.com, "Workflow syntax for GitHub Actions": the keys of a job, of a service and of a step.
KEYS = {
    "workflow": {"name", "on", "permissions", "jobs", "env", "concurrency", "defaults", "run-name"},
    "job": {"name", "runs-on", "strategy", "services", "env", "steps", "needs", "if", "timeout-minutes", "permissions"},
    "service": {"image", "env", "ports", "options", "volumes", "credentials"},
    "step": {"name", "id", "if", "uses", "with", "run", "env", "shell", "working-directory", "timeout-minutes"},
}


class Loader(yaml.BaseLoader):
    """A loader that takes each value for text (YAML reads `on` as true), and refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping; fail if a key occurs twice."""
        keys = [key.value for key, _ in node.value]
        assert sorted(set(keys)) == sorted(keys), node.start_mark
        return super().construct_mapping(node, deep)


def job() -> dict[str, Any]:
    """Return the workflow's only job."""
    workflow = yaml.load(WORKFLOW.read_text(encoding="utf-8"), Loader)
    assert set() == set(workflow) - KEYS["workflow"]
    assert {"push": {"branches": ["main"]}, "pull_request": ""} == workflow["on"]
    (found,) = workflow["jobs"].values()
    assert isinstance(found, dict)
    return found


def lines() -> list[str]:
    """Return the commands of the workflow's steps, with the values of the matrix's first leg."""
    values: dict[str, str] = job()["strategy"]["matrix"]["include"][0]
    found = [line for step in job()["steps"] for line in step.get("run", "").splitlines()]
    return [re.sub(r"\$\{\{ matrix\.(\w+) \}\}", lambda name: values[name[1]], line) for line in found]


def test_keys() -> None:
    """Each key is one of GitHub's, and each step either runs a line or uses an action at a version."""
    assert set() == set(job()) - KEYS["job"]
    assert set() == {key for service in job()["services"].values() for key in service} - KEYS["service"]
    assert set() == {key for step in job()["steps"] for key in step} - KEYS["step"]
    assert [1] * len(job()["steps"]) == [("run" in step) + ("uses" in step) for step in job()["steps"]]
    actions = [step["uses"] for step in job()["steps"] if "uses" in step]
    assert actions == [action for action in actions if re.fullmatch(r"[\w./-]+@v\d+", action)]


def test_expressions() -> None:
    """Each value of the matrix that an expression reads is in each leg."""
    names = set(re.findall(r"matrix\.(\w+)", WORKFLOW.read_text(encoding="utf-8")))
    legs = job()["strategy"]["matrix"]["include"]
    assert [names] * len(legs) == [set(leg) for leg in legs]


def test_databases() -> None:
    """There is a leg for each database, at the port of its service, and the variables are those that the tests read."""
    found = {leg["database"]: leg["server"] for leg in job()["strategy"]["matrix"]["include"]}
    ports = {name: int(service["ports"][0].split(":")[0]) for name, service in job()["services"].items()}
    assert {"mysql", "mariadb", "postgresql"} == set(found) == set(ports)
    assert ports == {name: int(server.rpartition(":")[2]) for name, server in found.items()}
    assert set(found) == {server.partition(":")[0] for server in found.values()}
    assert {"DATABASE_URL", *SERVERS.values()} == set(job()["env"])


@pytest.mark.parametrize("line", lines())
def test_commands(line: str) -> None:
    """Each command exists: a program, a file or a folder that it names, a `flask db` command with its options."""
    program, *words = shlex.split(line)
    assert program in OF_RUNNER or shutil.which(program), line
    if [program, *words[:2]] == ["python", "-m", "pytest"]:
        assert [True, True] == [(ROOT / name).is_dir() for name in words[2:] if not name.startswith("-")]
    if program == "pip":
        assert (ROOT / words[-1]).is_file()
    if program == "flask":
        command = group.get_command(click.Context(group), words[1])
        assert command, line
        command.make_context(words[1], words[2:])


def test_lines_run(tmp_path: Path, project: Project) -> None:
    """The `flask db` lines succeed in a git repository whose origin has a branch main."""
    (project.path / ".gitignore").write_text("app/safe_migrations\ninstance\n__pycache__\n")
    commit = ["-c", "user.name=x", "-c", "user.email=x@y", "commit", "-q", "-m", "Begin"]
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    origin = ["update-ref", "refs/remotes/origin/main", "main"]
    for args in (["init", "-q", "-b", "main"], ["add", "."], commit, origin):
        subprocess.run(["git", *args], cwd=project.path, env=environ, check=True)
    ran = [shlex.split(line)[2:] for line in lines() if line.startswith("flask db ")]
    assert ["upgrade", "check", "review"] == [args[0] for args in ran]
    for args in ran:
        project.ok(*args)


def test_without_the_package(tmp_path: Path) -> None:
    """Taking the package out, as its README says, removes the one workflow line that needs the package."""
    ignored = shutil.ignore_patterns(".git", ".venv", "instance", "__pycache__")
    shutil.copytree(ROOT, tmp_path / "clone", ignore=ignored)
    project = Project(tmp_path / "clone", {})
    project.take_out()
    before, after = WORKFLOW.read_text(), (project.path / WORKFLOW.relative_to(ROOT)).read_text()
    assert [line for line in before.splitlines() if "flask db review" not in line] == after.splitlines()
    assert [WORKFLOW.name] == [path.name for path in (project.path / ".github" / "workflows").iterdir()]
