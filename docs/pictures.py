"""Draw the pictures of the documentation: `python docs/pictures.py` writes docs/images/*.svg.

Each is one file for light and dark: the style in it follows the colour scheme of the page.
"""

from __future__ import annotations

import re
from pathlib import Path

from drawing import LINE, WIDTH, arrow, box, sequence, svg, words

IMAGES = Path(__file__).parent / "images"


def push() -> str:
    browser, a, store, b = "browser", "a.example", "store", "b.example"
    columns = {browser: (66, "box"), a: (212, "source"), store: (354, "store"), b: (494, "target")}
    return sequence(
        "Handoff by a link",
        "The browser, signed in at a.example, opens a page of a.example that leads to b.example. "
        "a.example puts the sealed session into the store under a new token, and redirects the "
        "browser to b.example with the token in the URL. b.example takes the token from the store, "
        "which works once, gets the session, and redirects the browser to the same URL without the "
        "token, with a session cookie. The browser opens that URL, signed in at b.example.",
        columns,
        [
            (browser, a, "`GET /go`\nwith its cookie"),
            (a, store, "put the token\nand the sealed session"),
            (a, browser, "303, to b.example\n`/welcome?ott=TOKEN`"),
            (browser, b, "`GET https://b.example/welcome?ott=TOKEN`"),
            (b, store, "take the token\nworks once"),
            (store, b, "the session"),
            (
                b,
                browser,
                "303, to `./welcome`, with a session cookie\nthe token has left the address bar",
            ),
            (browser, b, "`GET https://b.example/welcome`, with the cookie"),
            (b, b, "signed in"),
        ],
    )


def pull() -> str:
    browser, b, a = "browser", "b.example", "a.example"
    columns = {browser: (66, "box"), b: (280, "target"), a: (494, "source")}
    return sequence(
        "Pull handoff",
        "A browser without a session opens a protected page of b.example. b.example sets a cookie "
        "with a secret, and redirects the browser to a.example with the hash of the secret. "
        "a.example knows the user, or has the user sign in first, and redirects the browser back "
        "to b.example with a token that is bound to the hash. b.example takes the token, compares "
        "the hash with the cookie, and redirects the browser to the page with a session cookie. In "
        "another browser the token is worth nothing, since the cookie is missing.",
        columns,
        [
            (browser, b, "`GET /account`\nno session here"),
            (b, browser, "303, to a.example\na cookie with a secret"),
            (browser, a, "`GET …/generate?to=…&code_challenge=HASH`"),
            (a, a, "knows the user, or asks"),
            (a, browser, "303, back to b.example, with a token for this hash"),
            (browser, b, "`GET ….?ott=TOKEN`\nand the secret's cookie"),
            (b, b, "takes the token: does the secret fit the hash?"),
            (b, browser, "303, to `/account`\na session cookie"),
        ],
    )


# From what stands between the server and the app to what everything rests on.
ROWS: list[tuple[str, list[tuple[str, str]]]] = [
    ("source", [("interfaces", "ASGI and WSGI: bytes in, bytes out, no policy")]),
    ("target", [("flow", "the policy: which response a request gets, written once")]),
    (
        "store",
        [
            ("tokens", "make, verify"),
            ("backends", "put, take, revoke"),
            ("sessions", "users, cookies"),
        ],
    ),
    ("box", [("http", "values and rules of HTTP, no I/O"), ("crypto", "seals, keys")]),
    ("box", [("errors", "the exception tree"), ("reasons", "words for the log")]),
]


def layers() -> str:
    parts, y = [], 64.0
    parts += [
        box(16, 14, WIDTH - 32, 32, "box"),
        words(WIDTH / 2, 35, "a server: uvicorn, gunicorn, …", "ink", "middle"),
    ]
    for fill, row in ROWS:
        parts.append(arrow(WIDTH / 2, y - 18, WIDTH / 2, y))
        wide = (WIDTH - 32 - 12 * (len(row) - 1)) / len(row)
        for number, (name, text) in enumerate(row):
            x = 16 + number * (wide + 12)
            parts += [
                box(x, y, wide, 54, fill),
                words(x + wide / 2, y + 22, name, "ink bold", "middle"),
                words(x + wide / 2, y + 42, text, "quiet", "middle"),
            ]
        y += 72
    return svg(
        "The layers of the package",
        "A server calls the interfaces, ASGI and WSGI, which hold no policy. They call the flow, "
        "which decides which response a request gets, or that your app gets the request. The flow "
        "uses tokens, backends and sessions. These rest on the rules of HTTP and on the seals, and "
        "everything on errors and reasons. Each layer imports only those below it.",
        y + 18,
        [
            *parts,
            words(WIDTH / 2, y + 6, "each layer imports only those below it", "quiet", "middle"),
        ],
    )


