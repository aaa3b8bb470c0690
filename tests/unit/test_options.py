from __future__ import annotations

import ast
import dataclasses
import hashlib
import inspect
import itertools
import math
import re
import traceback
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ott_middleware import (
    ConfigurationError,
    CookieSession,
    MemoryBackend,
    OneTimeTokens,
    SealedSession,
)
from ott_middleware import options as options_module
from ott_middleware.http.origins import HandoffTarget, Origin, OriginPattern
from ott_middleware.options import Options, OptionValues
from ott_middleware.tokens import TokenOptions
from ott_middleware.tokens import options as token_options
from ott_middleware.tokens.names import hash_token
from ott_middleware.tokens.options import hasher_of, seconds_of

SECRET = "a secret of thirty-two characters"


@pytest.fixture
def adapter() -> SealedSession:
    return SealedSession(SECRET)


def shout(token: str) -> str:
    return token.upper()


def patterns(*texts: str) -> tuple[OriginPattern, ...]:
    return tuple(OriginPattern.parse("x", text) for text in texts)


# What is accepted, and what becomes of it.


def test_the_defaults(adapter: SealedSession) -> None:
    options = Options.build({"session": adapter})
    assert options.adapter is adapter
    assert options.backend is options.tokens is options.public_origin is None
    assert options.token_options == TokenOptions()
    assert options.token_options.secrets == ()
    assert options.token_options.expires_in == 3
    assert options.token_options.store_token == "plain"
    assert options.token_options.max_per_session == 10
    assert options.token_options.generate_token is None
    assert options.disable_client_request is False
    assert options.disable_set_session_cookie is False
    assert options.set_ott_header_on_new_session is False
    assert options.base_path == ""
    assert options.query_param == "ott"
    assert options.trusted == options.targets == options.own == ()
    assert (options.on_invalid, options.on_switch) == ("error", "ask")
    assert options.issuer is options.pull_issuer is options.protected is None
    assert options.refuses_links is False


def test_all_options_at_once(adapter: SealedSession) -> None:
    backend = MemoryBackend()
    values: OptionValues = {
        "session": adapter,
        "backend": backend,
        "secret": [SECRET, b"an older secret, too"],
        "expires_in": timedelta(seconds=90),
        "disable_client_request": True,
        "generate_token": lambda session, context: "T",
        "store_token": "hashed",
        "disable_set_session_cookie": True,
        "set_ott_header_on_new_session": True,
        "base_path": "/api/auth",
        "query_param": None,
        "trusted_origins": ["https://*.a.example", "http://localhost:*"],
        "handoff_targets": ("https://b.example",),
        "public_origin": "https://App.example:443",
        "on_invalid": "continue",
        "on_switch": "replace",
        "site_name": "Shop",
        "login_url": "/login",
        "pages": {"used": lambda page: page.title},
        "max_per_session": None,
    }
    options = Options.build(values)
    assert options.backend is backend
    assert options.token_options.secrets == (SECRET.encode(), b"an older secret, too")
    assert options.trusted == patterns("https://*.a.example", "http://localhost:*")
    assert options.targets == (HandoffTarget.parse("x", "https://b.example"),)
    assert options.own == (Origin("https", "app.example", ""),)
    assert options.disable_client_request is options.disable_set_session_cookie is True
    assert options.query_param is None


def test_options_are_known_by_their_type_and_by_name_alone() -> None:
    accepted = {each.name for each in dataclasses.fields(Options) if each.init}
    accepted |= {each.name for each in dataclasses.fields(TokenOptions)}
    assert set(OptionValues.__annotations__) == accepted - {"token_options"}
    with pytest.raises(TypeError):
        Options("sid")  # type: ignore[misc]  # that it is refused is what is tested
    with pytest.raises(dataclasses.FrozenInstanceError):
        TokenOptions().expires_in = 5  # type: ignore[misc]  # as above


