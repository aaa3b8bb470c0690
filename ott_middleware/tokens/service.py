"""Generates, verifies and revokes tokens, over a backend and a session adapter.

One module, though it is long: of a token's life each step relies on what the steps before it did.
"""

from __future__ import annotations

import inspect
import logging
import secrets as randomness
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import fields
from datetime import timedelta
from functools import partial
from typing import Any

from ..backends.base import Backend, bind_method
from ..backends.private_store import warn_of_unknown_token
from ..backends.registry import AnyBackend, backend_of
from ..concurrency import (
    Bound,
    T,
    blocks,
    call_backend,
    call_hook,
    drive,
    drive_waiting,
    inline,
    is_async,
    on_loop,
)
from ..context import (
    Bounds,
    current_attempt,
    current_request,
    path_of_navigation_handoff,
    using_bounds,
)
from ..crypto import Secret, TokenSeal
from ..errors import (
    BackendUnavailable,
    ConfigurationError,
    InvalidToken,
    KeyTaken,
    OTTError,
    SessionExpired,
    SessionNotFound,
    SessionUnavailable,
    Unauthorized,
    full_name,
)
from ..hooks import naming
from ..http.addresses import network_of
from ..http.encoding import read_json, to_json
from ..http.idn import encode_host
from ..http.origins import NamedOrigin, Origin, SeenOrigin
from ..sessions.base import (
    SECRET_LENGTH,
    Session,
    SessionAdapter,
    cookie_values,
    refuse_cookie_in_id,
)
from .challenges import find_verifier, is_challenge
from .fingerprint import fingerprint
from .names import (
    CHANNELS,
    COUNTED,
    NAVIGATION,
    SWITCH,
    Owners,
    backend_key,
    hash_token,
    is_token,
    malformed_token,
)
from .options import (
    GenerateToken,
    GenerationContext,
    Hasher,
    StoreToken,
    TokenOptions,
    hasher_of,
    seconds_of,
    warn_of_unit,
)
from .probe import SECONDS, Probe
from .recent import expired_ago, recent
from .revocations import revocations

logger = logging.getLogger("ott_middleware")

MAX_SEALED = 16 * 1024
# The most live tokens of a network for sessions that no adapter can verify.
MAX_PER_NETWORK = 1000
_TRIES = 5
# Seconds: a page asks for a socket's token, and opens the socket at once.
_SOCKET_LIFETIME = 30.0


class BoundElsewhere(InvalidToken):
    """The token is bound to another origin than the one it was redeemed for, and is used up.

    :param bound_to: the origin that the token is bound to.
    :param here: the origin that it was redeemed for, if there is one.
    """

    def __init__(self, bound_to: Origin, here: Origin | None) -> None:
        self.bound_to = bound_to
        where = f"redeemed for {here}" if here else "redeemed where no origin is configured"
        super().__init__(why=f"bound to {bound_to}, and {where}", word="other_audience")


class _PlugIns:
    """The methods and hooks that the service awaits, bound for sync or for async callers."""

    def __init__(
        self,
        backend: Backend,
        sessions: SessionAdapter,
        generate_token: GenerateToken | None,
        hasher: Hasher | None,
        *,
        asynchronous: bool,
    ) -> None:
        bind = on_loop if asynchronous else inline
        method = partial(bind_method, backend, asynchronous=asynchronous)
        self.put, self.take, self.revoke = method("put"), method("take"), method("revoke")
        self.resolve = bind(sessions.resolve)
        self.generate_token = bind(generate_token) if generate_token else None
        self.hasher = bind(hasher) if hasher else None


