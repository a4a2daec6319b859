"""Build the network of a run before its first step, and record what it is."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from graftwork.common.data.domain import dataset
from graftwork.common.errors import RunError
from graftwork.common.files import write_json
from graftwork.common.networks.network import AnyNetwork, AnyPreprocessing, build_network, describe
from graftwork.common.networks.weights import overlap, overlap_sentence, weights_folder

if TYPE_CHECKING:
    from accelerate import Accelerator

    from graftwork.common.networks.weights import WeightsRecord
    from graftwork.common.runs.run_folder import Run


log = logging.getLogger("graftwork")


def network_of(
    run: Run, accelerator: Accelerator
) -> tuple[AnyNetwork, AnyPreprocessing, WeightsRecord | None]:
    """The network of a run before its first step, on its device; network.json says what it is.

    Raises:
        RunError: the pretrained weights are not those that the run began with.
    """
    network, preprocessing, record = build_network(run.recipe, run.manifest.targets)
    then = run.network["weights"] if record is not None and (run.folder / "last").is_dir() else None
    if record is not None and then is not None and then["sha256"] != record.sha256:
        raise RunError(
            f"the pretrained weights ({record.origin}) are not those this run began with ({then['origin']})",
            where=run.folder,
            remedy="restore them, or begin a new run with --out elsewhere",
        )
    network.to(accelerator.device)
    if accelerator.is_main_process:
        about = describe(network, preprocessing, record, run.manifest.targets)
        if record is not None:
            known = dataset(run.recipe.dataset).about
            file = run.recipe.backbone.file
            found = overlap(
                record,
                names=(known.name.partition("/")[2], *known.known_as),
                digests=run.files["sha256"],
                folder=Path(file).expanduser().parent if file else weights_folder(),
            )
            about["weights"]["overlap"] = overlap_sentence(record, found)
            if about["weights"]["overlap"]:
                log.warning("%s", about["weights"]["overlap"])
        write_json(run.folder / "network.json", about)
    return network, preprocessing, record
