"""What the independent books are made from: the lake, the sources themselves, and the sandbox's own record.

What a row's outcome was is judged row by row: from the payloads, from the digests of the request bodies that arrived at
the sandbox, and from the archived reports. This shares no code with the program whose books are checked.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

import boto3
import pandas as pd
import pyarrow as pa

#: An outcome without a word about the row itself: the greater outranks the smaller, a word outranks both.
RANK = {"unsent": 0, "unknown": 1, "failed": 2}

Key = tuple[str, str]  # store, SKU


# --- where things lie


class Lake:
    """Objects below a folder or ``s3://bucket/prefix``."""

    def __init__(self, root: str, endpoint: str | None = None, **credentials: Any) -> None:
        parts = urlsplit(root)
        self._folder = None if parts.scheme == "s3" else Path(parts.path)
        self._bucket, self._prefix = parts.netloc, parts.path.strip("/")
        if self._folder is None:
            self._s3 = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **credentials)

    def get(self, key: str) -> bytes | None:
        """Return an object's bytes, decompressed when its name says so; ``None`` when there is none."""
        if self._folder is not None:
            path = self._folder / key
            data = path.read_bytes() if path.is_file() else None
        else:
            try:
                data = self._s3.get_object(Bucket=self._bucket, Key=f"{self._prefix}/{key}".lstrip("/"))["Body"].read()
            except self._s3.exceptions.NoSuchKey:
                data = None
        if data is None or not key.endswith(".zst"):
            return data
        return bytes(pa.input_stream(io.BytesIO(data), compression="zstd").read())

    def names(self, folder: str) -> list[str]:
        """Return the names of the JSON objects that lie directly in a folder, without the ending."""
        if self._folder is not None:
            keys = [path.name for path in (self._folder / folder).glob("*.json")]
        else:
            prefix = f"{self._prefix}/{folder}/".lstrip("/")
            pages = self._s3.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=prefix, Delimiter="/"
            )
            keys = [one["Key"].removeprefix(prefix) for page in pages for one in page.get("Contents", [])]
        return sorted(key.removesuffix(".json") for key in keys if key.endswith(".json"))

    def json(self, key: str) -> Any:
        """Return an object's JSON value; ``None`` when there is no such object."""
        data = self.get(key)
        return None if data is None else json.loads(data)

    def table(self, key: str | None) -> pd.DataFrame:
        """Return a Parquet object; an empty frame for no key."""
        return pd.read_parquet(io.BytesIO(self.get(key) or b"")) if key else pd.DataFrame()


def lines(base_url: str, path: str) -> list[dict[str, Any]]:
    """Read JSON Lines of the sandbox's record."""
    with build_opener(ProxyHandler({})).open(base_url + path, timeout=60) as answer:
        return [json.loads(line) for line in answer.read().splitlines()]


# --- the sources


@dataclass(frozen=True)
class RawSource:
    """A file of a source, read here a second time: CSV, or SQLite when a table is named."""

    name: str
    path: Path
    store: str
    sku: str
    table: str = ""

    @classmethod
    def of(cls, text: str) -> RawSource:
        """Return the source of ``name=path,store column,SKU column[,table]``."""
        name, _, rest = text.partition("=")
        path, *columns = rest.split(",")
        return cls(name, Path(path), *columns)

    def keys(self) -> tuple[list[Key], int]:
        """Return each readable row's key, and how many rows cannot be read."""
        if self.table:
            with closing(sqlite3.connect(self.path)) as database:
                both = database.execute(f'SELECT "{self.store}", "{self.sku}" FROM "{self.table}"')
                return [(tidy(store), tidy(sku)) for store, sku in both], 0
        text = self.path.read_bytes().decode("utf-8", "surrogateescape")
        head, *rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
        store, sku = head.index(self.store), head.index(self.sku)
        good = [row for row in rows if len(row) == len(head) and not re.search("[\0\ud800-\udfff]", "".join(row))]
        return [(tidy(row[store]), tidy(row[sku])) for row in good], len(rows) - len(good)


def tidy(value: object) -> str:
    """Return a key's part as the repairs leave it: no blanks around it, and ``4011.0`` is ``4011``."""
    text = "" if value is None or value != value else str(value).strip()
    return re.sub(r"^(\d+)\.0+$", r"\1", text)


def extracted(lake: Lake, manifest: dict[str, Any]) -> list[Key]:
    """Return the keys of the rows that the run extracted from one source."""
    tables = [lake.table(part["key"]) for part in manifest["files"]]
    return [(tidy(s), tidy(k)) for t in tables for s, k in zip(t["store_id"], t["item_sku"], strict=True)]


# --- what was sent, and what Amazon said