class OneTimeTokens:
    """Single-use tokens in a backend, each attached to a session.

    :param backend: keeps the tokens: a `Backend`, an object with `put` and `take`, or a URL.
    :param sessions: the adapter that says at redemption whether the session is still alive.
    :param secret, expires_in, generate_token, store_token, max_per_session: see `TokenOptions`.
    :param clock: returns the time in Unix seconds; default: the backend's clock.
    :raises ConfigurationError: a bad option.
    """

    def __init__(
        self,
        backend: AnyBackend,
        *,
        sessions: SessionAdapter,
        secret: Secret | None = None,
        expires_in: float | timedelta = 3,
        generate_token: GenerateToken | None = None,
        store_token: StoreToken = "plain",
        max_per_session: int | None = 10,
        clock: Callable[[], float] | None = None,
    ) -> None:
        options = TokenOptions(
            secret=secret,
            expires_in=expires_in,
            generate_token=generate_token,
            store_token=store_token,
            max_per_session=max_per_session,
        )
        warn_of_unit(expires_in)
        self._lifetime = seconds_of("expires_in", expires_in)
        self.backend = backend = backend_of(backend)
        # One clock both sets an expiry and decides whether it has passed.
        self.clock = clock or backend.clock
        self._options = options
        self._secrets = options.secrets
        self._seal = TokenSeal(self._secrets)
        self._owners = [Owners(secret) for secret in self._secrets or (None,)]
        if not self._secrets and backend.shared:
            # Without a secret a value is sealed under its token alone. An attacker who can write to
            # the store seals a session of any user under a token of their own, and redeems it.
            logger.warning(
                "%s without secret=: a client that can write to that store can sign in as any "
                "user. Pass secret= (16 bytes or more, the same on all sites that share the store)",
                backend.name,
            )
        if inspect.iscoroutinefunction(sessions.expose):
            raise ConfigurationError(
                f"sessions: {type(sessions).__name__}.expose() is async; make it a plain function"
            )
        self._sessions = sessions
        hasher = hasher_of(store_token)
        # The built-in hasher is not bound as a plug-in: on a loop it would go to a thread.
        self._hashes = hasher is hash_token
        hooks = (generate_token, None if self._hashes else hasher)
        self._hooks_wait = any(is_async(hook) for hook in hooks if hook is not None)
        self._resolve_waits = is_async(sessions.resolve)
        self._sync = _PlugIns(backend, sessions, *hooks, asynchronous=False)
        self._async = _PlugIns(backend, sessions, *hooks, asynchronous=True)

    @classmethod
    def from_options(
        cls, backend: AnyBackend, options: TokenOptions, *, sessions: SessionAdapter
    ) -> OneTimeTokens:
        """Return a service with these token options."""
        values: dict[str, Any] = {
            each.name: getattr(options, each.name) for each in fields(options)
        }
        return cls(backend, sessions=sessions, **values)

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """The secrets, newest first; empty if no secret is configured."""
        return self._secrets

    @property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits, equal at two sites with one secret and one `store_token`."""
        return fingerprint(self._options)

    async def make_probe(self, audience: str) -> Probe:
        """Return a token that holds no session, for `doctor`: it shows whether a site can open it.

        :param audience: the only origin at which it can be redeemed.
        """
        token = randomness.token_urlsafe(24)
        form = await self._stored_form(self._async, token)
        expires_at = self.clock() + SECONDS
        return Probe.make(token, form, audience, expires_at, self._seal)

    @property
    def blocks(self) -> bool:
        """Whether `generate` may wait: for the backend, or for a hook that is a coroutine."""
        return self._hooks_wait or blocks(self.backend.put)

    def generate(
        self,
        session: Session,
        *,
        expires_in: float | timedelta | None = None,
        audience: str | None = None,
        channel: str = "handoff",
        code_challenge: str | None = None,
    ) -> str:
        """Put a new token for a session into the backend, and return the token.

        :param expires_in: minutes, or a `timedelta`; default: the service's, and at most 30 seconds
            for the channel `websocket`.
        :param audience: the only origin at which the token can be redeemed; None for any.
        :param channel: what the token is for; it can be redeemed through that channel only.
        :param code_challenge: unpadded base64url of the SHA-256 of a secret that the browser holds
            (S256, RFC 7636 section 4.2): the token is invalid without it. None for any browser.
        :raises ValueError: the audience is no origin, there is no such channel, or the challenge is
            no SHA-256.
        :raises Unauthorized: the session ended while the token was generated.
        :raises BackendFull: the backend is full of live tokens of other sessions.
        :raises BackendUnavailable: the backend does not respond.
        :raises SessionUnavailable: a hook failed, or the session is too large to carry.
        """
        context = self._context(expires_in, audience, channel, code_challenge)
        return self._run(self._generate(self._sync, session, context))

    async def agenerate(
        self,
        session: Session,
        *,
        expires_in: float | timedelta | None = None,
        audience: str | None = None,
        channel: str = "handoff",
        code_challenge: str | None = None,
    ) -> str:
        """`generate`, awaited."""
        context = self._context(expires_in, audience, channel, code_challenge)
        return await self._generate(self._async, session, context)

    def reissue(
        self, session: Session, *, expires_at: float, audience: str | None, code_challenge: str
    ) -> str:
        """Put a new token for a session that a token brought; return the token.

        The session is stored as it arrived: neither `expose` of this site's adapter, which would
        leave out what `match` needs, nor `generate_token` is called. The channel is `confirm`.

        :param session: as the first token held it, see `Attempt.arrived`.
        :param expires_at: Unix seconds, no later than the end of the first token.
        :param audience: the one of the first token.
        :param code_challenge: see `generate`.
        :raises Unauthorized: the session ended after the request came in.
        :raises BackendFull: the backend is full of live tokens of other sessions.
        :raises BackendUnavailable: the backend does not respond.
        """
        context = _context_of("confirm", audience, expires_at, code_challenge)
        return self._run(self._generate(self._sync, session, context, True))

    async def areissue(
        self, session: Session, *, expires_at: float, audience: str | None, code_challenge: str
    ) -> str:
        """`reissue`, awaited."""
        context = _context_of("confirm", audience, expires_at, code_challenge)
        return await self._generate(self._async, session, context, True)

    def verify(
        self,
        token: str,
        *,
        audience: str | None = None,
        channel: str = "handoff",
        code_verifiers: Iterable[str] = (),
    ) -> Session:
        """Redeem a token and return its session. An error, too, uses up a token that was found.

        :param audience: the origin for which it is redeemed. A token that is bound to an origin is
            invalid without that very origin; one that is bound to none is valid with any.
        :param channel: the channel that the token was generated for.
        :param code_verifiers: the secrets that the browser holds. A token with a code challenge is
            invalid unless one of them is its verifier; for one without, they mean nothing.
        :raises InvalidToken: unknown, used, expired, or meant for another site or browser.
        :raises NoAccount: this site has no user for the session.
        :raises SessionNotFound: the session ended meanwhile.
        :raises SessionExpired: the session expired meanwhile.
        :raises BackendUnavailable: the backend does not respond.
        :raises SessionUnavailable: the adapter or a hook failed.
        """
        verifying = self._verify(self._sync, token, audience, channel, code_verifiers)
        # An adapter may learn only when it is bound to an app whether it suspends.
        return self._run(verifying, waits=self._resolve_waits or self._sessions.suspends)

    async def averify(
        self,
        token: str,
        *,
        audience: str | None = None,
        channel: str = "handoff",
        code_verifiers: Iterable[str] = (),
    ) -> Session:
        """`verify`, awaited."""
        return await self._verify(self._async, token, audience, channel, code_verifiers)

    def revoke(self, session_id: str) -> int:
        """Delete the live tokens of a session, by its `id`, and return how many there were.

        :raises NotSupported: the backend cannot revoke tokens.
        :raises BackendUnavailable: the backend does not respond.
        """
        return drive(self._revoke(self._sync, session_id))

    async def arevoke(self, session_id: str) -> int:
        """`revoke`, awaited."""
        return await self._revoke(self._async, session_id)

    def _run(self, coroutine: Coroutine[Any, Any, T], waits: bool = False) -> T:
        return (drive_waiting if waits or self._hooks_wait else drive)(coroutine)

    def _context(
        self,
        expires_in: float | timedelta | None,
        audience: str | None,
        channel: str,
        code_challenge: str | None,
    ) -> GenerationContext:
        """Return what `generate` was asked for, checked."""
        if channel not in CHANNELS:
            raise ValueError(f"channel: {channel!r}; use one of {', '.join(CHANNELS)}")
        audience = audience and encode_host(audience)
        if audience is not None and Origin.parse(audience) is None:
            raise ValueError(f"audience: {audience!r}; use an origin, as 'https://app.example.com'")
        # The text is not shown: a verifier may have been passed in its place.
        if code_challenge is not None and not is_challenge(code_challenge):
            raise ValueError(
                "code_challenge: it is no SHA-256 in unpadded base64url, 43 characters (RFC 7636 "
                "section 4.2)"
            )
        lifetime = self._lifetime
        if channel == "websocket":
            lifetime = min(lifetime, _SOCKET_LIFETIME)
        if expires_in is not None:
            lifetime = seconds_of("expires_in", expires_in)
        return _context_of(channel, audience, self.clock() + lifetime, code_challenge)

    async def _generate(
        self,
        plug_ins: _PlugIns,
        session: Session,
        context: GenerationContext,
        arrived: bool = False,
    ) -> str:
        """Generate a token.

        :param arrived: whether a token has brought the session, which `expose` of the site that it
            comes from has left.
        """
        if not isinstance(session, Session):
            raise TypeError(f"session: {full_name(session)}; pass a Session, as handle.session is")
        began = _began(arrived)
        bound_to, expires_at = Origin.parse(context.audience), context.expires_at
        hook = None if arrived else plug_ins.generate_token
        exposed = session if arrived else self._expose(session, bound_to, expires_at)
        plain = _pack(exposed, bound_to, context.code_challenge)
        owner, limit = self._owner_and_limit(context.channel, session, arrived)
        for _ in range(1 if hook else _TRIES):
            token = await self._make_token(hook, session, context)
            key = backend_key(context.channel, await self._stored_form(plug_ins, token))
            value = self._seal.seal(plain, token=token, key=key, expires_at=expires_at)
            if len(value) > MAX_SEALED:
                raise SessionUnavailable(
                    f"the session takes {len(value)} bytes, more than {MAX_SEALED}: "
                    "carry less in its user and data"
                )
            put = plug_ins.put(key, value, expires_at=expires_at, owner=owner, limit=limit)
            try:
                await call_backend(put)
            except KeyTaken:
                continue  # the live token of another session stays; another token is generated
            recent.note_generated(self.backend, token, context.channel, expires_at)
            await self._refuse_ended(plug_ins, session, key, began)
            return token
        raise SessionUnavailable(
            "generate_token made a token that is live already: return a random token each time"
        )

    def _owner_and_limit(
        self, channel: str, session: Session, arrived: bool
    ) -> tuple[str, int | None]:
        """Return the owner that a session's tokens are counted for, and the owner's cap."""
        request = current_request()
        # Attack: a page makes its visitors' browsers ask for many handoffs, or open links of
        # another user. Such tokens are counted apart; else they would retire the links that the app
        # has sent.
        counted = channel if path_of_navigation_handoff() is None else NAVIGATION
        if arrived:
            counted = SWITCH
        # The middleware's adapter found the session. The service's own adapter, which may be
        # another, counts only where no middleware read the request.
        known = None if request is None else request.verifiable
        verifiable = self._sessions.vouches if known is None else known
        if request is not None and not verifiable:
            # Each made-up cookie is a session of its own. Counted by session, an anonymous client
            # could have any number of tokens, fill the store, and so have all users refused.
            network = network_of(request.client)
            return self._owners[0].of_network(counted, network), MAX_PER_NETWORK
        return self._owners[0].of_session(counted, session.id), self._options.max_per_session

    async def _refuse_ended(
        self, plug_ins: _PlugIns, session: Session, key: str, began: int
    ) -> None:
        """Delete a new token if its session was revoked while the token was generated.

        :param began: the moment before the generation.
        :raises Unauthorized: the session was revoked.
        """
        request = current_request()
        came_in = None if request is None else request.began
        # Attack: a token is generated at the moment of a sign-out, which revokes only the tokens in
        # the store. One that is stored later is deleted here; else it would outlive the session,
        # and sign in as its user. Where the session ended, all tokens of a request that came in
        # before are refused. Where the app called `revoke`, only this token is: the app may revoke
        # the old tokens and generate a new one in one request.
        ended = came_in is not None and revocations.ended_since(session.id, came_in)
        if not (ended or revocations.revoked_since(session.id, began)):
            return
        try:
            await call_backend(plug_ins.take(key))
        except OTTError as error:
            # No client was given the token: it stays unknown until it expires.
            logger.error(
                "the token of an ended session stays in the backend until it expires, known to no "
                "client: %s: %s",
                type(error).__name__,
                error,
            )
        raise Unauthorized(
            "the session ended while the token was generated: sign in again, then generate one"
        )

    def _expose(self, session: Session, bound_to: Origin | None, expires_at: float) -> Session:
        """Return what of a session leaves the site, from the adapter's `expose`."""
        name = f"{type(self._sessions).__name__}.expose"
        with using_bounds(Bounds(_text(bound_to), expires_at)), naming(name):
            returned: object = self._sessions.expose(session)
        exposed = _require_session(returned, name)
        # The id leaves unsealed (to hooks, events and the target); the session may come from the
        # server's own code, which no adapter has checked.
        self._refuse_cookie_in_id(session, session.token, "generate")
        self._refuse_cookie_in_id(exposed, session.token, name)
        return exposed

    def _refuse_cookie_in_id(self, session: Session, token: str, where: str) -> None:
        # Hand-made sessions may have one short text for both; those of requests are checked by the
        # middleware, whatever their length.
        several = len(self._sessions.cookie_names) != 1
        refuse_cookie_in_id(
            session.id,
            (token, *cookie_values(token, several=several)),
            where=where,
            shortest=SECRET_LENGTH,
        )

    async def _make_token(
        self, hook: Bound | None, session: Session, context: GenerationContext
    ) -> str:
        if hook is None:
            return randomness.token_urlsafe(24)
        token = await call_hook("generate_token=", hook(session, context))
        if not is_token(token):
            raise SessionUnavailable(
                f"generate_token returned a {type(token).__name__} that is no token: "
                "return 1 to 512 characters of A-Z a-z 0-9 - _"
            )
        return str(token)

    async def _stored_form(self, plug_ins: _PlugIns, token: str) -> str:
        """Return what the backend's key says of a token."""
        if plug_ins.hasher is None:
            return hash_token(token) if self._hashes else token
        stored = await call_hook("store_token=", plug_ins.hasher(token))
        if not (isinstance(stored, str) and stored.isascii() and 0 < len(stored) <= 512):
            raise SessionUnavailable("store_token must return 1 to 512 ASCII characters")
        return stored

    async def _verify(
        self,
        plug_ins: _PlugIns,
        token: str,
        audience: str | None,
        channel: str,
        code_verifiers: Iterable[str],
    ) -> Session:
        # Text that has not the form of a token reaches neither a hook nor the backend.
        if not is_token(token):
            raise malformed_token(token)
        if channel not in CHANNELS:
            raise InvalidToken(why="there is no such channel", word="other_channel")
        key = backend_key(channel, await self._stored_form(plug_ins, token))
        # The one irreversible step: of several requests with one token, the first take wins.
        # Nothing below puts the token back.
        value = await call_backend(plug_ins.take(key))
        plain, expires_at = self._open(value, token, key, channel)
        session, bound_to, code_challenge, return_path = _unpack(plain)
        attempt = current_attempt()
        attempt.session_id = None if session is None else session.id
        attempt.audience = _text(bound_to)
        attempt.expires_at = expires_at
        attempt.arrived = session
        # Checked after the take: a token that arrives at another site or in another browser has
        # leaked, and is used up.
        _check_audience(bound_to, audience)
        _check_challenge(code_challenge, code_verifiers)
        attempt.code_challenge, attempt.return_path = code_challenge, return_path
        if session is None:
            # A probe of `doctor`: it names no session, and so no user can be signed in by it.
            raise SessionExpired(why="a probe of doctor, which holds no session")
        name = f"{type(self._sessions).__name__}.resolve"
        with using_bounds(Bounds(_text(bound_to), self.clock())):
            found = await call_hook(name, plug_ins.resolve(session))
        if found is None:
            raise SessionNotFound(why=f"{name} found no live session for the token")
        alive = _require_session(found, name)
        if alive.expired(self.clock()):
            raise SessionExpired(why="the session expired after the token was generated")
        # `resolve` may give the session another id, and ids are shown and logged.
        self._refuse_cookie_in_id(alive, alive.token, name)
        return alive

    def _open(self, value: object, token: str, key: str, channel: str) -> tuple[bytes, float]:
        """Return what was sealed into a taken value, and the token's end in Unix seconds.

        :raises InvalidToken: nothing was taken, or what was is expired or opened by no secret.
        :raises BackendUnavailable: the backend returned something else than bytes.
        """
        if value is None:
            reason = recent.why_missing(self.backend, token, channel, self.clock())
            if reason.word == "unknown_token":
                warn_of_unknown_token(self.backend)
            raise InvalidToken(why=reason.detail, word=reason.word)
        recent.note_used(self.backend, token, channel, self.clock())
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise BackendUnavailable(f"take() returned a {type(value).__name__}, not bytes")
        opened = self._seal.open(bytes(value), token=token, key=key)
        if opened is None:
            logger.error(
                "a stored token could not be decrypted: pass the same secret= on all sites that "
                "share the backend"
            )
            raise InvalidToken(
                why="no secret= of this site opens the stored value", word="unreadable_token"
            )
        plain, expires_at = opened
        # The backend should have deleted an expired token; its clock may be wrong.
        if expires_at <= self.clock():
            raise InvalidToken(why=expired_ago(expires_at, self.clock()), word="expired_token")
        return plain, expires_at

    async def _revoke(self, plug_ins: _PlugIns, session_id: str) -> int:
        # Noted before the backend is called: `_refuse_ended` deletes a token that is put after this
        # line.
        revocations.note_revoked(session_id)
        # The owner of a token from before a rotation was derived from the older secret.
        owners = [
            owners.of_session(counted, session_id) for counted in COUNTED for owners in self._owners
        ]
        return sum([await call_backend(plug_ins.revoke(owner)) for owner in owners])


