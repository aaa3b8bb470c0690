"""Names the values of a request that are copies of its target, and those that are never touched.

A cut is a change that the client steers: it chooses both the link's value and, often, the text
around a copy. Where a proxy says that the user is `admin?ott=A`, a cut would make an administrator
of the client. So the name that a value stands under decides what may be cut from the value.
"""

from __future__ import annotations

import enum
import re


class Kind(enum.Enum):
    """What a value is, by the name that it stands under."""

    KEPT = "never touched"
    QUERY = "a query"
    TARGET = "a request target"
    URL = "a header with a URL of the request, possibly several joined by commas"
    PROTOCOLS = "the sub-protocols that a WebSocket's client offers"
    OTHER = "anything else"
    SHARED = "anything else, in what all requests of a server share"

    # Members are compared by identity; that of `Enum` is a function in Python.
    __hash__ = object.__hash__


# Names are folded before they are matched: upper case, with underscores for dashes.

# Headers and variables that are never touched. The words at the end are those that proxies use for
# what an app believes about the user: `X-Forwarded-User`, `X-Auth-Request-Email`,
# `X-Goog-Authenticated-User-Id`, `X-Forwarded-Client-Cert`, `X-Forwarded-Access-Token`.
_KEPT = re.compile(
    r"\A(?:"
    r"ORIGIN|VIA|FORWARDED|PROXY|TRANSFER_ENCODING"
    r"|X_FORWARDED_(?:FOR|PROTO|PROTOCOL|SCHEME|PORT|SERVER|SSL)"
    r"|(?:PROXY|CONTENT|SEC_FETCH|REMOTE|SSL|X_SSL|AUTH|SERVER|X_CLIENT_CERT)_.*"
    # Modules of web servers for OpenID Connect and SAML: an identity may be a URL there.
    r"|(?:OIDC|MELLON|SHIB)_.*"
    r")\Z"
    r"|(?:\A|[_.])(?:COOKIE2?|AUTHORIZATION|HOST|IP|METHOD|METHOD_OVERRIDE"
    r"|(?:USER|PRINCIPAL|ACCOUNT|IDENTITY|PROFILE)(?:_ID|_NAME|_EMAIL|_LOGIN|_UR[IL])?"
    r"|USERNAME|USERID|LOGIN|EMAIL|SUB|NAME_?ID|UID|UPN|EPPN|DN|WEBID|CLAIMED_ID|OPENID"
    r"|PERSISTENT_ID"
    r"|GROUPS?|ROLES?|SUBJECT|CERT|TOKEN|API_KEY|SECRET|PASSWORD)\Z",
    re.DOTALL,
)
# Keys of scopes and environs that are never touched. The path stands percent-decoded under such a
# key: a `?` in it belongs to the path, and the app must route the path that was requested.
_KEPT_KEYS = frozenset(
    {
        *("METHOD", "PATH", "ROOT_PATH", "APP_ROOT_PATH", "PATH_PARAMS", "SCHEME", "TYPE"),
        *("CLIENT", "SERVER", "USER", "AUTH", "SESSION"),
        *("REQUEST_METHOD", "PATH_INFO", "ORIG_PATH_INFO", "PATH_TRANSLATED", "SCRIPT_NAME"),
    }
)
_KEPT_NAMESPACES = ("wsgi.", "wsgiorg.")
_TARGETS = frozenset({"RAW_PATH", "RAW_URI", "REQUEST_URI", "UNENCODED_URL"})
_QUERY = re.compile(r".*QUERY_?STRING\Z|X_(?:.+_)?QUERY\Z", re.DOTALL)
_URL = re.compile(
    r"(?:REFERR?ER|X_(?:.+_)?(?:UR[IL]|ORIGINAL_PATH)|X_REWRITE_.+)\Z",
    re.DOTALL,
)
_PROTOCOLS = re.compile(r"(?:X_(?:.+_)?)?SEC_WEBSOCKET_PROTOCOL\Z", re.DOTALL)
# Servers repeat the prefix with each internal redirect (Apache's mod_rewrite).
_REDIRECTS = re.compile(r"\A(?:REDIRECT_)+")


def kind_of_header(name: object) -> Kind:
    """Return the kind of a header's value by the header's name, str or bytes in any case."""
    folded = _fold(name)
    # `_KEPT` is matched first: a name that is of two kinds is an identity.
    if _KEPT.search(folded):
        return Kind.KEPT
    if _QUERY.match(folded):
        return Kind.QUERY
    if _PROTOCOLS.match(folded):
        return Kind.PROTOCOLS
    return Kind.URL if _URL.match(folded) else Kind.OTHER


def kind_of_key(key: object) -> Kind:
    """Return the kind of what a scope or environ, or a mapping in one, holds under a key."""
    return _KNOWN.get(key) or _kind_of_key(key)


def _kind_of_key(key: object) -> Kind:
    folded = _fold(key)
    if folded.lower().startswith(_KEPT_NAMESPACES):
        return Kind.KEPT
    # REDIRECT_REMOTE_USER is an identity as REMOTE_USER is.
    variable = _REDIRECTS.sub("", folded)
    if variable in _KEPT_KEYS:
        return Kind.KEPT
    kind = kind_of_header(variable.removeprefix("HTTP_"))
    if kind is Kind.OTHER and (variable in _TARGETS or variable != folded):
        return Kind.TARGET
    if variable == "SUBPROTOCOLS":
        return Kind.PROTOCOLS
    return Kind.SHARED if variable == "STATE" else kind


def _fold(name: object) -> str:
    if isinstance(name, bytes):
        name = name.decode("latin-1")
    return name.upper().replace("-", "_") if isinstance(name, str) else ""


# What nearly every scope and environ holds: the kind is worked out once.
_KNOWN: dict[object, Kind] = {
    key: _kind_of_key(key)
    for key in (
        *("asgi", "server", "client", "headers", "query_string", "raw_path", "state", "extensions"),
        *("QUERY_STRING", "RAW_URI", "REQUEST_URI", "HTTP_REFERER", "HTTP_COOKIE", "HTTP_ACCEPT"),
        *("wsgi.version", "wsgi.errors", "wsgi.input", "HTTP_USER_AGENT", "werkzeug.socket"),
    )
}
