"""Optimisers side by side, and the problems they are compared on."""
