"""The contract of adapters finds what is wrong with one: each broken here in one point."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from ott_middleware import Session
from ott_middleware.http import Cookie, Request
from ott_middleware.testing import SessionAdapterContract

from .club import ClubSession
from .test_adapter_contract import TestClubSession as OfClub


class Sound(ClubSession):
    """Takes whatever is broken below as an argument."""


class TakesAnything(Sound):
    def current(self, request: Request) -> Session | None:
        cookies = request.cookies("club")
        return Session(id="s", token=cookies[0], user_id="1") if cookies else None


class TakesUnsigned(Sound):
    def _found(self, value: str) -> Session | None:
        key = value.partition(".")[0]
        return super()._found(self.value(key)) if value.isascii() else None


class Breaks(Sound):
    def current(self, request: Request) -> Session | None:
        for value in request.cookies("club"):
            value.encode("ascii")
        return super().current(request)


class BreaksOnLength(Sound):
    def current(self, request: Request) -> Session | None:
        for value in request.cookies("club"):
            if len(value) > 4096:
                raise ValueError("too long")
        return super().current(request)


class CountsEmpty(Sound):
    def current(self, request: Request) -> Session | None:
        if request.cookies("club") == [""]:
            return Session(id="s", token="", user_id="1")
        return super().current(request)


class CountsAnonymous(Sound):
    def _found(self, value: str) -> Session | None:
        key, found = value.partition(".")[0], super()._found(value)
        if found is None and key in self.store.sessions and value == self.value(key):
            return Session(id="s", token=value)
        return found


class FindsNobody(Sound):
    def current(self, request: Request) -> Session | None:
        return None


class FindsNothing(Sound):
    def current(self, request: Request) -> Any:
        return super().current(request) and {"user_id": "1"}


class FindsAnother(Sound):
    def current(self, request: Request) -> Session | None:
        found = super().current(request)
        return found and replace(found, user_id="2")


class NewIdEachTime(Sound):
    def current(self, request: Request) -> Session | None:
        found = super().current(request)
        return found and replace(found, id=f"{found.id}{next(self.store.numbers)}")


class TurnsDown(Sound):
    def resolve(self, session: Session) -> Session | None:
        return None


class ResolvesNothing(Sound):
    def resolve(self, session: Session) -> Any:
        return session.to_json()


class ResolvesAnother(Sound):
    def resolve(self, session: Session) -> Session | None:
        found: Any = super().resolve(session)
        return found and replace(found, user_id="2")  # type: ignore[no-any-return]  # as it is


class ResolvesBlindly(Sound):
    def expose(self, session: Session) -> Session:
        return session

    def resolve(self, session: Session) -> Session:
        return session


class ExposesNoJSON(Sound):
    def expose(self, session: Session) -> Session:
        return replace(super().expose(session), data={"set": {1}})


class ExposesNothing(Sound):
    def expose(self, session: Session) -> Any:
        return None


class ForgetsTheEnd(Sound):
    def expose(self, session: Session) -> Session:
        return replace(super().expose(session), expires_at=None)


class NeverEnds(Sound):
    def alive(self, session: Session) -> Session | None:
        found = super().alive(session)
        return found and replace(found, expires_at=None)


class SetsNothing(Sound):
    def establish(self, session: Session, request: Request) -> list[Cookie]:
        return []


class SetsAText(Sound):
    def establish(self, session: Session, request: Request) -> Any:
        return [f"club={session.token}"]


class SetsAnother(Sound):
    def establish(self, session: Session, request: Request) -> list[Cookie]:
        return [Cookie("club", self.value(self.store.add("2", ends=None)))]


class SetsHalf(Sound):
    cookie_names = ("club", "second")


class Promotes(Sound):
    def establish(self, session: Session, request: Request) -> list[Cookie]:
        for value in request.cookies("club"):
            self.store.sessions[value.partition(".")[0]]["user"] = session.user_id
            return [Cookie("club", value)]
        return [Cookie("club", session.token)]


class SetsForeign(Sound):
    def resolve(self, session: Session) -> Session:
        found: Any = super().resolve(session)
        return found or session  # type: ignore[no-any-return]  # as it is


class Remembers(Sound):
    """Says who was signed in once."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**how)
        self.known_values: dict[str, Session] = {}

    def _found(self, value: str) -> Session | None:
        found = super()._found(value)
        if found is not None:
            self.known_values[value] = found
        return self.known_values.get(value)


class ResolvesTheDead(Remembers):
    def current(self, request: Request) -> Session | None:
        return next(
            (s for v in request.cookies("club") if (s := ClubSession._found(self, v))), None
        )

    def alive(self, session: Session) -> Session | None:
        return session


class BeginsAnew(Sound):
    """Gives an arrival a lifetime of its own."""

    def establish(self, session: Session, request: Request) -> Any:
        return self.begin(replace(session, expires_at=None), request)


