"""graftwork: transfer learning for medical and wildlife imaging.

Each public name is imported when it is first used, so `import graftwork` is fast:

    from graftwork import split, torch_dataset
    from graftwork.domains.chest_xray import kermany

    subsets = split(kermany.read("chest_xray/"), validation=0.1, test=0.2, seed=0)
    images = torch_dataset(subsets.train, size=224)

Each command is also a function with the same name and arguments: `graftwork find-lr` is `graftwork.find_lr`,
`graftwork weights pack` is `graftwork.weights.pack`.
"""

from typing import Any

import lazy_loader

__version__ = "0.1.0"

_RENAMED = {"find_rate": "find_lr"}
_import_name, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        raise AttributeError(f"graftwork.{name} is now graftwork.{_RENAMED[name]}")
    try:
        return _import_name(name)
    except ModuleNotFoundError as error:  # a library of an extra, such as torch for `torch_dataset`
        from graftwork.common.errors import as_user_error

        raise as_user_error(error, where=f"graftwork.{name}") or error from error
