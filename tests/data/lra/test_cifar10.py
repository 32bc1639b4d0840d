import io

import numpy as np
import PIL.Image
import pytest
import tensorflow_datasets as tfds

from nema_lc_jax import data
from nema_lc_jax.data.lra import cifar10
from nema_lc_jax.data.lra.tfds_source import FOLDER_VARIABLE
from nema_lc_jax.data.prepare import prepare

PER_FILE = 4


@pytest.fixture(autouse=True)
def small_files(monkeypatch):
  monkeypatch.setattr(cifar10, "IMAGES_PER_FILE", PER_FILE)


def batches(seed=0):
  """Labels [6, 4] and images [6, 4, 32, 32, 3] of the six files."""
  rng = np.random.default_rng(seed)
  labels = rng.integers(10, size=(6, PER_FILE), dtype=np.uint8)
  return labels, rng.integers(
    256, size=(6, PER_FILE, 32, 32, 3), dtype=np.uint8
  )


def write(folder, labels, images):
  folder.mkdir(parents=True, exist_ok=True)
  names = [*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"]
  for name, file_labels, file_images in zip(names, labels, images, strict=True):
    planes = file_images.transpose(0, 3, 1, 2).reshape(PER_FILE, -1)
    rows = np.concatenate([file_labels[:, None], planes], 1)
    (folder / name).write_bytes(rows.tobytes())
  return folder


@pytest.mark.parametrize("folder", ["", "cifar-10-batches-bin"])
def test_images_are_read_grey_and_in_order(tmp_path, folder):
  labels, images = batches()
  write(tmp_path / folder, labels, images)
  cifar = data.load("cifar10", dir=str(tmp_path))
  assert cifar.num_examples == {"train": 18, "validation": 2, "test": 4}
  train = labels[:5].ravel()
  for split, expected, pixels in (
    ("train", train[:18], images[:5].reshape(-1, 32, 32, 3)[:18]),
    ("validation", train[18:], images[:5].reshape(-1, 32, 32, 3)[18:]),
    ("test", labels[5], images[5]),
  ):
    examples = cifar.evaluation(split, 1024)
    for i, label in enumerate(expected):
      example = examples[i]
      assert example["label"] == label
      assert example["mask"].all()
      red, green, blue = pixels[i].reshape(-1, 3).T.astype(float)
      grey = 0.2989 * red + 0.587 * green + 0.114 * blue
      assert np.abs(example["inputs"] - 1 - grey).max() <= 1


def test_grey_is_that_of_the_reference():
  # By hand: 0.2989 * 255 = 76.2195, and so on; 254.98 is 255 in the end.
  colours = np.array(
    [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0]],
    np.uint8,
  )
  assert list(cifar10.to_grey(colours)) == [76, 149, 29, 255, 0]


def test_what_is_longer_than_an_image_is_padding(tmp_path, error_of):
  write(tmp_path, *batches())
  cifar = data.load("cifar10", dir=str(tmp_path))
  example = cifar.evaluation("test", 1030)[0]
  assert example["mask"].tolist() == [True] * 1024 + [False] * 6
  assert (example["inputs"] > 0).tolist() == example["mask"].tolist()
  for call in (
    lambda: cifar.evaluation("test", 1023),
    lambda: data.load("cifar10", dir=str(tmp_path), length=64),
  ):
    assert "length must be at least 1024, one token per pixel" in error_of(call)


def test_a_fixed_part_can_be_chosen(tmp_path, equal):
  write(tmp_path, *batches())
  some = data.load("cifar10", dir=str(tmp_path), num_eval=1, num_test=3)
  assert some.num_examples == {"train": 18, "validation": 1, "test": 3}
  whole = data.load("cifar10", dir=str(tmp_path)).evaluation("test", 1024)
  for i in range(3):
    row = some.evaluation("test", 1024)[i]
    assert sum(equal(row, whole[j]) for j in range(4)) == 1
  assert set(some.baselines("test", 1024)) == {"chance", "byte_histogram"}


def test_what_tensorflow_datasets_prepared_is_the_same(
  tmp_path, monkeypatch, error_of, equal
):
  monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
  message = error_of(data.load, "cifar10")
  assert "tfds.builder('cifar10')" in message
  assert "cifar-10-binary.tar.gz" in message
  labels, images = batches()
  write(tmp_path, labels, images)

  def records(files):
    for label, image in zip(
      labels[files].ravel(), images[files].reshape(-1, 32, 32, 3), strict=True
    ):
      png = io.BytesIO()
      PIL.Image.fromarray(image).save(png, "PNG")
      png.seek(0)
      yield {"image": png, "label": label}

  prepare(
    "cifar10",
    fingerprint="0" * 64,
    features={
      "image": tfds.features.Image(shape=(32, 32, 3)),
      "label": tfds.features.ClassLabel(num_classes=10),
    },
    splits={
      "train": lambda: records(slice(5)),
      "test": lambda: records(slice(5, 6)),
    },
    cache=tmp_path / "elsewhere",
  )
  (tmp_path / "cifar10").mkdir()
  (prepared,) = (tmp_path / "elsewhere").iterdir()
  prepared.rename(tmp_path / "cifar10" / "3.0.2")
  found = data.load("cifar10")
  expected = data.load("cifar10", dir=str(tmp_path))
  assert found.num_examples == expected.num_examples
  for split, size in found.num_examples.items():
    for i in range(size):
      assert equal(
        found.evaluation(split, 1024)[i], expected.evaluation(split, 1024)[i]
      )


def test_bad_files_are_named(tmp_path, error_of):
  load = lambda: error_of(data.load, "cifar10", dir=str(tmp_path))
  assert f"no data_batch_1.bin in {tmp_path}" in load()
  write(tmp_path, *batches())
  path = tmp_path / "data_batch_3.bin"
  content = path.read_bytes()
  path.write_bytes(content[:-1])
  assert "data_batch_3.bin: expected 12292 bytes, got 12291" in load()
  path.write_bytes(b"\x0a" + content[1:])
  assert "expected labels of 0 to 9, image 0 has 10" in load()
  path.unlink()
  assert "lacks data_batch_3.bin" in load()
