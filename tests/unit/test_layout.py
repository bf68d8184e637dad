"""The repository as a whole: its files, its documents, its requirements, and what must never stand in it."""

from __future__ import annotations

import datetime as dt
import re
import subprocess
from pathlib import Path

import pytest

from catalog_sync.cli import parser
from catalog_sync.contract.codes import Code

ROOT = Path(__file__).resolve().parents[2]

#: What the layout promises.
PATHS = (
    "dags/nightly_catalog_sync.py",
    "plugins/.airflowignore",
    "plugins/catalog_airflow_plugin.py",
    "plugins/catalog_airflow/__init__.py",
    "include/catalog_sync/__main__.py",
    "include/catalog_sandbox/__main__.py",
    "include/catalog_local/__main__.py",
    "include/config/catalog.yaml",
    "include/config/stores.csv",
    "include/sql/erp_items.sql",
    "include/cloudformation/catalog-sync.yaml",
    "tests/unit",
    "tests/dags",
    "tests/integration",
    "tests/e2e",
    "docs/decisions",
    "docs/configuration.md",
    "docs/contract.md",
    "docs/sandbox.md",
    "docker-compose.yaml",
    "requirements.txt",
    "requirements.in",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "Makefile",
    "pyproject.toml",
    ".ci/run",
    ".env.example",
)

#: Written so that no pattern finds itself. In examples the user of a machine is called somebody.
NEVER = {
    "a path of one machine": r"(?<![\w.*}])/(h[o]me|Us[e]rs|r[o]ot|w[o]rk)/(?!somebody\b)\w",
    "a package index": r"https?://[a-z0-9.-]*(pythonh[o]sted|pyp[i]\.org|npmj[s]|deb\.debi[a]n)|--(extra-)?ind[e]x-url",
    "unfinished work": r"\b(T[O]DO|FIXM[E]|XX[X])\b(?!-)",
    "a private key": r"-----BEGIN [A-Z ]*PRIV[A]TE KEY",
    "a merge conflict": r"^(<{7}|>{7}) ",
}

SECTIONS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security", "Behaviour changes")


def tracked() -> list[Path]:
    """Every file that git has, as it stands in the working tree."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [ROOT / name for name in listed.split("\0") if name]
    return [file for file in files if file.is_file()]


def documents() -> list[Path]:
    """Every tracked page."""
    return [file for file in tracked() if file.suffix == ".md"]


def direct(name: str) -> list[str]:
    """The lines of a requirements file that name a package."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.startswith(("#", "-"))]


def test_every_promised_file_is_there() -> None:
    """The layout is as documented; a folder counts only when git has something in it."""
    files = {str(file.relative_to(ROOT)) for file in tracked()}
    folders = {str(parent.relative_to(ROOT)) for file in tracked() for parent in file.parents if ROOT in parent.parents}
    assert sorted(set(PATHS) - files - folders) == []


@pytest.mark.parametrize("what", sorted(NEVER))
def test_nothing_stands_in_a_file_that_must_not(what: str) -> None:
    """No tracked text file has it."""
    pattern = re.compile(NEVER[what], re.MULTILINE)
    found = []
    for file in tracked():
        text = file.read_bytes().decode("utf-8", "replace")
        if "\0" not in text:
            found += [f"{file.relative_to(ROOT)}: {hit.group()}" for hit in pattern.finditer(text)]
    assert found == []


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("a path of one machine", "see " + "/ho" + "me/jane/catalog"),
        ("a package index", "https://files.python" + "hosted.org/packages"),
        ("unfinished work", "# TO" + "DO: mend"),
        ("a private key", "-----BEGIN RSA PRI" + "VATE KEY-----"),
        ("a merge conflict", "<" * 7 + " HEAD"),
    ],
)
def test_what_must_not_stand_there_would_be_found(what: str, text: str) -> None:
    """Each pattern finds an example of what it looks for."""
    assert re.search(NEVER[what], text)


