from __future__ import annotations

import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ott_middleware import ConfigurationError
from ott_middleware.crypto import parse_secrets

SHORT = "fifteen bytes!!"


@pytest.mark.parametrize(
    ("given_as", "secrets"),
    [
        ("sixteen bytes...", (b"sixteen bytes...",)),
        (b"sixteen bytes...", (b"sixteen bytes...",)),
        ("éééééééé", b"\xc3\xa9" * 8),  # bytes count, not characters
        (["the newest secret", b"the older secret"], (b"the newest secret", b"the older secret")),
        (("a secret in a tuple",), (b"a secret in a tuple",)),
    ],
)
def test_secrets_as_bytes_newest_first(given_as: Any, secrets: Any) -> None:
    expected = secrets if isinstance(secrets, tuple) else (secrets,)
    assert parse_secrets("secret", given_as) == expected


@pytest.mark.parametrize(
    ("given_as", "what"),
    [
        (None, "a NoneType"),
        (1234567890123456, "a int"),
        ([], "a list"),
        ((), "a tuple"),
        ({"sixteen bytes...": 1}, "a dict"),
        ({"sixteen bytes..."}, "a set"),
        ("", "one of 0 bytes is too short"),
        (SHORT, "one of 15 bytes is too short"),
        (SHORT.encode(), "one of 15 bytes is too short"),
        (["a secret that will do", SHORT], "one of 15 bytes is too short"),
        (["a secret that will do", 16], "holds a int"),
        (["a secret that will do", None], "holds a NoneType"),
        (bytearray(b"sixteen bytes..."), "holds a int"),
        # What os.environ makes of bytes that are no UTF-8.
        ("not so secret \udcff\udcfe", "holds text that is no UTF-8"),
    ],
)
def test_secrets_that_are_refused_are_not_shown(given_as: Any, what: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_secrets("secret", given_as)
    text = "".join(traceback.format_exception(caught.value))
    assert str(caught.value).startswith(f"secret: {what}; use 16 bytes and more, as `python -c ")
    assert str(caught.value).endswith("or a list of such, newest first")
    for shown in (SHORT, "will do", "sixteen bytes", "not so secret", "1234567890123456"):
        assert shown not in text
    # An error that travels along could be asked for the text that it failed on.
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@given(st.text(max_size=40))
def test_secrets_of_any_text(text: str) -> None:
    raw = text.encode("utf-8", "surrogatepass")
    surrogates = any("\ud800" <= character <= "\udfff" for character in text)
    if len(raw) >= 16 and not surrogates:
        assert parse_secrets("secret", text) == (raw,)
    else:
        with pytest.raises(ConfigurationError) as caught:
            parse_secrets("secret", text)
        assert len(text) < 8 or text not in str(caught.value)
