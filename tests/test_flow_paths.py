from __future__ import annotations

from harness import World


def test_a_token_is_generated_and_redeemed(world: World) -> None:
    site = world.serve()
    made = site.generate({"cookie": "sid=alice-cookie"})
    assert made.status == 200
    answer = site.verify(made.json()["token"])
    assert answer.status == 200
    assert answer.cookies == {"sid": "alice-cookie"}
