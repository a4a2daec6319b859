from .common.evaluation import *  # noqa: F403
