"""What must hold for every file of the repository. Reads tracked and new files, as git lists them."""

import ast
import filecmp
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import LONGEST_FIRST

ROOT = Path(__file__).parents[2]
PACKAGES = ("sojourn", "replay", "actors", "learners")
LONGEST_FILE = 400  # lines; look twice at 200
LISTS = {"sojourn/metrics.py"}  # one entry a series
LONGEST_BODY = 50  # lines of a function, its docstring included; look twice at 15


def files(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *patterns],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    found = sorted(ROOT / name for name in listed.split("\0") if name)
    return [file for file in found if file.is_file() and "_pb2" not in file.name]


PYTHON = files("*.py")
PAGES = files("*.md")


def named(file: Path) -> str:
    return str(file.relative_to(ROOT))


def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(), filename=str(file))


def test_the_lists_are_not_empty():
    assert len(PYTHON) > 50
    assert len(PAGES) > 10


@pytest.mark.parametrize("file", PYTHON, ids=named)
def test_a_python_file_keeps_the_rules(file):
    broken = []
    for node in ast.walk(tree(file)):
        match node:
            case ast.Import(names=names) if {alias.name for alias in names} & {"pickle", "dill", "cloudpickle"}:
                broken.append((node.lineno, "pickle is not used"))
            case ast.ImportFrom(module="pickle" | "dill" | "cloudpickle"):
                broken.append((node.lineno, "pickle is not used"))
            case ast.ImportFrom(level=level) if level:
                broken.append((node.lineno, "imports are absolute"))
            case ast.ImportFrom(names=[ast.alias(name="*")]):
                broken.append((node.lineno, "no star imports"))
            case ast.ExceptHandler(type=None):
                broken.append((node.lineno, "no bare except"))
            case ast.keyword(arg="shell", value=ast.Constant(value=True)):
                broken.append((node.lineno, "no shell=True"))
            case ast.Name(id="NotImplementedError"):
                broken.append((node.lineno, "no stubs"))
            case (
                ast.FunctionDef(body=[first, *_], end_lineno=int(end))
                | ast.AsyncFunctionDef(body=[first, *_], end_lineno=int(end))
            ):
                if end - first.lineno + 1 > LONGEST_BODY:
                    broken.append((node.lineno, f"{node.name} has {end - first.lineno + 1} lines"))
    assert broken == []


@pytest.mark.parametrize("file", files(*(f"{package}/*.py" for package in PACKAGES)), ids=named)
def test_a_module_says_what_it_answers_and_is_short(file):
    text = file.read_text()
    assert ast.get_docstring(tree(file)), "the first line of a module says which question it answers"
    assert text.count("\n") <= LONGEST_FILE or named(file) in LISTS


@pytest.mark.parametrize("word", ["TO" + "DO", "FIX" + "ME", "X" * 3])
def test_nothing_is_left_for_later(word):
    left = [named(file) for file in PYTHON if re.search(rf"\b{word}\b", file.read_text())]
    assert left == []


@pytest.mark.parametrize(
    "name", ["utils", "util", "common", "helpers", "helper", "misc", "manager", "handler", "trainer", "agent"]
)
def test_no_file_has_a_name_that_says_nothing(name):
    assert [named(file) for file in PYTHON if file.stem == name or file.parent.name == name] == []


def test_test_folders_are_no_packages_and_file_names_are_unique():
    tests = files("tests/*.py")
    assert [named(file) for file in tests if file.name == "__init__.py"] == []
    names = [file.name for file in tests if file.name.startswith("test_")]
    assert sorted(set(names)) == sorted(names)


def test_files_that_run_first_are_there():
    assert set(LONGEST_FIRST) <= {file.name for file in files("tests/*.py")}


def test_generated_protobuf_code_is_current(tmp_path):
    flags = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]
    sources = sorted(f"protos/{file.name}" for file in (ROOT / "protos").glob("*.proto"))
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", "-I.", *flags, *sources], cwd=ROOT, check=True)
    fresh = sorted(file.name for file in (tmp_path / "protos").iterdir())
    assert fresh == sorted(file.name for file in (ROOT / "protos").glob("*_pb2*"))
    _, differing, missing = filecmp.cmpfiles(tmp_path / "protos", ROOT / "protos", fresh, shallow=False)
    assert (differing, missing) == ([], []), "make proto"


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower().replace("`", "")).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_of_a_page_lead_somewhere(page):
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    lost = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        if not linked.exists() or (anchor and linked.suffix == ".md" and anchor not in anchors(linked)):
            lost.append(target)
    assert lost == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_files_that_a_page_names_exist(page):
    pattern = r"`((?:sojourn|replay|actors|learners|protos|configs|tests|docs|benchmarks)/[\w./-]+\.(?:py|proto|md|yaml))`"
    missing = [name for name in re.findall(pattern, page.read_text()) if not (ROOT / name).exists()]
    assert missing == []


def test_no_registry_is_named_but_pytorchs_in_the_makefile():
    hosts = re.compile(r"https?://[\w.-]*(?:pypi|pytorch|index|registry|mirror)[\w.-]*", re.IGNORECASE)
    found = {
        named(file): hosts.findall(file.read_text()) for file in files("*.md", "*.py", "*.toml", "*.txt", "Makefile", ".ci/*")
    }
    named_hosts = {name: hits for name, hits in found.items() if hits and name != named(Path(__file__))}
    assert named_hosts == {"Makefile": ["https://download.pytorch.org"]}


def test_pins_name_every_requirement_once():
    pins = [
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    ]
    assert sorted(set(pins)) == sorted(pins)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = [re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-") for requirement in wanted]
    assert [name for name in names if name not in pins] == []
