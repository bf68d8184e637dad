"""The sandbox's start page: what it is, where things are, and every assumption it makes."""

from __future__ import annotations

from html import escape

from catalog_sandbox.assumptions import ASSUMPTIONS
from catalog_sandbox.config import SandboxConfig
from catalog_sandbox.faults import FAULTS

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #1b1b1b; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid #ccc; padding: .4rem .6rem; text-align: left; vertical-align: top; }
th { background: #f3f3f3; position: sticky; top: 0; } code { background: #f3f3f3; padding: 0 .2rem; }
"""

_VIEWS = (
    ("catalog", "the items with their state, as JSON Lines; ?store_id= for one store"),
    ("requests", "every API request, as JSON Lines"),
    ("ingestions", "every ingestion, as JSON Lines"),
    ("faults", "the faults on order; PUT replaces them"),
    ("health", "counts"),
    ("assumptions", "the table below, as JSON"),
)


def _row(*cells: str) -> str:
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _table(head: tuple[str, ...], rows: list[str]) -> str:
    heads = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def render(config: SandboxConfig) -> str:
    """Return the page as HTML."""
    views = "".join(f'<li><a href="{name}">/sandbox/{name}</a>: {escape(text)}</li>' for name, text in _VIEWS)
    stores = [_row(escape(name), escape(", ".join(stores))) for name, stores in config.retailers.items()]
    table = [_row(a.code, escape(a.unknown), escape(a.choice)) for a in ASSUMPTIONS]
    faults = [
        _row(f"<code>{name}</code>", point, escape(text))
        for point, names in FAULTS.items()
        for name, text in names.items()
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Catalog sandbox</title>'
        f"<style>{_STYLE}</style></head><body><h1>Catalog sandbox</h1>"
        "<p>This is a simulation of Amazon's Just Walk Out Catalog API, made from its public documents. It is not "
        "Amazon's service. Where the documents are silent it follows the assumptions below.</p>"
        f"<p>Region {escape(config.region)}, time runs {config.time_scale:g} times as fast as at Amazon, seed "
        f"{config.seed}.</p><ul>{views}</ul>"
        f"<h2>Stores</h2>{_table(('Retailer', 'Stores'), stores)}"
        f"<h2>Assumptions</h2>{_table(('No.', 'Not documented', 'Here'), table)}"
        f"<h2>Faults</h2>{_table(('Fault', 'Strikes', 'What happens'), faults)}</body></html>"
    )
