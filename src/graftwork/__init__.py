"""graftwork: transfer learning for medical and wildlife imaging.

The public names below are loaded when they are first used, so that `import graftwork` costs nothing:

    from graftwork import split, torch_dataset
    from graftwork.domains.chest_xray import kermany

    parts = split(kermany.read("chest_xray/"), validation=0.1, test=0.2, seed=0)
    images = torch_dataset(parts.train, size=224)

Each verb of the command line is a function of the same name with the same arguments: `graftwork find-rate` is
`graftwork.find_rate`, `graftwork weights pack` is `graftwork.weights.pack`.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
