"""The folder of a run: its files, its state, how it is resumed."""
