"""Metrics, confidence intervals, curves and comparisons, for your own studies. It works without torch.

from graftwork.evaluation import auroc, group_bootstrap

group_bootstrap(lambda weights: auroc(y, scores, weights=weights), patients)
"""

from typing import Any

from graftwork.common import evaluation as _evaluation

__all__ = [*_evaluation.__all__]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_evaluation, name)


def __dir__() -> list[str]:
    return __all__
