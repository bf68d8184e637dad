"""The configuration: defaults, a YAML file, the command line, mistakes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from catalog_sandbox import __main__ as command
from catalog_sandbox.config import ConfigError, SandboxConfig, load


def test_defaults():
    """The default retailers and the allowlisted key and role are the project's example ones."""
    config = SandboxConfig()
    assert config.retailers["acme"] == ("SEA-001", "SEA-002", "PDX-001", "NYC-014", "CHI-007", "LON-003")
    assert config.retailers["globex"] == ("GBX-001",)
    account = config.accounts["123456789012"]
    assert (account.roles, account.keys) == (("CatalogApiCaller",), {"AKIASANDBOX0000000001": "sandbox-secret"})
    assert config.accounts["210987654321"].retailers == ("globex",)


def test_accounts_follow_the_retailers():
    """A file that names retailers only has accounts for exactly those; the first one's has the static key."""
    config = SandboxConfig.model_validate({"retailers": {"initech": ["A"]}})
    assert set(config.accounts) == {"123456789012"}
    assert config.accounts["123456789012"].retailers == ("initech",)
    assert config.accounts["123456789012"].keys


def test_a_file(tmp_path):
    """A YAML file sets stores, timing and faults."""
    path = tmp_path / "sandbox.yaml"
    path.write_text(
        "retailers: {acme: [A, B]}\naccounts: {'123456789012': {retailers: [acme]}}\n"
        "timing: {queued: 1}\nfaults: {rates: {fatal: 0.1}}\n"
    )
    config = load(path)
    assert config.retailers == {"acme": ("A", "B")}
    assert (config.timing.queued, config.timing.link_life) == (1, 3600)
    assert config.faults.rates == {"fatal": 0.1}


@pytest.mark.parametrize(
    "text",
    ["unknown: 1", "timing: {queued: -1}", "time_scale: 0", "retailers: {acme: [A, A]}", "stage: a/b", "[", "seed: x"],
)
def test_mistakes_name_the_file(tmp_path, text):
    """A mistake in the file is an error that names the file."""
    path = tmp_path / "sandbox.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"sandbox\.yaml"):
        load(path)


def test_a_missing_file():
    """A file that is not there is an error that names it."""
    with pytest.raises(ConfigError, match="nowhere"):
        load(Path("nowhere.yaml"))


def test_an_account_of_an_unknown_retailer():
    """An account serves retailers that exist."""
    with pytest.raises(ValidationError, match="unknown retailer"):
        SandboxConfig.model_validate({"accounts": {"1": {"retailers": ["nobody"]}}})


def test_a_store_of_two_retailers():
    """A store belongs to one retailer."""
    with pytest.raises(ValidationError, match="exactly one retailer"):
        SandboxConfig.model_validate({"retailers": {"acme": ["A"], "globex": ["A"]}})


def test_the_command_line_overrides(tmp_path):
    """--store, --seed and --time-scale override the file."""
    path = tmp_path / "sandbox.yaml"
    path.write_text("seed: 1\ntime_scale: 2\n")
    arguments = ["--config", str(path), "--seed", "5", "--time-scale", "60", "--store", "X-1", "--store", "X-2"]
    config = command._config(command._arguments().parse_args(arguments))
    assert (config.seed, config.time_scale) == (5, 60)
    assert config.retailers == {"acme": ("X-1", "X-2"), "globex": ("GBX-001",)}


@pytest.mark.parametrize("url", ["sandbox:8090", "http://sandbox:8090/path"])
def test_the_public_url_is_a_base(url):
    """public_url is scheme, host and port only."""
    with pytest.raises(ValidationError, match="public_url"):
        SandboxConfig.model_validate({"public_url": url})


def test_a_mistake_on_the_command_line(monkeypatch, capsys):
    """A mistake ends the command with status 2 and a message, before anything is started."""
    monkeypatch.setattr(sys, "argv", ["catalog_sandbox", "--store", "GBX-001"])
    assert command.main() == 2
    assert "exactly one retailer" in capsys.readouterr().err
