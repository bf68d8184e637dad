"""The lake: an S3 prefix or a folder that holds runs, payloads, rejects, reports and the Delta tables.

What a run writes is immutable. A stage writes its data under names of its own and then, once, a *manifest*: the first
to write it wins, and whoever comes later (a retry, a cleared task, a process thought dead) gets the first one's answer.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import obstore
import zstandard
from obstore.exceptions import AlreadyExistsError, NotFoundError, PermissionDeniedError, UnauthenticatedError
from obstore.store import LocalStore, MemoryStore, S3Store

from catalog_sync.aws import Aws
from catalog_sync.disk import Free, free_bytes, require_room
from catalog_sync.errors import BadInput, Misconfigured, shorten

if TYPE_CHECKING:
    import polars as pl

#: More than this from one object is refused on reading: no object we write comes near it.
MAX_OBJECT_BYTES = 4 * 1024**3
#: Rows that Parquet encodes at a time; it bounds the memory that writing a frame takes.
ROW_GROUP = 50_000


class Lake:
    """Objects by key, below one root.

    :param store: an obstore store whose root is the lake's.
    :param uri: the root as a URI or path, for messages and for Delta Lake.
    :param storage_options: called for the Delta Lake options of this moment (credentials may be renewed).
    :param free: tells the bytes that are free on the disk below a folder.
    """

    def __init__(
        self,
        store: Any,
        uri: str,
        storage_options: Callable[[], dict[str, str]] = dict,
        free: Free = free_bytes,
    ) -> None:
        self._store = store
        self.uri = uri.rstrip("/")
        self.storage_options = storage_options
        self._free = free

    @classmethod
    def open(cls, uri: str, aws: Callable[[], Aws], base: Path = Path()) -> Lake:
        """Open ``s3://bucket/prefix``, or a folder (relative to ``base``, made when absent).

        :raises Misconfigured: the URI has another scheme or no bucket.
        """
        parts = urlsplit(uri)
        if parts.scheme == "s3" and parts.netloc:
            account = aws()
            return cls(s3_store(parts.netloc, parts.path.strip("/"), account), uri, account.storage_options)
        if parts.scheme in ("", "file"):
            folder = (base / (parts.path if parts.scheme else uri)).resolve()
            folder.mkdir(parents=True, exist_ok=True)
            return cls(LocalStore(folder), str(folder))
        raise Misconfigured(f"lake = {shorten(uri)!r}: must be s3://bucket/prefix or a folder")

    @classmethod
    def in_memory(cls) -> Lake:
        """Return an empty lake in memory (no Delta tables), for tests."""
        return cls(MemoryStore(), "memory://")

    def url(self, key: str) -> str:
        """Return the full URI or path of ``key``."""
        return f"{self.uri}/{key}"

    def require_room(self, size: int) -> None:
        """Raise unless so many bytes may be written; only a folder's disk can be full.

        :raises DiskNearlyFull: they may not.
        """
        if isinstance(self._store, LocalStore):
            require_room(self.uri, size, self._free)

    def put(self, key: str, data: bytes) -> None:
        """Write the object, replacing what was there."""
        self.require_room(len(data))
        with self._allowed(key):
            obstore.put(self._store, key, data)

    def create(self, key: str, data: bytes) -> bool:
        """Write the object unless there is one; tell whether it was written."""
        self.require_room(len(data))
        try:
            with self._allowed(key):
                obstore.put(self._store, key, data, mode="create")
        except AlreadyExistsError:
            return False
        return True

    def get(self, key: str) -> bytes:
        """Return the object's bytes.

        :raises BadInput: there is no such object.
        """
        try:
            with self._allowed(key):
                result = obstore.get(self._store, key)
        except (NotFoundError, FileNotFoundError):
            raise BadInput(f"{self.url(key)}: there is no such object in the lake") from None
        if result.meta["size"] > MAX_OBJECT_BYTES:
            raise BadInput(f"{self.url(key)}: {result.meta['size']} bytes, more than any object of ours may have")
        return bytes(result.bytes())

    def exists(self, key: str) -> bool:
        """Tell whether there is such an object."""
        try:
            with self._allowed(key):
                obstore.head(self._store, key)
        except (NotFoundError, FileNotFoundError):
            return False
        return True

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys below ``prefix``, in no particular order."""
        for chunk in obstore.list(self._store, prefix):
            for meta in chunk:
                yield meta["path"]

    def folders(self, prefix: str) -> list[str]:
        """Return the names of what lies directly below ``prefix`` and has something below itself, sorted."""
        found = obstore.list_with_delimiter(self._store, prefix)["common_prefixes"]
        return sorted(path.rstrip("/").rpartition("/")[2] for path in found)

    @contextmanager
    def _allowed(self, key: str) -> Iterator[None]:
        """Turn a refusal into an error that no retry can mend."""
        try:
            yield
        except (PermissionDeniedError, UnauthenticatedError):
            raise Misconfigured(
                f"{self.url(key)}: S3 refuses us; the AWS connection needs s3:GetObject, s3:PutObject and "
                "s3:ListBucket on the bucket, and the use of its key (include/cloudformation/catalog-sync.yaml)"
            ) from None

    # --- JSON manifests

    def put_json(self, key: str, value: Any) -> None:
        """Write ``value`` as JSON, replacing what was there."""
        self.put(key, _dump(value))

    def get_json(self, key: str) -> Any:
        """Return the JSON value of the object; ``BadInput`` when there is none."""
        return json.loads(self.get(key))

    def once(self, key: str, produce: Callable[[], Any]) -> Any:
        """Return the manifest at ``key``; when there is none, ``produce`` it, write it, and return the one that stands.

        ``produce`` may run in two processes at once. It writes its data under names of its own, so that only the
        data of the manifest that stands is ever read.
        """
        if self.exists(key):
            return self.get_json(key)
        value = produce()
        self.create(key, _dump(value))
        return self.get_json(key)

    # --- frames

    def put_frame(self, key: str, frame: pl.DataFrame) -> None:
        """Write the frame as Parquet (zstd)."""
        buffer = io.BytesIO()
        frame.write_parquet(buffer, compression="zstd", compression_level=1, row_group_size=ROW_GROUP, statistics=False)
        self.put(key, buffer.getvalue())

    def get_frame(self, key: str, columns: list[str] | None = None) -> pl.DataFrame:
        """Read a Parquet object, or only some of its columns."""
        import polars as pl

        return pl.read_parquet(io.BytesIO(self.get(key)), columns=columns)

    # --- compressed bytes

    def put_compressed(self, key: str, data: bytes) -> None:
        """Write the bytes zstd-compressed; the key should end in ``.zst``."""
        self.put(key, zstandard.ZstdCompressor(level=1).compress(data))

    def create_compressed(self, key: str, data: bytes) -> bool:
        """As ``put_compressed``, unless there is such an object; tell whether it was written."""
        return self.create(key, zstandard.ZstdCompressor(level=1).compress(data))

    def get_compressed(self, key: str) -> bytes:
        """Return the decompressed bytes of a ``.zst`` object."""
        return zstandard.ZstdDecompressor().decompress(self.get(key))


def s3_store(bucket: str, prefix: str, aws: Aws) -> Any:
    """Return an obstore store of ``s3://bucket/prefix`` whose credentials renew themselves."""
    credentials = aws.credentials()

    def provide() -> Any:
        from datetime import UTC, datetime, timedelta

        frozen = credentials.get_frozen_credentials()
        # botocore renews on its own; asking it again every few minutes keeps both in step.
        expires = datetime.now(UTC) + timedelta(minutes=5)
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": expires,
        }

    options: dict[str, Any] = {}
    if aws.endpoint_url:
        options = {"endpoint": aws.endpoint_url, "virtual_hosted_style_request": False}
    return S3Store(
        bucket,
        prefix=prefix or None,
        region=aws.region,
        credential_provider=provide,
        client_options={"allow_http": bool(aws.endpoint_url and aws.endpoint_url.startswith("http://"))},
        **options,
    )


def _dump(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True).encode()
