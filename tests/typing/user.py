# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""A user's program, for type checkers alone: what it says must pass, what it marks must not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from typing_extensions import assert_type

from ott_middleware import (
    ASGIMiddleware,
    Backend,
    BearerSession,
    CookieSession,
    DjangoSession,
    MemoryBackend,
    OneTimeTokens,
    OTTMiddleware,
    SealedSession,
    Session,
    SessionAdapter,
    StarletteSession,
    WSGIMiddleware,
    get_handle,
)
from ott_middleware.errors import InvalidToken, RequestError, TooManyRequests, Unavailable
from ott_middleware.flow import Handle
from ott_middleware.http import Cookie, Page, Request, Response, register_language
from ott_middleware.http.page_texts import ENGLISH
from ott_middleware.sessions.base import UserSession
from ott_middleware.tokens import GenerationContext, TokenService

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]


async def asgi_app(
    scope: Scope,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    handle = get_handle(scope)
    assert_type(handle, Handle)
    assert_type(handle.session, Session | None)
    assert_type(await handle.asession(), Session | None)
    assert_type(await handle.agenerate(expires_in=timedelta(seconds=30)), str)
    assert_type(await handle.alink("https://b.example/", audience="https://b.example"), str)
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


def wsgi_app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    handle: Handle = environ["ott.handle"]
    assert_type(get_handle(environ), Handle)
    assert_type(handle.sign_in({"id": "42"}, remember=False), Session)
    handle.sign_out()
    assert_type(handle.redeemed, str | None)
    assert_type(handle.link("https://b.example/"), str)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello"]


class Members(SessionAdapter):
    vouches = True

    def current(self, request: Request) -> Session | None:
        value = next(iter(request.cookies("sid")), None)
        return None if value is None else Session("1", value, user_id="42")

    def resolve(self, session: Session) -> Session | None:
        return session

    def establish(self, session: Session, request: Request) -> Iterable[Cookie]:
        return [Cookie("sid", session.token)]


class WaitingMembers(SessionAdapter):
    async def current(self, request: Request) -> Session | None:
        return None

    async def resolve(self, session: Session) -> Session | None:
        return session

    async def establish(self, session: Session, request: Request) -> Iterable[Cookie]:
        return ()


class Shelf(Backend):
    def put(
        self, key: str, value: bytes, *, expires_at: float, owner: str, limit: int | None
    ) -> None:
        pass

    def take(self, key: str) -> bytes | None:
        return None

    def revoke(self, owner: str) -> int:
        return 0


def short(session: Session, context: GenerationContext) -> str:
    return f"{session.id}-{context.channel}"


async def slow(session: Session, context: GenerationContext) -> str:
    return short(session, context)


def sorry(request: Request, error: RequestError) -> Response:
    return Response(error.status, body=request.path.encode())


def own_page(page: Page) -> str:
    assert_type(page.sign_in_url, str | None)
    return f"<h1>{page.title}</h1>"


register_language("it", {"used": ("Titolo", "Testo."), "sign_in": "Accedi"})
register_language("he", ENGLISH, direction="rtl")
register_language("it", {"usd": ("Titolo", "Testo.")})  # type: ignore[typeddict-unknown-key]  # wrong on purpose

# The one line, for apps of every kind.
assert_type(OTTMiddleware(asgi_app, session="sid"), ASGIMiddleware)
assert_type(OTTMiddleware(wsgi_app, session="sid"), WSGIMiddleware)
assert_type(OTTMiddleware(wsgi_app, interface="wsgi", session="sid"), WSGIMiddleware)

# Every option.
OTTMiddleware(
    asgi_app,
    session=["sid", "csrf"],
    backend=MemoryBackend(1_000),
    secret=["a secret of thirty-two characters", b"an older one of thirty characters"],
    expires_in=timedelta(seconds=90),
    disable_client_request=True,
    generate_token=slow,
    store_token="hashed",
    disable_set_session_cookie=True,
    set_ott_header_on_new_session=True,
    base_path="/api/auth",
    query_param=None,
    trusted_origins=["https://*.example.com"],
    handoff_targets=["https://b.example"],
    public_origin="https://a.example",
    on_invalid=sorry,
    on_switch="replace",
    site_name="Shop",
    login_url="/login",
    pages={"used": own_page, "no_account": lambda page: Response(page.status)},
    max_per_session=None,
)
OTTMiddleware(asgi_app, session=WaitingMembers(), backend=Shelf(), generate_token=short)
WSGIMiddleware(wsgi_app, session=SealedSession("a secret of thirty-two characters"))
ASGIMiddleware(asgi_app, session=CookieSession("sid", samesite="Strict"))


async def validate_later(token: str) -> Mapping[str, Any] | None:
    return {"user_id": token} if token else None


OTTMiddleware(asgi_app, session=BearerSession(validate=validate_later))
OTTMiddleware(wsgi_app, session=BearerSession(validate={"a token": {"user_id": "7"}}.get))

# Which local user a session of another site is of: a function that reads a field as it is.
ACCOUNTS = {"ada@example.com": {"id": "7"}}


def by_address(session: UserSession) -> dict[str, str] | None:
    assert_type(session.user, Mapping[str, Any])
    return ACCOUNTS.get(session.user["email"])


async def by_id(session: Session) -> dict[str, str] | None:
    assert_type(session.user, Mapping[str, Any] | None)
    return ACCOUNTS.get(session.user_id or "")


DjangoSession(mode="fork", match=lambda session: ACCOUNTS.get(session.user["email"]))
StarletteSession(secret_key="a secret", match=by_address, expose=["email"])
StarletteSession(secret_key="a secret", match=by_id, sources=[DjangoSession()])
SealedSession("a secret of thirty-two characters", match=by_address)

# The service, without an app.
tokens = OneTimeTokens(MemoryBackend(), sessions=Members(), store_token=lambda token: token[::-1])
service: TokenService = tokens
token = tokens.generate(Session("1", "a cookie"), audience="https://b.example")
assert_type(token, str)
try:
    assert_type(tokens.verify(token, audience="https://b.example"), Session)
except InvalidToken as error:
    assert_type(error.status, int)
except (TooManyRequests, Unavailable) as error_for_a_while:
    assert_type(error_for_a_while.retry_after, int)
assert_type(tokens.revoke("1"), int)
OTTMiddleware(wsgi_app, session=Members(), tokens=service)

# What is wrong is told by the type checker already.
OTTMiddleware(asgi_app, session="sid", on_switch="replce")  # type: ignore[call-overload]  # wrong on purpose
ASGIMiddleware(asgi_app, session="sid", on_switch="replce")  # type: ignore[arg-type]  # wrong on purpose
ASGIMiddleware(asgi_app, session="sid", on_invalid="eror")  # type: ignore[arg-type]  # wrong on purpose
WSGIMiddleware(wsgi_app, session="sid", store_token="sha256")  # type: ignore[arg-type]  # wrong on purpose
OTTMiddleware(wsgi_app, interface="wsgy", session="sid")  # type: ignore[call-overload]  # wrong on purpose
OneTimeTokens(MemoryBackend(), sessions=Members(), store_token="hash")  # type: ignore[arg-type]  # wrong on purpose

ASGIMiddleware(asgi_app, session="sid", expire_in=3)  # type: ignore[call-arg]  # wrong on purpose
ASGIMiddleware(asgi_app, session=3)  # type: ignore[arg-type]  # wrong on purpose
ASGIMiddleware(asgi_app, session="sid", expires_in="3 minutes")  # type: ignore[arg-type]  # wrong on purpose
WSGIMiddleware(asgi_app, session="sid")  # type: ignore[arg-type]  # wrong on purpose
DjangoSession(mode="forked")  # type: ignore[arg-type]  # wrong on purpose
DjangoSession(matches="id")  # type: ignore[call-arg]  # wrong on purpose
tokens.generate("1")  # type: ignore[arg-type]  # wrong on purpose

if TYPE_CHECKING:
    from ott_middleware import DjangoSesion  # type: ignore[attr-defined]  # noqa: F401  # wrong on purpose
    from ott_middleware import Request as _  # type: ignore[attr-defined]  # noqa: F401  # wrong on purpose
