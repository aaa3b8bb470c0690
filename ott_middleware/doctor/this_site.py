"""Checks of this site: its origins, its targets, its cookies."""

from __future__ import annotations

from typing import Any

from asgiref.testing import ApplicationCommunicator
from werkzeug.test import Client

from ..concurrency import in_thread
from ..flow.services import Services
from ..http.messages import Request
from ..http.origins import Origin, is_loopback
from ..interfaces.asgi import ASGIMiddleware
from ..interfaces.asgi_headers import decode_headers
from ..interfaces.asgi_probe import scope_of
from ..sessions.hosts import exact_hosts, hosts_of
from .report import Report

# The cures of a cookie that the adapter sets, and of one that the app sets.
_BY_ADAPTER = ("httponly=True", "secure=True, or leave it out", "samesite='Lax'")
_BY_APP = (
    "SESSION_COOKIE_HTTPONLY of Django and Flask",
    "SESSION_COOKIE_SECURE, or https_only=True of Starlette's SessionMiddleware",
    "SESSION_COOKIE_SAMESITE, or same_site='lax' of Starlette's SessionMiddleware",
)


def check_site(report: Report, services: Services, peer: str | None) -> None:
    """Write which origins this site has, and where its links may lead."""
    own = services.options.own
    for origin in own:
        if origin.scheme == "https" or is_loopback(origin.host):
            report.ok("site", f"public_origin {origin}")
        else:
            report.fail(
                "site",
                f"public_origin {origin} is http: tokens and cookies can be read on the way, and "
                "are not Secure",
                "serve the site by https, and write https://",
            )
    if not own:
        hosts = sorted(_own_hosts(services))
        if hosts:
            report.ok("site", f"its own by the framework's host names: {', '.join(hosts)}")
        else:
            report.warn(
                "site",
                "no public_origin=: links are redeemed only under a name of this machine",
                "public_origin='https://…', as browsers see this site",
            )
    targets = services.options.targets
    for target in targets:
        if target.origin.scheme == "http" and not is_loopback(target.origin.host):
            report.warn(
                "targets",
                f"{target.origin} is http, so that tokens can be read on the way",
                "serve it by https, and list it so",
            )
    there = Origin.of_url(peer)
    if there is None:
        listed = ", ".join(str(target.origin) for target in targets)
        report.ok("targets", listed or "none: this site's links lead to itself")
    elif there in own:
        report.fail("targets", f"{there} is this site's own origin", "pass the other site's URL")
    elif any(target.origin.matches(there) for target in targets):
        report.ok("targets", f"{there} is listed; for the way back, run doctor on that site")
    else:
        report.fail(
            "targets",
            f"handoff_targets does not list {there}, so that links to there are refused",
            f"handoff_targets=['{there}']; for the way back, this site's origin on that one",
            word="target",
        )


def _own_hosts(services: Services) -> set[str]:
    try:
        named = [*services.options.adapter.own_hosts(), *hosts_of(services.options.host_layers)]
    except Exception:
        return set()  # a hook that fails is told where a token is redeemed
    return set(exact_hosts(named))


async def check_cookies(report: Report, middleware: Any, timeout: float) -> None:
    """Write the attributes of the session cookies: as links set them, and as the app does."""
    services: Services = middleware._services
    adapter = services.options.adapter
    for name in adapter.cookie_names:
        attributes = adapter.attributes_of(name)
        if attributes is not None:
            cookie = attributes.cookie(name, "")
            secure = cookie.secure is not False
            _check_flags(report, name, cookie.httponly, secure, cookie.samesite)
    hosts = sorted(_own_hosts(services)) or ["localhost"]
    origin = str(services.options.own[0]) if services.options.own else f"http://{hosts[0]}"
    try:
        lines = await _get(middleware, origin, timeout)
    except Exception as error:
        report.warn(
            "cookies",
            f"GET / fails in process ({type(error).__name__})",
            "compare the cookie that the app sets at sign-in with this one in the browser",
        )
        return
    for line in lines:
        name = line.partition("=")[0].strip()
        if name in adapter.cookie_names:
            flags = {part.strip().lower() for part in line.split(";")[1:]}
            samesite = next((f[9:] for f in flags if f.startswith("samesite=")), "lax")
            secure = "secure" in flags or not origin.startswith("https")
            _check_flags(report, name, "httponly" in flags, secure, samesite, by_app=True)


def _check_flags(
    report: Report, name: str, httponly: bool, secure: bool, samesite: str, *, by_app: bool = False
) -> None:
    cookie = f"the app's cookie {name}" if by_app else f"cookie {name}"
    risks = (
        (not httponly, "scripts can read it"),
        (not secure, "it goes over http as well"),
        (samesite.lower() == "none", "it goes with requests of all sites"),
    )
    cures = _BY_APP if by_app else _BY_ADAPTER
    problems = [
        f"{risk} ({cure})" for (is_so, risk), cure in zip(risks, cures, strict=True) if is_so
    ]
    if problems:
        report.warn("cookies", cookie, "; ".join(problems))
    else:
        report.ok("cookies", f"{cookie} is HttpOnly, SameSite={samesite.title()}")


async def _get(middleware: Any, origin: str, timeout: float) -> list[str]:
    """Return the Set-Cookie lines of the app's response to a GET of its start page."""
    if not isinstance(middleware, ASGIMiddleware):
        response = await in_thread(Client(middleware).get, "/", base_url=origin)
        return response.headers.getlist("Set-Cookie")
    scheme, _, host = origin.partition("://")
    carrier = {"client": ("127.0.0.1", 0), "server": (host.partition(":")[0], 80)}
    request = Request("GET", scheme, "/", headers={"host": host}, carrier=carrier)
    scope = scope_of(request, request)
    exchange: Any = ApplicationCommunicator(middleware, scope)  # type: ignore[no-untyped-call]  # asgiref has no types there
    await exchange.send_input({"type": "http.request", "body": b"", "more_body": False})
    message = await exchange.receive_output(timeout)
    return [value for name, value in decode_headers(message) if name.lower() == "set-cookie"]