@dataclass
class Sandbox:
    """The sandbox's record: upload requests by the digest of their body, and how each ingestion ended."""

    requests: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    ended: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, base_url: str, since: float) -> Sandbox:
        """Read the record of what arrived at ``since`` (Unix seconds) or later."""
        made = cls(ended={one["ingestion_id"]: one["status"] for one in lines(base_url, "/sandbox/ingestions")})
        for request in lines(base_url, "/sandbox/requests"):
            if request["operation"] == "upload" and request["time"] >= since:
                made.requests[request["sha256"]].append(request)
        return made


class Judge:
    """Tells what became of every row of a payload."""

    def __init__(self, lake: Lake, prefix: str, sandbox: Sandbox) -> None:
        self._lake, self._prefix, self._sandbox = lake, prefix, sandbox
        self.known: set[str] = set()

    def judge(self, payload: bytes) -> list[str]:
        """Return the outcome of each item of the payload, in its order."""
        items = json.loads(payload)["catalogItems"]
        told: list[list[tuple[float, str]]] = [[] for _ in items]
        self._follow(items, 0, len(items), payload, told)
        return [_outcome(words) for words in told]

    def _follow(
        self, items: list[Any], start: int, stop: int, data: bytes, told: list[list[tuple[float, str]]]
    ) -> bool:
        """Note what each request that carried items ``start`` to ``stop`` said; tell whether there was one."""
        digest = hashlib.sha256(data).hexdigest()
        requests = self._sandbox.requests.get(digest, [])
        self.known.update([digest] if requests else [])
        for request in requests:
            outcomes = self._said(request, items[start:stop])
            if outcomes is None:
                outcomes = self._search(items, start, stop, told)
            for row, outcome in zip(range(start, stop), outcomes, strict=True):
                told[row].append((request["time"], outcome))
        return bool(requests)

    def _search(self, items: list[Any], start: int, stop: int, told: list[list[tuple[float, str]]]) -> list[str]:
        """Follow the parts of a rejected range; return ``refused`` for the rows that no part carried."""
        middle = (start + stop) // 2
        borders = [n for n in range(start + 1, stop) if items[n]["store_id"] != items[n - 1]["store_id"]]
        outcomes = ["refused"] * (stop - start)
        # Between stores when stores are to blame, anywhere otherwise; by halves both times.
        for cuts in ([start, *borders[len(borders) // 2 :][:1], stop], [start, middle, stop]):
            parts = [(a, b) for a, b in pairwise(cuts) if 0 < b - a < stop - start]
            if any([self._follow(items, a, b, _body(items[a:b]), told) for a, b in parts]):
                carried = [bool(told[row]) for row in range(start, stop)]
                return ["unsent" if sent else "refused" for sent in carried]
        return outcomes

    def _said(self, request: dict[str, Any], items: list[Any]) -> list[str] | None:
        """Return what a request made of its items; ``None`` when it was rejected and its parts must tell."""
        ingestion, status = request.get("ingestion_id"), request["status"]
        if ingestion:
            report = self._lake.get(f"{self._prefix}/reports/{ingestion}.json.zst")
            broken = self._sandbox.ended.get(ingestion) in ("FATAL", "CANCELLED")
            without = ["failed" if broken else "unknown"] * len(items)
            return without if report is None or broken else reported(report, items)
        if status in (400, 413):
            return None
        if status == 500 and request.get("fault") == "server_error_final":
            return ["failed"] * len(items)
        return ["unknown" if status in (0, 502, 503, 504) else "unsent"] * len(items)


def _body(items: Sequence[Any]) -> bytes:
    return json.dumps({"catalogItems": items}, ensure_ascii=False, separators=(",", ":")).encode()


def _outcome(words: list[tuple[float, str]]) -> str:
    """Return a row's outcome: the last word about the row itself, else the strongest of what is known without one."""
    about = [word for word in sorted(words) if word[1] not in RANK]
    if about:
        return about[-1][1]
    return max((outcome for _, outcome in words), key=RANK.__getitem__, default="unsent")


def reported(report: bytes, items: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the outcome of each item according to a report's bytes."""
    try:
        whole = json.loads(report)
        entries, summary = whole["items"], whole["summary"]
    except (ValueError, KeyError):
        return ["unknown"] * len(items)
    words = {"SUCCESS": "acknowledged", "FAILED": "refused"}
    said = {(one.get("storeId"), one.get("itemSku")): words.get(one.get("status"), "unknown") for one in entries}
    count = Counter(said.values())
    # Where a report lists failures only, the others succeeded, if the numbers agree.
    agrees = summary.get("totalItems") == len(items) and summary.get("failed") == count["refused"]
    agrees = agrees and summary.get("succeeded") == len(items) - count["refused"] and set(count) <= {"refused"}
    rest = "acknowledged" if agrees else "unknown"
    return [said.get((item["store_id"], item["item_sku"]), rest) for item in items]
