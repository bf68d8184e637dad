"""Where the local deployment keeps its state, and the secrets that it makes for itself."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.fernet import Fernet

#: The one user of the local UI.
USER = "admin"


@dataclass(frozen=True)
class Secrets:
    """What Airflow needs to keep to itself, and the password of the UI; ``repr`` shows none of it."""

    fernet_key: str
    jwt_secret: str
    session_key: str
    password: str

    def __repr__(self) -> str:
        return "Secrets(…)"


@dataclass(frozen=True)
class State:
    """The folder of one local deployment: Airflow's home, logs, process ids, sample data, secrets."""

    folder: Path

    @property
    def airflow_home(self) -> Path:
        """Airflow's own folder, with its database when that is SQLite."""
        return self.folder / "airflow"

    @property
    def logs(self) -> Path:
        """What the processes print."""
        return self.folder / "logs"

    @property
    def processes(self) -> Path:
        """Which processes run: a file each."""
        return self.folder / "processes"

    @property
    def sample(self) -> Path:
        """The generated sample data."""
        return self.folder / "sample"

    @property
    def sandbox_config(self) -> Path:
        """The configuration that the sandbox is started with."""
        return self.folder / "sandbox.yaml"

    @property
    def passwords(self) -> Path:
        """The file from which Airflow's simple auth manager reads passwords."""
        return self.folder / "secrets" / "passwords.json"

    def create(self) -> None:
        """Make the folders; what is there stays."""
        for folder in (self.airflow_home, self.logs, self.processes, self.sample, self.passwords.parent):
            folder.mkdir(parents=True, exist_ok=True)
        self.passwords.parent.chmod(0o700)

    def secrets(self) -> Secrets:
        """Return the deployment's secrets, made at the first call and readable by the owner only."""
        path = self.passwords.with_name("secrets.json")
        if not path.exists():
            made = {
                "fernet_key": Fernet.generate_key().decode(),
                "jwt_secret": secrets.token_urlsafe(48),
                "session_key": secrets.token_urlsafe(48),
                "password": secrets.token_urlsafe(12),
            }
            _write_private(path, json.dumps(made))
        found = Secrets(**json.loads(path.read_text(encoding="utf-8")))
        _write_private(self.passwords, json.dumps({USER: found.password}))
        return found


def _write_private(path: Path, text: str) -> None:
    """Write the file so that at no moment anybody but the owner can read it."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    new.replace(path)
