"""Rank backbones for a dataset by how well their features would transfer."""