def test_docstring_of_each_key_names_its_default() -> None:
    fields = (*dataclasses.fields(Options), *dataclasses.fields(TokenOptions))
    defaults = {each.name: each.default for each in fields}
    named = {}
    for module in (options_module, token_options):
        for each in ast.parse(inspect.getsource(module)).body:
            if isinstance(each, ast.ClassDef) and each.name.endswith("OptionValues"):
                # A key, and the docstring under it.
                for key, text in itertools.pairwise(each.body):
                    if isinstance(key, ast.AnnAssign):
                        words = " ".join(ast.literal_eval(ast.unparse(text)).split())
                        (default,) = re.findall(r"Default: `([^`]+)`", words)
                        named[ast.unparse(key.target)] = ast.literal_eval(default)
    assert named == {name: defaults[name] for name in OptionValues.__annotations__}


@pytest.mark.parametrize(
    ("session", "names"),
    [("sid", ("sid",)), (["sid", "csrf"], ("sid", "csrf")), (("sid",), ("sid",))],
)
def test_cookie_names_make_a_cookie_session(session: Any, names: tuple[str, ...]) -> None:
    adapter = Options.build({"session": session}).adapter
    assert isinstance(adapter, CookieSession)
    assert adapter.cookie_names == names


def test_targets_are_not_the_trusted(adapter: SealedSession) -> None:
    # The pages of trusted origins may fetch tokens that are bound to nothing.
    trusted = Options.build({"session": adapter, "trusted_origins": iter(["https://a.example"])})
    assert trusted.trusted == patterns("https://a.example")
    assert trusted.targets == ()


def test_a_ready_token_service(adapter: SealedSession) -> None:
    service = OneTimeTokens(MemoryBackend(), sessions=adapter)
    assert Options.build({"session": adapter, "tokens": service}).tokens is service
    assert Options.build({"session": adapter, "tokens": None}).tokens is None


def test_a_function_for_dead_links(adapter: SealedSession) -> None:
    def page(request: Any, error: Any) -> Any:
        raise AssertionError

    assert Options.build({"session": adapter, "on_invalid": page}).on_invalid is page


@pytest.mark.parametrize("base_path", ["", "/api", "/api/auth", "/v1.0/~x_y-z"])
def test_base_paths(adapter: SealedSession, base_path: str) -> None:
    assert Options.build({"session": adapter, "base_path": base_path}).base_path == base_path


@pytest.mark.parametrize(
    ("expires_in", "seconds"),
    [
        (3, 180.0),
        (0.5, 30.0),
        (1e-3, 0.06),
        (timedelta(seconds=90), 90.0),
        (timedelta(milliseconds=1), 0.001),
        (timedelta(days=36600), 36600 * 86400.0),
    ],
)
def test_a_life_in_seconds(expires_in: Any, seconds: float) -> None:
    found = seconds_of("expires_in", expires_in)
    assert found == pytest.approx(seconds)
    assert type(found) is float


@given(st.integers() | st.floats() | st.timedeltas())
def test_any_time_is_a_life_or_refused(expires_in: Any) -> None:
    in_minutes = (
        expires_in / timedelta(minutes=1) if isinstance(expires_in, timedelta) else expires_in
    )
    if 0 < in_minutes <= 36600 * 1440:
        assert 0 <= seconds_of("expires_in", expires_in) <= 36600 * 86400
    else:
        with pytest.raises(ConfigurationError, match="expires_in: "):
            seconds_of("expires_in", expires_in)


def test_the_forms_of_a_hasher() -> None:
    assert hasher_of("plain") is None
    assert hasher_of("hashed") is hash_token
    assert hasher_of(shout) is shout
    assert hasher_of({"type": "custom-hasher", "hash": shout}) is shout
    assert hasher_of(MappingProxyType({"type": "custom-hasher", "hash": shout})) is shout
    found = hasher_of("hashed")
    assert found is not None
    assert found("abc") == "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"
    assert hashlib.sha256(b"abc").hexdigest().startswith("ba7816bf")


