"""A hook that raises is named: which one, what, and where. No value of its data is."""

from __future__ import annotations

import asyncio
import logging
import operator
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from harness import SECRET, Members, World, main_lines, person
from sessions.club import ClubSession

from ott_middleware import CookieSession, MemoryBackend, SealedSession, Session
from ott_middleware.backends import Backend
from ott_middleware.errors import NoAccount, SessionUnavailable
from ott_middleware.hooks import (
    WrongValue,
    describe_failure,
    format_frames,
    hook_failed,
    naming,
)
from ott_middleware.sessions import UserSession

FIELD = "email"
MAIL = "ada@club.example"
HERE = r"test_hooks\.py:\d+"


def raised_by(function: Callable[[], Any]) -> BaseException:
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError


def line_of(function: Callable[[], Any]) -> str:
    return describe_failure("match=", raised_by(function))


class TestDescribeFailure:
    data: ClassVar[Any] = {MAIL: MAIL, "id": "alice-the-user"}

    def test_key_that_the_code_spells_out(self) -> None:
        line = line_of(lambda: {}["email"])
        assert re.fullmatch(rf"match= raised KeyError: 'email' at {HERE}", line)

    def test_key_by_the_name_of_a_constant(self) -> None:
        assert "KeyError: 'email' at" in line_of(lambda: {}[FIELD])

    def test_key_of_a_list_in_the_code(self) -> None:
        assert "KeyError: 'mail' at" in line_of(lambda: [{}[n] for n in ("mail", "email")])

    @pytest.mark.parametrize("key", ["id", MAIL])
    def test_key_that_is_data(self, key: str) -> None:
        line = line_of(lambda: {}[self.data[key]])
        assert re.fullmatch(rf"match= raised KeyError at {HERE}", line)

    def test_key_in_a_variable_of_the_module(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # A name in small letters: it holds what a request has sent.
        monkeypatch.setitem(globals(), "latest", "ada")
        line = line_of(lambda: {}[latest])  # type: ignore[name-defined]  # noqa: F821 - set above
        assert re.fullmatch(rf"match= raised KeyError at {HERE}", line)

    def test_key_that_is_spelled_out_far_away(self) -> None:
        def first(key: str) -> Any:
            return second(key)

        def second(key: str) -> Any:
            return third(key)

        def third(key: str) -> Any:
            return {}[key]

        assert re.fullmatch(rf"match= raised KeyError at {HERE}", line_of(lambda: first("far")))

    def test_key_that_is_spelled_out_and_no_name(self) -> None:
        def fail() -> None:
            raise KeyError("ada@club.example")

        assert re.fullmatch(rf"match= raised KeyError at {HERE}", line_of(fail))

    @pytest.mark.parametrize("key", [7, ("a", "b"), None])
    def test_key_that_is_no_text(self, key: Any) -> None:
        assert "raised KeyError at" in line_of(lambda: {}[key])

    def test_key_error_with_a_sentence(self) -> None:
        def fail() -> None:
            raise KeyError("a", "b")

        assert "raised KeyError at" in line_of(fail)

    def test_text_of_another_exception(self) -> None:
        def fail() -> None:
            raise ValueError(f"no user {MAIL}")

        assert re.fullmatch(rf"match= raised ValueError at {HERE}", line_of(fail))

    def test_type_error_in_the_hook_keeps_its_place(self) -> None:
        line = line_of(lambda: len(None))  # type: ignore[arg-type]  # it is the mistake
        assert re.fullmatch(rf"match= raised TypeError at {HERE}", line)

    def test_own_text(self) -> None:
        line = line_of(lambda: Session(id="", token=""))
        assert "match= raised ValueError: a session needs an id: a str" in line
        assert re.search(rf" at {HERE}", line)

    def test_innermost_frame_of_the_user_counts(self) -> None:
        # json is Python's, and the exception is raised in it.
        import json

        line = line_of(lambda: json.loads("{"))
        assert re.fullmatch(rf"match= raised JSONDecodeError at {HERE}", line)

    def test_app_that_is_installed(self) -> None:
        def compiled(path: str) -> Any:
            scope: dict[str, Any] = {}
            source = "def hook(call):\n    call()\ndef inner():\n    raise OSError\n"
            exec(compile(source, path, "exec"), scope)
            return scope

        app = compiled("/venv/lib/site-packages/shop/app.py")
        library = compiled("/venv/lib/site-packages/driver.py")
        caller = compiled("/venv/lib/site-packages/asgiref/sync.py")
        error = raised_by(lambda: caller["hook"](lambda: app["hook"](library["inner"])))
        # The test's own frames are the user's, as here no frame is.
        while error.__traceback__ is not None and "site-packages" not in (
            error.__traceback__.tb_frame.f_code.co_filename
        ):
            error.__traceback__ = error.__traceback__.tb_next
        line = describe_failure("match=", error)
        # This test's lambda stands between the two: without it, the app's hook is the outermost.
        assert "test_hooks.py" in line
        error.__traceback__ = error.__traceback__.tb_next.tb_next  # type: ignore[union-attr]
        assert describe_failure("match=", error) == "match= raised OSError at app.py:2"
        assert "site-packages/driver.py" in format_frames(error)

    def test_no_frame_of_a_user(self) -> None:
        assert describe_failure("match=", ValueError("x")) == "match= raised ValueError"
        frozen = compile("raise ValueError", "<frozen x>", "exec")
        error = raised_by(lambda: exec(frozen))
        error.__traceback__ = error.__traceback__.tb_next.tb_next  # type: ignore[union-attr]
        assert describe_failure("match=", error) == "match= raised ValueError"

    def test_stop_iteration_of_a_coroutine(self) -> None:
        async def fail() -> None:
            raise StopIteration

        line = line_of(lambda: asyncio.run(fail()))
        assert "raised StopIteration at test_hooks.py" in line


class TestTraceback:
    def test_frames_without_texts(self, caplog: pytest.LogCaptureFixture) -> None:
        def inner() -> None:
            raise LookupError(MAIL)

        def outer() -> None:
            try:
                inner()
            except LookupError as error:
                raise ValueError(MAIL) from error

        with pytest.raises(SessionUnavailable, match="match= raised ValueError"), naming("match="):
            outer()
        (record,) = caplog.records
        assert (record.name, record.levelno) == ("ott_middleware.hooks", logging.ERROR)
        text = record.getMessage()
        assert text.count("Traceback (most recent call last):") == 2
        assert re.search(rf'File ".*{HERE[:-4]}", line \d+, in inner\nLookupError\n', text)
        assert text.endswith("in outer\nValueError")
        assert MAIL not in text
        assert record.exc_info is None

    def test_chains_end(self) -> None:
        error, other = ValueError(), KeyError()
        error.__cause__, other.__context__ = other, error
        assert format_frames(error).count("Traceback") == 8
        other.__suppress_context__ = True
        assert format_frames(error).count("Traceback") == 2

    def test_recursion_is_cut(self) -> None:
        def fall() -> None:
            fall()

        # The innermost frame may be one of the interpreter's own, which was called for a moment.
        frames = format_frames(raised_by(fall))
        assert frames.count("  File ") == 40
        assert frames.count("in fall") >= 39

    def test_error_with_a_response_is_passed_on(self, caplog: pytest.LogCaptureFixture) -> None:
        with pytest.raises(NoAccount), naming("match="):
            raise NoAccount
        assert caplog.records == []

    def test_own_value_error_keeps_its_builtin_name(self) -> None:
        error = hook_failed("x=", WrongValue("use another"), hint="cure")
        assert str(error) == "x= raised ValueError: use another: cure"


def by_item(session: UserSession) -> Any:
    return session.user["email"]


def by_get(session: UserSession) -> Any:
    return session.user.get("email")


def by_in(session: UserSession) -> Any:
    if "email" not in session.user:
        return None
    return session.user["email"]


async def by_item_later(session: UserSession) -> Any:
    return session.user["email"]


async def by_get_later(session: UserSession) -> Any:
    return session.user.get("email")


CURE = "the source sent no field 'email': add expose=['email'] there"
RAISES = [by_item, by_item_later]
FINDS_NOTHING = [by_get, by_in, by_get_later, "email"]


class TestFieldThatWasNotExposed:
    """`match` reads it, and hears what to add at the source."""

    def two(self, world: World, kind: str, match: Any) -> Any:
        """Redeem a link of a source that exposes nothing; return the response."""
        backend = MemoryBackend(clock=world.clock)
        source = world.serve(session=ClubSession(secret="another"), backend=backend)
        target: Any = ClubSession(match=match)
        if kind == "sealed":
            target = SealedSession(SECRET, match=match, clock=world.clock)
        self.site = world.serve(session=target, backend=backend)
        self.source = source
        return self.site.verify(source.token(person("alice")))

    @pytest.mark.parametrize("kind", ["framework", "sealed"])
    @pytest.mark.parametrize("match", RAISES)
    def test_item(
        self, world: World, kind: str, match: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        answer = self.two(world, kind, match)
        assert (answer.status, answer.code) == (503, "SESSION_UNAVAILABLE")
        (record,) = (r for r in main_lines(caplog) if r.levelno == logging.ERROR)
        said = record.getMessage()
        assert re.match(rf"SESSION_UNAVAILABLE: match= raised KeyError: 'email' at {HERE}: ", said)
        assert CURE in said
        assert any(r.name == "ott_middleware.hooks" for r in caplog.records)

    @pytest.mark.parametrize("match", FINDS_NOTHING)
    def test_match_that_finds_nothing(
        self, world: World, match: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG, "ott_middleware")
        assert self.two(world, "framework", match).code == "NO_ACCOUNT"
        assert self.site.verify(self.source.token(person("alice"))).code == "NO_ACCOUNT"
        warnings = [r for r in caplog.records if r.levelno == logging.WARNING]
        assert [CURE in r.getMessage() for r in warnings] == [True], "once"
        debug = [r.getMessage() for r in caplog.records if hasattr(r, "ott_reason")]
        assert [CURE in line for line in debug] == [True, True]

    def test_sealed_match_that_finds_nothing(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG, "ott_middleware")
        assert self.two(world, "sealed", by_get).code == "NO_ACCOUNT"
        (line,) = [r.getMessage() for r in caplog.records if hasattr(r, "ott_reason")]
        assert CURE in line

    def test_several_fields(self) -> None:
        session = UserSession("s", "", user={"id": "1"})
        assert [session.user.get("email"), "phone" in session.user] == [None, False]
        assert "no fields 'email' and 'phone': add" in session.hint()
        assert session.hint().endswith("expose=['email', 'phone'] there")

    def test_hook_without_code_of_its_own(self) -> None:
        session = UserSession("s", "", user={"id": "1"})
        target = ClubSession(match=operator.itemgetter("id"))
        with pytest.raises(SessionUnavailable, match="match= raised TypeError"):
            target.resolve(session)
        target = ClubSession(match=lambda s: operator.itemgetter("email")(s.user))
        with pytest.raises(SessionUnavailable, match="add expose=") as caught:
            target.resolve(session)
        assert "KeyError: 'email'" in str(caught.value)

    def test_name_that_is_data_is_not_noted(self) -> None:
        session = UserSession("s", "", user={"id": MAIL.partition("@")[0]})
        name = SimpleNamespace(value=session.user["id"])
        assert session.user.get(name.value) is None
        assert session.user.get(7) is None  # type: ignore[call-overload]  # no text
        assert session.hint() == ""

    def test_fields_are_a_mapping(self) -> None:
        fields: Any = UserSession("s", "", user={"id": "1", "email": MAIL}).user
        assert (len(fields), list(fields), fields == {"id": "1", "email": MAIL}) == (
            2,
            ["id", "email"],
            True,
        )
        assert MAIL not in repr(fields)
        assert (fields["id"], fields.get("id"), "id" in fields) == ("1", "1", True)


class TestEachHook:
    """Each hook of a middleware is named by its option."""

    def failing(self, kind: str) -> Any:
        def fail(*args: Any, **keywords: Any) -> Any:
            raise ValueError(MAIL)

        async def fail_later(*args: Any, **keywords: Any) -> Any:
            raise ValueError(MAIL)

        return fail if kind == "sync" else fail_later

    @pytest.mark.parametrize("kind", ["sync", "async"])
    @pytest.mark.parametrize(
        ("hook", "name"),
        [
            ("generate_token", "generate_token="),
            ("store_token", "store_token="),
            ("validate", "validate="),
            ("match", "match="),
            ("on_invalid", "on_invalid="),
        ],
    )
    def test_named(
        self, hook: str, name: str, kind: str, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        function, options = self.failing(kind), {}
        if hook == "validate":
            options["session"] = CookieSession("sid", validate=function, renews_key=True)
        elif hook == "match":
            options["session"] = SealedSession(SECRET, match=function, clock=world.clock)
        else:
            options[hook] = function
        site = world.serve(**options)
        if hook == "on_invalid":
            site.fetch("/?ott=x")
        elif hook == "match":
            site.verify(site.token(person("alice")))
        else:
            site.generate({"cookie": "sid=alice-cookie"})
        (record,) = (r for r in main_lines(caplog) if r.levelno == logging.ERROR)
        assert re.search(rf": {name} raised ValueError at {HERE} \(", record.getMessage())
        (trace,) = (r for r in caplog.records if r.name == "ott_middleware.hooks")
        assert "Traceback" in trace.getMessage()
        assert MAIL not in caplog.text

    @pytest.mark.parametrize("method", ["put", "take"])
    def test_backend_of_a_user(
        self, method: str, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Mine(Backend):
            clock = world.clock

            def put(self, *args: Any, **keywords: Any) -> None:
                raise ValueError(MAIL)

            take = put

        site = world.serve(backend=Mine())
        ask = site.generate({"cookie": "sid=alice-cookie"}) if method == "put" else site.verify("x")
        assert ask.code == "BACKEND_UNAVAILABLE"
        (record,) = (r for r in main_lines(caplog) if r.levelno == logging.ERROR)
        assert re.search(rf": the backend raised ValueError at {HERE} ", record.getMessage())

    @pytest.mark.parametrize("method", ["current", "establish", "expose", "resolve"])
    def test_adapter_of_a_user(
        self, method: str, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(self: Any, *args: Any) -> Any:
            raise ValueError(MAIL)

        kind = type("Mine", (Members,), {method: fail})
        site = world.serve(session=kind(person("alice")))
        token = "x" if method == "expose" else site.token()
        site.generate({"cookie": "sid=alice-cookie"}) if method != "establish" else None
        site.verify(token)
        lines = [r.getMessage() for r in main_lines(caplog) if r.levelno == logging.ERROR]
        assert lines
        for line in lines:
            assert re.search(rf"Mine\.{method} raised ValueError at {HERE}", line)

    @pytest.mark.parametrize("returned", [None, 7, ["sid=1"], "ab"])
    def test_cookies_of_another_type(
        self, returned: Any, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Mine(Members):
            def establish(self, session: Session, request: Any) -> Any:
                return returned

        site = world.serve(session=Mine(person("alice")))
        assert site.verify(site.token()).code == "SESSION_UNAVAILABLE"
        (record,) = main_lines(caplog)
        assert "Mine.establish returned a" in record.getMessage()
        assert "Cookie" in record.getMessage()
