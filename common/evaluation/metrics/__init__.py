"""Definitions of metrics: arrays in, numbers out."""