def test_every_make_command_in_the_pages_exists() -> None:
    """A reader can type each ``make`` command; the targets say in ``make help`` what they do."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):.*## \S", makefile, re.MULTILINE))
    typed = {
        (str(page.relative_to(ROOT)), name)
        for page in documents()
        for name in re.findall(r"(?:`|^ {4}|^\$ )(?:[A-Z_]+=\S+ )*make ([a-z]+)", page.read_text("utf-8"), re.MULTILINE)
    }
    assert ("README.md", "run") in typed
    assert sorted((page, name) for page, name in typed if name not in targets) == []
    assert set(" ".join(re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)).split()) == targets


def test_every_command_line_in_the_pages_exists() -> None:
    """``python -m catalog_sync X`` is understood for each X that a page shows."""
    [commands] = [action.choices for action in parser()._actions if action.dest == "command"]
    typed = {name for page in documents() for name in re.findall(r"-m catalog_sync ([a-z-]+)", page.read_text("utf-8"))}
    assert {"check", "sync", "books"} <= typed
    assert typed <= set(commands or ())


def test_every_link_between_pages_leads_somewhere() -> None:
    """Relative links name files that git has."""
    files = {file.resolve() for file in tracked()} | {file.resolve().parent for file in tracked()}
    broken = [
        f"{page.relative_to(ROOT)}: {link}"
        for page in documents()
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8"))
        if "://" not in link and not link.startswith("mailto:") and (page.parent / link).resolve() not in files
    ]
    assert broken == []


def test_decision_records_are_numbered_without_gaps_and_have_their_sections() -> None:
    """0001, 0002, …, each once; the heading repeats the number; context, decision and consequences are there."""
    records = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(record.name[:4]) for record in records] == list(range(1, len(records) + 1))
    for record in records:
        text = record.read_text(encoding="utf-8")
        assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", record.name)
        assert text.startswith(f"# {record.name[:4]} ")
        assert re.search(r"^Status: (accepted|replaced by \d{4})$", text, re.MULTILINE), record.name
        headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
        assert {"Context", "Decision", "Consequences"} <= set(headings), record.name


def test_the_changelog_keeps_its_form() -> None:
    """Unreleased first, then versions with dates, newest first; every section has a known name and entries."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert text.startswith("# Changelog\n")
    first, *versions = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert first == "[Unreleased]"
    parsed = [re.fullmatch(r"\[\d+\.\d+\.\d+\] - (\d{4}-\d{2}-\d{2})", version) for version in versions]
    assert all(parsed), versions
    dates = [dt.date.fromisoformat(found[1]) for found in parsed if found]
    assert dates == sorted(dates, reverse=True)
    sections = re.findall(r"^### (.*)\n\n(.)", text, re.MULTILINE)
    assert {name for name, _ in sections} <= set(SECTIONS)
    assert "Behaviour changes" in {name for name, _ in sections}
    assert {begin for _, begin in sections} == {"-"}
    assert len(sections) == text.count("\n### ")


def test_the_changelog_counts_the_rules_right() -> None:
    """The number of rules is that of the codes."""
    assert f"The contract: {len(Code)} rules" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_requirements_are_pinned_without_index_or_hash(name: str) -> None:
    """Each line is one version of one package, perhaps with a marker."""
    lines = direct(name)
    wrong = [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[\w.!+]+( ; .+)?", line)]
    assert wrong == []
    assert len(lines) > 10


def test_every_direct_dependency_has_a_reason() -> None:
    """Each line says why it is there."""
    assert [line for line in direct("requirements.in") if not re.search(r"  # \w", line)] == []


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_every_direct_dependency_is_pinned(name: str) -> None:
    """The compiled file is not older than what was asked for."""
    pinned = {line.partition("==")[0] for line in direct(f"{name}.txt")}
    asked = {re.split(r"[\[<>=~!; ]", line, maxsplit=1)[0].lower().replace("_", "-") for line in direct(f"{name}.in")}
    assert sorted(asked - pinned) == []
