"""Superset: a Flask-AppBuilder app with a log-in page of its own."""

from pathlib import Path

import superset
from app_site import EMAIL, NAME, PASSWORD, options
from superset.app import create_app

from ott_middleware import OTTMiddleware

app = create_app()

application = OTTMiddleware(app, **options())


def prepare() -> None:
    """Do as `superset db upgrade`, `superset init` and `superset fab create-admin`."""
    from flask_migrate import upgrade

    with app.app_context():
        upgrade(str(Path(superset.__file__).parent / "migrations"))
        app.appbuilder.add_permissions(update_perms=True)
        app.appbuilder.sm.sync_role_definitions()
        admin = app.appbuilder.sm.find_role("Admin")
        assert app.appbuilder.sm.add_user(NAME, "Ada", "Byron", EMAIL, admin, PASSWORD)


if __name__ == "__main__":
    prepare()
