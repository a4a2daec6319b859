"""Confidence intervals and tests: bootstrap over groups, DeLong, Wilson, paired tests."""
