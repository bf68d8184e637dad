"""The command line: ``python -m catalog_sync COMMAND``, each command with ``--json``; ``--help`` lists them.

Exit codes: 0 all is well; 1 the job is incomplete, an alert is open, or the checked file has rows that would be
rejected; 2 the call, the configuration or the input is wrong.
"""

from __future__ import annotations

import argparse
import getpass
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markdown import Markdown
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from catalog_sync import books, settings
from catalog_sync.alerts import command as command_of_alerts
from catalog_sync.clock import SystemClock, utc
from catalog_sync.connections import EnvironmentConnections
from catalog_sync.errors import CatalogSyncError, RetryLater
from catalog_sync.run import Kind, Options, Run, run_name

OK, INCOMPLETE, WRONG = 0, 1, 2
#: Column titles in two lines, where one would be wider than its numbers.
_TITLES = {
    "acknowledged": "acknow-\nledged",
    "collapsed": "col-\nlapsed",
    "suspended": "sus-\npended",
    "unchanged": "un-\nchanged",
    "rejected": "re-\njected",
    "refused": "re-\nfused",
}


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    top = argparse.ArgumentParser(
        prog="python -m catalog_sync", description="Keep Amazon's catalog equal to the retailer's."
    )
    top.add_argument(
        "--config", help="the configuration file (default: $CATALOG_CONFIG, else include/config/catalog.yaml)"
    )
    top.add_argument("--verbose", action="store_true", help="log every step")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    check = commands.add_parser("check", help="validate a file against the contract and say what is wrong")
    check.add_argument("file")
    check.add_argument("--source", help="the source whose format and mapping apply (default: the only file source)")

    for name, text in (
        ("plan", "show what a sync would send; sends nothing"),
        ("sync", "do the whole job, without Airflow"),
    ):
        job = commands.add_parser(name, help=text)
        job.add_argument("--stores", default="", metavar="A,B", help="only these stores (default: all)")
        job.add_argument("--skus", default="", metavar="X,Y", help="only these SKUs (default: all)")
        job.add_argument("--skus-file", default="", metavar="FILE", help="only the SKUs of this file, e.g. a CSV")
        job.add_argument("--departments", default="", metavar="A,B", help="only these departments (default: all)")
        job.add_argument(
            "--changed-since",
            default="",
            metavar="TIME",
            help="with --resend: only what differs, and what Amazon acknowledged at this time or later",
        )
        job.add_argument("--resend", action="store_true", help="also send what Amazon already acknowledged unchanged")
        job.add_argument(
            "--accept-sources", action="store_true", help="a source that has shrunk is right, and the new measure"
        )
        job.add_argument("--reason", default="", help="why, for the records")
        job.add_argument(
            "--run-id", help="the run's name (default: made from the time); a name used before resumes that run"
        )

    back = commands.add_parser("rollback", help="show what would make Amazon's catalog what it was; --send does it")
    back.add_argument("--to", required=True, metavar="RUN|TIME", help="after which run, or at what time")
    back.add_argument("--stores", default="", metavar="A,B", help="only these stores (default: all)")
    back.add_argument("--send", action="store_true", help="do it (default: only show the plan)")
    back.add_argument("--reason", default="", help="why, for the records")
    back.add_argument("--run-id", help="the run's name (default: made from the time)")

    shown = commands.add_parser("books", help="show the books of a run")
    shown.add_argument("run", help="the run's name, as its note gives it; a night's Airflow run id will do")

    told = commands.add_parser("notices", help="show what a run told the stores and the owners of its sources")
    told.add_argument("run", help="the run's name, as its note gives it; a night's Airflow run id will do")
    told.add_argument("--about", default="", metavar="NAME", help="only the notices of this store or source")

    item = commands.add_parser("why", help="tell the whole story of an item: why it is, or is not, at Amazon")
    item.add_argument("sku")
    item.add_argument("store", nargs="?", default="", help="(default: one line for each store that knows the SKU)")

    runs = commands.add_parser("runs", help="list the last runs and how they ended")
    runs.add_argument("--limit", type=int, default=20, metavar="N", help="so many at most (default: 20)")
    runs.add_argument("--rebuild", action="store_true", help="first make the list anew from the lake")

    probed = commands.add_parser("probe", help="check that everything a night needs is there and may be used")
    probed.add_argument(
        "--canary",
        action=argparse.BooleanOptionalAction,
        help="send the configured canary, or not (default: when probe.canary is configured)",
    )

    commands.add_parser("audit", help="verify the audit trail: who sent, approved, rejected and released what")

    command_of_alerts.add_to(commands)

    dead = commands.add_parser("dead-letters", help="show the messages that nobody could act upon, or send them back")
    dead.add_argument("--redrive", action="store_true", help="send them back to the queue (default: only show them)")
    dead.add_argument("--why", default="", metavar="CODE", help="only those with this reason (default: all)")
    dead.add_argument("--limit", type=int, default=100, metavar="N", help="look at so many at most (default: 100)")

    for command in commands.choices.values():
        command.add_argument("--json", action="store_true", help="print JSON for machines")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    args = parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO if args.verbose else logging.ERROR, format="%(asctime)s %(name)s %(message)s"
    )
    console = Console(stderr=True)
    try:
        code: int = _JOBS[args.command](args, console)
        return code
    except RetryLater as error:
        console.print(f"[yellow]not now:[/] {error}", highlight=False)
        return INCOMPLETE
    except CatalogSyncError as error:
        console.print(f"[red]error:[/] {error}", highlight=False, markup=True)
        return WRONG


