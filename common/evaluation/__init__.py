"""Statistics on predictions: metrics with intervals, comparisons, protocols. Needs no torch.

The public names (`__init__.pyi` lists them) load when first used: importing this package, or its `protocols`,
imports neither numpy nor scipy nor pandas.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
