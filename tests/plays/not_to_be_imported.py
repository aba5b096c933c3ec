"""A module that a program loads when it first uses it, and that can't be loaded here."""

is_loaded = True

raise ImportError("patch() has loaded what nobody uses")
