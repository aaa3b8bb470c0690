"""The contract of adapters finds what is wrong with one: each broken here in one point."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from ott_middleware import Session, SessionAdapter
from ott_middleware.errors import NoAccount
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
        try:
            found: Any = super().resolve(session)
        except NoAccount:
            return session
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


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize(
    ("kind", "test", "says"), BROKEN, ids=lambda each: getattr(each, "__name__", None)
)
def test_broken_adapter_is_found(kind: Any, test: str, says: str, mode: str) -> None:
    with pytest.raises((AssertionError, TypeError, ValueError)) as caught:
        getattr(contract_of(kind), f"test_{test}")(mode)
    assert says in str(caught.value)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_sound_adapter_passes(mode: str) -> None:
    tests = [name for name in dir(SessionAdapterContract) if name.startswith("test_")]
    assert {f"test_{test}" for _, test, _ in BROKEN} == set(tests)
    for name in tests:
        getattr(contract_of(Sound), name)(mode)


def test_broken_adapters_are_all_used() -> None:
    kinds = {
        each for each in globals().values() if isinstance(each, type) and issubclass(each, Sound)
    }
    assert kinds - {kind for kind, *_ in BROKEN} == {Sound}


def test_unverifying_adapter_may_believe_anything() -> None:
    class Gullible(TakesAnything):
        vouches = False

    contract = contract_of(Gullible)
    contract.test_rubbish_is_nobody_and_breaks_nothing("sync")
    contract.test_a_forged_cookie_is_nobody("sync")
    with pytest.raises(BaseException, match="does not vouch"):
        contract.test_a_session_that_was_signed_out_is_not_found("sync")


def test_unbounded_app_is_declared() -> None:
    class Unbounded(ShowsTheEndedToTheApp):
        bounds_app = False

    contract = contract_of(Unbounded)
    contract.test_an_arrival_ends_with_its_parent("sync")
    for how in ("writes_to", "empties"):
        with pytest.raises(BaseException, match="does not bound what the app sees"):
            getattr(contract, f"test_an_arrival_that_the_app_{how}_ends_no_later")("sync")


def test_app_by_another_clock_is_visited_at_once() -> None:
    contract = contract_of(Sound)
    contract.follows_clock = False
    contract.test_an_arrival_that_the_app_writes_to_ends_no_later("sync")


def test_app_that_is_not_visited_is_not_tested() -> None:
    class Contract(type(contract_of(ShowsTheEndedToTheApp))):  # type: ignore[misc]  # made at run time
        visit_app = SessionAdapterContract.visit_app

    contract: Any = Contract()
    contract.test_an_arrival_ends_with_its_parent("sync")
    assert not callable(contract.test_an_arrival_that_the_app_writes_to_ends_no_later)
    assert not callable(contract.test_an_arrival_that_the_app_empties_ends_no_later)


def test_end_that_is_not_known_is_no_failure() -> None:
    class Endless(Sound):
        def current(self, request: Request) -> Session | None:
            found = super().current(request)
            return found and replace(found, expires_at=None)

    contract = contract_of(Endless)
    for name in ("a_session_that_expired_is_over", "an_arrival_ends_with_its_parent"):
        with pytest.raises(BaseException, match="set knows_end = False"):
            getattr(contract, f"test_{name}")("sync")


def test_methods_that_a_class_lacks_make_no_tests() -> None:
    class Least(SessionAdapterContract):
        follows_clock = knows_end = False

    class More(Least):
        sign_out = OfClub.sign_out
        lifetime = 60.0

    def names(contract: type) -> set[str]:
        return {name for name in dir(contract) if callable(getattr(contract, name))}

    every = names(SessionAdapterContract)
    of_more = {
        "test_a_session_that_was_signed_out_is_not_found",
        "test_an_arrival_ends_with_this_site_s_lifetime",
    }
    assert names(More) - names(Least) == of_more
    assert every - names(Least) - of_more == {
        "test_an_anonymous_session_is_nobody",
        "test_a_visitor_s_own_session_is_not_promoted",
        "test_a_session_that_expired_is_over",
        "test_an_arrival_ends_with_its_parent",
        "test_an_arrival_that_the_app_writes_to_ends_no_later",
        "test_an_arrival_that_the_app_empties_ends_no_later",
    }


def test_replaced_test_stays_replaced() -> None:
    class Without(SessionAdapterContract):
        test_a_session_that_expired_is_over = None  # type: ignore[assignment]  # dropped

    class Below(Without):
        pass

    assert Below.test_a_session_that_expired_is_over is None


def test_methods_that_are_not_defined_say_so() -> None:
    contract = SessionAdapterContract()
    for call in (contract.sign_out, contract.visit_app):
        with pytest.raises(NotImplementedError, match=r"Contract must define \w+\(\.\.\.\)"):
            call(SessionAdapter(), {})
    with pytest.raises(NotImplementedError, match=r"Contract must define anonymous\("):
        contract.anonymous(SessionAdapter())


def test_cookies_that_are_deleted_are_sent_no_more() -> None:
    class Deletes(Sound):
        def share(self, session: Session, request: Request) -> Any:
            return [*super().share(session, request), Cookie("old", "", max_age=0)]

    contract: Any = contract_of(Deletes)
    cookies: Mapping[str, str] = {"old": "1"}
    driver, _, session = contract._sign_in("sync")
    set_cookies = driver.establish(driver.arrive(session), cookies)
    assert set(driver.browser(cookies, set_cookies)) == {"club"}


def test_additional_tests_run_once_unless_they_ask_for_both() -> None:
    asked: list[Any] = []

    class Function:
        fixturenames: tuple[str, ...] = ()

        def parametrize(self, name: str, values: list[str]) -> None:
            asked.append((name, values))

    function = Function()
    SessionAdapterContract().pytest_generate_tests(function)
    assert asked == []
    function.fixturenames = ("mode",)
    SessionAdapterContract().pytest_generate_tests(function)
    assert asked == [("mode", ["sync", "async"])]
