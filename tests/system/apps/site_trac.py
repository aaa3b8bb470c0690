"""Trac: the web server signs in at `/login`, and Trac's own cookie takes over."""

import base64
import hashlib
import os

from app_site import DATA, NAME, PASSWORD, options
from trac.env import Environment
from trac.perm import PermissionSystem
from trac.web.auth import BasicAuthentication
from trac.web.main import dispatch_request
from trac.web.standalone import AuthenticationMiddleware

from ott_middleware import CookieSession, OTTMiddleware

PROJECT, USERS = DATA / "trac", DATA / "htpasswd"


def prepare() -> None:
    """Make the project, whose wiki signed-in users alone may see."""
    digest = base64.b64encode(hashlib.sha1(PASSWORD.encode()).digest()).decode()
    USERS.write_text(f"{NAME}:{{SHA}}{digest}\n")
    environment = Environment(str(PROJECT), create=True)
    rights = PermissionSystem(environment)
    for action in ("WIKI_VIEW", "WIKI_CREATE", "WIKI_MODIFY"):
        rights.revoke_permission("anonymous", action)
    rights.grant_permission("authenticated", "WIKI_VIEW")


if __name__ == "__main__":
    prepare()
else:
    os.environ["TRAC_ENV"] = str(PROJECT)
    users = BasicAuthentication(str(USERS), "Trac")
    app = AuthenticationMiddleware(dispatch_request, {"*": users}, single_env_name="trac")

    application = OTTMiddleware(
        app, session=CookieSession("trac_auth", probe="/wiki", renews_key=True), **options()
    )
