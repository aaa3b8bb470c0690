"""An app that is wrapped twice: the inner middleware makes links that the outer one redeems."""

from __future__ import annotations

from typing import Any

import pytest

from ott_middleware import CookieSession, OTTMiddleware


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("never called")


def wsgi_app(environ: Any, start_response: Any) -> Any:
    raise AssertionError("never called")


@pytest.mark.parametrize("app", [asgi_app, wsgi_app])
class TestWrappedTwice:
    def wrap(self, app: Any, **options: Any) -> Any:
        session = CookieSession("sid", validate=dict, renews_key=True)
        return OTTMiddleware(app, session=session, **options)

    def test_same_links_warn(self, app: Any, caplog: pytest.LogCaptureFixture) -> None:
        self.wrap(self.wrap(app))
        assert "the app is wrapped twice" in caplog.text

    def test_other_links_are_silent(self, app: Any, caplog: pytest.LogCaptureFixture) -> None:
        self.wrap(self.wrap(app, query_param="other"))
        assert "wrapped twice" not in caplog.text
