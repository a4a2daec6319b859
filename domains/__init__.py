"""The domains included in graftwork. Each registers by the entry point `graftwork.domains`, as external domains do."""

if not __name__.startswith(
    "graftwork."
):  # run from the root of a checkout, the folder would load a second time
    raise ModuleNotFoundError(f"import graftwork.domains, not {__name__}", name=__name__)
