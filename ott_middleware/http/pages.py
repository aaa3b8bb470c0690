"""Builds the HTML pages: all text is escaped, there are no scripts, and a policy blocks any.

One module, though it is long: what keeps a page safe is to be read as a whole.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from html import escape
from typing import Literal, cast
from urllib.parse import quote

from ..copies import copy_unchecked
from ..errors import RequestError
from ..hooks import WrongResult
from .languages import Direction, Language, language_for
from .messages import Request, Response, private_response
from .page_texts import PageName
from .response_headers import protect_used_link
from .urls import add_parameter

_STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:1.125rem/1.5 system-ui,sans-serif;max-width:32rem;margin:0 auto;"
    "padding:3rem 1.25rem;color:#1c1c1e;background:#fff;overflow-wrap:anywhere}"
    "h1{font-size:1.5rem;line-height:1.25}.site{font-weight:600}"
    # 2.75rem are 44 pixels: what a thumb can hit.
    "a,button{display:inline-block;box-sizing:border-box;min-width:2.75rem;min-height:2.75rem;"
    "padding:.5rem 1.25rem;margin:0 0 .5rem;margin-inline-end:.5rem;border:1px solid #1a56db;"
    "border-radius:.5rem;background:#1a56db;color:#fff;text-decoration:none;font:inherit;"
    "cursor:pointer}"
    # A button that was just clicked takes no second click: browsers would post the form again, and
    # drop the first response with the session's cookie. By keyboard, the button works as before.
    "button:focus:not(:focus-visible):not(:active){pointer-events:none}"
    "a+a,form+form button{background:none;color:inherit;border-color:#767680}"
    "@media(prefers-color-scheme:dark){body{color:#f2f2f7;background:#1c1c1e}"
    "a,button{border-color:#7ba3ff}}"
)


def _policy(style: str, *, forms: bool) -> tuple[str, str]:
    # The URL of a page may still hold a token: nothing on the page may read or send it.
    text = f"default-src 'none'; {style}; base-uri 'none'"
    # Chromium applies `form-action` to the redirects that follow a form, too. With `'self'` it
    # would show an empty page wherever the app redirects to another origin of its own.
    text = text if forms else f"{text}; form-action 'none'"
    return ("Content-Security-Policy", f"{text}; frame-ancestors 'none'")


# Attack: another site shows a page of this one in a frame, and so gets a nonce's page loaded, or a
# button clicked, unseen. Browsers that do not know `frame-ancestors` know this header.
_NO_FRAME = ("X-Frame-Options", "DENY")


_STYLE_SOURCE = (
    f"style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'"
)
# For pages of the site's own: its style sheets and pictures too, and still no script.
_OWN_SOURCES = "style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:"
# With a Referrer-Policy of `no-referrer`, browsers would post a form with `Origin: null`.
_FORM_REFERRER = ("Referrer-Policy", "strict-origin")

_NAMES: dict[str, PageName] = {
    "INVALID_TOKEN": "used",
    "NO_ACCOUNT": "no_account",
    "UNAUTHORIZED": "not_signed_in",
    "SESSION_NOT_FOUND": "session_ended",
    "SESSION_EXPIRED": "session_ended",
    "TOO_MANY_REQUESTS": "too_many",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PageForm:
    """A form of a page: one button, which posts hidden fields.

    A page of your own has the same forms: `<form method="post">`, with `action` where it is not
    None, an `<input type="hidden">` for each field, and a `<button>`.

    :ivar label: of the button.
    :ivar fields: the hidden fields, by name.
    :ivar action: the URL, a relative one; None for the URL of the page itself.
    """

    label: str
    # A nonce is in there: nothing that a log should have.
    fields: Mapping[str, str] = field(repr=False)
    action: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a page shows: the argument of a function in `pages=`.

    Its texts are plain: escape them where they go into HTML.

    :ivar name: which page this is, as in `pages=`.
    :ivar status: the status of the response.
    :ivar code: the code of the error, for example `INVALID_TOKEN`; empty on a page that is none of
        an error.
    :ivar language: the tag of the texts' language, for `lang`.
    :ivar direction: `ltr` or `rtl`, for `dir`.
    :ivar title: one line.
    :ivar text: a few sentences, which name no person but on the page `switch`.
    :ivar site_name: the option, or None.
    :ivar continue_url: the same URL without the token; on the page `continue_to`, the URL that
        leads on to the other site; on the page `cookies_blocked`, the link once more.
    :ivar continue_label: the label of the button that leads to it.
    :ivar sign_in_url: `login_url` with `next=`, or None.
    :ivar sign_in_label: the label of the button that leads to it.
    :ivar target_host: the host (in ASCII) and the port of the other site, on the page
        `continue_to`; None on all others.
    :ivar forms: the forms that the visitor chooses from; none on a page of an error.
    :ivar present_name: on the page `switch`, the name of the signed-in user; None if unknown.
    :ivar arriving_name: on the page `switch`, the name of the link's user; None if unknown.
    """

    name: PageName
    status: int
    code: str
    language: str
    direction: Direction
    title: str
    # The page `switch` names two users.
    text: str = field(repr=False)
    site_name: str | None = None
    # The query of a URL may hold personal data, which a repr might bring into a log.
    continue_url: str = field(repr=False)
    continue_label: str
    sign_in_url: str | None = field(repr=False)
    sign_in_label: str
    target_host: str | None = None
    forms: tuple[PageForm, ...] = ()
    present_name: str | None = field(default=None, repr=False)
    arriving_name: str | None = field(default=None, repr=False)


