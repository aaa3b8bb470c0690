"""What `RedisBackend` keeps on the server, and the scripts that write it."""

from __future__ import annotations

import hashlib
import struct

# What is held under a token's key: its place in the order of its owner's puts, its expiry, its
# owner (hashed to a fixed length), and the value. The expiry is compared by this package's clock,
# not by the server's, which only sees to it that nothing is left behind.
HEADER = struct.Struct(">dd16s")

# Under an owner's key: a sorted set of the token keys, by expiry. Tokens that were taken stay in it
# until a later script finds them gone. The empty member counts the puts, downwards from zero, so
# that no range of expiries includes it.


class Script:
    """A script as a server that knows it is asked to run it, and as one that does not.

    :ivar by_digest: how the command begins that runs it on a server that has seen it.
    :ivar in_full: how the command begins that runs it on any server.
    """

    def __init__(self, source: str) -> None:
        text = source.encode("ascii")
        # The name that the protocol gives a script; nothing rests on its strength.
        digest = hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()
        self.by_digest = ("EVALSHA", digest)
        self.in_full = ("EVAL", text)


_COMMON = """
local function place_of(key, mark, now)
  local header = redis.call('GETRANGE', key, 0, 31)
  if #header < 32 or (mark and string.sub(header, 17) ~= mark) then return nil end
  local order, expires_at = struct.unpack('>dd', header)
  return expires_at > now and order or nil
end
"""

PUT = Script(
    _COMMON
    + """
local key, owner = KEYS[1], KEYS[2]
local expires_at, mark, value = ARGV[1], ARGV[2], ARGV[3]
local now, milliseconds, limit = ARGV[4], ARGV[5], tonumber(ARGV[6])
if place_of(key, nil, tonumber(now)) then return 0 end

-- The first write: if memory is short it fails, and nothing has happened yet.
local order = redis.call('ZINCRBY', owner, -1, '')
local header = struct.pack('>dd', tonumber(order), tonumber(expires_at)) .. mark
redis.call('SET', key, header .. value, 'PX', milliseconds)
redis.call('ZADD', owner, expires_at, key)

local expired = redis.call('ZRANGEBYSCORE', owner, '(0', now, 'LIMIT', 0, 100)
if #expired > 0 then redis.call('ZREM', owner, unpack(expired)) end

if limit > 0 and redis.call('ZCOUNT', owner, '(0', '+inf') > limit then
  local live = {}
  for _, candidate in ipairs(redis.call('ZRANGEBYSCORE', owner, '(0', '+inf')) do
    local place = place_of(candidate, mark, tonumber(now))
    if place then
      live[#live + 1] = {place, candidate}
    else
      redis.call('ZREM', owner, candidate)
    end
  end
  table.sort(live, function(a, b) return a[1] > b[1] end)
  for i = 1, #live - limit do
    redis.call('DEL', live[i][2])
    redis.call('ZREM', owner, live[i][2])
  end
end

local last = redis.call('ZREVRANGE', owner, 0, 0, 'WITHSCORES')
redis.call('PEXPIRE', owner, math.ceil((tonumber(last[2]) - tonumber(now)) * 1000))
return 1
"""
)

REVOKE = Script(
    _COMMON
    + """
local dropped = 0
for _, key in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(0', '+inf')) do
  if place_of(key, ARGV[1], tonumber(ARGV[2])) then dropped = dropped + redis.call('DEL', key) end
end
redis.call('DEL', KEYS[1])
return dropped
"""
)
