"""MLflow with its basic-auth app, which knows nothing but `Authorization: Basic`.

Users sign in at another app, and come here by a link. Their passwords here are known to the lines
between the middleware and MLflow alone.
"""

import hashlib
import hmac
import os
from base64 import b64encode
from collections.abc import Callable, Iterable
from typing import Any

from app_site import DATA, KEY, NAME, options

from ott_middleware import OTTMiddleware, SealedSession

SECRET = "of this site, and of no other"


def password(name: str) -> str:
    return hmac.new(SECRET.encode(), f"basic {name}".encode(), hashlib.sha256).hexdigest()


def basic(app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    def with_authorization(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ.pop("HTTP_AUTHORIZATION", None)  # a client's own would pass by the middleware
        name = environ.get("REMOTE_USER", "").encode("latin-1").decode()
        if name and ":" not in name:
            pair = f"{name}:{password(name)}".encode()
            environ["HTTP_AUTHORIZATION"] = "Basic " + b64encode(pair).decode()
        return app(environ, start_response)

    return with_authorization


(DATA / "basic_auth.ini").write_text(f"""[mlflow]
default_permission = READ
database_uri = sqlite:///{DATA / "basic_auth.db"}
admin_username = {NAME}
admin_password = {password(NAME)}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
""")
os.environ.update(
    MLFLOW_AUTH_CONFIG_PATH=str(DATA / "basic_auth.ini"),
    MLFLOW_FLASK_SERVER_SECRET_KEY=KEY,
    MLFLOW_SERVER_ALLOWED_HOSTS="127.0.0.2:*",
    _MLFLOW_SERVER_FILE_STORE=f"sqlite:///{DATA / 'mlflow.db'}",
    _MLFLOW_SERVER_ARTIFACT_ROOT=str(DATA / "artifacts"),
)

from mlflow.server.auth import create_app

app = basic(create_app())

application = OTTMiddleware(
    app,
    session=SealedSession(
        SECRET, match="id", remote_user=lambda s: s.user_id, sign_out_path="/logout"
    ),
    **options(),
)
