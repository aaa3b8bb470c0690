"""Starts a pull handoff: where the visitor's browser is sent, and the cookies it needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from ..errors import ConfigurationError
from ..http.cookies import Cookie
from ..http.fetch_metadata import Kind, classify
from ..http.messages import Request
from ..http.origins import Origin
from ..http.urls import cut_url, mount_of, on_this_host
from ..http.whatwg_url import parse_url
from ..issuer_options import Issuer
from ..options import Options
from ..tokens.challenges import challenge_of
from .own_site import OwnSite
from .pull_cookies import MAX_WANTED, PullCookies

#: Returns within a minute after which no further attempt starts by itself.
MOST_RETURNS = 2
# `next=` of `handle.handoff()`: what a browser's URL may hold. All else is percent-encoded.
_SAFE = "%/:?#[]@!$&'()*+,;=~"


@dataclass(frozen=True, slots=True)
class Started:
    """A pull handoff that starts, or the page that says why none does.

    :ivar url: where to send the browser.
    :ivar cookies: what the browser must be given.
    :ivar loops: whether the visitor comes back from the issuer again and again; the URL is that of
        the page then.
    """

    url: str = field(repr=False)
    cookies: tuple[Cookie, ...] = field(repr=False)
    loops: bool = False


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PullStart:
    """Starts the pull handoffs of one middleware.

    :ivar issuer: the site that signs users in.
    :ivar site: tells this site's own origin.
    :ivar param: the name of the link parameter.
    :ivar path: the return path, below the mount point.
    :ivar cookies: those of the attempts.
    """

    issuer: Issuer
    site: OwnSite
    param: str
    path: str
    cookies: PullCookies

    @classmethod
    def build(
        cls,
        options: Options,
        site: OwnSite,
        secrets: Sequence[bytes],
        now: Callable[[], float],
    ) -> PullStart | None:
        """Return what the options come to; None without `issuer`.

        :raises ConfigurationError: an option that `issuer` needs is missing.
        """
        issuer = options.pull_issuer
        if issuer is None:
            return None
        if not secrets:
            raise ConfigurationError(
                "issuer: given without secret, which seals the cookie of an attempt; pass secret= "
                "(16 bytes or more)"
            )
        param, path = str(options.query_param), f"{options.base_path}/one-time-token/return"
        return cls(issuer, site, param, path, PullCookies(issuer.url, secrets, now))

    def start(self, request: Request, wanted: str) -> Started:
        """Return where to send the browser of a request.

        :param wanted: the path and query to lead the visitor back to.
        :raises ConfigurationError: this site does not know its own origin.
        """
        mount = mount_of(request.carrier)
        returns = self.cookies.returns(request)
        # A visitor who is back and still without a session would be sent round for ever: where the
        # browser drops the session cookie, say, or where the two sites share no store.
        if len(returns.times) >= MOST_RETURNS:
            noted = self.cookies.count_return(request, wanted, more=0)
            return Started(on_this_host(f"{mount}{self.path}"), (noted,), loops=True)
        verifier, cookies = self.cookies.start(request, wanted)
        back = quote(f"{self._own_origin(request)}{mount}{self.path}", safe="")
        challenge = challenge_of(verifier)
        url = f"{self.issuer.url}/one-time-token/generate?to={back}&code_challenge={challenge}"
        return Started(url, cookies)

    def return_path(self, request: Request) -> str:
        """Return the path of the URL that the issuer leads back to, as browsers spell it."""
        path = f"{mount_of(request.carrier)}{self.path}"
        url = parse_url(f"{self.issuer.origin}{path}")
        return path if url is None else url.path

    def start_for_app(self, request: Request, wanted: str | None) -> Started:
        """Return where the app should send the browser of a request.

        :param wanted: the path and query to lead the visitor back to; None for those of the
            request.
        :raises ValueError: `wanted` is no path of this site.
        """
        wanted = self.page_of(request) if wanted is None else self._check_page(wanted)
        # A frame, an image or a prefetch is no visit: a page that no frame shows is all it gets.
        if classify(request) in (Kind.NAVIGATION, Kind.PAGE_FIRST, Kind.CALL):
            return self.start(request, wanted)
        return Started(on_this_host(f"{mount_of(request.carrier)}{self.path}"), ())

    def page_of(self, request: Request) -> str:
        """Return the path and query of a request, to lead the visitor back to."""
        for each in (request.path_and_query, on_this_host(request.target)):
            if request.method == "GET" and len(each) <= MAX_WANTED:
                return each
        return self.first_page(request)

    def first_page(self, request: Request) -> str:
        """Return the path of the app's first page."""
        return on_this_host(f"{mount_of(request.carrier)}/")

    def _check_page(self, wanted: object) -> str:
        if not isinstance(wanted, str) or not wanted.startswith("/") or wanted.startswith("//"):
            raise ValueError(f"next: {wanted!r}; use a path of this site, as '/account?tab=1'")
        # Attack: `/\b.example` or `/<tab>/b.example`, which browsers read as another host. All but
        # the characters of a URL is percent-encoded; else this site would send visitors there.
        quoted = cut_url(quote(wanted, safe=_SAFE), self.param)
        if len(quoted) > MAX_WANTED:
            raise ValueError(f"next: {len(quoted)} characters; use at most {MAX_WANTED}")
        return quoted

    def _own_origin(self, request: Request) -> str:
        own = self.site.configured_origin(request)
        if own is None:
            raise ConfigurationError(
                "issuer: nothing says which site this is, and a request's Host proves nothing; "
                "pass public_origin= with this site's own origin, as browsers see it"
            )
        if Origin.parse(own) == self.issuer.origin:
            raise ConfigurationError(
                f"issuer: {self.issuer.url} is this site's own origin; pass the site that signs "
                "users in"
            )
        return own
