"""Sessions that no adapter can verify: a client cannot fill the store with made-up cookies."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import (
    Members,
    Reply,
    Seen,
    Site,
    World,
    make_environ,
    make_scope,
    person,
    set_cookie,
)
from hypothesis import given
from hypothesis import strategies as st
from owners import network_owner_of, owner_of

from ott_middleware import (
    Backend,
    ConfigurationError,
    CookieSession,
    MemoryBackend,
    OneTimeTokens,
    OTTError,
    SealedSession,
    Session,
    SessionAdapter,
    SQLiteBackend,
)
from ott_middleware.context import using_request
from ott_middleware.http import Request
from ott_middleware.http.addresses import network_of
from ott_middleware.interfaces import asgi_request, wsgi
from ott_middleware.sessions.base import session_id

MOST = 1000


class Believes(SessionAdapter):
    """An adapter of a user's own that does not say that it can verify sessions."""

    blocks = False
    cookie_names = ("sid",)

    def current(self, request: Request) -> Session | None:
        values = [value for value in request.cookies("sid") if value]
        return Session(id=session_id("mine", *values), token=values[0]) if values else None

    def resolve(self, session: Session) -> Session:
        return session

    def establish(self, session: Session, request: Request) -> Any:
        return []


class Owners(MemoryBackend):
    """Remembers the owner and the limit of each put."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**how)
        self.puts: list[tuple[str, int | None]] = []

    def put(
        self, key: str, value: bytes, *, expires_at: float, owner: str, limit: int | None
    ) -> None:
        self.puts.append((owner, limit))
        super().put(key, value, expires_at=expires_at, owner=owner, limit=limit)


def at(world: World, client: Any) -> dict[str, Any]:
    """What the server says of a client with that address."""
    if world.interface == "asgi":
        return {"client": client and (client, 50000)}
    return {"REMOTE_ADDR": client}


def generate(world: World, site: Site, cookie: str, client: Any = "203.0.113.7") -> str:
    headers = {"cookie": f"sid={cookie}"}
    answer = site.generate(headers, carrier=at(world, client))
    assert answer.status == 200
    return str(answer.json()["token"])


def lives(site: Site, token: str) -> bool:
    return site.verify(token).status == 200


@pytest.fixture
def backend(world: World) -> Owners:
    return Owners(clock=world.clock)


def owner_at(world: World, backend: Owners, client: Any, session: Any = "sid") -> str:
    """The owner of a token that a client with that address gets."""
    generate(world, world.serve(session=session, backend=backend), "a", client)
    owner, limit = backend.puts[-1]
    assert limit == MOST
    return owner


# The store.


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path, world: World) -> Iterator[Backend]:
    backend: Backend = (
        MemoryBackend(clock=world.clock)
        if request.param == "memory"
        else SQLiteBackend(tmp_path / "tokens", durability="none", clock=world.clock)
    )
    yield backend
    backend.close()


@pytest.mark.slow
def test_made_up_cookies_leave_a_thousand_tokens(world: World, store: Backend) -> None:
    """Of 1,200 requests; a verified session's and another network's tokens are not retired."""
    members = world.serve(backend=store)
    verified = generate(world, members, "alice-cookie")
    site = world.serve(session="sid", backend=store)
    other = generate(world, site, "real", "198.51.100.1")
    tokens = [generate(world, site, f"made-up-{n}") for n in range(MOST + 200)]
    # The service's own `verify`, which costs less than 1,200 requests.
    left = sum(_redeems(site, token) for token in tokens)
    assert left == MOST
    assert not _redeems(site, tokens[-MOST - 1])
    assert _redeems(members, verified)
    assert _redeems(site, other)


def _redeems(site: Site, token: str) -> bool:
    try:
        site.flow.tokens.verify(token)
    except OTTError:
        return False
    return True


def test_client_that_fills_its_share_keeps_no_other_out(world: World) -> None:
    backend = MemoryBackend(maxsize=MOST + 1, clock=world.clock)
    site = world.serve(session="sid", backend=backend)
    for n in range(MOST + 10):
        generate(world, site, f"made-up-{n}")
    assert lives(site, generate(world, site, "real", "198.51.100.1"))


@pytest.mark.parametrize("cap", [1, 10, None])
def test_network_s_oldest_token_makes_way_whatever_max_per_session_says(
    world: World, cap: int | None
) -> None:
    backend = MemoryBackend(clock=world.clock)
    site = world.serve(session="sid", backend=backend, max_per_session=cap)
    tokens = [generate(world, site, "one") for _ in range(MOST + 1)]
    assert len(backend) == MOST
    assert not lives(site, tokens[0])
    assert lives(site, tokens[1])


@pytest.mark.parametrize("session", ["sid", ["sid", "other"], Believes()])
def test_unverifying_adapter_counts_by_network(world: World, backend: Owners, session: Any) -> None:
    site = world.serve(session=session, backend=backend)
    for cookie in ("a", "b"):
        generate(world, site, cookie)
    assert {owner for owner, _ in backend.puts} == {
        network_owner_of("handoff", "203.0.113.7/32", None)
    }


@pytest.mark.parametrize(
    "session",
    [CookieSession("sid", validate=lambda values: {}), Members(person("alice"))],
)
def test_verified_sessions_are_counted_one_by_one(
    world: World, backend: Owners, session: Any
) -> None:
    site = world.serve(session=session, backend=backend, max_per_session=7)
    generate(world, site, "alice-cookie")
    (found,) = [s for s in [session.current(_with_cookie())] if s]
    assert backend.puts == [(owner_of("handoff", found.id, None), 7)]


def _with_cookie() -> Request:
    return Request("GET", "http", "/", headers={"cookie": "sid=alice-cookie"})


# Whose adapter it is.


@pytest.mark.parametrize("verifies", [True, False])
def test_adapter_that_found_the_session_decides(
    world: World, backend: Owners, verifies: bool
) -> None:
    """A token service may have another adapter than the middleware."""
    bare, members = Believes(), Members(person("alice"))
    session, sessions = (members, bare) if verifies else (bare, members)
    tokens = OneTimeTokens(backend, sessions=sessions, max_per_session=7)
    generate(world, world.serve(session=session, tokens=tokens), "alice-cookie")
    assert [limit for _, limit in backend.puts] == [7 if verifies else MOST]


def test_handle_and_header_count_by_network_too(world: World, backend: Owners) -> None:
    async def agenerates(seen: Seen) -> Reply:
        await seen.ott.agenerate()
        return Reply(200, [set_cookie("sid", "new")])

    def generates(seen: Seen) -> Reply:
        seen.ott.generate()
        return Reply(200, [set_cookie("sid", "new")])

    app = agenerates if world.interface == "asgi" else generates
    site = world.serve(app, session="sid", backend=backend, set_ott_header_on_new_session=True)
    answer = site.get("/", {"cookie": "sid=old"}, carrier=at(world, "203.0.113.7"))
    assert answer.header("set-ott")
    assert backend.puts == [(network_owner_of("handoff", "203.0.113.7/32", None), MOST)] * 2


def test_network_is_unknown_without_a_request(backend: Owners) -> None:
    tokens = OneTimeTokens(backend, sessions=Believes(), max_per_session=7)
    session = Session(id="s", token="t")
    tokens.generate(session)
    assert backend.puts == [(owner_of("handoff", "s", None), 7)]
    assert tokens.revoke("s") == 1
    # A request that no middleware read: the service's own adapter is asked.
    with using_request(Request("GET", "http", "/", client="203.0.113.7")):
        tokens.generate(session)
    assert backend.puts[-1] == (network_owner_of("handoff", "203.0.113.7/32", None), MOST)


# Networks.


@pytest.mark.parametrize(
    ("client", "network"),
    [
        ("203.0.113.7", "203.0.113.7/32"),
        (" 203.0.113.7 ", "203.0.113.7/32"),
        ("203.0.113.7:1234", "203.0.113.7/32"),
        ("::ffff:203.0.113.7", "203.0.113.7/32"),
        ("::FFFF:CB00:7107", "203.0.113.7/32"),
        ("[::ffff:203.0.113.7]:80", "203.0.113.7/32"),
        ("2001:db8::1", "2001:db8::/56"),
        ("2001:db8:0:ff::1", "2001:db8::/56"),
        ("2001:db8:0:100::1", "2001:db8:0:100::/56"),
        ("2001:DB8:0000::0001", "2001:db8::/56"),
        ("[2001:db8::1]", "2001:db8::/56"),
        ("[2001:db8::1]:443", "2001:db8::/56"),
        ("fe80::1", "fe80::/56"),
        ("fe80::1%eth0", "fe80::/56"),
        ("fe80::2%eth1", "fe80::/56"),
        ("::1", "::/56"),
        # Whatever is not one address.
        (None, "unknown"),
        ("", "unknown"),
        ("unix:", "unknown"),
        ("/run/gunicorn.sock", "unknown"),
        ("localhost", "unknown"),
        ("testclient", "unknown"),
        ("203.0.113.7, 10.0.0.1", "unknown"),
        ("203.0.113.7,198.51.100.1", "unknown"),
        ("203.0.113.7:99999999", "unknown"),
        ("203.0.113.7:", "unknown"),
        ("203.0.113.007", "unknown"),
        ("203.0.113", "unknown"),
        ("0xcb007107", "unknown"),
        ("3405803783", "unknown"),
        ("203.0.113.7/24", "unknown"),
        ("[203.0.113.7", "unknown"),
        ("[]:80", "unknown"),
        ("[]", "unknown"),
        ("2001:db8::1%" + "z" * 60, "unknown"),
        ("\uff11.2.3.4", "unknown"),
        ("\0", "unknown"),
        ("9" * 64_000, "unknown"),
    ],
)
def test_network_of_an_address(client: str | None, network: str) -> None:
    assert network_of(client) == network


@given(st.text())
def test_network_of_any_text_is_a_network_or_unknown(client: str) -> None:
    assert network_of(client) == "unknown" or network_of(client).endswith(("/32", "/56"))


@given(st.ip_addresses(v=6), st.integers(0, 2**72 - 1))
def test_network_of_neighbours_is_one(address: Any, host: int) -> None:
    neighbour = type(address)(int(address) >> 72 << 72 | host)
    if address.ipv4_mapped is neighbour.ipv4_mapped is None:
        assert network_of(str(address)) == network_of(str(neighbour))


def test_ipv6_neighbours_share_and_strangers_do_not(world: World, backend: Owners) -> None:
    one, two, far = (
        owner_at(world, backend, client)
        for client in ("2001:db8::1", "2001:db8:0:aa:ffff::", "2001:db8:0:100::1")
    )
    assert one == two != far
    assert owner_at(world, backend, "::ffff:203.0.113.7") == owner_at(world, backend, "203.0.113.7")


@pytest.mark.parametrize(
    "client", ["", "/run/app.sock", "10.0.0.1, 10.0.0.2", None, 7, b"abcd", ["10.0.0.1"]]
)
def test_network_of_what_is_no_address_is_shared(
    world: World, backend: Owners, client: Any
) -> None:
    unknown = network_owner_of("handoff", "unknown", None)
    assert owner_at(world, backend, client) == unknown


@pytest.mark.parametrize(
    "client",
    [None, [], (), ("", 0), (None, None), [b"10.0.0.1", 1], 7, "10.0.0.1", {"host": "a"}],
)
def test_network_of_a_scope_without_an_address(client: Any) -> None:
    assert not asgi_request.parse_request(make_scope(carrier={"client": client})).client
    scope = make_scope()
    del scope["client"]
    assert asgi_request.parse_request(scope).client is None


def test_network_of_an_environ_without_an_address() -> None:
    environ = make_environ()
    del environ["REMOTE_ADDR"]
    assert wsgi._parse_request(environ).client is None


@pytest.mark.parametrize("name", ["x-forwarded-for", "forwarded", "x-real-ip", "remote-addr"])
def test_headers_of_a_client_do_not_name_its_network(
    world: World, backend: Owners, name: str
) -> None:
    site = world.serve(session="sid", backend=backend)
    for n in range(3):
        headers = {"cookie": f"sid={n}", name: f"198.51.100.{n}"}
        assert site.generate(headers, carrier=at(world, "203.0.113.7")).status == 200
    assert len({owner for owner, _ in backend.puts}) == 1


def test_client_is_in_the_request_and_in_no_repr() -> None:
    scope = make_scope(carrier={"client": ["203.0.113.7", 1]})
    environ = make_environ(carrier={"REMOTE_ADDR": "203.0.113.7"})
    for request in (asgi_request.parse_request(scope), wsgi._parse_request(environ)):
        assert request.client == "203.0.113.7"
        assert "203.0.113.7" not in repr(request)
    assert Request("GET", "http", "/").client is None
    assert not {"client", "verifiable"} & {f.name for f in dataclasses.fields(Request) if f.repr}


@given(
    st.sampled_from(["unknown", "203.0.113.7/32", "2001:db8::/56"]),
    st.text(),
    st.none() | st.binary(min_size=16, max_size=16),
)
def test_network_s_owner_is_no_session_id(
    network: str, session_id: str, secret: bytes | None
) -> None:
    owner = network_owner_of("handoff", network, secret)
    for each in (session_id, network, f"network\0handoff\0{network}", f" network\0{network}"):
        assert owner_of("handoff", each, secret) != owner


def test_session_of_a_network_s_name_does_not_revoke_its_tokens(world: World) -> None:
    site = world.serve(session="sid")
    token = generate(world, site, "a")
    for name in ("203.0.113.7/32", "203.0.113.7", "unknown"):
        assert site.flow.tokens.revoke(name) == 0
    assert lives(site, token)


# Cookies of more than 4 KiB.


@pytest.mark.parametrize(
    ("names", "sizes", "accepted"),
    [
        (["sid"], [4096], True),
        (["sid"], [4097], False),
        (["sid"], [16_000], False),
        (["sid", "other"], [2048, 2048], True),
        (["sid", "other"], [2048, 2049], False),
        (["sid", "other"], [4000, 4000], False),
    ],
)
def test_unverified_cookies_over_4_kib_are_no_session(
    world: World, names: list[str], sizes: list[int], accepted: bool
) -> None:
    site = world.serve(session=names)
    cookie = "; ".join(f"{n}={'x' * size}" for n, size in zip(names, sizes, strict=True))
    answer = site.generate({"cookie": cookie})
    assert answer.status == (200 if accepted else 401)
    found = site.members.current(Request("GET", "http", "/", headers={"cookie": cookie}))
    assert (found is not None) is accepted


@pytest.mark.parametrize("size", [4096, 4097])
def test_unverified_session_of_any_adapter_is_held_to_4_kib(world: World, size: int) -> None:
    site = world.serve(session=Believes())
    answer = site.generate({"cookie": f"sid={'x' * size}"})
    assert answer.status == (200 if size == 4096 else 401)


def test_unverified_session_is_held_to_the_sum_of_its_cookies(world: World) -> None:
    class Both(Believes):
        cookie_names = ("sid", "other")

        def current(self, request: Request) -> Session:
            values = {name: request.cookies(name)[0] for name in self.cookie_names}
            return Session(id="s", token=json.dumps(values))

    site = world.serve(session=Both())
    for size, status in ((2048, 200), (2049, 401)):
        cookie = f"sid={'x' * 2048}; other={'x' * size}"
        assert site.generate({"cookie": cookie}).status == status


def test_verified_session_may_be_larger(world: World) -> None:
    site = world.serve(session=CookieSession("sid", validate=lambda values: {}))
    assert site.generate({"cookie": f"sid={'x' * 5000}"}).status == 200


# What cannot be had for such sessions.


@pytest.mark.parametrize("session", ["sid", ["sid", "other"], Believes()])
def test_revoke_on_sign_out_needs_an_adapter_that_can_verify(world: World, session: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        world.serve(session=session, revoke_on_sign_out=True)
    name = type(session).__name__ if isinstance(session, Believes) else "CookieSession"
    assert f"revoke_on_sign_out: True, but {name} can't verify sessions" in str(caught.value)
    for cure in ("probe=", "validate=", "vouches = True", "leave the option out"):
        assert cure in str(caught.value)
    world.serve(session=session)


def test_revoke_on_sign_out_with_an_adapter_that_can_verify(world: World) -> None:
    for session in (
        CookieSession("sid", probe="/me"),
        CookieSession("sid", validate=lambda values: {}),
        SealedSession("a secret of thirty-two characters"),
        Members(),
    ):
        world.serve(session=session, revoke_on_sign_out=True)
