"""Check a dataset: files that cannot be read, duplicates, leakage. Public names load when first used.

Importing this package, or its `findings`, imports neither numpy nor pandas: a dataset module makes findings of its
own with what it has.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