# What is refused: by the name of the option, the value and the cure.

REFUSED: list[tuple[str, Any, str, str]] = [
    ("session", "auto", "session: 'auto'", "pass the session cookie's name"),
    ("session", "", "session: ''", "pass the session cookie's name"),
    ("session", None, "session: None", "pass a cookie name, a list of them, or a session adapter"),
    ("session", 7, "session: 7", "pass a cookie name"),
    ("session", {"sid"}, "session: {'sid'}", "pass a cookie name"),
    ("session", ["sid", 7], "session: ['sid', 7]", "pass a cookie name"),
    ("session", CookieSession, "session: the class Cookie", "pass an object: CookieSession(...)"),
    ("session", [], "session: ", "name the cookie, as CookieSession('sessionid')"),
    ("session", "a b", "session: 'a b'", "is not a cookie name"),
    ("backend", object, "backend: the class object", "pass an object derived from Backend"),
    ("backend", 7, "backend: ", "pass an object derived from Backend"),
    ("backend", MemoryBackend, "backend: the class MemoryBackend", "Backend"),
    ("backend", "ftp://h", "backend: ", "memory"),
    ("tokens", 7, "tokens: 7 has no generate()", "pass a OneTimeTokens, or an object with all"),
    ("secret", "short", "secret: one of 5 bytes is too short", "use 16 bytes and more"),
    ("secret", 7, "secret: a int", "use 16 bytes and more"),
    ("secret", [], "secret: a list", "use 16 bytes and more"),
    ("expires_in", 0, "expires_in: 0", "use positive minutes, or a timedelta"),
    ("expires_in", -1, "expires_in: -1", "use positive minutes"),
    ("expires_in", True, "expires_in: True", "use positive minutes"),
    ("expires_in", "3", "expires_in: '3'", "use positive minutes"),
    ("expires_in", None, "expires_in: None", "use positive minutes"),
    ("expires_in", math.nan, "expires_in: nan", "use positive minutes"),
    ("expires_in", math.inf, "expires_in: inf", "use positive minutes"),
    ("expires_in", 1e300, "expires_in: 1e+300", "use positive minutes"),
    ("expires_in", 10**400, "expires_in: 1000", "use positive minutes"),
    ("expires_in", timedelta(0), "expires_in: datetime.timedelta(0)", "use positive minutes"),
    ("expires_in", timedelta.max, "expires_in: datetime.timedelta(", "use positive minutes"),
    ("generate_token", "T", "generate_token: 'T'", "pass a function of session and context"),
    ("store_token", "sha256", "store_token: 'sha256'", "use 'plain', 'hashed', a function"),
    ("store_token", None, "store_token: None", "use 'plain', 'hashed'"),
    ("store_token", {"type": "other"}, "store_token: {'type': 'other'}", "use 'plain'"),
    ("store_token", {"type": "custom-hasher"}, "store_token: None", "{'type': 'custom-hasher', "),
    ("max_per_session", 0, "max_per_session: 0", "use a number from 1, or None for no cap"),
    ("max_per_session", -1, "max_per_session: -1", "use a number from 1"),
    ("max_per_session", True, "max_per_session: True", "use a number from 1"),
    ("max_per_session", 1.5, "max_per_session: 1.5", "use a number from 1"),
    ("max_per_session", "10", "max_per_session: '10'", "use a number from 1"),
    ("disable_client_request", 1, "disable_client_request: 1", "use True or False"),
    ("disable_client_request", None, "disable_client_request: None", "use True or False"),
    ("disable_set_session_cookie", "no", "disable_set_session_cookie: 'no'", "use True or False"),
    ("set_ott_header_on_new_session", 0, "set_ott_header_on_new_session: 0", "use True or False"),
    ("revoke_on_sign_out", "yes", "revoke_on_sign_out: 'yes'", "use True or False"),
    ("base_path", "/", "base_path: '/'", "use '' or a path like '/api/auth'"),
    ("base_path", "api", "base_path: 'api'", "use '' or a path"),
    ("base_path", "/api/", "base_path: '/api/'", "use '' or a path"),
    ("base_path", "//api", "base_path: '//api'", "use '' or a path"),
    ("base_path", "/a?b", "base_path: '/a?b'", "use '' or a path"),
    ("base_path", "/a\n", "base_path: '/a\\n'", "use '' or a path"),
    ("base_path", None, "base_path: None", "use '' or a path"),
    ("query_param", "", "query_param: ''", "use a name like 'ott', or None"),
    ("query_param", "a&b", "query_param: 'a&b'", "use a name like 'ott'"),
    ("query_param", "a=b", "query_param: 'a=b'", "use a name like 'ott'"),
    ("query_param", "%6f", "query_param: '%6f'", "use a name like 'ott'"),
    ("query_param", "\xe9", "query_param: '\xe9'", "use a name like 'ott'"),
    ("query_param", "channel", "query_param: 'channel'", "use a name like 'ott'"),
    ("query_param", "x" * 65, "query_param: 'xxx", "use a name like 'ott'"),
    ("query_param", "ott\n", "query_param: 'ott\\n'", "use a name like 'ott'"),
    ("query_param", False, "query_param: False", "use a name like 'ott'"),
    ("trusted_origins", "https://a.example", "trusted_origins: 'https:", "pass a list of origins"),
    ("trusted_origins", None, "trusted_origins: None", "pass a list of origins"),
    ("trusted_origins", ["*"], "trusted_origins: '*' is not an origin", "write one like"),
    ("trusted_origins", [7], "trusted_origins: 7 is not an origin", "write one like"),
    ("handoff_targets", "https://a.example", "handoff_targets: 'https:", "pass a list of origins"),
    ("handoff_targets", 7, "handoff_targets: 7", "pass a list of origins"),
    ("handoff_targets", ["https://*.com"], "handoff_targets: 'https://*.com'", "name the domain"),
    ("public_origin", "", "public_origin: ''", "use scheme and host, as 'https://app.example.com'"),
    ("public_origin", "app.example", "public_origin: 'app.example'", "use scheme and host"),
    ("public_origin", "https://a.example/", "public_origin: 'https://a.", "use scheme and host"),
    ("public_origin", "app://name", "public_origin: 'app://name'", "use scheme and host"),
    ("public_origin", b"https://a.example", "public_origin: b'https:", "use scheme and host"),
    (
        "on_invalid",
        "ignore",
        "on_invalid: 'ignore'",
        "use one of 'error', 'continue' or a function",
    ),
    ("on_invalid", None, "on_invalid: None", "use one of 'error', 'continue' or a function"),
    ("rate_limit", "often", "rate_limit: 'often'", "write attempts and a period, as '20/minute'"),
    ("rate_limit", 20, "rate_limit: 20", "write attempts and a period"),
    ("rate_limit", "", "rate_limit: ''", "write attempts and a period"),
    ("rate_limit", "20/0 minutes", "rate_limit: '20/0 minutes'", "write attempts and a period"),
    ("rate_limit", "5/day;20 per 00 hour", "rate_limit: '5/day;", "write attempts and a period"),
    ("rate_limit", "0/minute", "rate_limit: '0/minute'", "with 1 to 10000 attempts"),
    ("rate_limit", "5/minute;9999999/day", "rate_limit: '5/minute;", "with 1 to 10000 attempts"),
    ("trusted_proxies", "10.0.0.0/8", "trusted_proxies: '10.0.0.0/8'", "pass a list of networks"),
    ("trusted_proxies", None, "trusted_proxies: None", "pass a list of networks"),
    ("trusted_proxies", ["proxy"], "trusted_proxies: 'proxy'", "use a network or an address"),
    ("trusted_proxies", ["10.0.0.1/8"], "trusted_proxies: '10.0.0.1/8'", "bits set beside"),
    ("trusted_proxies", [10], "trusted_proxies: 10", "use a network or an address"),
    ("trusted_proxies", ["0.0.0.0/0"], "trusted_proxies: '0.0.0.0/0'", "holds every client"),
    ("trusted_proxies", ["::/0"], "trusted_proxies: '::/0'", "holds every client"),
    ("trusted_proxies", ["::ffff:0:0/96"], "trusted_proxies: '::ffff", "holds every client"),
    ("on_event", "print", "on_event: 'print'", "pass a function of the event"),
    ("on_replay", "warn", "on_replay: 'warn'", "use one of 'ignore', 'revoke'"),
    ("on_switch", "yes", "on_switch: 'yes'", "use one of 'ask', 'keep', 'replace'"),
    ("on_switch", ["keep"], "on_switch: ['keep']", "use one of 'ask', 'keep', 'replace'"),
    ("site_name", "", "site_name: ''", "use a name on one line, or None"),
    ("login_url", "login", "login_url: 'login'", "use a path that begins with one slash"),
    ("issuer", 7, "issuer: 7", "use the origin of the site that signs users in"),
    ("issuer", "a.example", "issuer: 'a.example'", "use the origin of the site"),
    ("issuer", "app://a", "issuer: 'app://a'", "use the origin of the site"),
    ("issuer", "https://u@a.example", "issuer: 'https://u@", "use the origin of the site"),
    ("issuer", "https://a.example/a?b", "issuer: 'https://a.", "use the origin of the site"),
    ("issuer", "https://a.example//b", "issuer: 'https://a.", "use the origin of the site"),
    ("issuer", "http://a.example", "issuer: 'http://a.example'", "use https, or a loopback host"),
    ("issuer_only", False, "issuer_only: False, given without issuer", "leave it out"),
    ("protected", bool, "protected: given without issuer", "leave it out"),
    ("pages", {"use": str}, "pages: 'use' is no page", "did you mean 'used'?"),
]


