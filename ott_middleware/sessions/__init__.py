"""Session adapters: the signed-in user of a request, and the cookies to set."""
