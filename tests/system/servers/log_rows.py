"""Writes the table of docs/logs.md: python tests/system/servers/log_rows.py"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "logs.md"
BEGIN, END = "<!-- the table, from tests/system/servers -->\n", "<!-- end of the table -->\n"

ASGI, WSGI = "logging_served:asgi", "logging_served:wsgi"
UVICORN = ("uvicorn", "--port", "{port}")
HYPERCORN = ("hypercorn", "-b", "127.0.0.1:{port}", "--access-logfile", "-")
GRANIAN = ("granian", "--host", "127.0.0.1", "--port", "{port}", "--no-ws", "--access-log")
GUNICORN = ("gunicorn", "--bind", "127.0.0.1:{port}", "--access-logfile", "-")
UWSGI = ("uwsgi_server", "--http-socket", "127.0.0.1:{port}", "--module", WSGI)
RUNSERVER = ("django", "runserver", "{port}", "--noreload", "--skip-checks")

# Where a server writes the live token without the package's help.
LINE, ERROR, REFERER = "the access log", "the error log, when the app fails", "the `Referer`"


@dataclass(frozen=True)
class Server:
    """A server as the table has it, and the command that the test starts.

    :ivar needs: the module to be installed.
    :ivar shows: where its default logs show a token without the package's help.
    :ivar setting: what to set, for a server that Python code cannot reach.
    :ivar cured: the arguments of the setting, for the command.
    """

    name: str
    needs: str
    command: tuple[str, ...]
    shows: tuple[str, ...] = ()
    quiet: bool = False
    setting: str = ""
    cured: tuple[str, ...] = ()


UWSGI_FORMAT = (
    '%(addr) - %(user) [%(ltime)] "%(method) %(var.PATH_INFO) %(proto)" %(status) %(size)'
)

SERVERS = (
    Server("uvicorn", "uvicorn", (*UVICORN, "--http=h11", ASGI)),
    Server("uvicorn with httptools", "httptools", (*UVICORN, "--http=httptools", ASGI)),
    Server(
        "uvicorn, `--log-level trace`", "uvicorn", (*UVICORN, "--log-level=trace", ASGI), (LINE,)
    ),
    Server("hypercorn", "hypercorn", (*HYPERCORN, ASGI), (REFERER,)),
    Server("hypercorn, WSGI app", "hypercorn", (*HYPERCORN, f"wsgi:{WSGI}"), (REFERER,)),
    Server(
        "hypercorn, WSGI app, a format with `%(R)s`",
        "hypercorn",
        (*HYPERCORN, "--access-logformat=%(R)s", f"wsgi:{WSGI}"),
        (LINE,),
    ),
    Server("granian", "granian", (*GRANIAN, "--interface=asgi", ASGI)),
    Server("granian, WSGI app", "granian", (*GRANIAN, "--interface=wsgi", WSGI)),
    Server(
        "granian, WSGI app, a format with `%(query_string)s`",
        "granian",
        (
            *(*GRANIAN, "--interface=wsgi"),
            *("--access-log-fmt=%(path)s?%(query_string)s %(header{referer})s", WSGI),
        ),
        (LINE, REFERER),
    ),
    Server("gunicorn", "gunicorn", (*GUNICORN, WSGI), (ERROR, REFERER)),
    Server(
        "gunicorn `-k gthread`",
        "gunicorn",
        (*GUNICORN, "--worker-class=gthread", "--threads=2", WSGI),
        (ERROR, REFERER),
    ),
    Server(
        "gunicorn `-k gevent`",
        "gunicorn.workers.ggevent",
        (*GUNICORN, "--worker-class=gevent", WSGI),
        (ERROR, REFERER),
    ),
    Server(
        "gunicorn `-k asgi`",
        "gunicorn.workers.gasgi",
        (*GUNICORN, "--worker-class=asgi", ASGI),
        (LINE, ERROR, REFERER),
    ),
    Server(
        "gunicorn `-k uvicorn.workers.UvicornWorker`",
        "uvicorn.workers",
        (*GUNICORN, "--worker-class=uvicorn.workers.UvicornWorker", ASGI),
    ),
    Server("waitress", "waitress", ("waitress", "--listen", "127.0.0.1:{port}", WSGI), quiet=True),
    Server("daphne", "daphne", ("daphne", "-p", "{port}", ASGI), (LINE,)),
    Server("gevent.pywsgi", "gevent", ("gevent_server", "{port}"), (LINE,)),
    Server("eventlet.wsgi", "eventlet", ("eventlet_logging_server", "{port}"), (LINE,)),
    Server("`flask run`", "flask", ("flask", "--app=development", "run", "--port={port}"), (LINE,)),
    Server("`runserver`", "django", (*RUNSERVER, "--settings=development"), (LINE,)),
    Server(
        "uWSGI",
        "pyuwsgi",
        UWSGI,
        (LINE,),
        setting="leave the query out, see [below](#uwsgi), or `--disable-logging`",
        cured=("--log-format", UWSGI_FORMAT),
    ),
)


def table() -> str:
    """Return the table as Markdown."""
    lines = [
        "| Server | A live token is in its own copy of the URL, for | What to do |",
        "|---|---|---|",
    ]
    for server in SERVERS:
        shows = ", ".join(server.shows) or (
            "none; it has no access log" if server.quiet else "none"
        )
        lines.append(f"| {server.name} | {shows} | {server.setting or 'nothing'} |")
    return "\n".join(lines) + "\n"


def with_table(text: str) -> str:
    """Return the page with the table of now."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + "\n" + table() + "\n" + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
