from __future__ import annotations

import base64
import hashlib
import hmac
import math
import re

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import example, given
from hypothesis import strategies as st
from owners import owner_of

from ott_middleware.crypto import (
    CookieSeal,
    TokenSeal,
    _decode_base64url,
    base64url,
    derive,
    key_id,
)
from ott_middleware.tokens.names import backend_key, hash_token, is_token

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
OLD, NEW, OTHER = b"the older secret", b"the newer secret", b"somebody else's secret"
NONCE = bytes(range(12))
EXPIRES = 1_795_426_317.773
PLAIN = b'{"id":"alice"}'

TOKENS = st.text(ALPHABET, min_size=1, max_size=64)
SECRETS = st.none() | st.binary(min_size=16, max_size=40)


def sealed(secret: bytes | None = OLD, token: str = "T", key: str = "k") -> bytes:
    seal = TokenSeal(() if secret is None else (secret,))
    return seal.seal(PLAIN, token=token, key=key, expires_at=EXPIRES, nonce=NONCE)


def opened(
    value: bytes, *secrets: bytes, token: str = "T", key: str = "k"
) -> tuple[bytes, float] | None:
    return TokenSeal(secrets).open(value, token=token, key=key)


# Names of things.


@pytest.mark.parametrize("value", ["a", "-", "_", "A-Z_9", "x" * 512, ALPHABET])
def test_is_token_accepts(value: str) -> None:
    assert is_token(value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x" * 513,
        "a b",
        "a.b",
        "a=",
        "a+b",
        "a/b",
        "a\n",
        "\xe9",
        "\u0661",
        "a\0",
        None,
        7,
        b"a",
    ],
)
def test_is_token_refuses(value: object) -> None:
    assert not is_token(value)


@given(st.text(ALPHABET + " .=\n\xe9", max_size=6) | st.text())
def test_is_token_of_any_text(text: str) -> None:
    assert is_token(text) is (1 <= len(text) <= 512 and set(text) <= set(ALPHABET))


@pytest.mark.parametrize(
    ("token", "stored"),
    [
        # FIPS 180-2, appendix B: SHA-256 of "abc" and of a longer message.
        ("abc", "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"),
        (
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "JI1qYdIGOLjlwCaTDD5gOaM85Flk_yFn9uzt1BnbBsE",
        ),
    ],
)
def test_hash_token_by_the_standard(token: str, stored: str) -> None:
    assert hash_token(token) == stored


@given(st.binary())
def test_base64url_is_unpadded_and_reversible(raw: bytes) -> None:
    text = base64url(raw)
    assert set(text) <= set(ALPHABET)
    assert len(text) == math.ceil(len(raw) * 4 / 3)
    assert base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) == raw


def test_backend_key_names_the_channel() -> None:
    assert backend_key("handoff", "T") == "one-time-token:handoff:T"
    assert backend_key("other", "T") != backend_key("handoff", "T")


def test_owner_of_is_not_the_session_and_differs_by_everything() -> None:
    expected = hmac.digest(OLD, b"one-time-token\0handoff\0session", hashlib.sha256)
    assert owner_of("handoff", "session", OLD) == base64url(expected)
    unsigned = hmac.digest(b"one-time-token", b"one-time-token\0handoff\0session", hashlib.sha256)
    assert owner_of("handoff", "session", None) == base64url(unsigned)
    names = {
        owner_of(channel, session, secret)
        for channel in ("handoff", "other")
        for session in ("session", "session2", "\ud800", "\xe9")
        for secret in (OLD, NEW, None)
    }
    assert len(names) == 24


def test_key_id_is_four_bytes_of_an_hmac() -> None:
    assert key_id(None) == b"\0\0\0\0"
    assert key_id(OLD) == hmac.digest(OLD, b"ott_middleware key id", hashlib.sha256)[:4]
    assert key_id(OLD) != key_id(NEW)


def hkdf(material: bytes, salt: bytes, info: bytes) -> bytes:
    """RFC 5869 for 32 bytes, which is one round."""
    extracted = hmac.digest(salt or bytes(32), material, hashlib.sha256)
    return hmac.digest(extracted, info + b"\x01", hashlib.sha256)


@given(st.binary(), SECRETS, st.sampled_from(["token seal", "cookie seal", "x"]))
def test_derive_by_the_standard(material: bytes, secret: bytes | None, purpose: str) -> None:
    info = f"ott_middleware {purpose}".encode()
    assert derive(material, secret, purpose) == hkdf(material, secret or b"", info)


