from __future__ import annotations

import contextlib
import json
from time import process_time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ott_middleware.errors import BadRequest, PayloadTooLarge, UnsupportedMediaType, ValidationError
from ott_middleware.http.messages import Request
from ott_middleware.http.verify_body import MAX_BODY, check_length, parse_body


def parse(raw: bytes, content_type: str | None = "application/json") -> tuple[str, str | None]:
    headers = {} if content_type is None else {"content-type": content_type}
    return parse_body(Request("POST", "https", "/verify", headers=headers), raw)


@pytest.mark.parametrize(
    ("raw", "token", "audience"),
    [
        (b'{"token":"T"}', "T", None),
        (b' {"other": [1], "token": "T"}\r\n', "T", None),
        (b'\xef\xbb\xbf{"token":"T"}', "T", None),
        (b'{"token":""}', "", None),
        (b'{"token":"A","token":"B"}', "B", None),
        (b'{"token":"\\u0054\\ud800"}', "T\ud800", None),
        (b'{"token":"T","audience":null}', "T", None),
        (b'{"token":"T","audience":"https://b.example"}', "T", "https://b.example"),
        (b'{"token":"T","audience":""}', "T", ""),
        (b'{"token":"T","n":' + b"9" * 16_000 + b"}", "T", None),
        (b'{"token":"T","x":' + b"[" * 99 + b"]" * 99 + b"}", "T", None),
    ],
)
def test_body_with_token_and_audience(raw: bytes, token: str, audience: str | None) -> None:
    assert parse(raw) == (token, audience)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON",
        "application/json;charset=utf-8",
        'application/json ; charset="utf-8"',
        " application/json",
    ],
)
def test_content_type_that_is_json(content_type: str) -> None:
    assert parse(b'{"token":"T"}', content_type) == ("T", None)


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "text/plain; x=application/json",
        "application/jsonp",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json, text/plain",
        ";",
        "\xe9",
    ],
)
def test_content_type_that_is_not_json(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        parse(b'{"token":"T"}', content_type)


@pytest.mark.parametrize(
    ("raw", "content_type", "received"),
    [
        (b"", "application/json", "undefined"),
        (b"", "text/plain", "undefined"),
        (b"", None, "undefined"),
        (b'{"token":"T"}', None, "undefined"),
        (b'{"token":"T"}', "", "undefined"),
        (b'["token"]', "application/json", "array"),
        (b'"token"', "application/json", "string"),
        (b"7", "application/json", "number"),
        (b"-0.5e3", "application/json", "number"),
        (b"null", "application/json", "null"),
        (b"true", "application/json", "boolean"),
        (b"false", "application/json", "boolean"),
    ],
)
def test_body_that_is_no_object(raw: bytes, content_type: str | None, received: str) -> None:
    with pytest.raises(ValidationError) as caught:
        parse(raw, content_type)
    assert caught.value.message == f"[body] Invalid input: expected object, received {received}"


@pytest.mark.parametrize("field", ["token", "audience"])
@pytest.mark.parametrize(
    ("value", "received"),
    [
        (1, "number"),
        (1.5, "number"),
        (True, "boolean"),
        ([], "array"),
        ({}, "object"),
        ("missing", "undefined"),
        (None, "null"),
    ],
)
def test_body_with_fields_that_are_no_string(field: str, value: Any, received: str) -> None:
    body: dict[str, Any] = {"token": "T", field: value}
    if value == "missing":
        del body[field]
    raw = json.dumps(body).encode()
    if field == "audience" and received in ("undefined", "null"):
        assert parse(raw) == ("T", None)
        return
    with pytest.raises(ValidationError) as caught:
        parse(raw)
    expected = f"[body.{field}] Invalid input: expected string, received {received}"
    assert caught.value.message == expected


@pytest.mark.parametrize(
    "more",
    [
        b'"' + b"[{" * 200 + b'"',
        b'"\\"' + b"[" * 200 + b'\\\\"',
        b"[" + b"[]," * 200 + b"[]]",
        b"[" * 99 + b"]" * 99,
    ],
)
def test_body_with_brackets_that_nest_nothing(more: bytes) -> None:
    assert parse(b'{"x":' + more + b',"token":"T"}') == ("T", None)


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"token=T",
        b" ",
        b'{"token":"T"} {}',
        b"{'token':'T'}",
        b'{"token":"T",}',
        b'{"token":"\xff"}',
        b'{"token":"a\nb"}',
        '{"token":"T"}'.encode("utf-16"),
        b'{"token":"T","n":NaN}',
        b'{"token":"T","n":-Infinity}',
        b"[" * MAX_BODY,
        b'{"a":' * 3000,
        # Well-formed, and deeper than anybody means: refused by every version of Python.
        b"[" * (MAX_BODY // 2) + b"]" * (MAX_BODY // 2),
        b'{"token":"T","x":' + b"[" * 100 + b"]" * 100 + b"}",
        b'{"token":"T","x":' + b'{"x":' * 100 + b"1" + b"}" * 101,
    ],
)
def test_body_of_malformed_json(raw: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(raw)
    assert caught.value.message == "Invalid JSON in request body"


@pytest.mark.parametrize("piece", [b'\\"', b'"\\', b'"', b"\\", b'{"'])
def test_body_takes_no_longer_than_its_length(piece: bytes) -> None:
    began = process_time()
    with pytest.raises(BadRequest):
        parse(piece * (MAX_BODY // len(piece)))
    assert process_time() - began < 0.1  # a string that is looked for from each quote: 0.8 s


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["token", "audience", "x"]), inner)
    ),
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
@example(b"\xef\xbb\xbf")
@example(b"1" * 5000)
@example(b'"\\ud800"')
def test_body_of_any_bytes(raw: bytes) -> None:
    # Whatever else is raised would be a 500.
    with contextlib.suppress(BadRequest, ValidationError):
        token, audience = parse(raw)
        body = json.loads(raw.decode("utf-8-sig"))
        assert (token, audience) == (body["token"], body.get("audience"))


@given(st.text(st.characters(max_codepoint=255)))
def test_content_type_of_any_text(content_type: str) -> None:
    expected = UnsupportedMediaType if content_type else ValidationError
    with contextlib.suppress(expected):
        assert parse(b'{"token":"T"}', content_type) == ("T", None)
        assert content_type.split(";")[0].strip().lower() == "application/json"


@pytest.mark.parametrize("length", [None, "", "0", "000000007", "16384"])
def test_length_within_the_limit(length: str | None) -> None:
    headers = {} if length is None else {"content-length": length}
    check_length(Request("POST", "https", "/verify", headers=headers), MAX_BODY)


@pytest.mark.parametrize(
    ("length", "error"),
    [
        ("16385", PayloadTooLarge),
        ("9" * 10_000, PayloadTooLarge),  # more digits than Python makes an int of
        ("-1", BadRequest),
        ("+1", BadRequest),
        ("1.0", BadRequest),
        ("0x10", BadRequest),
        (" 1", BadRequest),
        ("1, 1", BadRequest),
        ("\u0661", BadRequest),
        ("\xb2", BadRequest),
    ],
)
def test_length_over_the_limit_or_malformed(length: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        check_length(
            Request("POST", "https", "/verify", headers={"content-length": length}), MAX_BODY
        )