def _context_of(
    channel: str, audience: str | None, expires_at: float, code_challenge: str | None
) -> GenerationContext:
    return GenerationContext(
        request=current_request(),
        channel=channel,
        audience=audience,
        expires_at=expires_at,
        code_challenge=code_challenge,
    )


def _began(arrived: bool) -> int:
    """Return since when a session must not have been revoked, for a new token of it."""
    request = current_request()
    # Attack: a sign-out at the moment at which one token is taken and the other is not put yet
    # finds none to revoke. For a session that has arrived it counts since the request came in; else
    # the second token would outlive the session.
    if arrived and request is not None and request.began is not None:
        return request.began
    return revocations.now()


def _check_audience(bound_to: Origin | None, audience: str | None) -> None:
    """Compare the origin that a token is bound to with the one for which it is redeemed.

    :raises BoundElsewhere: the token is bound to another origin.
    :raises InvalidToken: a server named its origin, and the token is bound to none.
    """
    if bound_to is not None:
        here = None if audience is None else Origin.parse(encode_host(audience))
        # A named or configured origin is compared to the letter. Only an origin that the app itself
        # saw as http may have been https for the browser, behind a TLS proxy.
        seen = isinstance(audience, SeenOrigin)
        if here is None or not (here.covers(bound_to) if seen else here == bound_to):
            raise BoundElsewhere(bound_to, here)
    elif isinstance(audience, NamedOrigin):
        # Attack: a site that was given a visitor's unbound token presents it at the server of
        # another site, as if the visitor were there. A server that names its audience can redeem
        # only tokens that were meant for it; without this line, any token.
        raise InvalidToken(
            why=f"bound to no origin, and redeemed by a server that names {Origin.parse(audience)}",
            word="other_audience",
        )


