"""Have the archives of a data set in MNIST's format, checked by torchvision's MD5s of them."""

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

from pytorch_lightning.utilities import rank_zero_info

from datamodules.errors import DataError
from datamodules.idx import write_atomically
from datamodules.mnist_files import FetchError, download, fetch_from_first


def archive_md5s(dataset: str) -> dict[str, str]:
    """Return torchvision's MD5 of each archive, by the name of the file in it.

    Args:
        dataset: Name of the class in torchvision.datasets, such as `KMNIST`.
    """
    resources = _torchvision_class(dataset).resources
    return {archive.removesuffix(".gz"): md5 for archive, md5 in resources}


def prepare_archives(dataset: str, raw_dir: Path, *, may_download: bool) -> None:
    """Make sure that a folder holds a data set's four archives; replace what is damaged.

    Args:
        dataset: Name of the class in torchvision.datasets, such as `KMNIST`.
        raw_dir: The folder, as torchvision lays it out.
        may_download: Whether what is missing or damaged is fetched from torchvision's mirrors.

    Raises:
        DataError: If an archive is missing or damaged and cannot, or must not, be fetched.
    """
    md5s = archive_md5s(dataset)
    wanted = {}
    for name, md5 in md5s.items():
        path = raw_dir / f"{name}.gz"
        if not path.is_file():
            wanted[name] = f"{path} does not exist"
        elif (actual := _md5(path.read_bytes())) != md5:
            wanted[name] = f"{path} is damaged: MD5 {actual} instead of {md5}"
    if not wanted:
        return
    if not may_download:
        raise DataError(
            f"{'; '.join(wanted.values())}. Set download to true, put good archives there, or, if"
            " this is other data, set verify to false"
        )
    rank_zero_info(f"{dataset}: fetching {len(wanted)} of 4 archives into {raw_dir}.")
    mirrors = _torchvision_class(dataset).mirrors
    try:
        contents = fetch_from_first(mirrors, list(wanted), partial(_fetch_archive, md5s))
    except FetchError as error:
        archives = ", ".join(f"{name}.gz" for name in wanted)
        raise DataError(
            f"{dataset} cannot be fetched (mirrors: {error}); put {archives} into {raw_dir}"
        ) from error
    for name, content in contents.items():
        write_atomically(raw_dir / f"{name}.gz", [content])
        rank_zero_info(f"{dataset}: {wanted[name]}; fetched it from the mirrors.")


def _fetch_archive(md5s: dict[str, str], mirror: str, name: str) -> bytes:
    content = download(f"{mirror}{name}.gz")
    if (actual := _md5(content)) != md5s[name]:
        raise FetchError(f"{name}.gz came with MD5 {actual} instead of {md5s[name]}")
    return content


def _torchvision_class(dataset: str) -> Any:
    # Here, because the import takes a second that --help should not pay.
    import torchvision.datasets

    return getattr(torchvision.datasets, dataset)


def _md5(content: bytes) -> str:
    # For integrity only; said so, it also works where security rules forbid MD5.
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
