"""Django looks for template tags in this package."""
