"""What every domain shares; names no domain, no disease, no species."""

if not __name__.startswith(
    "graftwork."
):  # run from the root of a checkout, the folder would load a second time
    raise ModuleNotFoundError(f"import graftwork.common, not {__name__}", name=__name__)
