"""The page about upgrading names what there is."""

from __future__ import annotations

import importlib
import re

import pytest
from documents import ROOT

from ott_middleware import CookieSession, OTTMiddleware
from ott_middleware.options import OptionValues

PAGE = (ROOT / "docs" / "upgrading.md").read_text(encoding="utf-8")


class TestUpgradingPage:
    def test_imports_are_where_it_says(self) -> None:
        groups = re.findall(r"((?:`\w+`(?:, )?)+) from `\.(\w+)`", PAGE)
        assert len(groups) == 6
        for names, module in groups:
            found = importlib.import_module(f"ott_middleware.{module}")
            for name in re.findall(r"`(\w+)`", names):
                assert hasattr(found, name), (name, module)

    def test_options_exist(self) -> None:
        # The others are arguments of session adapters.
        named = set(re.findall(r"`(\w+)=[^`]*`|options\.md#(\w+)", PAGE))
        names = {one or other for one, other in named} - {"probe", "validate", "renews_key"}
        assert names == {
            *("public_origin", "handoff_targets", "secret", "on_switch", "query_param"),
        }
        assert names <= OptionValues.__annotations__.keys()

    @pytest.mark.parametrize("name", ["to", "channel", "code_challenge"])
    def test_parameter_is_refused(self, name: str) -> None:
        assert f'"{name}"' in PAGE
        with pytest.raises(ValueError, match="query_param"):
            OTTMiddleware(lambda e, s: [], session=CookieSession("sid"), query_param=name)
