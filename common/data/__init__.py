"""From the files of a dataset to a manifest, a split and checks. Needs no torch."""