def _check_challenge(code_challenge: str | None, code_verifiers: Iterable[str]) -> None:
    """Compare a token's code challenge, if it has one, with the secrets that a browser holds.

    :raises InvalidToken: none of them is the verifier.
    """
    # Attack: an attacker starts a handoff, and has the victim open the link that it ends with, or
    # takes a victim's link from a log. Only the browser that the link was made for holds the
    # verifier; without this line, the link would work in any browser.
    if code_challenge is not None and find_verifier(code_challenge, code_verifiers) is None:
        raise InvalidToken(
            why="made for a browser that holds the verifier of its challenge; this one does not",
            word="other_browser",
        )


def is_meant_for(
    bound_to: str | None,
    code_challenge: str | None,
    audience: str | None,
    code_verifiers: Iterable[str],
) -> bool:
    """Return whether a token with these bounds can be redeemed for an audience, in a browser."""
    try:
        _check_audience(Origin.parse(bound_to), audience)
        _check_challenge(code_challenge, code_verifiers)
    except InvalidToken:
        return False
    return True


def _require_session(value: object, name: str) -> Session:
    """:raises SessionUnavailable: the method of that name returned something else."""
    if not isinstance(value, Session):
        raise SessionUnavailable(f"{name} returned a {type(value).__name__}: return a Session")
    return value


def _text(origin: Origin | None) -> str | None:
    return None if origin is None else str(origin)


def _pack(session: Session, audience: Origin | None, code_challenge: str | None) -> bytes:
    values = {"session": session.to_json(), "audience": _text(audience)}
    if code_challenge is not None:
        values |= {"code_challenge": code_challenge, "return_path": path_of_navigation_handoff()}
    try:
        return to_json(values)
    except (TypeError, ValueError, RecursionError) as error:
        raise SessionUnavailable(
            "the session's user and data must be JSON values to be carried"
        ) from error


def _unpack(plain: bytes) -> tuple[Session | None, Origin | None, str | None, str | None]:
    values: dict[str, Any] = read_json(plain.decode("ascii"))[0]
    session, audience = values["session"], Origin.parse(values["audience"])
    session = None if session is None else Session.from_json(session)
    return session, audience, values.get("code_challenge"), values.get("return_path")
