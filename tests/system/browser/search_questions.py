"""Questions of people who look for a way to hand a session over, and the pages that answer them.

The subjects come from public issue trackers and forums; the words are our own.
"""

from __future__ import annotations

#: A question, and the pages that answer it: one of them is among the first three hits.
QUESTIONS: tuple[tuple[str, str], ...] = (
    # Words that people search for.
    ("SSO", "what two_sites"),
    ("logout", "sign_out"),
    ("subdomain", "subdomains"),
    ("SPA", "front_end"),
    ("magic link", "mail_links"),
    ("OAuth", "what"),
    ("troubleshooting", "troubleshooting"),
    ("template", "django"),
    ("React", "front_end"),
    ("mobile", "api_clients"),
    ("CSRF", "security"),
    ("multi-tenant", "customer_domains"),
    ("session transfer", "two_sites"),
    ("cross domain", "two_sites"),
    # Two sites.
    ("log a user in automatically when they go from one domain to another", "two_sites"),
    ("share a login between Django and Flask", "two_sites"),
    ("Do I need an OpenID Connect provider for two of my own apps?", "what"),
    ("logging into one app logs me out of the other one", "troubleshooting"),
    ("does signing out on one site sign the user out everywhere?", "sign_out"),
    ("user ids differ between the two databases", "sessions"),
    ("WordPress or PHP site redeems the token with curl", "redeem_from_a_server"),
    ("legacy app with REMOTE_USER, I can't change its code", "legacy_app links_without_code"),
    ("login at the main site, then redirect to the tenant's custom domain", "customer_domains"),
    ("a complete example to copy from", "gallery"),
    ("migrate from django-sesame", "from_django_sesame"),
    ("replace the JWT that we put into the URL of the other site", "from_jwt_in_url"),
    ("the session at the second site expires too early", "sessions"),
    # Links that fail.
    ("magic link says already used because Outlook Safe Links opened it first", "mail_links"),
    ("why is my token invalid?", "troubleshooting"),
    ("links expire too fast, how do I change the lifetime?", "options"),
    ("works locally but not in production with gunicorn workers", "troubleshooting workers"),
    ("too many redirects after login", "troubleshooting"),
    ("user clicks the link twice or presses the back button", "troubleshooting"),
    ("another user is already signed in in this browser", "http troubleshooting"),
    # Browsers.
    ("session cookie not set after fetch from React", "troubleshooting"),
    ("Safari blocks the cookie in an iframe", "front_end troubleshooting"),
    ("403 invalid origin, blocked by CORS policy", "troubleshooting http"),
    # Sockets and API clients.
    ("authenticate a WebSocket without a JWT in the query string", "websockets"),
    ("WebSocket closes with 1006 right after connecting", "troubleshooting"),
    ("open the website signed in from a mobile app with an access token", "api_clients"),
    # Operations.
    ("nginx terminates TLS and the app thinks it is http", "proxies"),
    ("is the token written to the access log or to Sentry?", "logs"),
    ("rotate the secret without breaking live links", "rotate_secrets"),
    ("Kubernetes with several pods, token not found", "workers troubleshooting"),
    ("what happens when Redis is down?", "troubleshooting"),
    ("rate limit against brute force", "rate_limits"),
    ("count failed logins in Prometheus", "events"),
    ("delete expired tokens from the PostgreSQL table", "expired_rows"),
    ("rolling deploy with two versions on one Redis", "rolling_deploys"),
    ("what do I have to change for the new version?", "upgrading"),
    # Code.
    ("test a Django view that makes a login link", "django testing"),
    ("test client gets a page instead of a redirect", "testing troubleshooting"),
    ("show my own error page in another language", "pages"),
    ("is it safe to put a login token in the URL?", "what security"),
    ("Python version of the Better Auth one-time token plugin", "http"),
)
