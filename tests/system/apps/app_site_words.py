"""The user that each site knows."""

NAME, PASSWORD, EMAIL = "ada", "trireme-of-41-oars", "ada@ships.example.com"
