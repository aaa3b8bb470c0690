"""Mistakes with two sites, their links and their store."""

from __future__ import annotations

from typing import Any

from mistake import Mistake, read_error, read_log

from ott_middleware import OTTMiddleware, SealedSession, get_handle, options
from ott_middleware.backends import private_store
from ott_middleware.http import register_language

MADE_UP = "A" * 32


def serve(**options: Any) -> Any:
    from harness import World  # the page of the docs is made without the folder of tests

    return World("wsgi").serve(**options)


def link_to_another_site_from_memory() -> str:
    with read_log() as lines:
        serve(handoff_targets=["https://b.example"])
    return "\n".join(lines)


def link_of_a_site_with_another_store() -> str:
    private_store._unknown_seen.clear()
    with read_log() as lines:
        serve().open(f"/?ott={MADE_UP}")
    return "\n".join(lines)


def two_ports_of_one_host() -> str:
    options._warned_of_cookies.clear()
    with read_log() as lines:
        serve(
            public_origin="http://localhost:8001",
            handoff_targets=["http://localhost:8002"],
        )
    return "\n".join(line for line in lines if "cookies" in line)


def construct(**options: Any) -> str:
    with read_log() as lines:
        serve(**options)
    return "\n".join(lines)


def seconds_for_days() -> str:
    with read_log() as lines:
        SealedSession("a secret of thirty-two characters", lifetime=14)
    return "\n".join(lines)


def store_that_is_unreachable(url: str) -> str:
    site = serve(backend=url, secret="a secret of thirty-two characters")
    with read_log() as lines:
        site.open(f"/?ott={MADE_UP}")
    return "\n".join(lines)


def view_of(call: Any) -> str:
    """What a view reads that calls something with its handle, for a signed-in user."""
    texts: list[str] = []

    def view(seen: Any) -> Any:
        from harness import Reply

        texts.append(read_error(lambda: call(get_handle(seen.carrier)), Exception))
        return Reply()

    serve(app=view, handoff_targets=["https://b.example"]).get("/", {"cookie": "sid=alice-cookie"})
    return texts[0]


def show_without_await(ott: Any) -> None:
    coroutine = ott.alink("https://b.example/")
    try:
        f'<a href="{coroutine}">'
    finally:
        coroutine.close()


def ask_without_await(ott: Any) -> None:
    coroutine = ott.asession()
    try:
        if coroutine:
            raise AssertionError("each visitor is let in")
    finally:
        coroutine.close()


def wrap(**options: Any) -> str:
    return read_error(lambda: OTTMiddleware(lambda environ, start_response: [], **options))


MISTAKES = (
    Mistake(
        "two sites, each with the default store, which is the memory of one process",
        link_to_another_site_from_memory,
        "pass one backend= that both sites reach, and the same secret=",
    ),
    Mistake(
        "a link is opened at a site that does not share the store of the site that made it",
        link_of_a_site_with_another_store,
        "made by another site or worker",
    ),
    Mistake(
        "two sites on two ports of one host, whose cookies browsers do not tell apart",
        two_ports_of_one_host,
        "Give one of them another host name",
    ),
    Mistake(
        "`expires_in=180`, meant as seconds",
        lambda: construct(expires_in=180),
        "for seconds timedelta(seconds=180)",
    ),
    Mistake(
        "`expires_in=0.05`, meant as hours",
        lambda: construct(expires_in=0.05),
        "write timedelta(minutes=0.05)",
    ),
    Mistake(
        "`SealedSession(secret, lifetime=14)`, meant as days",
        seconds_for_days,
        "for days timedelta(days=14)",
    ),
    Mistake(
        "Redis does not run",
        lambda: store_that_is_unreachable("redis://:hunter2@127.0.0.1:1/0"),
        "at 127.0.0.1:1: is it running, and reachable from this host?",
    ),
    Mistake(
        "the directory of the SQLite file is missing",
        lambda: store_that_is_unreachable("sqlite:////nowhere/tokens.db"),
        "make the directory /nowhere",
    ),
    Mistake(
        "`link()` with a path instead of a URL",
        lambda: view_of(lambda ott: ott.link("/welcome")),
        "pass one like 'https://b.example/welcome'",
    ),
    Mistake(
        "`ott.alink(...)` in a page, without `await`",
        lambda: view_of(show_without_await),
        "write `await ott.alink(...)`",
    ),
    Mistake(
        "`if ott.asession():`, without `await`",
        lambda: view_of(ask_without_await),
        "write `await ott.asession(...)`",
    ),
    Mistake(
        "a `public_origin` with a letter that browsers and Python encode differently",
        lambda: wrap(session="sid", public_origin="https://straße.example"),
        "as 'xn--…'",
    ),
    Mistake(
        "`login_url` without a slash",
        lambda: wrap(session="sid", login_url="login"),
        "use a path that begins with one slash, as '/login'",
    ),
    Mistake(
        "`pages=` with the name of no page",
        lambda: wrap(session="sid", pages={"expired": print}),
        "there are used, no_account",
    ),
    Mistake(
        "`pages=` with HTML instead of a function",
        lambda: wrap(session="sid", pages={"used": "<h1>Sorry</h1>"}),
        "pass a function that takes a Page",
    ),
    Mistake(
        "a text of a language with a misspelt name",
        lambda: read_error(lambda: register_language("it", {"usd": ("Titolo", "Testo.")})),  # type: ignore[typeddict-unknown-key]  # that is the mistake
        "did you mean 'used'?",
    ),
)
