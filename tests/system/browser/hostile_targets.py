"""Targets of redirects as attackers write them, and as honest links do."""

from __future__ import annotations

from itertools import product
from urllib.parse import quote

EVIL = "evil.test"
# `{s}` is the scheme, `{h}` the host, and `{a}` the host and port of a trusted origin; `{p}` is the
# path prefix that is trusted there, `{e}` the attacker's host.
TRICKS = (
    # Schemes.
    *("javascript:alert(1)//{a}", "JavaScript://{a}/%0aalert(1)", "java\tscript://{a}/%0aalert(1)"),
    *("\x01javascript://{a}/%0aalert(1)", "data:text/html,{a}", "data://{a}/,x", "vbscript:{a}"),
    *("blob:{s}://{a}/", "filesystem:{s}://{a}/temporary/x", "view-source:{s}://{a}/", "file://{a}/"),
    *("ftp://{a}/", "ws://{a}/", "about:blank#{a}", "{s}+x://{a}/", "x-{s}://{a}/", "mailto:x@{a}"),
    *("intent://{a}/#Intent;scheme=https;end", "feed:{s}://{a}/", "{s}s://{a}/", "{s}:", "{s}://"),
    # References that a browser resolves against the page.
    *("//{e}", "//{e}/{a}", "\\\\{e}", "/\\{e}", "\\/{e}", "/\t/{e}", "///{e}", "/{e}", "?{e}"),
    *("{s}:{e}", "{s}:/{e}", "{s}:\\{e}", "{s}:\\\\{e}/{a}", "{s}:////{e}", "{s}:/\\/{e}"),
    *("{e}", ".{e}"),
    # User names.
    *("{s}://{a}@{e}/", "{s}://{a}:@{e}/", "{s}://{h}:pass@{e}/", "{s}://x@{e}@{a}/", "{s}://@{e}/"),
    *("{s}://{e}@{a}/", "{s}://{e}:80@{a}/", "{s}://{a}%40{e}/", "{s}://{a}%2f@{e}/", "{s}://:@{a}/"),
    *("{s}://{a}%5c@{e}/", "{s}://{a}%23@{e}/", "{s}://{a}%3f@{e}/", "{s}://{a}%00@{e}/"),
    *("{s}://{a}\u0000@{e}/", "{s}://{a}\t@{e}/", "{s}://{a} @{e}/", "{s}://{a}\uff20{e}/"),
    # Where the host ends.
    *("{s}://{a}.{e}/", "{s}://{h}{e}/", "{s}://{e}.{a}/", "{s}://{h}-{e}/", "{s}://{h}_{e}/"),
    *("{s}://{e}\\@{a}/", "{s}://{e}/@{a}/", "{s}://{e}?@{a}/", "{s}://{e}#@{a}/", "{s}://{e};{a}/"),
    *("{s}://{e}\\.{a}/", "{s}://{e}%2f.{a}/", "{s}://{e}%5c.{a}/", "{s}://{e}%23.{a}/"),
    *("{s}://{e}%3f.{a}/", "{s}://{e}%00.{a}/", "{s}://{e}\u0000.{a}/", "{s}://{e}\t.{a}/"),
    *("{s}://{e}\u2215{a}/", "{s}://{e}\u2044{a}/", "{s}://{e}\uff0f{a}/", "{s}://{e}\uff1f{a}/"),
    *("{s}://{e}\uff03{a}/", "{s}://{e}\uff3c{a}/", "{s}://{e}\u3002{a}/", "{s}://{e}%e3%80%82{a}/"),
    *("{s}://{h}\uff0e{e}/", "{s}://{h}%2e{e}/", "{s}://{h}\uff0f.{e}/", "{s}://{h}\u2100{e}/"),
    *("{s}://{h}%0d%0a.{e}/", "{s}://{h}\r\n.{e}/", "{s}://{h}%09{e}/", "{s}://{h},{e}/"),
    *("{s}://{h}&{e}/", "{s}://{h}${e}/", "{s}://{h}!{e}/", "{s}://{h}*{e}/", "{s}://{h}'{e}/"),
    # Another host that looks alike.
    *("{s}://{h}./", "{s}://{h}../", "{s}://.{h}/", "{s}://x.{h}/", "{s}://{h}\u00ad/"),
    *("{s}://{h}\u200b/", "{s}://\u200d{h}/", "{s}://\ufeff{h}/", "{s}://%ef%bb%bf{h}/", "{s}://*.{h}/"),
    *("{s}://xn--{h}/", "{s}://{h}%25/", "{s}://{h}%/", "{s}://{h}%ff/", "{s}://[{h}]/", "{s}://[{h}/"),
    # Ports.
    *("{s}://{h}:1/", "{s}://{a}1/", "{s}://{a}:80/", "{s}://{h}:65536/", "{s}://{h}:99999999999/"),
    *("{s}://{h}:x/", "{s}://{h}:-1/", "{s}://{h}:@{e}/", "{s}://{h}:80@{e}/", "{s}://{h}:%38%30/"),
    *("{s}://{h}:\u0661/", "{s}://{h}: 80/", "{s}://{h}:1#@{a}/"),
    # Numbers.
    *("{s}://2130706433/", "{s}://0x7f000001/", "{s}://127.1/", "{s}://0177.0.0.1/", "{s}://0/"),
    *("{s}://[::ffff:7f00:1]/", "{s}://[::ffff:127.0.0.1]/", "{s}://[::1%25lo]/", "{s}://1.1.1.1./"),
    # Paths that leave the prefix.
    *("{s}://{a}{p}../leak", "{s}://{a}{p}..\\leak", "{s}://{a}{p}%2e%2e/leak", "{s}://{a}{p}.%2E/leak"),
    *("{s}://{a}{p}..%2fleak", "{s}://{a}{p}..%5cleak", "{s}://{a}{p}%252e%252e/leak", "{s}://{a}{p}..;/leak"),
    *("{s}://{a}{p}\t.\n./leak", "{s}://{a}{p}x/../../leak", "{s}://{a}{p}.././../leak", "{s}://{a}{p}%2e%2e;x/leak"),
    *("{s}://{a}{p}..%00/leak", "{s}://{a}{p}..%0d%0a/leak", "{s}://{a}{p}%c0%ae%c0%ae/leak", "{s}://{a}{p}..%u2215leak"),
    *("{s}://{a}/leak?{p}", "{s}://{a}/leak#{p}", "{s}://{a}/leak;{p}", "{s}://{a}\\leak{p}", "{s}://{a}//{e}{p}"),
    *("{s}://{a}/one-time-token/generate?to={s}://{e}/", "{s}://{a}{p}one-time-token/%67enerate"),
    # What would split a header or a page.
    *("{s}://{a}{p}\r\nLocation: {s}://{e}/", "{s}://{a}{p}%0d%0aLocation:%20{s}://{e}/", "{s}://{a}{p}\u010a\u010d"),
    *('{s}://{a}{p}"><script>alert(1)</script>', "{s}://{a}{p}\u2028{s}://{e}/", "{s}://{a}{p}\x00{s}://{e}/"),
    *("{s}://{a}{p}?ott=x&ott_seen=y#{s}://{e}/", "{s}://{a}{p}#\r\n\r\n<script>", "{s}://{a}{p};url={s}://{e}/"),
    *("\r\n{s}://{e}/", " {s}://{e}/", "{s}://{e}/ {s}://{a}/", "{s}://{a}/,{s}://{e}/", "{s}://{a}/|{s}://{e}/"),
)  # fmt: skip

