"""docs/configuration.md is what the configuration classes say."""

from __future__ import annotations

from tools import configuration


def test_the_configuration_page_is_up_to_date() -> None:
    assert configuration.PAGE.read_text(encoding="utf-8") == configuration.page()


def test_every_setting_of_the_configuration_page_is_described() -> None:
    rows = [line for line in configuration.page().splitlines() if line.startswith("| `")]
    assert len(rows) > 150
    assert [row for row in rows if row.endswith("|  |")] == []
