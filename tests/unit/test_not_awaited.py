from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from typing import Any

import jinja2
import pytest
from asgiref.sync import async_to_sync
from markupsafe import escape

from ott_middleware.flow.handle import Handle
from ott_middleware.not_awaited import must_be_awaited


class Ott:
    @must_be_awaited
    async def alink(self, url: str) -> str:
        """Return a link."""
        await asyncio.sleep(0)
        if not url:
            raise LookupError(url)
        return f"{url}?ott=T"


CURE = r"alink\(\) was not awaited: write `await ott.alink\(...\)`"


@pytest.fixture
def link() -> Iterator[Any]:
    coroutine = Ott().alink("/a")
    yield coroutine
    coroutine.close()  # else Python warns that it was not awaited


class TestNotAwaited:
    @pytest.mark.parametrize(
        "show",
        [
            str,
            bool,
            lambda link: f"{link}",
            lambda link: "%s" % link,  # noqa: UP031 - one of the ways to make that mistake
            lambda link: "{}".format(link),  # noqa: UP032 - the same
            lambda link: link and "signed in",
            lambda link: "" if not link else "signed in",
            escape,
            lambda link: jinja2.Template("<a href={{ link }}>").render(link=link),
            lambda link: jinja2.Template("{% if link %}yes{% endif %}").render(link=link),
            lambda link: jinja2.Environment(autoescape=True).from_string("{{ a }}").render(a=link),
        ],
    )
    def test_shown_or_asked_whether_true(self, link: Any, show: Any) -> None:
        with pytest.raises(RuntimeError, match=CURE):
            show(link)

    def test_other_misuse_names_it(self, link: Any) -> None:
        assert repr(link) == "<alink() was not awaited>"
        with pytest.raises(TypeError, match="NotAwaited"):
            "/login?next=" + link

    def test_awaited(self) -> None:
        async def use() -> list[str]:
            ott = Ott()
            return [
                await ott.alink("/a"),
                *await asyncio.gather(ott.alink("/b"), asyncio.create_task(ott.alink("/c"))),
                await asyncio.wait_for(ott.alink("/d"), 5),
            ]

        assert asyncio.run(use()) == [f"/{letter}?ott=T" for letter in "abcd"]
        assert asyncio.run(Ott().alink("/e")) == "/e?ott=T"
        assert async_to_sync(Ott().alink)("/f") == "/f?ott=T"

    def test_task_may_be_shown(self, link: Any) -> None:
        async def use() -> str:
            task = asyncio.ensure_future(link)
            assert "Task" in repr(task)
            return str(await task)

        assert asyncio.run(use()) == "/a?ott=T"

    def test_asyncio_may_ask(self, link: Any) -> None:
        # As each version since Python 3.12 does where it shows a task.
        assert eval("bool(it)", {"__name__": "asyncio.base_tasks", "it": link}) is True
        link.close()

    def test_error_is_raised(self) -> None:
        async def use() -> None:
            await Ott().alink("")

        with pytest.raises(LookupError):
            asyncio.run(use())
        with pytest.raises(LookupError):
            asyncio.run(Ott().alink(""))

    def test_cancelled(self) -> None:
        async def use() -> None:
            task = asyncio.create_task(Ott().alink("/a"))
            await asyncio.sleep(0)
            task.cancel()
            await task

        with pytest.raises(asyncio.CancelledError):
            asyncio.run(use())

    def test_jinja_that_awaits(self) -> None:
        template = jinja2.Environment(enable_async=True).from_string("{{ ott.alink('/a') }}")
        assert asyncio.run(template.render_async(ott=Ott())) == "/a?ott=T"

    def test_looks_like_its_method(self) -> None:
        assert Ott.alink.__doc__ == "Return a link."
        assert list(inspect.signature(Ott().alink).parameters) == ["url"]


class TestHandle:
    @pytest.mark.parametrize("name", ["asession", "agenerate", "alink"])
    def test_each_coroutine_says_so(self, name: str) -> None:
        handle = Handle()
        made = getattr(handle, name)(*["https://b.example/"] * (name == "alink"))
        with pytest.raises(RuntimeError, match=rf"{name}\(\) was not awaited"):
            str(made)
        made.close()

    def test_there_is_no_other(self) -> None:
        plain = {name for name, value in vars(Handle).items() if inspect.iscoroutinefunction(value)}
        assert plain <= {"asession", "agenerate", "alink"}
