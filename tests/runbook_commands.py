"""The commands that the pages for people show, as they would be typed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1] / "docs"
INDEX = DOCS / "runbooks" / "README.md"
PAGES = sorted(page for page in (DOCS / "runbooks").glob("*.md") if page != INDEX)

OURS = "PYTHONPATH=include python -m catalog_sync "
DEPLOY = "PYTHONPATH=include python -m catalog_local.deploy "
#: Options of the AWS command line itself, beside those of an operation.
GLOBAL = {"query", "output", "region", "profile", "no-cli-pager"}


def commands(page: Path) -> list[str]:
    """Return the commands in the page's code blocks, continued lines joined and comments left out."""
    prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    lines = re.findall(r"^ {4,}(\S.*)$", prose, re.MULTILINE)
    text = "\n".join(lines).replace("\\\n", "")
    return [re.sub(r"\s+# .*$", "", line).strip() for line in text.splitlines()]


def aws_calls(command: str) -> Iterator[list[str]]:
    """Yield the words of each call of the AWS command line in the command, those within ``$( )`` first."""
    while inner := re.search(r'"?\$\(([^()]*)\)"?', command):
        yield shlex.split(inner[1])
        command = command[: inner.start()] + "INNER" + command[inner.end() :]
    yield shlex.split(command)


def wrong_with(words: list[str]) -> str:
    """Return what is wrong with a call of the AWS command line, going by botocore's model of the service."""
    import botocore.session
    from botocore import xform_name

    _, service, operation, *rest = words
    if (service, operation) in {("s3", "cp"), ("s3", "ls")}:  # commands of the tool itself, which no model describes
        return "" if all(word in {"--recursive"} for word in rest if word.startswith("--")) else f"options of {words}"
    model = botocore.session.get_session().get_service_model(service)
    names = {xform_name(name, "-"): name for name in model.operation_names}
    if operation not in names:
        return f"{service} has no operation {operation}"
    shape: Any = model.operation_model(names[operation]).input_shape
    members = {xform_name(member, "-"): member for member in shape.members} if shape else {}
    given = {word.removeprefix("--") for word in rest if word.startswith("--")}
    unknown = given - set(members) - GLOBAL
    missing = {member for member in (shape.required_members if shape else ())} - {members.get(one) for one in given}
    return f"{service} {operation}: unknown {sorted(unknown)}, missing {sorted(missing)}" if unknown or missing else ""
