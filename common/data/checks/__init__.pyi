"""The public names of checks, each imported from its module when it is first used."""

from .dataset_check import check as check
from .findings import KINDS as KINDS, Finding as Finding, Findings as Findings