ShowPage = Callable[[Page], "str | Response"]


_Label = Literal["without_link", "try_again", "proceed"]


def build_page(
    name: PageName,
    request: Request,
    *,
    url: str | None = None,
    label: _Label = "without_link",
    status: int = 200,
    code: str = "",
    sign_in_url: str | None = None,
    notice: str | None = None,
    needed: tuple[str, ...] = (),
) -> tuple[Page, Language]:
    """Return a page in the visitor's language, and that language.

    :param name: of the page, and so of its title and text.
    :param request: without the link parameter.
    :param url: where the button leads, whose label is the text of the name `label`; None for the
        URL of the request.
    :param notice: the name of a text to show in place of the page's own.
    :param needed: the names of further texts that the language must have, for labels of forms say.
    """
    needed = (name, label, "sign_in", *needed, *filter(None, [notice]))
    language = language_for(request.header("accept-language"), *needed)
    title, text = language.texts[name]
    page = Page(
        name=name,
        status=status,
        code=code,
        language=language.tag,
        direction=language.direction,
        title=title,
        text=text if notice is None else cast(Mapping[str, str], language.texts)[notice],
        continue_url=url or request.location,
        continue_label=language.texts[label],
        sign_in_url=sign_in_url,
        sign_in_label=language.texts["sign_in"],
    )
    return page, language


def error_page(
    error: RequestError,
    request: Request,
    *,
    login_url: str | None,
    way_out: str | None = None,
) -> Page:
    """Return what the page says to a visitor with a link that could not be redeemed.

    :param request: without the link parameter.
    :param way_out: where the button leads, instead of to the URL of the request.
    """
    return build_page(
        _NAMES.get(error.code, "unavailable" if error.status == 503 else "refused"),
        request,
        url=way_out,
        status=error.status,
        code=error.code,
        sign_in_url=login_url and with_next(login_url, request),
    )[0]


def try_again_page(
    name: Literal["handoff_failed", "cookies_blocked"],
    request: Request,
    url: str,
    *,
    code: str = "",
) -> Page:
    """Return what a page with the button "Try again" says.

    :param name: `handoff_failed` for a visitor whom a pull handoff did not sign in,
        `cookies_blocked` for a browser that did not send the cookie of `page_first` back.
    :param url: the path and query that the visitor wanted, or the link once more. Nothing loads it
        but a click, so that there can be no loop.
    """
    return build_page(name, request, url=url, label="try_again", status=400, code=code)[0]


def with_next(login_url: str, request: Request) -> str:
    """Return `login_url` with the page that the visitor wanted, as `next=`."""
    if request.method != "GET":
        return login_url  # the app would show a page that only takes forms
    # Attack: a link to this site, with a `next` of another site. The value is the path and query
    # of this request, made unable to name a host by `on_this_host`, and a `next` of the same query
    # stands percent-encoded inside of it.
    return add_parameter(login_url, "next", quote(request.path_and_query, safe="/"))


def continue_page(request: Request, url: str, *, host: str) -> Page:
    """Return the page that asks a visitor before a handoff to another site.

    :param url: leads on.
    :param host: of the other site. An international name is shown as `xn--…`: its letters may look
        like those of another name.
    """
    page, _ = build_page("continue_to", request, url=url, label="proceed")
    title, text = (each.replace("{host}", host) for each in (page.title, page.text))
    return replace(page, title=title, text=text, target_host=host)


