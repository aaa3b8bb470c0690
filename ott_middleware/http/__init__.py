"""Values and rules of HTTP: pure functions and frozen values, without I/O, clock or logging."""
