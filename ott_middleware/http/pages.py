"""Builds the HTML pages: all text is escaped, there are no scripts, and a policy blocks any."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from urllib.parse import quote

from ..errors import RequestError
from ..hooks import WrongResult
from .encoding import visible
from .languages import Direction, Language, language_for
from .messages import Request, Response, private_response
from .page_texts import PageName
from .response_headers import protect_used_link
from .urls import add_parameter, on_this_host

_STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:1.125rem/1.5 system-ui,sans-serif;max-width:32rem;margin:0 auto;"
    "padding:3rem 1.25rem;color:#1c1c1e;background:#fff;overflow-wrap:anywhere}"
    "h1{font-size:1.5rem;line-height:1.25}.site{font-weight:600}"
    # 2.75rem are 44 pixels: what a thumb can hit.
    "a{display:inline-block;box-sizing:border-box;min-width:2.75rem;min-height:2.75rem;"
    "padding:.5rem 1.25rem;margin:0 0 .5rem;margin-inline-end:.5rem;border:1px solid #1a56db;"
    "border-radius:.5rem;background:#1a56db;color:#fff;text-decoration:none}"
    "a+a{background:none;color:inherit;border-color:#767680}"
    "@media(prefers-color-scheme:dark){body{color:#f2f2f7;background:#1c1c1e}}"
)


def _policy(style: str) -> tuple[str, str]:
    # The URL of a page may still hold a token: nothing on the page may read or send it.
    text = f"default-src 'none'; {style}; base-uri 'none'; form-action 'none'"
    return ("Content-Security-Policy", f"{text}; frame-ancestors 'none'")


# Attack: another site shows a page of this one in a frame, and so gets a nonce's page loaded, or a
# button clicked, unseen. Browsers that do not know `frame-ancestors` know this header.
_NO_FRAME = ("X-Frame-Options", "DENY")


_POLICY = _policy(
    f"style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'"
)
# For pages of the site's own: its style sheets and pictures too, and still no script.
_OWN_POLICY = _policy(
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:"
)

_NAMES: dict[str, PageName] = {
    "INVALID_TOKEN": "used",
    "NO_ACCOUNT": "no_account",
    "SESSION_NOT_FOUND": "session_ended",
    "SESSION_EXPIRED": "session_ended",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What an error page shows: the argument of a function in `pages=`.

    Its texts are plain: escape them where they go into HTML.

    :ivar name: which page this is, as in `pages=`.
    :ivar status: the status of the response.
    :ivar code: the code of the error, for example `INVALID_TOKEN`.
    :ivar language: the tag of the texts' language, for `lang`.
    :ivar direction: `ltr` or `rtl`, for `dir`.
    :ivar title: one line.
    :ivar text: a few sentences, which name no person.
    :ivar site_name: the option, or None.
    :ivar continue_url: the same URL without the token.
    :ivar continue_label: the label of the button that leads to it.
    :ivar sign_in_url: `login_url` with `next=`, or None.
    :ivar sign_in_label: the label of the button that leads to it.
    """

    name: PageName
    status: int
    code: str
    language: str
    direction: Direction
    title: str
    text: str
    site_name: str | None
    # The query of a URL may hold personal data, which a repr might bring into a log.
    continue_url: str = field(repr=False)
    continue_label: str
    sign_in_url: str | None = field(repr=False)
    sign_in_label: str


ShowPage = Callable[[Page], "str | Response"]


def error_page(
    error: RequestError, request: Request, *, site_name: str | None, login_url: str | None
) -> Page:
    """Return what the page says to a visitor with a link that could not be redeemed.

    :param request: without the link parameter.
    """
    name = _NAMES.get(error.code, "unavailable" if error.status == 503 else "refused")
    accepted = request.header("accept-language")
    language = language_for(accepted, name, "without_link", "sign_in")
    title, text = language.texts[name]
    return Page(
        name=name,
        status=error.status,
        code=error.code,
        language=language.tag,
        direction=language.direction,
        title=title,
        text=text,
        site_name=site_name,
        continue_url=request.location,
        continue_label=language.texts["without_link"],
        sign_in_url=login_url and _with_next(login_url, request),
        sign_in_label=language.texts["sign_in"],
    )