@pytest.mark.parametrize(("option", "value", "said", "cure"), REFUSED)
def test_a_bad_value_is_refused_by_name_value_and_cure(
    adapter: SealedSession, option: str, value: Any, said: str, cure: str
) -> None:
    values = {"session": adapter, "secret": SECRET, option: value}
    if option == "tokens":
        del values["secret"]
    with pytest.raises(ConfigurationError) as caught:
        Options.build(values)
    text = str(caught.value)
    assert text.startswith(said)
    assert cure in text
    assert SECRET not in "".join(traceback.format_exception(caught.value))


async def waits(request: Any) -> bool:
    raise AssertionError


@pytest.mark.parametrize(
    ("option", "value", "said", "cure"),
    [
        ("issuer_only", 0, "issuer_only: 0", "use True or False"),
        ("protected", "/account", "protected: '/account'", "pass a function of the request"),
        ("protected", bool, "protected: <class 'bool'>", "pass a function of the request"),
        ("protected", waits, "protected: waits is async", "make it a plain function"),
        ("query_param", None, "issuer: given with query_param=None", "leave one of them out"),
        ("public_origin", ["https://a.example", "https://b.example"], "issuer: ", "leave it out"),
    ],
)
def test_options_beside_issuer(
    adapter: SealedSession, option: str, value: Any, said: str, cure: str
) -> None:
    values = {"session": adapter, "issuer": "https://A.example/api/", option: value}
    with pytest.raises(ConfigurationError) as caught:
        Options.build(values)
    assert str(caught.value).startswith(said)
    assert cure in str(caught.value)