HONEST = (
    *("{s}://{a}{p}", "{s}://{a}{p}welcome", "{s}://{a}{p}a/b/?c=d&e=%26#top", "{s}://{a}{p}caf\u00e9"),
    *("{s}://{a}{p}100%25", "{s}://{a}{p}a;b=c,d", "{s}://{a}{p}?next=%2Fx&q=a+b", "{s}://{a}{p}~ada/(x)"),
    *("{s}://{a}{p}a/./b/../c", "{s}://{a}{p}?url=https://evil.test/", "{s}://{a}{p}x:y@z", "{S}://{A}{p}w"),
)  # fmt: skip

#: Scheme, host, port with its colon, and prefix of each trusted target.
TRUSTED = (
    ("https", "b.example", "", "/"),
    ("https", "b.example", ":8443", "/app/"),
    ("http", "xn--bcher-kva.example", "", "/a/b/"),
    ("http", "127.0.0.1", ":8001", "/"),
)
HANDOFF_TARGETS = [f"{scheme}://{host}{port}{prefix}" for scheme, host, port, prefix in TRUSTED]


def fill(template: str, scheme: str, host: str, port: str, prefix: str, evil: str = EVIL) -> str:
    """A template with a trusted origin and an attacker's host in it."""
    values = {"s": scheme, "h": host, "a": host + port, "p": prefix, "e": evil}
    values |= {"S": scheme.upper(), "A": (host + port).upper()}
    for name, value in values.items():
        template = template.replace(f"{{{name}}}", value)
    return template


def filled(templates: tuple[str, ...]) -> list[str]:
    """Each template with each trusted origin."""
    return list(
        dict.fromkeys(fill(each, *trusted) for each, trusted in product(templates, TRUSTED))
    )


def path_to(target: str) -> str:
    """The generate path with a target."""
    return f"/one-time-token/generate?to={quote(target, safe='')}"
