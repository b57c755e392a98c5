"""Data sets of MNIST's format and size, from torchvision's mirrors."""

from pathlib import Path

from datamodules.archives import archive_md5s, prepare_archives
from datamodules.errors import DataError
from datamodules.factors import Factor
from datamodules.mnist import MNISTDataModule


class ArchivedMNISTDataModule(MNISTDataModule):
    """Base of data sets of MNIST's format and size, read from archives.

    Unlike MNIST's, unpacked files are not read: torchvision has MD5s of the archives alone.
    """

    def md5s(self) -> dict[str, str]:
        """Return torchvision's MD5s of the archives, by the name of the file in each."""
        return archive_md5s(self.name)

    def prepare_files(self) -> None:
        """Download the archives that are missing, and verify all of them.

        Raises:
            DataError: If one is missing or damaged and cannot, or must not, be fetched.
        """
        prepare_archives(self.name, self.raw_dir, may_download=self.download)

    def _file(self, name: str) -> Path:
        if not self.verify:
            return super()._file(name)
        path = self.raw_dir / f"{name}.gz"
        if not path.is_file():
            raise DataError(f"{path} does not exist; call prepare_data() or set data_dir")
        return path


class FashionMNISTDataModule(ArchivedMNISTDataModule):
    """Deliver FashionMNIST: 60,000 training and 10,000 test images of clothes, with their kinds.

    5,000 of the training images are held out for validation, as of MNIST's. Missing archives are
    fetched from torchvision's mirror.

    Args:
        data_dir: Folder that holds, or will hold, FashionMNIST/raw/train-images-idx3-ubyte.gz and
            so on, as torchvision lays them out; null is a folder in the user's cache.
    """

    name = "FashionMNIST"
    factor = Factor(
        *("article", 10, 0, 9),
        ("T-shirt", "trouser", "pullover", "dress", "coat")
        + ("sandal", "shirt", "sneaker", "bag", "ankle boot"),
    )
    has_written_characters = False


class KMNISTDataModule(ArchivedMNISTDataModule):
    """Deliver KMNIST: 60,000 training images of 10 old Japanese characters; 10,000 test images.

    5,000 of the training images are held out for validation, as of MNIST's. Missing archives are
    fetched from torchvision's mirror.

    Args:
        data_dir: Folder that holds, or will hold, KMNIST/raw/train-images-idx3-ubyte.gz and so on,
            as torchvision lays them out; null is a folder in the user's cache.
    """

    name = "KMNIST"
    factor = Factor(
        *("character", 10, 0, 9),
        ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    )