def render(page: Page, *headers: tuple[str, str]) -> Response:
    """Return the built-in page as a response."""
    links = [] if page.forms else [(page.continue_url, page.continue_label)]
    if page.sign_in_url is not None:
        links.insert(0, (page.sign_in_url, page.sign_in_label))
    return _document(
        page.status,
        Language(page.language, page.direction),
        page.title,
        f"<p>{escape(page.text)}</p>{''.join(map(_form, page.forms))}",
        links,
        *headers,
        site_name=page.site_name,
        forms=bool(page.forms),
    )


def _form(form: PageForm) -> str:
    action = "" if form.action is None else f' action="{escape(form.action)}"'
    fields = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in form.fields.items()
    )
    return f'<form method="post"{action}>{fields}<button>{escape(form.label)}</button></form>'


def render_own(page: Page, show: ShowPage, *headers: tuple[str, str]) -> Response:
    """Return the page that a function of `pages=` makes, with the status of the page.

    :raises Exception: whatever the function raises.
    :raises TypeError: the function returned neither text nor a `Response`.
    """
    made: object = show(page)
    own = (_policy(_OWN_SOURCES, forms=bool(page.forms)), _NO_FRAME)
    vary = ("Vary", "Accept-Language")
    if isinstance(made, str):
        html, kind = made.encode(), "text/html; charset=utf-8"
        response = private_response(page.status, kind, html, *own, vary, *headers)
        return _keep_origin(response) if page.forms else response
    if not isinstance(made, Response):
        raise WrongResult(
            f"pages[{page.name!r}] returned a {type(made).__name__}: return HTML or a Response"
        )
    # A cookie of the page is no other one: both are set.
    names = {name.lower() for name, _ in made.headers} - {"set-cookie"}
    defaults = (own[0], ("X-Content-Type-Options", "nosniff"), *headers)
    added = (pair for pair in defaults if pair[0].lower() not in names)
    # A page that asks is never shown in a frame: a visitor would press its button unseen.
    framed = (_NO_FRAME,) if page.forms or page.target_host else ()
    kept = (*protect_used_link(tuple(made.headers)), *added, *framed, vary)
    response = Response(page.status, kept, made.body)
    return _keep_origin(response) if page.forms else response


def _keep_origin(response: Response) -> Response:
    """Return a page with a form, such that browsers post it with its `Origin`."""
    kept = (pair for pair in response.headers if pair[0].lower() != "referrer-policy")
    return copy_unchecked(response, headers=(*kept, _FORM_REFERRER))


def page_first(request: Request, url: str, *headers: tuple[str, str]) -> Response:
    """Return a page that loads `url` at once, as a navigation that starts on this host."""
    language = language_for(request.header("accept-language"), "one_moment", "proceed")
    head = f'<meta http-equiv="refresh" content="0;url={escape(url)}">'
    title, label = language.texts["one_moment"], language.texts["proceed"]
    return _document(200, language, title, "", [(url, label)], *headers, head=head)


def _document(
    status: int,
    language: Language,
    title: str,
    body: str,
    links: list[tuple[str, str]],
    *headers: tuple[str, str],
    head: str = "",
    site_name: str | None = None,
    forms: bool = False,
) -> Response:
    """Return a whole page: `head` and `body` are HTML, the other texts are plain."""
    site = f'<p class="site">{escape(site_name)}</p>' if site_name else ""
    whole_title = f"{title} - {site_name}" if site_name else title
    buttons = "".join(f'<a href="{escape(url)}">{escape(label)}</a>' for url, label in links)
    buttons = f"<p>{buttons}</p>" if buttons else ""
    html = (
        f'<!doctype html><html lang="{escape(language.tag)}" dir="{language.direction}"><head>'
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"{head}<title>{escape(whole_title)}</title><style>{_STYLE}</style></head><body><main>"
        f"{site}<h1>{escape(title)}</h1>{body}{buttons}</main></body></html>"
    ).encode()
    about = (("Content-Language", language.tag), ("Vary", "Accept-Language"))
    kind = "text/html; charset=utf-8"
    policy = _policy(_STYLE_SOURCE, forms=forms)
    response = private_response(status, kind, html, policy, _NO_FRAME, *about, *headers)
    return _keep_origin(response) if forms else response
