"""Modules of `polos-sdk` under their names there."""
