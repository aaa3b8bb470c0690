"""What the page of the options says beside the docstrings: units, reasons and examples.

Each example is the arguments of a call of `OTTMiddleware`; a test makes that call.
"""

from __future__ import annotations

from typing import NamedTuple


class Note(NamedTuple):
    """Why an option exists, an example, and the unit of a number."""

    why: str
    example: str
    unit: str = ""


NOTES = {
    "session": Note(
        "The middleware keeps no sessions of its own: it needs to read and set those of the app. "
        "[](sessions.md) has the adapters.",
        'session=CookieSession("sid", validate=find_user)',
    ),
    "backend": Note(
        "A token that is made by one process must be found by the one that redeems it. The default "
        "is right for one process alone. [](choose_backend.md) compares the stores.",
        'backend="sqlite:///tokens.db", secret=SECRET',
    ),
    "tokens": Note(
        "An app that also makes tokens outside of requests (in a task queue, say) shares one "
        "service with the middleware.",
        "tokens=OneTimeTokens(MemoryBackend(), sessions=adapter)",
    ),
    "disable_client_request": Note(
        "A script of a page that was injected by an attacker can then fetch no token.",
        "disable_client_request=True",
    ),
    "disable_set_session_cookie": Note(
        "For servers and programs that redeem a token and keep the session themselves.",
        "disable_set_session_cookie=True",
    ),
    "set_ott_header_on_new_session": Note(
        "A script that signs a user in gets a token in the same response. It is bound to no site: "
        "never hand it to another one.",
        "set_ott_header_on_new_session=True",
    ),
    "revoke_on_sign_out": Note(
        "Without it, a link that was made before the sign-out works until it expires, where the "
        "session is a cookie that no server can end.",
        "revoke_on_sign_out=True",
    ),
    "base_path": Note(
        "The two paths must not collide with paths of the app; the official JavaScript client "
        'expects `"/api/auth"`.',
        'base_path="/api/auth"',
    ),
    "query_param": Note(
        "An app may have a parameter `ott` of its own.",
        'query_param="ticket"',
    ),
    "trusted_origins": Note(
        "Browsers let a page of another origin call this site only if it is allowed by name. "
        "[](front_end.md) has the whole set-up.",
        'trusted_origins=["https://app.example.com"]',
    ),
    "handoff_targets": Note(
        "A link to any other host would give the visitor's sign-in away.",
        'handoff_targets=["https://b.example", "https://c.example/app/"]',
    ),
    "public_origin": Note(
        "What a client sends in `Host` proves nothing. A link for another site would otherwise "
        "sign in at this one. [](security.md#audience) tells the attack.",
        'public_origin="https://app.example.com"',
    ),
    "on_invalid": Note(
        "A link in a mail is often opened twice; a public page need not become an error by that.",
        'on_invalid="continue"',
    ),
    "rate_limit": Note(
        "The default tokens cannot be guessed. Short tokens of `generate_token` can, without a "
        "limit. [](rate_limits.md) has more.",
        'rate_limit="20/minute"',
        "attempts per period",
    ),
    "trusted_proxies": Note(
        "Behind a proxy all clients have the proxy's address, and share one limit. Any client can "
        "send `X-Forwarded-For`, so that only the entries of these proxies count.",
        'trusted_proxies=["10.0.0.0/8"]',
        "networks (CIDR)",
    ),
    "on_event": Note(
        "Audits, metrics and alarms. [](events.md) lists the events.",
        "on_event=print",
    ),
    "on_replay": Note(
        "A used link that comes again from another browser may have been stolen before its first "
        "use. [](events.md#replays) weighs both values.",
        'on_replay="revoke", secret=SECRET',
    ),
    "on_switch": Note(
        "A link of another user's would otherwise replace the visitor's session without a word "
        "(login CSRF).",
        'on_switch="keep"',
    ),
    "site_name": Note(
        "Visitors trust a page that names the site.",
        'site_name="Example Shop"',
    ),
    "login_url": Note(
        "A visitor whose link has expired still finds the way in.",
        'login_url="/login"',
    ),
    "issuer": Note(
        "The site that needs the user starts the handoff, and no link of another browser can "
        "sign in there. [](pull_handoff.md) is the recipe.",
        'issuer="https://a.example", public_origin="https://b.example", secret=SECRET',
    ),
    "issuer_only": Note(
        "`False` keeps links of the old kind alive while the sites move to pull handoff.",
        'issuer="https://a.example", issuer_only=False, '
        'public_origin="https://b.example", secret=SECRET',
    ),
    "protected": Note(
        "The code of the app then need not change.",
        'issuer="https://a.example", public_origin="https://b.example", secret=SECRET, '
        'protected=lambda request: request.path.startswith("/account")',
    ),
    "pages": Note(
        "The pages may look like the rest of the site. [](pages.md) shows a whole page.",
        'pages={"used": lambda page: "<h1>This link was used</h1>"}',
    ),
    "secret": Note(
        "A client that can write to the store could otherwise write a session of any user. "
        "Features that sign something refuse to start without it.",
        'secret=["the new secret, 16 bytes or more", "the old secret of this site"]',
        "bytes, at least 16",
    ),
    "expires_in": Note(
        "A link in a log, a history or a mailbox is worth something until it expires.",
        "expires_in=timedelta(seconds=90)",
        "minutes",
    ),
    "generate_token": Note(
        "Some systems want a form of their own, a prefix for secret scanners for example.",
        'generate_token=lambda session, context: "shop_" + secrets.token_urlsafe(24)',
    ),
    "store_token": Note(
        '`"plain"` is the default of the plugin whose wire format this package uses. Choose '
        '`"hashed"`: a reader of the store then finds no token.',
        'store_token="hashed"',
    ),
    "max_per_session": Note(
        "A page that makes a link at each view would fill the store. With `1`, a new link "
        "replaces the one before.",
        "max_per_session=1",
        "tokens",
    ),
}
