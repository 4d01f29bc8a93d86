from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from core.config import load_config
from core.errors import ConfigError
from core.secrets import passwords, read_key, redacted
from tests.loop import SMOKE

KEY = "sk-te/st+01&23=45"  # every encoding below changes it


@pytest.mark.parametrize("around", ["", "\n", "\r\n", " ", "\t\n "])
def test_a_key_is_read_without_the_space_around_it(
    monkeypatch: pytest.MonkeyPatch, around: str
) -> None:
    monkeypatch.setenv("SOME_KEY", f"{around}{KEY}{around}")
    assert read_key("SOME_KEY") == KEY
    monkeypatch.setenv("SOME_KEY", around)
    assert read_key("SOME_KEY") == ""


@pytest.mark.parametrize(
    ("key", "named"),
    [
        ("sk-one\nsk-two", "control character U+000A"),
        ("Bearer sk-one", "space"),
        ('"sk-one"', "quotation mark"),
        ("sk-ﬁrst", "latin small ligature fi"),
        ("\ufeffsk-one", "zero width no-break space"),
        ("sk-one\x1b[0m", "control character U+001B"),
    ],
)
def test_a_character_that_no_key_has_is_named_and_the_key_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, key: str, named: str
) -> None:
    monkeypatch.setenv("SOME_KEY", key)
    with pytest.raises(ConfigError, match="SOME_KEY") as caught:
        read_key("SOME_KEY")
    assert named.lower() in str(caught.value).lower()
    assert "sk-" not in str(caught.value)


@pytest.mark.parametrize(
    "form",
    [
        KEY,
        f"b'Bearer {KEY}\\n'",
        json.dumps(KEY),
        KEY.replace("&", "&amp;"),
        quote(KEY),
        quote(KEY, safe="").lower(),
        quote_plus(KEY),
        base64.b64encode(KEY.encode()).decode(),
        KEY.upper(),
    ],
)
def test_a_secret_is_redacted_in_every_form(form: str) -> None:
    text = redacted(f"cannot authorise {form} now", [KEY, ""])
    assert "[secret]" in text
    for part in ("te/st", "te%2", "01&", "01%26", "c2stdG"):  # the last is base64 of "sk-t"
        assert part not in text.lower().replace("\\", "")


def test_without_secrets_a_text_stays_as_it_is() -> None:
    assert redacted("nothing to hide", ["", ""]) == "nothing to hide"


def test_passwords_of_the_address_and_of_the_proxies_are_secret_and_basic_headers_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:pr%40xy@proxy.example:3128")
    secrets = passwords("https://you:hunter2@host.example/v1")
    basic = base64.b64encode(b"me:pr@xy").decode()
    text = f"hunter2 pr@xy pr%40xy {basic} host.example"
    assert redacted(text, secrets) == "[secret] [secret] [secret] [secret]= host.example".replace(
        "]=", "]" + "=" * basic.count("=")
    )


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("evaluation.judge.base_url", "https://me:hunter2@host.example/v1"),
        ("evaluation.judge.base_url", "https://host.example/v1?key=hunter2"),
        ("evaluation.judge.api_key_env", "sk-hunter2"),
        ("engine.base_urls", '["https://me:hunter2@host.example/v1"]'),
        ("engine.api_key_env", "hf_hunter2"),
        ("engine", '{kind = "openai", serve_command = "vllm serve {model} --api-key hunter2"}'),
    ],
)
def test_a_secret_in_the_configuration_is_refused_without_being_shown(
    setting: str, value: str
) -> None:
    section, *_ = setting.split(".")
    with pytest.raises(ConfigError, match=section) as caught:
        load_config(SMOKE, [f"{setting}={value}"])
    assert "hunter2" not in str(caught.value)


def test_no_shipped_configuration_is_refused(tmp_path: Path) -> None:
    for path in sorted((SMOKE.parent).glob("*.toml")):
        load_config(path, [f"out_dir={tmp_path}"])
