"""Settings: read once from the environment, wrong ones refused by name."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from emeterai.infra.settings import Settings, SettingsError, as_environment, load_settings

OTHER_VALUES: dict[type, object] = {str: "other value", int: 4_321, float: 43.25}


def test_without_a_variable_the_defaults_run_the_service() -> None:
    """Other programs' variables are left alone."""
    assert Settings() == load_settings({"PATH": "/bin", "PORT": "x", "METERAI_PORT": "x"})


def test_variables_are_read_by_their_types() -> None:
    """Text, whole numbers and seconds with a fraction."""
    settings = load_settings({"EMETERAI_HOST": "0.0.0.0", "EMETERAI_PORT": "8081", "EMETERAI_LEASE_S": "2.5"})  # noqa: S104
    assert ("0.0.0.0", 8081, 2.5) == (settings.host, settings.port, settings.lease_s)  # noqa: S104


def test_a_number_is_text_where_text_is_wanted() -> None:
    """A folder may be called 7."""
    assert "7" == load_settings({"EMETERAI_DATA_DIR": "7"}).data_dir


@pytest.mark.parametrize("name", ["EMETERAI_PROT", "EMETERAI_", "EMETERAI_DATA_PATH", "EMETERAI_BASE_URL"])
def test_an_unknown_variable_is_refused_by_its_name(name: str) -> None:
    """A typing mistake never runs the service on a default."""
    with pytest.raises(SettingsError, match=f"{name} is not a setting; docs/settings.md"):
        load_settings({name: "1", "EMETERAI_PORT": "8081"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("port", value) for value in ("eighty", "", "80.5", "0", "-1", "99999")),
        *(("lease_s", value) for value in ("soon", "nan", "inf", "-1", "0")),
        *(("duty_idr", value) for value in ("1e4x", "0")),
        ("database_connections", "0"),
    ],
)
def test_an_unreadable_value_is_refused_by_its_name(name: str, value: str) -> None:
    """The text says which variable and what it wants."""
    with pytest.raises(SettingsError, match=f"EMETERAI_{name.upper()}: expected `(int|float)`"):
        load_settings({f"EMETERAI_{name.upper()}": value})


def test_a_child_process_reads_the_same_settings() -> None:
    """Every setting, each with a value that is not its default, goes to a child and comes back the same."""
    defaults = msgspec.structs.asdict(Settings())
    others = {name: OTHER_VALUES[type(value)] for name, value in defaults.items()}
    settings = msgspec.convert(others | {"log_format": "json", "log_level": "debug", "gate": "off"}, Settings)
    environment = as_environment(settings)
    assert set(defaults) == {name.removeprefix("EMETERAI_").lower() for name in environment}
    assert all(name == name.upper() for name in environment)
    assert settings == load_settings(environment)


def test_the_defaults_come_back_the_same_too() -> None:
    """Empty texts stay empty."""
    assert Settings() == load_settings(as_environment(Settings()))


def test_addresses_follow_from_host_and_port() -> None:
    """Unless the public address is set; it never ends with a slash."""
    settings = Settings(port=9_000)
    assert ("http://127.0.0.1:9000", "http://127.0.0.1:9001") == (settings.base_url, settings.sandbox_url)
    assert "https://meterai.example" == Settings(public_url="https://meterai.example/").base_url
    assert "http://127.0.0.1:7000" == Settings(sandbox_port=7_000).sandbox_url
    assert "http://127.0.0.1:65534" == Settings(port=65_535).sandbox_url, "after the last port there is none"


def test_the_data_folder_is_absolute() -> None:
    """Child processes may run elsewhere."""
    assert Path.cwd() / "var" == Settings().data_path
