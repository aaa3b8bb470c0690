"""The programs that fetch a URL to show a preview of it, by their `User-Agent`.

A link that is pasted into a chat is fetched by the chat program before a visitor clicks it.
"""

from __future__ import annotations

import re

# As of November 2026. Each token stands in the `User-Agent` as it is spelled here, as a whole word.
# Not in the table: the tokens of in-app browsers, in which visitors open links (`FBAN`, `FBAV`,
# `Instagram`, `LinkedInApp`, `Slack_SSB`, `Twitter for iPhone`).
LINK_PREVIEWS = {
    "Slack": ("Slackbot-LinkExpanding", "Slackbot", "Slack-ImgProxy"),
    "Teams, Skype and Outlook": ("SkypeUriPreview", "MicrosoftPreview", "BingPreview"),
    "WhatsApp": ("WhatsApp",),
    "Telegram": ("TelegramBot",),
    # Apple's Messages calls itself `facebookexternalhit/1.1 Facebot Twitterbot/1.0`.
    "Facebook, Messenger, Instagram and Threads": (
        *("facebookexternalhit", "facebookcatalog", "Facebot"),
        *("meta-externalfetcher", "meta-externalagent"),
    ),
    "Discord": ("Discordbot",),
    "LinkedIn": ("LinkedInBot",),
    "X": ("Twitterbot",),
    "Apple": ("Applebot",),
    # Google's Messages calls itself `Google-PageRenderer`, Chat by the address at the end.
    "Google": ("Google-PageRenderer", "Googlebot", "developers.google.com/+/web/snippet"),
}

# No token is looked for behind that many characters; those of the table have less than 300.
_LONGEST = 1024
_tokens = tuple(token for tokens in LINK_PREVIEWS.values() for token in tokens)
_words = "|".join(map(re.escape, _tokens))
_find = re.compile(f"(?<![A-Za-z0-9_-])(?:{_words})(?![A-Za-z0-9_-])").search


def is_link_preview(user_agent: str) -> bool:
    """Return whether a `User-Agent` is that of a program which shows previews of links."""
    begins = user_agent[:_LONGEST]
    # Nearly no request has one of the words: to look for them takes a third of the pattern's time.
    return any(each in begins for each in _tokens) and _find(begins) is not None
