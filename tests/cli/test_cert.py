"""``tsdb cert``: what the files say, who may read them, what is refused, and what a renewal keeps."""

from __future__ import annotations

import datetime
import stat
from pathlib import Path

import pytest
from cryptography import x509
from typer.testing import CliRunner

from tsdb.cli.cert import cert
from tsdb.cluster.authority import Issued, addresses_of, issue, make_authority, nodes_of
from tsdb.errors import ConfigurationError, InvalidName, InvalidParameterValue, StartupError

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture
def run(tmp_path: Path):  # type: ignore[no-untyped-def]
    def run(*arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(cert, [*arguments, "--dir", str(tmp_path)])
        if isinstance(done.exception, (ConfigurationError, StartupError)):
            raise done.exception
        assert done.exit_code == code, done.output
        return done.output

    return run


def load(path: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(path.read_bytes())


def test_an_authority_and_a_node(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    run("ca")
    run("node", "n1", "--address", "10.0.0.1", "--address", "n1.example.org", "--days", "30")
    (root,), (leaf,) = load(tmp_path / "ca.crt"), load(tmp_path / "n1.crt")
    leaf.verify_directly_issued_by(root)
    assert nodes_of(leaf) == ["n1"]
    assert addresses_of(leaf) == ["n1.example.org", "10.0.0.1"]
    assert leaf.not_valid_after_utc - datetime.datetime.now(datetime.UTC) < datetime.timedelta(days=31)
    for name in ("ca.key", "n1.key"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ca.crt", "ca.key", "n1.crt", "n1.key"]


def test_an_authoritys_key_is_kept_when_its_certificate_is_not_there(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """It was moved to the nodes; without its key no node would ever get a new certificate from it."""
    run("ca")
    (tmp_path / "ca.crt").rename(tmp_path / "elsewhere.crt")
    before = (tmp_path / "ca.key").read_bytes()
    for arguments in (("ca",), ("ca", "--renew")):
        with pytest.raises(ConfigurationError, match=r"ca\.crt is not"):
            run(*arguments)
    assert (tmp_path / "ca.key").read_bytes() == before


def test_what_is_there_is_replaced_on_request_alone(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    run("ca")
    run("node", "n1", "--address", "10.0.0.1")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for arguments in (("ca",), ("node", "n1")):
        with pytest.raises(ConfigurationError, match="--renew"):
            run(*arguments)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    run("node", "n1", "--renew")
    assert (tmp_path / "n1.key").read_bytes() != before["n1.key"]
    assert addresses_of(load(tmp_path / "n1.crt")[0]) == ["10.0.0.1"]
    run("node", "n1", "--renew", "--address", "10.0.0.2")
    assert addresses_of(load(tmp_path / "n1.crt")[0]) == ["10.0.0.2"]


def test_a_new_authority_stands_before_the_old_one_and_signs(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    run("ca")
    (old,) = load(tmp_path / "ca.crt")
    run("ca", "--renew")
    new, kept = load(tmp_path / "ca.crt")
    assert kept == old != new
    run("node", "n1")
    load(tmp_path / "n1.crt")[0].verify_directly_issued_by(new)


def test_a_list_says_what_has_expired(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    run("ca")
    run("node", "n1", "--days", "10")
    assert "10 days left" in run("list").replace("9 days left", "10 days left")
    past = make_authority("old", 5, NOW)
    (tmp_path / "old.crt").write_bytes(past.certificate)
    assert "old.crt\tauthority\t2026-01-06\texpired\t-\n" in run("list", code=1)


def test_what_cannot_be_signed_is_refused(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigurationError, match="make one first, with tsdb cert ca"):
        run("node", "n1")
    run("ca", "--days", "100")
    with pytest.raises(ConfigurationError, match="authority's name"):
        run("node", "ca")
    with pytest.raises(ConfigurationError, match="no name of a node"):
        run("node", "../n1")
    with pytest.raises(ConfigurationError, match="neither an IP address nor a host name"):
        run("node", "n1", "--address", "n1:5432", "--days", "10")
    with pytest.raises(ConfigurationError, match="its authority is until"):
        run("node", "n1")
    (tmp_path / "ca.key").write_bytes(make_authority("another", 5, NOW).key)
    with pytest.raises(ConfigurationError, match="not that of its certificate"):
        run("node", "n1", "--days", "10")
    (tmp_path / "ca.key").unlink()
    with pytest.raises(StartupError, match=r"ca\.key: No such file"):
        run("node", "n1", "--days", "10")
    (tmp_path / "ca.key").write_text("nothing")
    with pytest.raises(StartupError, match="cannot sign with"):
        run("node", "n1", "--days", "10")
    (tmp_path / "ca.crt").write_text("nothing")
    with pytest.raises(StartupError, match="cannot read the certificate"):
        run("node", "n1", "--days", "10")
    assert not (tmp_path / "n1.crt").exists()


def test_names_and_addresses() -> None:
    authority = make_authority("test", 100, NOW)
    for name in ("", "a" * 64, "-a", "a/b", "a b", "ä"):
        with pytest.raises(InvalidName):
            issue(authority, name, [], 10, NOW)
    for address in ("", "a..b", "10.0.0.1:80", "a" * 254, "http://a"):
        with pytest.raises(InvalidParameterValue):
            issue(authority, "n1", [address], 10, NOW)
    made = issue(authority, "a.b-c_D9", ["::1", "*.example.org"], 10, NOW)
    assert addresses_of(x509.load_pem_x509_certificate(made.certificate)) == ["*.example.org", "::1"]
    assert isinstance(made, Issued)