def _with_next(login_url: str, request: Request) -> str:
    """Return `login_url` with the page that the visitor wanted, as `next=`."""
    if request.method != "GET":
        return login_url  # the app would show a page that only takes forms
    # Attack: a link to this site, with a `next` of another site. The value is the path and query
    # of this request, made unable to name a host by `on_this_host`, and a `next` of the same query
    # stands percent-encoded inside of it.
    query = f"?{visible(request.query)}" if request.query else ""
    return add_parameter(login_url, "next", quote(on_this_host(request.target) + query, safe="/"))


def render(page: Page, error: RequestError) -> Response:
    """Return the built-in page as a response."""
    links = [(page.continue_url, page.continue_label)]
    if page.sign_in_url is not None:
        links.insert(0, (page.sign_in_url, page.sign_in_label))
    return _document(
        page.status,
        Language(page.language, page.direction),
        page.title,
        f"<p>{escape(page.text)}</p>",
        links,
        *error.headers,
        site_name=page.site_name,
    )


def render_own(page: Page, error: RequestError, show: ShowPage) -> Response:
    """Return the page that a function of `pages=` makes, with the status of the page.

    :raises Exception: whatever the function raises.
    :raises TypeError: the function returned neither text nor a `Response`.
    """
    made: object = show(page)
    vary = ("Vary", "Accept-Language")
    if isinstance(made, str):
        html, kind = made.encode(), "text/html; charset=utf-8"
        own = (_OWN_POLICY, _NO_FRAME, vary)
        return private_response(page.status, kind, html, *own, *error.headers)
    if not isinstance(made, Response):
        raise WrongResult(
            f"pages[{page.name!r}] returned a {type(made).__name__}: return HTML or a Response"
        )
    names = {name.lower() for name, _ in made.headers}
    defaults = (_OWN_POLICY, ("X-Content-Type-Options", "nosniff"), *error.headers)
    added = (pair for pair in defaults if pair[0].lower() not in names)
    headers = (*protect_used_link(tuple(made.headers)), *added, vary)
    return Response(page.status, headers, made.body)


def page_first(request: Request, url: str, *headers: tuple[str, str]) -> Response:
    """Return a page that loads `url` at once, as a navigation that starts on this host."""
    language = language_for(request.header("accept-language"), "one_moment", "proceed")
    head = f'<meta http-equiv="refresh" content="0;url={escape(url)}">'
    title, label = language.texts["one_moment"], language.texts["proceed"]
    return _document(200, language, title, "", [(url, label)], *headers, head=head)


def cookies_blocked_page(request: Request, url: str) -> Response:
    """Return the page for a browser that did not send the cookie of `page_first` back.

    :param url: the link once more. Nothing loads it but a click, so that there can be no loop.
    """
    accepted = request.header("accept-language")
    language = language_for(accepted, "cookies_blocked", "try_again")
    title, text = language.texts["cookies_blocked"]
    body = f"<p>{escape(text)}</p>"
    return _document(400, language, title, body, [(url, language.texts["try_again"])])


def _document(
    status: int,
    language: Language,
    title: str,
    body: str,
    links: list[tuple[str, str]],
    *headers: tuple[str, str],
    head: str = "",
    site_name: str | None = None,
) -> Response:
    """Return a whole page: `head` and `body` are HTML, the other texts are plain."""
    site = f'<p class="site">{escape(site_name)}</p>' if site_name else ""
    whole_title = f"{title} - {site_name}" if site_name else title
    buttons = "".join(f'<a href="{escape(url)}">{escape(label)}</a>' for url, label in links)
    html = (
        f'<!doctype html><html lang="{escape(language.tag)}" dir="{language.direction}"><head>'
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"{head}<title>{escape(whole_title)}</title><style>{_STYLE}</style></head><body><main>"
        f"{site}<h1>{escape(title)}</h1>{body}<p>{buttons}</p></main></body></html>"
    ).encode()
    about = (("Content-Language", language.tag), ("Vary", "Accept-Language"))
    kind = "text/html; charset=utf-8"
    return private_response(status, kind, html, _POLICY, _NO_FRAME, *about, *headers)