# The seal around what a backend holds.


def test_seal_keeps_its_form() -> None:
    # Values wait in stores and browsers while versions change: their form may not.
    header = "02" + "497383e8" + "000001a207bf75cd" + "000102030405060708090a0b"
    assert sealed().hex() == (
        header + "1b4853685e4838386f700acd99b9d7f31a247f88973a8da6cae56d435e83"
    )
    # The same by hand: RFC 5869, AES-256-GCM, the header and the key as associated data.
    raw = bytes.fromhex(header)
    cipher = AESGCM(hkdf(b"T", OLD, b"ott_middleware token seal"))
    assert sealed() == raw + cipher.encrypt(NONCE, PLAIN, raw + b"k")
    assert cookie() == "Aklzg-gAAQIDBAUGBwgJCguBaQngjZ1vj2Y82tg3ehg3ymP-HIwoQCZPUTs5wSA"


@given(
    plain=st.binary(max_size=100),
    token=TOKENS,
    key=st.text(max_size=10),
    milliseconds=st.integers(0, 2**45),
    secret=SECRETS,
    nonce=st.binary(min_size=12, max_size=12),
)
def test_seal_is_opened(
    plain: bytes, token: str, key: str, milliseconds: int, secret: bytes | None, nonce: bytes
) -> None:
    expires_at = milliseconds / 1000
    seal = TokenSeal(() if secret is None else (secret,))
    value = seal.seal(plain, token=token, key=key, expires_at=expires_at, nonce=nonce)
    found = seal.open(value, token=token, key=key)
    assert found is not None
    assert found[0] == plain
    # Never later than it was to be.
    assert 0 <= expires_at - found[1] <= 0.0011


