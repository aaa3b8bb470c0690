"""The account-switch page: which of two users is to be signed in."""

from __future__ import annotations

from dataclasses import replace

from .messages import Request
from .pages import Page, PageForm, build_page

#: The values of the field `choice`.
STAY, SWITCH = "stay", "switch"
_NEEDED = ("switch_names", "switch_user", "stay")


def switch_page(
    request: Request,
    *,
    action: str,
    fields: dict[str, str],
    present: str | None,
    arriving: str | None,
) -> Page:
    """Return the page with the buttons "Stay" and "Switch".

    :param action: the relative URL of the forms.
    :param fields: hidden fields of both forms.
    :param present: the name of the signed-in user, if there is one to show.
    :param arriving: the name of the user that the link is for.
    """
    page, language = build_page("switch", request, needed=_NEEDED)
    # The first one looks like the default: what a visitor presses unread changes nothing.
    labels = ((STAY, language.texts["stay"]), (SWITCH, language.texts["switch_user"]))
    forms = tuple(
        PageForm(label=label, fields={**fields, "choice": choice}, action=action)
        for choice, label in labels
    )
    if present is None or arriving is None:
        return replace(page, forms=forms)
    before, _, after = language.texts["switch_names"].partition("{present}")
    # Each half by itself: a name may be spelled `{arriving}`.
    before, after = (half.replace("{arriving}", arriving) for half in (before, after))
    text = before + present + after
    return replace(page, forms=forms, text=text, present_name=present, arriving_name=arriving)