class LastsAsLongAsItsParent(Sound):
    """However long that is."""

    def begin(self, session: Session, request: Request) -> Any:
        self.lifetime = None
        return super().begin(session, request)


class KnowsNoEnd(Sound):
    def current(self, request: Request) -> Session | None:
        found = super().current(request)
        # Of the first session, which the contract begins, it does.
        first = found is not None and found.token == self.value(next(iter(self.store.sessions)))
        return found if first or found is None else replace(found, expires_at=None)

    def establish(self, session: Session, request: Request) -> Any:
        return self.begin(session, request)


class ShowsTheEndedToTheApp(Sound):
    def visit(self, cookies: Mapping[str, str], *, clear: bool) -> Any:
        return "1", cookies


class ShowsTheAppNobody(Sound):
    def visit(self, cookies: Mapping[str, str], *, clear: bool) -> Any:
        return None, cookies


class RenewsAtVisits(Sound):
    def visit(self, cookies: Mapping[str, str], *, clear: bool) -> Any:
        seen = super().visit(cookies, clear=clear)
        for values in self.store.sessions.values():
            values["ends"] = self.clock() + 3600
        return seen


class RenewsWhenEmptied(RenewsAtVisits):
    def visit(self, cookies: Mapping[str, str], *, clear: bool) -> Any:
        return (super() if clear else super(RenewsAtVisits, self)).visit(cookies, clear=clear)


class ShowsItsCookie(Sound):
    def current(self, request: Request) -> Session | None:
        found = super().current(request)
        return found and replace(found, **self.shown(found))

    def shown(self, found: Session) -> dict[str, Any]:
        return {"id": f"session {found.token}"}


class ShowsItToTheUser(ShowsItsCookie):
    def shown(self, found: Session) -> dict[str, Any]:
        return {"user": {"id": "1", "via": [found.token]}}


class ShowsItInData(ShowsItsCookie):
    def shown(self, found: Session) -> dict[str, Any]:
        return {"data": {"csrf": f"of {found.token}"}}


class ShowsItsSessions(Sound):
    def __repr__(self) -> str:
        return f"Club({[self.value(key) for key in self.store.sessions]})"


BROKEN: list[tuple[type[ClubSession], str, str]] = [
    (TakesAnything, "rubbish_is_nobody_and_breaks_nothing", "'x' counts as signed in"),
    (TakesAnything, "a_forged_cookie_is_nobody", "counts as signed in"),
    (TakesUnsigned, "a_forged_cookie_is_nobody", "without its end counts as signed in"),
    (TakesAnything, "an_anonymous_session_is_nobody", ""),
    (Breaks, "rubbish_is_nobody_and_breaks_nothing", ""),
    (BreaksOnLength, "rubbish_is_nobody_and_breaks_nothing", ""),
    (CountsEmpty, "who_sends_no_cookie_is_nobody", "an empty cookie is none"),
    (CountsAnonymous, "an_anonymous_session_is_nobody", ""),
    (FindsNobody, "who_is_signed_in_is_found", "does not find the signed-in user"),
    (FindsNothing, "who_is_signed_in_is_found", "gives a Session, or None"),
    (FindsAnother, "who_is_signed_in_is_found", ""),
    (NewIdEachTime, "who_is_signed_in_is_found", ""),
    (TurnsDown, "a_session_survives_its_way", "turned down a session that lives"),
    (TurnsDown, "who_arrives_is_signed_in", "turned down a session that lives"),
    (ResolvesNothing, "a_session_survives_its_way", "gives a Session, or None"),
    (ResolvesAnother, "a_session_survives_its_way", ""),
    (ResolvesBlindly, "what_is_no_session_of_here_is_never_a_cookie", "as the token"),
    (ResolvesBlindly, "a_session_that_was_signed_out_is_not_found", "resolve() finds"),
    (ExposesNoJSON, "a_session_survives_its_way", ""),
    (ExposesNothing, "a_session_survives_its_way", "expose() gives a Session"),
    (ForgetsTheEnd, "a_session_that_expired_is_over", "expose() forgot"),
    (NeverEnds, "a_session_that_expired_is_over", "resolve() finds a session that has expired"),
    (SetsNothing, "who_arrives_is_signed_in", "set no cookie"),
    (SetsAText, "who_arrives_is_signed_in", ""),
    (SetsAnother, "who_arrives_is_signed_in", "signed in another user"),
    (SetsHalf, "who_arrives_is_signed_in", "second"),
    (Promotes, "a_visitor_s_own_session_is_not_promoted", "is signed in"),
    (SetsForeign, "what_is_no_session_of_here_is_never_a_cookie", "as the token"),
    (Remembers, "a_session_that_was_signed_out_is_not_found", "current() finds"),
    (ResolvesTheDead, "a_session_that_was_signed_out_is_not_found", "resolve() finds"),
    (BeginsAnew, "an_arrival_ends_with_its_parent", "later than it may"),
    (KnowsNoEnd, "an_arrival_ends_with_its_parent", "does not know when an arrival ends"),
    (ShowsTheEndedToTheApp, "an_arrival_ends_with_its_parent", "the app sees an arrival"),
    (LastsAsLongAsItsParent, "an_arrival_ends_with_this_site_s_lifetime", "later than it may"),
    (RenewsAtVisits, "an_arrival_that_the_app_writes_to_ends_no_later", "later than it may"),
    (ShowsTheAppNobody, "an_arrival_that_the_app_writes_to_ends_no_later", "does not see the user"),
    (RenewsWhenEmptied, "an_arrival_that_the_app_empties_ends_no_later", "later than it may"),
    (ShowsItsCookie, "nothing_but_the_token_holds_a_cookie", "repr of a session holds"),
    (ShowsItToTheUser, "nothing_but_the_token_holds_a_cookie", "user of a session holds"),
    (ShowsItInData, "nothing_but_the_token_holds_a_cookie", "data of a session holds"),
    (ShowsItsSessions, "nothing_but_the_token_holds_a_cookie", "repr of the adapter holds"),
]


