"""Flask-Security-Too: its own log-in page, over Flask-Login."""

from app_site import DATA, EMAIL, KEY, NAME, PASSWORD, options
from flask import Flask
from flask_security import (
    Security,
    SQLAlchemyUserDatastore,
    auth_required,
    current_user,
    hash_password,
)
from flask_security.models import fsqla_v3
from flask_sqlalchemy import SQLAlchemy

from ott_middleware import OTTMiddleware

app = Flask(__name__)
app.config.update(
    SECRET_KEY=KEY,
    SECURITY_PASSWORD_SALT="of the sea",
    SQLALCHEMY_DATABASE_URI=f"sqlite:///{DATA / 'users.db'}",
    SECURITY_USERNAME_ENABLE=True,
)
database = SQLAlchemy(app)
fsqla_v3.FsModels.set_db_info(database)


class Role(database.Model, fsqla_v3.FsRoleMixin):
    pass


class User(database.Model, fsqla_v3.FsUserMixin):
    pass


app.security = Security(app, SQLAlchemyUserDatastore(database, User, Role))


@app.get("/me")
@auth_required()
def me() -> str:
    return f"Signed in as {current_user.username}"


application = OTTMiddleware(app, **options())

if __name__ == "__main__":
    with app.app_context():
        database.create_all()
        app.security.datastore.create_user(
            email=EMAIL, username=NAME, password=hash_password(PASSWORD)
        )
        database.session.commit()
