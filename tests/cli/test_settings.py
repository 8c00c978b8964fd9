"""One table of settings: every source, every refusal by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tsdb.config import ENVIRONMENT_ONLY, TABLE, LogLevel, Settings, is_loopback, load
from tsdb.errors import ConfigurationError


@pytest.fixture(autouse=True)
def _no_settings_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for entry in TABLE:
        monkeypatch.delenv(entry.variable, raising=False)
    monkeypatch.delenv("TSDB_CONFIG", raising=False)


def refusal(flags: dict[str, object] | None = None, file: Path | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(flags, file=file)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_without_any_source_the_defaults_hold() -> None:
    assert load() == Settings()
    assert load().pg_port == 5432
    assert load().http_port == 8086
    assert load().host == "127.0.0.1"


def test_a_flag_wins_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tsdb.toml"
    file.write_text("pg_port = 1\nhttp_port = 1\nconnections_max = 1\n")
    monkeypatch.setenv("TSDB_HTTP_PORT", "2")
    monkeypatch.setenv("TSDB_CONNECTIONS_MAX", "2")
    settings = load({"connections_max": "3"}, file=file)
    assert (settings.pg_port, settings.http_port, settings.connections_max) == (1, 2, 3)


def test_the_environment_may_name_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "tsdb.toml"
    file.write_text('log_level = "debug"\n')
    monkeypatch.setenv("TSDB_CONFIG", str(file))
    assert load().log_level is LogLevel.DEBUG


@pytest.mark.parametrize(
    ("text", "size"), [("1048576", 1 << 20), ("1MiB", 1 << 20), ("1.5 GiB", 3 << 29), ("2mb", 2_000_000)]
)
def test_sizes_take_units(text: str, size: int) -> None:
    assert load({"head_bytes": text}).head_bytes == size


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("1.5h", 5400), ("30min", 1800), ("2500ms", 2.5)])
def test_durations_take_units(text: str, seconds: float) -> None:
    assert load({"head_age": text}).head_age == seconds


def test_an_unknown_key_of_the_file_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "tsdb.toml"
    file.write_text("pg_prot = 1\n")
    assert refusal(file=file) == f'unknown setting "pg_prot" in {file} (did you mean pg_port?)'


def test_an_unknown_variable_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TSDB_HTTPPORT", "1")
    assert refusal() == "unknown setting TSDB_HTTPPORT in the environment (did you mean TSDB_HTTP_PORT?)"


def test_variables_of_other_programs_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TSDBX", "1")
    monkeypatch.setenv("PG_PORT", "1")
    assert load() == Settings()


def test_variables_read_elsewhere_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ENVIRONMENT_ONLY.keys() - {"TSDB_CONFIG"}:
        monkeypatch.setenv(variable, "0")
    assert load() == Settings()


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ({"pg_port": "65536"}, "--pg-port"),
        ({"pg_port": "-1"}, "--pg-port"),
        ({"pg_port": "five"}, "--pg-port"),
        ({"head_bytes": "a lot"}, "--head-bytes"),
        ({"head_bytes": "1KiB"}, "--head-bytes"),
        ({"head_age": "1 fortnight"}, "--head-age"),
        ({"log_level": "loud"}, "--log-level"),
        ({"insecure": "perhaps"}, "--insecure"),
    ],
)
def test_a_value_out_of_bounds_or_of_the_wrong_kind_is_refused_by_name(flags: dict[str, object], name: str) -> None:
    assert refusal(flags).startswith(f"wrong setting {name}: ")


def test_a_file_that_is_not_there_or_not_toml_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(file=tmp_path / "none.toml")
    file = tmp_path / "tsdb.toml"
    file.write_text("pg_port = = 1\n")
    assert "is not TOML" in refusal(file=file)


def test_every_default_lies_in_its_bounds_and_reads_back_from_its_text() -> None:
    for entry in TABLE:
        assert getattr(load({entry.name: entry.text(entry.default)}), entry.name) == entry.default
        assert entry.meaning, entry.name
        if None not in (entry.low, entry.high, entry.default):
            assert isinstance(entry.default, (int, float))
            assert entry.low is not None
            assert entry.high is not None
            assert entry.low <= entry.default <= entry.high, entry.name


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_word(host: str) -> None:
    assert is_loopback(host)
    assert load({"host": host}).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "example.com", ""])
def test_other_addresses_are_known_as_such(host: str) -> None:
    assert not is_loopback(host)
    assert load({"host": host}).host == host


@pytest.mark.parametrize(
    ("flags", "text"),
    [({"tls_cert": "a"}, "go together"), ({"tls_key": "a"}, "go together"), ({"tls_required": "true"}, "tls_cert")],
)
def test_half_of_a_certificate_is_refused(flags: dict[str, object], text: str) -> None:
    assert text in refusal(flags)


def test_limits_that_exclude_each_other_are_refused() -> None:
    assert "bodies_bytes_max" in refusal({"body_bytes_max": "1GiB"})
