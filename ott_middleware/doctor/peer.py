"""Checks of the other site: whether it reaches the same store, and can open this site's tokens.

The doctor puts a token into this site's store and has the other site redeem it. What is sealed in
it names no session (see `tokens.probe`), so that no response can sign a user in, and the other site
tells nothing that it does not tell any client: whether the token is gone is seen in the store.
"""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any
from urllib.request import HTTPErrorProcessor, Request, build_opener

from ..concurrency import in_thread
from ..errors import OTTError
from ..flow.services import Services
from ..http.origins import Origin, is_loopback
from ..tokens.probe import put_probe, take_probe
from ..tokens.service import OneTimeTokens
from .report import Report
from .store import compare_clocks

_PATH = "/one-time-token/verify"
# An origin that no site has (RFC 6761 section 6.4).
_NOWHERE = "https://doctor.invalid"
_REDIRECTS = (301, 302, 303, 307, 308)


async def check_peer(
    report: Report,
    services: Services,
    tokens: OneTimeTokens,
    url: str,
    timeout: float,
    *,
    works: bool,
) -> None:
    """Write whether tokens of this site can be redeemed at another one.

    :param url: of the other site, with its base_path.
    :param works: whether this site's store works.
    """
    origin = Origin.of_url(url)
    if origin is None or origin.scheme not in ("http", "https") or "?" in url or "#" in url:
        report.fail("peer", "no URL of a site", "write one like https://b.example/api/auth")
        return
    if origin.scheme == "http" and not is_loopback(origin.host):
        report.fail("peer", f"{origin} is http: tokens can be read on the way", "use https")
    site = _Site(url.rstrip("/"), timeout)
    try:
        is_ready = await _is_ready(report, services, site, tokens, origin, works=works)
        if is_ready and await _shares_store(report, site, tokens):
            await _knows_itself(report, site, tokens, str(origin))
    except _Unreachable as error:
        report.fail("peer", f"{origin} cannot be reached ({error.what})", error.cure)
    except OTTError as error:
        report.fail("store", f"{type(error).__name__}: {error}")


async def _is_ready(
    report: Report,
    services: Services,
    site: _Site,
    tokens: OneTimeTokens,
    origin: Origin,
    *,
    works: bool,
) -> bool:
    """Write why a peer is not asked to redeem, if it is not; return whether it can be asked.

    :raises _Unreachable: there is no response.
    """
    reply = await site.verify({})
    if reply.date is not None:
        # The header has whole seconds.
        ahead = reply.date + 0.5 - tokens.clock()
        works = compare_clocks(report, "the peer", ahead) and works
    if reply.code != "VALIDATION_ERROR":
        await _explain(report, services, site, origin, reply)
        return False
    if not tokens.backend.shared:
        report.fail(
            "peer",
            f"the tokens are in the memory of this process ({tokens.backend.name}), which the "
            "peer cannot reach",
            "pass one backend= that both sites reach: a database file or a server",
            word="unknown_token",
        )
        return False
    if not works:
        report.warn("peer", "not asked to redeem", "see to this site's store and clock first")
    return works


async def _shares_store(report: Report, site: _Site, tokens: OneTimeTokens) -> bool:
    gone, reply = await _redeem(site, tokens, _NOWHERE, {"audience": _NOWHERE})
    if "own" in gone and reply.code == "SESSION_EXPIRED":
        report.ok("peer", "reaches this site's store, and opens its tokens")
        return True
    if "own" in gone and reply.code == "INVALID_TOKEN":
        report.fail(
            "peer",
            "reaches this site's store and cannot open its tokens",
            "give both sites the same secret= (a list of secrets for a rotation)",
            word="unreadable_token",
        )
    elif gone - {"own"}:
        report.fail(
            "peer",
            f"reaches this site's store, and has store_token={min(gone)!r}",
            "give both sites the same store_token=",
            word="unknown_token",
        )
    elif reply.code == "INVALID_TOKEN":
        report.fail(
            "peer",
            "does not find this site's tokens: it has another store",
            "give both sites the same backend= (for Redis also the database and the prefix, for "
            "SQL the table), and the same function in store_token=; several workers of the peer "
            "must not keep tokens in memory",
            word="unknown_token",
        )
    elif reply.status == 503:
        text = f"cannot reach its own store ({reply.code})"
        report.fail("peer", text, "look at its log", word="backend_failed")
    else:
        report.fail("peer", f"responds {reply.status} {reply.code}", "look at its log")
    return False