def _check(args: argparse.Namespace, console: Console) -> int:
    from catalog_sync.check import check_file

    result = check_file(args.file, settings.load(args.config), args.source)
    if args.json:
        _print_json(result.as_dict())
    else:
        result.render(Console())
    return OK if result.ok else INCOMPLETE


def _rollback(args: argparse.Namespace, console: Console) -> int:
    options = Options(
        kind=Kind.ROLLBACK,
        to=args.to,
        stores=_names(args.stores),
        dry_run=not args.send,
        reason=args.reason,
        by=_user(),
    )
    return _do(args, console, options)


def _job(args: argparse.Namespace, console: Console) -> int:
    options = Options(
        kind=Kind.COMMAND,
        stores=_names(args.stores),
        skus=_names(args.skus),
        skus_file=_file(args.skus_file),
        departments=_names(args.departments),
        changed_since=args.changed_since,
        resend=args.resend,
        accept_sources=args.accept_sources,
        dry_run=args.command == "plan",
        reason=args.reason,
        by=_user(),
    )
    return _do(args, console, options)


def _do(args: argparse.Namespace, console: Console, options: Options) -> int:
    from catalog_sync.alerts.evaluate import after_run
    from catalog_sync.sync import sync

    clock = SystemClock()
    config = settings.load(args.config)
    name = args.run_id or f"{args.command}__{utc(clock.time()):%Y-%m-%dT%H-%M-%S}"
    run = Run.open(config, EnvironmentConnections(), run_name(name), options, clock)
    with console.status(f"{args.command} {run.run_id}") as status:

        def report(step: str, counts: dict[str, Any]) -> None:
            text = ", ".join(f"{key} {value:,}" for key, value in counts.items() if isinstance(value, int))
            if step != "collect":
                console.print(f"  {step:<18} {text or _flat(counts)}", highlight=False)
            status.update(f"{step}: {text}")

        made = sync(run, report)
        after_run(run, made)
    if run.options.dry_run and args.json:
        _print_json({**made, "summary": run.plan["summary"], "lists": run.plan["lists"]})
    else:
        if run.options.dry_run:
            Console().print(Markdown(run.lake.get(run.key("plan.md")).decode()))
        _show(made, args.json)
    return OK if made["state"] == "complete" else INCOMPLETE