def contract_of(kind: type[ClubSession]) -> Any:
    class Contract(OfClub):
        def make_adapter(self, clock: Callable[[], float]) -> Any:
            self.clock = clock
            return self.ticking(kind(expose=["via"], data=["csrf"]))

    return Contract()


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize(
    ("kind", "test", "says"), BROKEN, ids=lambda each: getattr(each, "__name__", None)
)
def test_what_is_broken_is_found(kind: Any, test: str, says: str, colour: str) -> None:
    with pytest.raises((AssertionError, TypeError, ValueError)) as caught:
        getattr(contract_of(kind), f"test_{test}")(colour)
    assert says in str(caught.value)


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_what_is_sound_passes(colour: str) -> None:
    tests = [name for name in dir(SessionAdapterContract) if name.startswith("test_")]
    assert {f"test_{test}" for _, test, _ in BROKEN} == set(tests)
    for name in tests:
        getattr(contract_of(Sound), name)(colour)


def test_each_broken_one_is_used() -> None:
    kinds = {
        each for each in globals().values() if isinstance(each, type) and issubclass(each, Sound)
    }
    assert kinds - {kind for kind, *_ in BROKEN} == {Sound}


def test_an_adapter_that_does_not_vouch_may_believe_anything() -> None:
    class Gullible(TakesAnything):
        vouches = False

    contract = contract_of(Gullible)
    contract.test_rubbish_is_nobody_and_breaks_nothing("sync")
    contract.test_a_forged_cookie_is_nobody("sync")
    with pytest.raises(BaseException, match="does not vouch"):
        contract.test_a_session_that_was_signed_out_is_not_found("sync")


def test_an_adapter_that_does_not_bound_its_app_says_so() -> None:
    class Unbounded(ShowsTheEndedToTheApp):
        bounds_app = False

    contract = contract_of(Unbounded)
    contract.test_an_arrival_ends_with_its_parent("sync")
    for how in ("writes_to", "empties"):
        with pytest.raises(BaseException, match="does not bound what the app sees"):
            getattr(contract, f"test_an_arrival_that_the_app_{how}_ends_no_later")("sync")


def test_an_app_by_another_clock_is_visited_at_once() -> None:
    contract = contract_of(Sound)
    contract.follows_clock = False
    contract.test_an_arrival_that_the_app_writes_to_ends_no_later("sync")


def test_an_app_that_is_not_visited_is_not_judged() -> None:
    contract = contract_of(ShowsTheEndedToTheApp)
    type(contract).visit_app = SessionAdapterContract.visit_app
    contract.test_an_arrival_ends_with_its_parent("sync")
    contract.test_an_arrival_that_the_app_writes_to_ends_no_later("sync")
    with pytest.raises(NotImplementedError, match=r"Contract must define visit_app\("):
        contract.visit_app(contract.make_adapter(lambda: 0), {})


def test_cookies_that_are_deleted_are_sent_no_more() -> None:
    class Deletes(Sound):
        def share(self, session: Session, request: Request) -> Any:
            return [*super().share(session, request), Cookie("old", "", max_age=0)]

    contract: Any = contract_of(Deletes)
    cookies: Mapping[str, str] = {"old": "1"}
    asked = contract._asked("sync")
    session = asked.signed_in(contract.sign_in(asked.adapter))
    set_cookies = asked.establish(asked.arrive(session), cookies)
    assert set(asked.browser(cookies, set_cookies)) == {"club"}


def test_tests_of_one_s_own_have_no_colour_unless_they_ask_for_it() -> None:
    asked: list[Any] = []

    class Function:
        fixturenames: tuple[str, ...] = ()

        def parametrize(self, name: str, values: list[str]) -> None:
            asked.append((name, values))

    function = Function()
    SessionAdapterContract().pytest_generate_tests(function)
    assert asked == []
    function.fixturenames = ("colour",)
    SessionAdapterContract().pytest_generate_tests(function)
    assert asked == [("colour", ["sync", "async"])]