def test_seal_with_any_bit_changed() -> None:
    for secret, secrets in ((OLD, (OLD,)), (None, ())):
        value = sealed(secret)
        assert opened(value, *secrets) == (PLAIN, EXPIRES)
        for position in range(len(value) * 8):
            flipped = bytearray(value)
            flipped[position // 8] ^= 1 << position % 8
            assert opened(bytes(flipped), *secrets) is None, position


def test_seal_cut_short_or_extended() -> None:
    value = sealed()
    for length in range(len(value)):
        assert opened(value[:length], OLD) is None
    assert opened(value + b"\0", OLD) is None
    assert opened(b"\0" + value, OLD) is None


@given(st.binary())
def test_unseal_of_any_bytes(raw: bytes) -> None:
    assert opened(raw, OLD) is opened(raw) is None
    # Nor with a header that promises something.
    assert opened(sealed()[:25] + raw, OLD) is None


@given(token=TOKENS, key=st.text(max_size=5))
@example(token="T", key="K")
@example(token="t", key="k")
def test_seal_under_another_token_or_key(token: str, key: str) -> None:
    expected = (PLAIN, EXPIRES) if (token, key) == ("T", "k") else None
    assert opened(sealed(), OLD, token=token, key=key) == expected
    assert opened(sealed(None), token=token, key=key) == expected


def test_seal_under_another_secret() -> None:
    assert opened(sealed(OLD), NEW, OTHER) is None
    assert opened(sealed(OLD)) is None
    # Who can write to the store but has no secret, plants nothing.
    assert opened(sealed(None), OLD) is None


def test_seal_under_rotated_secrets() -> None:
    assert opened(sealed(OLD), NEW, OLD) == (PLAIN, EXPIRES)
    assert opened(sealed(NEW), NEW, OLD) == (PLAIN, EXPIRES)
    assert opened(sealed(OLD), NEW) is None


def test_seal_beside_a_secret_with_the_same_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Four bytes may coincide: as all of them do here.
    monkeypatch.setattr("ott_middleware.crypto.key_id", lambda secret: b"same")
    assert opened(sealed(OLD), NEW, OLD) == (PLAIN, EXPIRES)
    assert read(cookie(OLD), NEW, OLD) == PLAIN


def test_seals_of_version_1_still_open() -> None:
    # A session lives for two weeks in the cookie of an earlier release.
    header = "01" + "497383e8" + "000001a207bf75cd" + "000102030405060708090a0b"
    value = bytes.fromhex(header + "1b4853685e4838386f700acd99b95a18278b31225dc9d211a9ed3d27a6c0")
    assert opened(value, OLD) == (PLAIN, EXPIRES)
    assert read("AUlzg-gAAQIDBAUGBwgJCguBaQngjZ1vj2Y82tg3ejVkUDJCyOI3r9fw6w4UwxE") == PLAIN
    # The version is sealed as well: a value of one does not pass for one of the other.
    assert opened(b"\2" + value[1:], OLD) is None


def test_seal_of_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as later:
        later.setattr("ott_middleware.crypto._VERSION", 3)
        token, session = sealed(), cookie()
    assert opened(token, OLD) is None
    assert read(session) is None


def test_seal_shows_neither_token_nor_session() -> None:
    value = sealed(None, token="the-very-token")
    for word in (b"alice", b"the-very-token"):
        assert word not in value


def test_seals_draw_a_nonce_each_time() -> None:
    tokens, cookies = TokenSeal((OLD,)), CookieSeal("sid", (OLD,))
    # With a nonce twice under one key, AES-GCM would tell what both values hold.
    values = [tokens.seal(PLAIN, token="T", key="k", expires_at=EXPIRES) for _ in range(9)]
    assert len({value[13:25] for value in values}) == 9
    sessions = [base64.urlsafe_b64decode(cookies.seal(PLAIN) + "==") for _ in range(9)]
    assert len({session[5:17] for session in sessions}) == 9
    assert opened(values[0], OLD) == (PLAIN, EXPIRES)


# The seal of a cookie.


def cookie(secret: bytes = OLD, name: str = "sid", plain: bytes = PLAIN) -> str:
    return CookieSeal(name, (secret,)).seal(plain, NONCE)


def read(value: str, *secrets: bytes, name: str = "sid") -> bytes | None:
    return CookieSeal(name, secrets or (OLD,)).open(value)


@given(st.binary(max_size=100), st.binary(min_size=16, max_size=40))
def test_cookie_seal_is_opened(plain: bytes, secret: bytes) -> None:
    value = cookie(secret, plain=plain)
    assert re.fullmatch("[A-Za-z0-9_-]+", value)
    assert read(value, secret) == plain
    assert read(value, OTHER, secret) == plain
    assert read(value, secret, name="sid2") is None


def test_cookie_seal_under_another_secret() -> None:
    assert read(cookie(OLD), NEW, OTHER) is None
    assert CookieSeal("sid", ()).open(cookie()) is None
    assert read(cookie(NEW), NEW, OLD) == PLAIN


def test_cookie_seal_with_any_bit_changed() -> None:
    raw = base64.urlsafe_b64decode(cookie() + "==")
    for position in range(len(raw) * 8):
        flipped = bytearray(raw)
        flipped[position // 8] ^= 1 << position % 8
        assert read(base64url(bytes(flipped))) is None, position


def test_cookie_seal_has_one_spelling() -> None:
    # Three plain bytes more and less: all lengths of a last group.
    for plain in (PLAIN, PLAIN + b"x", PLAIN + b"xy"):
        value = cookie(plain=plain)
        assert read(value) == plain
        for index in range(len(value)):
            for character in ALPHABET + "+/=. ":
                spelled = value[:index] + character + value[index + 1 :]
                assert read(spelled) == (plain if spelled == value else None)
        for spelled in (value + "=", value + "==", value + "A", " " + value, value + "\n"):
            assert read(spelled) is None
        for length in range(len(value)):
            assert read(value[:length]) is None


@given(st.text() | st.text(ALPHABET) | st.binary().map(base64url))
def test_cookie_unseal_of_any_text(text: str) -> None:
    assert read(text) is None
    # Nor after a beginning that promises something.
    begun = bytes([2]) + key_id(OLD)
    assert read(base64url(begun)) is None
    assert read(base64url(begun + text.encode("utf-8", "replace"))) is None


def test_seals_of_cookies_and_backends_do_not_open_each_other() -> None:
    raw = base64.urlsafe_b64decode(cookie() + "==")
    assert opened(raw, OLD, token=OLD.decode().replace(" ", "-"), key="sid") is None
    assert read(base64url(sealed())) is None


@given(st.binary(max_size=40))
def test_what_the_encoder_spells_is_decoded(raw: bytes) -> None:
    assert _decode_base64url(base64url(raw)) == raw


@given(st.text(ALPHABET + "+/= \n.\u00e9", max_size=12))
@example("AA")
@example("AB")
@example("AAB")
@example("A")
@example("AA==")
@example("AA\n")
@example("A+/A")
def test_no_other_spelling_is_decoded(text: str) -> None:
    raw = _decode_base64url(text)
    assert raw is None or base64url(raw) == text
