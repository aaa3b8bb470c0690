"""What a page of another origin may read, as Chromium decides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running import Server, running

pytestmark = pytest.mark.browser

CALL = """async ([url, options]) => {
  try {
    const response = await fetch(url, options);
    return [response.status, await response.text()];
  } catch (error) { return [0, String(error)]; }
}"""
BEARER = {"Authorization": "Bearer ada.jwt", "X-Other": "1"}


@pytest.fixture(params=["inside", "outside"])
def api(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    command = ("uvicorn", "--port", "{port}", "--app-dir", str(Path(__file__).parent))
    with running(request.param, (*command, f"cors_site:{request.param}"), tmp_path / "log") as api:
        yield api


def call(visit: Any, api: Server, target: str, **options: Any) -> tuple[int, str]:
    status, text = visit.page.evaluate(CALL, [api.origin + target, options])
    return status, text


def test_trusted_page_reads_each_response(api: Server, visit: Any) -> None:
    visit.page.goto(f"http://localhost:{api.port}/")
    for credentials in ("include", "omit"):
        more = {"credentials": credentials}
        generate = "/one-time-token/generate"
        status, text = call(visit, api, generate, headers=BEARER, **more)
        assert status == 200
        token = text.split('"')[3]
        assert call(visit, api, f"/data?ott={token}", method="POST", **more) == (200, "ada")
        # Why a call was refused is readable as well.
        assert call(visit, api, f"/data?ott={token}", method="POST", **more)[0] == 400
        assert call(visit, api, generate, **more)[0] == 401
        body = {"method": "POST", "body": "{}", "headers": {"Content-Type": "application/json"}}
        assert call(visit, api, "/one-time-token/verify", **body, **more)[0] == 400
    assert visit.complaints == []


def test_other_page_reads_nothing(api: Server, visit: Any) -> None:
    visit.page.goto(f"http://other.test:{api.port}/")
    for target in ("/one-time-token/generate", "/data?ott=" + "A" * 32):
        assert call(visit, api, target)[0] == 0
        assert call(visit, api, target, headers=BEARER)[0] == 0