def _books(args: argparse.Namespace, console: Console) -> int:
    from catalog_sync.account import gather

    run = Run.open(settings.load(args.config), EnvironmentConnections(), run_name(args.run))
    for name in ("books.json", "books-incomplete.json"):
        if run.lake.exists(run.key(name)):
            made = run.lake.get_json(run.key(name))
            break
    else:
        if not run.lake.exists(run.key("run.json")):
            console.print(f"[red]error:[/] there is no run {args.run!r} in {run.lake.uri}/runs", highlight=False)
            return WRONG
        made = gather(run)
    _show(made, args.json)
    return OK if made["state"] == "complete" else INCOMPLETE


def _why(args: argparse.Namespace, console: Console) -> int:
    from catalog_sync.why import why
    from catalog_sync.why_view import render

    run = Run.open(settings.load(args.config), EnvironmentConnections(), "why")
    story = why(run, args.sku, args.store)
    if args.json:
        _print_json(story)
    else:
        render(story, Console())
    return OK if story["stores"] else INCOMPLETE


def _runs(args: argparse.Namespace, console: Console) -> int:
    from catalog_sync import journal
    from catalog_sync.why_view import render_runs

    run = Run.open(settings.load(args.config), EnvironmentConnections(), "runs")
    if args.rebuild:
        console.print(f"{journal.rebuild(run):,} runs found in {run.lake.uri}/runs", highlight=False)
    records = journal.newest(run, max(1, args.limit))
    if args.json:
        _print_json([{name: one[name] for name in one if name not in ("pk", "sk", "expires_at")} for one in records])
    else:
        render_runs(records, Console())
    return OK


def _notices(args: argparse.Namespace, console: Console) -> int:
    from catalog_sync.notices_view import render
    from catalog_sync.tell import read_notices

    run = Run.open(settings.load(args.config), EnvironmentConnections(), run_name(args.run))
    made = read_notices(run, args.about)
    if args.json:
        _print_json(made)
    else:
        render(run.lake, made, Console())
    return OK


def _probe(args: argparse.Namespace, console: Console) -> int:
    from catalog_sync.probe import Status, as_dict, probe, worst
    from catalog_sync.probe.view import table_of as checks_table

    run = Run.open(settings.load(args.config), EnvironmentConnections(), "probe", Options(by=_user()))
    with console.status("probing"):
        checks = probe(run, args.canary)
    if args.json:
        _print_json(as_dict(checks))
    else:
        Console().print(checks_table(checks))
    return INCOMPLETE if worst(checks) is Status.FAIL else OK


def _audit(args: argparse.Namespace, console: Console) -> int:
    from catalog_sync.audit import entries, verify

    run = Run.open(settings.load(args.config), EnvironmentConnections(), "audit")
    made = verify(run)
    if args.json:
        trail = [] if made.problems else [asdict(entry) for entry in entries(run.lake)]
        _print_json({**asdict(made), "trail": trail})
        return INCOMPLETE if made.problems else OK
    out = Console()
    if not made.problems:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for title in ("", "when", "who", "what", "run", "details"):
            table.add_column(title, no_wrap=title in ("", "when", "what"), overflow="fold")
        for entry in entries(run.lake):
            told = _flat({key: value for key, value in entry.details.items() if value and key != "plan_hash"})
            row = (str(entry.number), entry.at, entry.who, entry.what, entry.run_id, told)
            table.add_row(*(escape(cell) for cell in row))
        out.print(table)
    for problem in made.problems:
        out.print(f"[red]wrong:[/] {problem}", highlight=False)
    state = "[red]broken[/]" if made.problems else "[green]unbroken[/]"
    out.print(f"{state}: {made.entries:,} entries, the last hash is {made.last}", highlight=False)
    return INCOMPLETE if made.problems else OK