STATIONS = [
    ("a.example makes the link", "source", [
        ("another page has the browser fetch a token", "Origin rule, Fetch Metadata"),
        ("`generate?to=` leads to a hostile site", "`handoff_targets`, parsed as browsers do"),
    ]),
    ("the link travels", "box", [
        ("a mail scanner opens it first", "confirm links: a button redeems"),
        ("history, `Referer`, access logs keep it", "works once; redirect; log filters"),
        ("it is stolen before it is used", "three minutes; pull handoff"),
    ]),
    ("b.example redeems it", "target", [
        ("two requests at the same moment", "one atomic take"),
        ("another site presents it", "bound to one origin"),
        ("the attacker's own link (login CSRF)", "the switch page; pull handoff"),
    ]),
    ("the store keeps it", "store", [
        ("the store's content is read", "hashed tokens, sealed sessions"),
        ("the store's content is changed", "`secret`: a forged value does not open"),
    ]),
]  # fmt: skip


def threats() -> str:
    parts, y, said = [], 14.0, []
    for number, (name, fill, attacks) in enumerate(STATIONS):
        high = 36 + 42 * len(attacks)
        if number:
            parts.append(arrow(WIDTH / 2, y, WIDTH / 2, y + 18))
            y += 18
        parts += [box(16, y, WIDTH - 32, high, fill), words(32, y + 23, name, "ink bold")]
        for at, (attack, defence) in enumerate(attacks):
            top = y + 46 + 42 * at
            parts += [
                words(32, top, f"✗ {attack}", "bad"),
                words(50, top + LINE, f"✓ {defence}", "good"),
            ]
            said.append(f"{attack.replace('`', '')}: {defence.replace('`', '')}")
        y += high
    text = "The way of a link, with the attacks on it and what holds each off. " + ". ".join(said)
    return svg("Threats on the way of a link", text + ".", y + 14, parts)


QUESTIONS = [
    ("Is there a token in the query?", "no", "the app, untouched"),
    (
        "Is it a navigation, or a call that its origin allows?",
        "no",
        "the app without the token, or 403",
    ),
    ("Does the store have the token?  It is taken now.", "no", "used or expired: error page"),
    ("Does the seal open, for this origin, in time?", "no", "used or expired: error page"),
    ("Is the session still alive, and a user here?", "no", "session ended, or no account"),
    ("Is another user signed in here?", "yes", "a page asks: switch, or stay"),
]


def decision() -> str:
    parts, y = [], 14.0
    for number, (question, exit_by, leads_to) in enumerate(QUESTIONS):
        taken = number >= 2
        on = "no" if exit_by == "yes" else "yes"
        parts += [
            box(16, y, WIDTH - 32, 34, "store" if taken else "box"),
            words(30, y + 22, question, "ink bold"),
            arrow(40, y + 34, 40, y + 82),
            words(50, y + 62, on, "good"),
            arrow(150, y + 58, 250, y + 58, dots=True),
            f'<path class="edge dots" d="M150 {y + 34:g}V{y + 58:g}"/>',
            words(160, y + 52, exit_by, "bad"),
            words(258, y + 62, leads_to, "quiet"),
        ]
        y += 82
    parts += [
        box(16, y, WIDTH - 32, 34, "target"),
        words(30, y + 22, "303 to the URL without the token, with a session cookie", "ink bold"),
    ]
    said = " ".join(f"{question} If {by}: {to}." for question, by, to in QUESTIONS)
    return svg(
        "How a redemption is decided",
        f"{said} Otherwise 303 to the URL without the token, with a session cookie.",
        y + 48,
        parts,
    )


PICTURES = {
    "push": push,
    "pull": pull,
    "layers": layers,
    "threats": threats,
    "decision": decision,
}


def text_of(picture: str) -> str:
    """Return the text alternative of a drawn picture."""
    found = re.search(r"<desc[^>]*>(.*?)</desc>", picture, flags=re.S)
    return found[1] if found else ""


if __name__ == "__main__":
    for name, draw in PICTURES.items():
        (IMAGES / f"{name}.svg").write_text(draw(), encoding="utf-8")
