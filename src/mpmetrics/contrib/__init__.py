"""Frameworks for which a line of configuration isn't enough, a file each; nothing imports them."""
