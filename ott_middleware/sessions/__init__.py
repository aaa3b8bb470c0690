"""Session adapters: who is asking, and which cookies to set."""
