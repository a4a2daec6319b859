"""Files looked at one by one in processes of their own, which may crash or hang without harm.

A damaged image can bring a decoder down, or keep it busy for ever. Here each file is decoded in a child process
that answers with a few facts; a child that dies or stays silent costs its file, not the work.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from graftwork.common.errors import ImageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


LOOK_VERSION = "4"  # another one whenever `look` answers otherwise; remembered answers are then forgotten
HASH_SIDE = 16
HASH_BITS = HASH_SIDE**2
_MOST_VALUES = 300  # of a mask that are kept, the commonest: all of 8 bits
TIME_LIMIT = 120.0  # seconds for one file


@dataclass(frozen=True)
class Look:
    """What was seen in a file.

    Attributes:
        stage, reason, remedy: why it cannot be read (see `ImageError`); empty where it can.
        height, width: px, as stored. depth: of a volume, whose axes are these three in canonical order; else 0.
        pixels: SHA-256 of the decoded pixels, the same for grey stored as one channel or as three.
        appearance: perceptual hash (`imagehash.phash`, 16 x 16 bits) in hex; near images differ in few bits. Of a
            volume, that of its middle slice.
        constant: whether it holds one single value. It then counts as unreadable, with this reason; whoever expects
            such images (slices at the end of a volume) passes over it.
        remarks: what is unusual in the header and was passed over.
        stated: of an image, what of its header decides the range of its values, by name (see `images.StoredImage`).
        used: of an image, the share of this range between its least and its greatest value, 0 to 1.
        values: of a mask, its values as text, each with the number of its pixels.
        lasting: whether the same content would be seen the same again (not so where a process died).
    """

    stage: str = ""
    reason: str = ""
    remedy: str = ""
    height: int = 0
    width: int = 0
    depth: int = 0
    pixels: str = ""
    appearance: str = ""
    constant: bool = False
    values: dict[str, int] = field(default_factory=dict)
    lasting: bool = True
    remarks: Sequence[str] = ()
    stated: dict[str, str] = field(default_factory=dict)
    used: float = 0.0

    @property
    def readable(self) -> bool:
        return not self.stage

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def look(path: str, mask: bool = False) -> Look:
    """Decode a file in full, in this process. Never raises for what a file contains."""
    from graftwork.common.data.volumes import is_volume

    try:
        if mask:
            return _look_at_mask(path)
        return _look_at_volume(path) if is_volume(path) else _look_at_picture(path)
    except ImageError as error:
        return Look(stage=error.stage, reason=error.reason, remedy=error.remedy or "")
    except MemoryError:
        return Look(stage="decode", reason="this machine has too little memory", lasting=False)
    except (
        Exception
    ) as error:  # an error of the reader is a finding about this file and does not end the check
        return Look(stage="decode", reason=f"{type(error).__name__}: {error}", lasting=False)


def _look_at_picture(path: str) -> Look:
    from graftwork.common.data.images import read_image, to_float

    picture = read_image(path, constant="allow")
    height, width = picture.full_size
    pixels = picture.pixels
    if pixels.shape[-1] == 3 and (pixels == pixels[..., :1]).all():
        pixels = pixels[..., :1]
    if (pixels == pixels[0, 0]).all():
        return _constant("pixel", height, width)
    grey = (to_float(picture, channels=1)[..., 0] * 255).round()
    least, most = float(pixels.min()), float(pixels.max())
    return Look(
        height=height,
        width=width,
        pixels=_hash(pixels),
        appearance=_appearance(grey),
        remarks=picture.remarks,
        stated=dict(picture.stated),
        used=(most - least) / (picture.high - picture.low),
    )


def _look_at_volume(path: str) -> Look:
    from graftwork.common.data.volumes import read_volume

    volume = read_volume(path)
    array, remarks = volume.array, volume.geometry.remarks
    low, high = float(array.min()), float(array.max())
    if low == high:
        return _constant("voxel", *array.shape)
    middle = array[:, :, array.shape[2] // 2]
    height, width, depth = array.shape
    grey = (middle - low) * (255 / (high - low))
    # the place in the world is not asked: the same voxels under another header are the same volume
    return Look(
        height=height,
        width=width,
        depth=depth,
        pixels=_hash(array),
        appearance=_appearance(grey),
        remarks=remarks,
    )


def _look_at_mask(path: str) -> Look:
    import numpy as np

    from graftwork.common.data.masks import read_labels

    labels = read_labels(path)
    found, counts = np.unique(labels.values, return_counts=True)
    most = np.sort(np.argsort(-counts, kind="stable")[:_MOST_VALUES])
    return Look(
        values={str(found[index]): int(counts[index]) for index in most},
        remarks=() if labels.geometry is None else labels.geometry.remarks,
    )


def _constant(element: str, height: int, width: int, depth: int = 0) -> Look:
    return Look(
        stage="content",
        reason=f"every {element} has the same value",
        remedy="look at it, and leave it out if it shows nothing",
        height=height,
        width=width,
        depth=depth,
        constant=True,
    )


def _hash(values: NDArray[np.generic]) -> str:
    import hashlib

    import numpy as np

    digest = hashlib.sha256(f"{values.shape} {values.dtype.str}".encode())
    digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def _appearance(grey: NDArray[np.floating[Any]]) -> str:
    import imagehash
    import numpy as np
    from PIL import Image

    return str(imagehash.phash(Image.fromarray(grey.astype(np.uint8)), hash_size=HASH_SIDE))


def looks(
    paths: Sequence[str | os.PathLike[str]],
    *,
    workers: int,
    masks: Collection[int] = (),
    limit: float = TIME_LIMIT,
) -> Iterator[tuple[int, Look]]:
    """Look at files in `workers` processes; yields (index in `paths`, what was seen) as they come.

    Args:
        paths: the files.
        workers: how many processes; 0 looks in this process, without protection.
        masks: those of the files, by their index, that are looked at as masks.
        limit: seconds after which a file is given up.
    """
    if workers <= 0:
        for index, path in enumerate(paths):
            yield index, look(os.fspath(path), index in masks)
        return
    readers = [_Reader() for _ in range(workers)]
    free: queue.SimpleQueue[_Reader] = queue.SimpleQueue()
    for reader in readers:
        free.put(reader)

    def ask(path: str, mask: bool) -> Look:
        reader = free.get()
        try:
            return reader.look(path, mask, limit)
        finally:
            free.put(reader)

    pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="look")
    try:
        futures = {
            pool.submit(ask, os.fspath(path), index in masks): index for index, path in enumerate(paths)
        }
        for future in as_completed(futures):
            yield futures.pop(future), future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for reader in readers:
            reader.stop()
        pool.shutdown(wait=True)
        for reader in readers:
            reader.end()


class _Reader:
    """One child process and the talk with it: a file and its kind in JSON to it, what it saw in JSON from it."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._stopped = False
        self._starting = threading.Lock()  # so that `stop` finds either no child and none later, or the child

    def look(self, path: str, mask: bool, limit: float) -> Look:
        if self._child is None or self._child.poll() is not None:
            self._start()
        child = self._child
        if child is None:
            return Look(stage="open", reason="stopped", lasting=False)
        try:
            answer = _ask(child, (path, mask), limit)
        except TimeoutError:
            self.end()
            return Look(
                stage="decode",
                reason=f"it was not read after {limit:g} s",
                remedy="store the image again with another program",
                lasting=False,
            )
        if answer is None:
            code = child.wait()
            self.end()
            died = f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
            return Look(
                stage="decode",
                reason=f"the process that read it ended {died}",
                remedy="the file is damaged in a way that brings its decoder down; store it again",
                lasting=False,
            )
        return Look(**answer)

    def _start(self) -> None:
        self.end()
        with self._starting:
            if self._stopped:
                return
            # -P: files in the current folder must not be imported as modules
            self._child = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-c",
                    "from graftwork.common.data.checks.file_inspection import serve; serve()",
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # decoders write there as they please; what matters is the answer
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                    "OMP_NUM_THREADS": "1",
                },
            )

    def stop(self) -> None:
        """From another thread: whoever waits for the child's answer finds it dead, and no other is started."""
        with self._starting:
            self._stopped = True
            child = self._child
        if child is not None:
            child.kill()

    def end(self) -> None:
        """From the thread that asks, or once none does: the child is gone and its pipes are closed."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()


def _ask(child: subprocess.Popen[bytes], file: tuple[str, bool], limit: float) -> dict[str, Any] | None:
    """What the child saw; None where it died. Raises TimeoutError."""
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(json.dumps(file).encode() + b"\n")
        child.stdin.flush()
    except OSError:
        return None
    said = b""
    while not said.endswith(b"\n"):
        answers = select.poll()
        answers.register(child.stdout, select.POLLIN)
        if not answers.poll(limit * 1000):
            raise TimeoutError
        piece = os.read(child.stdout.fileno(), 65536)
        if not piece:
            return None
        said += piece
    answer: dict[str, Any] = json.loads(said)
    return answer


def serve() -> None:
    """What a child does: read paths from standard input, answer on standard output, until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its children
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a decoder that prints does not garble the answers
    for line in sys.stdin.buffer:
        answers.write(json.dumps(look(*json.loads(line)).to_json()).encode() + b"\n")
        answers.flush()