def _alerts(args: argparse.Namespace, console: Console) -> int:
    from catalog_sync.alerts.book import AlertBook

    run, clock = Run.open(settings.load(args.config), EnvironmentConnections(), "alerts"), SystemClock()
    made = command_of_alerts.run(args, AlertBook.of(run), run.settings, clock, _user())
    if args.json:
        _print_json(made)
    else:
        command_of_alerts.render(made, Console())
    return INCOMPLETE if made["open"] else OK


def _dead_letters(args: argparse.Namespace, console: Console) -> int:
    from catalog_sync.dead_letters import redrive

    config = settings.load(args.config)
    aws = EnvironmentConnections().aws(config.aws.conn_id, config.aws.region)
    made = redrive(config, aws, SystemClock(), why=args.why, limit=args.limit, dry_run=not args.redrive)
    if args.json:
        _print_json(made.as_dict())
        return OK
    out = Console()
    out.print(made.summary, highlight=False)
    for letter in made.sample:
        out.print(f"  {_flat(letter)}", highlight=False, markup=False)
    return OK


_JOBS = {
    "check": _check, "plan": _job, "sync": _job, "books": _books, "notices": _notices, "why": _why, "runs": _runs,
    "probe": _probe, "rollback": _rollback, "audit": _audit, "alerts": _alerts, "dead-letters": _dead_letters,
}  # fmt: skip


def _show(made: dict[str, Any], as_json: bool) -> None:
    if as_json:
        _print_json(made)
        return
    out = Console()
    table = table_of(made)
    # A number is never cut: a table that is wider than the terminal wraps there.
    wide = Measurement.get(out, out.options.update(width=1000), table).maximum
    Console(width=max(out.width, wide)).print(table)
    for source, counts in made["transformed"].items():
        out.print(f"transform of {source}: {counts['before']:,} rows became {counts['after']:,}")
    for remark in books.remarks(made):
        out.print(remark, highlight=False)
    for what in ("repaired", "rejected", "warned"):
        if made[what]:
            out.print(f"{what}: {_flat(made[what])}", highlight=False)
    color = {"complete": "green", "incomplete": "yellow"}.get(made["state"], "red")
    plan = made["plan"]
    planned = f", plan {plan['plan_number']}, {plan['batches']} batches" if plan else ""
    out.print(f"[{color}]{made['state']}[/]: run {made['run_id']}{planned}", highlight=False)
    for problem in made["problems"]:
        out.print(f"  {problem}", highlight=False)
    for alarm in made.get("alarms", ()):  # books of an earlier version know none
        out.print(f"  [red]alarm:[/] {alarm}", highlight=False)


def table_of(made: dict[str, Any]) -> Table:
    """Return the books as a table for a terminal, without the columns that are 0 throughout."""
    lines: dict[str, dict[str, int]] = {**made["stores"], "all": made["total"]}
    table = Table(
        title="Books" + (" (dry run)" if made["dry_run"] else ""),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("store", no_wrap=True)
    shown = [column for column in books.COLUMNS if column == "read" or any(one[column] for one in lines.values())]
    for column in shown:
        table.add_column(_TITLES.get(column, column.replace("_", "\n")), justify="right", no_wrap=True)
    for store, one in lines.items():
        if store == "all":
            table.add_section()
        table.add_row(store, *(f"{one[column]:,}" for column in shown))
    return table


def _user() -> str:
    """Return who types; empty where the system knows no name, as in some containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def _file(path: str) -> str:
    """Return the path as whoever typed it means it, whatever folder the configuration lies in."""
    remote = not path or "://" in path or path.startswith("lake:")
    return path if remote else str(Path(path).expanduser().absolute())


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _flat(counts: dict[str, Any]) -> str:
    return ", ".join(
        f"{key} {value:,}" if isinstance(value, int) else f"{key} {value}" for key, value in counts.items()
    )


def _print_json(value: Any) -> None:
    json.dump(value, sys.stdout, ensure_ascii=False, indent=1, sort_keys=True)
    sys.stdout.write("\n")
