"""Settings: which layer wins, where a value comes from, and what a wrong one says."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackrate import config
from rackrate.errors import BadQuantity, RackrateError, UnknownName, UsageError
from rackrate.market.home import home_of


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, **values: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[rackrate]\n" + "".join(f"{key} = {value!r}\n" for key, value in values.items()))


def origins() -> dict[str, str]:
    return {setting.key: setting.origin for setting in config.load().settings}


def test_without_anything_the_defaults_hold() -> None:
    found = config.load()
    assert found.data is None
    assert found.hours_per_month == 730
    assert set(origins().values()) == {"default"}
    assert [setting.key for setting in found.settings] == list(config.KEYS)
    assert all(setting.means for setting in found.settings)


def test_environment_over_project_over_user_over_default(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = config.user_folder() / "config.toml"
    write(user, hours_per_month=700, data="/of/the/user")
    assert (config.load().hours_per_month, origins()["hours_per_month"]) == (700, str(user))
    write(project / "rackrate.toml", hours_per_month=710)
    assert (config.load().hours_per_month, origins()["hours_per_month"]) == (710, "rackrate.toml")
    assert origins()["data"] == str(user)
    monkeypatch.setenv("RACKRATE_HOURS_PER_MONTH", "720")
    assert (config.load().hours_per_month, origins()["hours_per_month"]) == (
        720,
        "environment RACKRATE_HOURS_PER_MONTH",
    )


def test_the_market_has_two_names_in_the_environment_and_store_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RACKRATE_DATA", "/srv/market")
    assert (config.load().data, origins()["data"]) == ("/srv/market", "environment RACKRATE_DATA")
    monkeypatch.setenv("RACKRATE_STORE", "s3://bucket/prefix")
    assert (config.load().data, origins()["data"]) == ("s3://bucket/prefix", "environment RACKRATE_STORE")


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RACKRATE_DATA", "")
    assert config.load().data is None
    assert origins()["data"] == "default"


def test_a_tilde_is_the_home(monkeypatch: pytest.MonkeyPatch, own_home: Path) -> None:
    monkeypatch.setenv("RACKRATE_DATA", "~/market")
    assert home_of().folder == own_home / "market"


def test_the_stores_lie_in_the_users_own_folders(own_home: Path) -> None:
    assert own_home in config.default_store().parents
    assert own_home in config.user_folder().parents


def test_an_unknown_key_is_an_error_with_the_nearest(project: Path) -> None:
    write(project / "rackrate.toml", hours_per_mont=1)
    with pytest.raises(UnknownName) as caught:
        config.load()
    assert (caught.value.code, caught.value.nearest) == ("unknown-setting", ("hours_per_month",))


@pytest.mark.parametrize("text", ["[rackrate", "rackrate = 1", b"\xff\xfe".decode("latin-1")])
def test_a_file_that_is_no_settings_is_refused_with_its_name(text: str, project: Path) -> None:
    (project / "rackrate.toml").write_text(text, encoding="latin-1")
    with pytest.raises(UsageError) as caught:
        config.load()
    assert "rackrate.toml" in caught.value.message


def test_other_tables_of_the_file_are_not_ours(project: Path) -> None:
    (project / "rackrate.toml").write_text("[another]\nkey = 1\n")
    assert config.load().hours_per_month == 730


@pytest.mark.parametrize(
    ("text", "error"), [("0", UsageError), ("744.1", UsageError), ("-1", UsageError), ("x", BadQuantity)]
)
def test_hours_that_are_no_month_are_refused(text: str, error: type[RackrateError]) -> None:
    with pytest.raises(error):
        config.month_hours(text)


@given(st.floats(0.001, 744))
def test_hours_of_a_month_read_back(hours: float) -> None:
    assert config.month_hours(repr(hours)) == hours