@pytest.mark.parametrize(
    ("issuer", "url"),
    [
        ("https://a.example", "https://a.example"),
        ("https://A.example:443/", "https://a.example"),
        ("https://bücher.example/api/auth/", "https://xn--bcher-kva.example/api/auth"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://127.0.0.1:1/a", "http://127.0.0.1:1/a"),
    ],
)
def test_issuers(adapter: SealedSession, issuer: str, url: str) -> None:
    options = Options.build({"session": adapter, "issuer": issuer})
    assert options.pull_issuer is not None
    assert options.pull_issuer.url == url
    assert options.refuses_links


def test_every_option_has_been_refused() -> None:
    assert {option for option, *_ in REFUSED} == set(OptionValues.__annotations__)


def test_an_option_that_does_not_exist(adapter: SealedSession) -> None:
    for name, text in [
        ("expires", "expires: no such option; did you mean 'expires_in'?"),
        ("trusted_origin", "trusted_origin: no such option; did you mean 'trusted_origins'?"),
        # Options are made of it, but nobody passes it.
        ("token_options", "token_options: no such option"),
        ("adapter", "adapter: no such option"),
    ]:
        with pytest.raises(ConfigurationError) as caught:
            Options.build({"session": adapter, name: SECRET})
        assert str(caught.value).startswith(text)
        assert SECRET not in str(caught.value)
    with pytest.raises(ConfigurationError) as caught:
        Options.build({"session": adapter, "zzz": 1})
    assert (
        str(caught.value)
        == f"zzz: no such option; there are {sorted(OptionValues.__annotations__)}"
    )


def test_a_session_is_named_where_no_app_is_there_to_be_looked_at() -> None:
    with pytest.raises(ConfigurationError, match="session: 'auto'; pass the session cookie's name"):
        Options.build({})
    with pytest.raises(ConfigurationError, match="session: 'auto'; pass the session cookie's name"):
        Options()


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"secret": SECRET}, "secret"),
        ({"backend": MemoryBackend()}, "backend"),
        ({"expires_in": 3, "store_token": "hashed"}, "expires_in, store_token"),
        ({"max_per_session": 1, "backend": MemoryBackend()}, "max_per_session, backend"),
    ],
)
def test_a_ready_service_has_these_options_already(
    adapter: SealedSession, more: Mapping[str, Any], named: str
) -> None:
    service = OneTimeTokens(MemoryBackend(), sessions=adapter)
    with pytest.raises(ConfigurationError) as caught:
        Options.build({"session": adapter, "tokens": service, **more})
    expected = f"tokens: given together with {named}; give these to the service"
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    "name", ["generate", "agenerate", "verify", "averify", "revoke", "arevoke"]
)
def test_a_service_that_lacks_a_method(adapter: SealedSession, name: str) -> None:
    class Lacking(OneTimeTokens):
        def __repr__(self) -> str:
            return "<a service>"

    setattr(Lacking, name, None)
    with pytest.raises(ConfigurationError) as caught:
        Options.build({"session": adapter, "tokens": Lacking(MemoryBackend(), sessions=adapter)})
    assert str(caught.value).startswith(f"tokens: <a service> has no {name}(); pass a ")


@pytest.mark.parametrize(
    "url", ["redis://user:hunter2@h:6379/0", "redis://:hunter2@h", "x://u:p@hunter2@h\n/y"]
)
def test_the_password_in_a_url_is_not_shown(adapter: SealedSession, url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Options.build({"session": adapter, "backend": url.replace("redis:", "ftp:")})
    assert "hunter2" not in str(caught.value)


def test_options_do_not_show_the_secret(adapter: SealedSession) -> None:
    options = Options.build({"session": adapter, "secret": SECRET})
    assert SECRET not in repr(options)
    assert SECRET not in repr(options.token_options)
    assert options.token_options.secrets == (SECRET.encode(),)


NOTHING_SENSIBLE = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=8)
    | st.lists(st.text(max_size=8) | st.integers(), max_size=3)
    | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
)


@given(
    option=st.sampled_from(sorted(set(OptionValues.__annotations__) - {"session"})),
    value=NOTHING_SENSIBLE,
)
def test_any_value_is_accepted_or_refused_by_its_option(option: str, value: Any) -> None:
    try:
        Options.build({"session": SealedSession(SECRET), option: value})
    except ConfigurationError as error:
        assert str(error).startswith(f"{option}: ")  # noqa: PT017 - most values pass no other way
