"""The figures of reports, drawn from plain numbers; each describes its own data in words."""
