"""Calibre-Web: a Flask app with a Flask-Login of its own."""

import contextlib
import os
import sys

from app_site import DATA, options
from sqlalchemy import create_engine, text

os.environ["CALIBRE_DBPATH"] = str(DATA)
sys.argv = ["calibre-web"]

import calibreweb.__main__  # noqa: F401  (puts its modules on the path)
from cps import app, config, db, main, web_server

from ott_middleware import OTTMiddleware

# Its own program, up to where its own server would start.
web_server.start = lambda: True
with contextlib.suppress(SystemExit):
    main.main()


def prepare() -> None:
    """Make a library without books, as the program of the library would."""
    library = DATA / "metadata.db"
    engine = create_engine(f"sqlite:///{library}", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        # One of the tables names its schema.
        connection.execute(text(f"attach database '{library}' as calibre"))
        db.Base.metadata.create_all(connection)
        connection.execute(text("insert into library_id (uuid) values ('41')"))
    config.config_calibre_dir = str(DATA)
    config.save()


if __name__ == "__main__":
    prepare()
    # Its threads would go on.
    os._exit(0)

application = OTTMiddleware(app, **options())