async def _knows_itself(report: Report, site: _Site, tokens: OneTimeTokens, origin: str) -> None:
    _, reply = await _redeem(site, tokens, origin, {})
    if reply.code == "SESSION_EXPIRED":
        report.ok("peer", f"redeems links to {origin}")
        return
    report.fail(
        "peer",
        f"does not redeem links to {origin} ({reply.code})",
        f"public_origin='{origin}' there, and a proxy that passes the Host on",
        word="other_audience",
    )


async def _redeem(
    site: _Site, tokens: OneTimeTokens, audience: str, body: dict[str, str]
) -> tuple[set[str], _Reply]:
    """Have the peer redeem a probe; return which of its values are gone, and the response."""
    backend = tokens.backend
    probe = await tokens.make_probe(audience)
    for key, value in probe.values.values():
        await put_probe(backend, key, value, asynchronous=True)
    try:
        reply = await site.verify({"token": probe.token, **body})
    finally:
        gone = set()
        for name, (key, _) in probe.values.items():
            if await take_probe(backend, key, asynchronous=True) is None:
                gone.add(name)
    return gone, reply


async def _explain(
    report: Report, services: Services, site: _Site, origin: Origin, reply: _Reply
) -> None:
    """Write why a site has no verify path."""
    if reply.status in _REDIRECTS:
        to = Origin.of_url(reply.location)
        where = f" to {to}" if to is not None else ""
        report.fail("peer", f"{site.url} redirects{where}", "pass the URL that browsers end up at")
        return
    for base_path in dict.fromkeys(("", services.options.base_path, "/api/auth")):
        other = _Site(f"{origin}{base_path}", site.timeout)
        if other.url != site.url and (await other.verify({})).code == "VALIDATION_ERROR":
            report.fail("peer", f"its base_path is {base_path!r}", f"--peer {other.url}")
            return
    report.fail(
        "peer",
        f"{site.url}{_PATH} is no verify path (status {reply.status})",
        "is the app there wrapped, and is its base_path in the URL: --peer https://host/base_path",
    )


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    code: str | None
    date: float | None
    location: str | None


class _Unreachable(Exception):
    """The peer did not respond; `what` happened, and the `cure`."""

    def __init__(self, what: str, cure: str) -> None:
        self.what, self.cure = what, cure
        super().__init__(what)


class _AsSent(HTTPErrorProcessor):
    """Returns each response: no redirect is followed, and no status is an exception."""

    def http_response(self, request: Request, response: Any) -> Any:
        return response

    https_response = http_response


class _Site:
    """The verify path of the other site."""

    def __init__(self, url: str, timeout: float) -> None:
        self.url = url
        self.timeout = timeout

    async def verify(self, body: dict[str, str]) -> _Reply:
        """Send a body, as a server does: without Origin and Cookie.

        :raises _Unreachable: there is no response.
        """
        return await in_thread(self._verify, json.dumps(body).encode())

    def _verify(self, body: bytes) -> _Reply:
        headers = {"Content-Type": "application/json", "User-Agent": "ott_middleware doctor"}
        # The scheme is http or https: `check_peer` refuses others.
        request = Request(self.url + _PATH, body, headers)  # noqa: S310 - checked before
        try:
            with build_opener(_AsSent).open(request, timeout=self.timeout) as response:
                return _reply_of(response)
        except (OSError, HTTPException) as error:
            raise _unreachable(getattr(error, "reason", error)) from None


def _reply_of(response: Any) -> _Reply:
    headers = response.headers
    try:
        body = json.loads(response.read(65536))
    except ValueError:
        body = None
    code = body.get("code") if isinstance(body, dict) else None
    try:
        date = parsedate_to_datetime(headers["Date"]).timestamp()
    except (TypeError, ValueError):
        date = None
    return _Reply(
        response.status, code if isinstance(code, str) else None, date, headers["Location"]
    )


def _unreachable(failure: object) -> _Unreachable:
    what = type(failure).__name__
    if isinstance(failure, ssl.SSLCertVerificationError):
        return _Unreachable(
            "its certificate is not trusted", "a certificate of a known authority, or SSL_CERT_FILE"
        )
    if isinstance(failure, ssl.SSLError):
        return _Unreachable(f"{what}: no TLS there", "is the port right, or is it http://?")
    if isinstance(failure, ConnectionRefusedError):
        return _Unreachable("nothing listens there", "is the port right, does the server run?")
    if isinstance(failure, TimeoutError):
        return _Unreachable("no response in time", "does a firewall stop it? see --timeout")
    return _Unreachable(what, "are host and port right, and https:// or http://?")
