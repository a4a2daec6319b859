"""Freeze stages of a network, and compute the features of frozen stages once."""
