"""Data sets that tensorflow-datasets has already prepared on this machine."""

import os
from pathlib import Path

import tensorflow_datasets as tfds

from nema_lc_jax.data.prepare import cache_directory, contents
from nema_lc_jax.data.types import DataError

FOLDER_VARIABLE = "TFDS_DATA_DIR"


def find_prepared(
  name: str, folder: str, needs: str, instead: str
) -> tuple[str, dict]:
  """A sha256 of a prepared data set's files, and the records of its splits.

  Nothing is downloaded here; the error says how to do it.

  Args:
    name: of the data set in tensorflow-datasets.
    folder: of its versions, below TFDS_DATA_DIR.
    needs: further packages that the preparation needs, for the error.
    instead: what to do without tensorflow-datasets; the end of the error.

  Raises:
    DataError: if there is no version in the format array_record.
  """
  root = Path(os.environ.get(FOLDER_VARIABLE) or "~/tensorflow_datasets")
  root = root.expanduser() / folder
  infos = sorted(root.glob("*/dataset_info.json"))
  files = infos and sorted(infos[-1].parent.glob("*.array_record-*"))
  if not files:
    command = (
      f'pip install {needs} && python -c "import tensorflow_datasets as tfds;'
      f" tfds.builder('{name}')"
      ".download_and_prepare(file_format='array_record')\""
    )
    raise DataError(
      f"{name}: no dir is given, and {root} ({FOLDER_VARIABLE}) has no files "
      f"of the format array_record; prepare them where there is a network by "
      f"{command}, or {instead}"
    )
  version = infos[-1].parent
  builder = tfds.builder_from_directory(version)
  return contents(files, cache_directory()), {
    split: builder.as_data_source(split) for split in builder.info.splits
  }
