"""The HTTP policy: which requests the middleware responds to itself, and how."""
