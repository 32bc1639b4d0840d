import math

import numpy as np
import PIL.Image
import pytest

from nema_lc_jax import data
from nema_lc_jax.data.lra import dashes

COUNT = 30


def write(folder, side=32, count=COUNT):
  """Images whose first pixel is their number, with odd ones labelled 1."""
  place = folder / "curv_contour_length_14"
  (place / "metadata").mkdir(parents=True)
  (place / "imgs/0").mkdir(parents=True)
  lines = []
  for i in range(count):
    pixels = np.zeros((side, side), np.uint8)
    pixels[0, 0] = i
    PIL.Image.fromarray(pixels).save(place / f"imgs/0/sample_{i}.png")
    lines.append(f"imgs/0 sample_{i}.png {i} {i % 2} 0.5 2 14")
  (place / "metadata/0.npy").write_text("\n".join(lines) + "\n")
  return place


@pytest.mark.parametrize(
  ("folder", "side"),
  [
    ("", 32),
    ("pathfinder32", 32),
    ("lra_release/lra_release/pathfinder128", 128),
  ],
)
def test_every_image_of_the_release_is_in_one_split(tmp_path, folder, side):
  write(tmp_path / folder, side)
  pathfinder = data.load("pathfinder", dir=str(tmp_path), resolution=side)
  assert pathfinder.num_examples == {"train": 24, "validation": 3, "test": 3}
  numbers = []
  for split, size in pathfinder.num_examples.items():
    for i in range(size):
      example = pathfinder.evaluation(split, side**2)[i]
      number = int(example["inputs"][0]) - 1
      assert example["label"] == number % 2
      assert (example["inputs"][1:] == 1).all()  # black is no padding
      numbers.append(number)
  assert sorted(numbers) == list(range(COUNT))
  again = data.load("pathfinder", dir=str(tmp_path), resolution=side, seed=3)
  assert again.fingerprint == pathfinder.fingerprint


def test_empty_images_are_left_out_as_in_the_reference(tmp_path):
  (write(tmp_path) / "imgs/0/sample_7.png").write_bytes(b"")
  pathfinder = data.load("pathfinder", dir=str(tmp_path))
  assert sum(pathfinder.num_examples.values()) == COUNT - 1


def test_a_changed_image_is_prepared_anew(tmp_path):
  png = write(tmp_path) / "imgs/0/sample_3.png"
  before = data.load("pathfinder", dir=str(tmp_path))
  size = png.stat().st_size
  pixels = np.zeros((32, 32), np.uint8)
  pixels[0, 0] = 200
  PIL.Image.fromarray(pixels).save(png)
  assert png.stat().st_size == size  # or the test would show nothing
  after = data.load("pathfinder", dir=str(tmp_path))
  assert after.fingerprint != before.fingerprint
  numbers = lambda found: {
    int(found.evaluation(split, 1024)[i]["inputs"][0]) - 1
    for split, size in found.num_examples.items()
    for i in range(size)
  }
  assert numbers(before) - numbers(after) == {3}
  assert numbers(after) - numbers(before) == {200}


def test_an_image_that_is_listed_twice_is_taken_once(
  tmp_path, caplog, error_of
):
  metadata = write(tmp_path) / "metadata/0.npy"
  lines = metadata.read_text()
  metadata.write_text(lines + lines)
  found = data.load("pathfinder", dir=str(tmp_path))
  assert sum(found.num_examples.values()) == COUNT
  assert f"{COUNT} images are listed again" in caplog.text
  metadata.write_text(lines + "imgs/0 sample_3.png 3 0\n")
  assert "sample_3.png has two labels" in error_of(
    data.load, "pathfinder", dir=str(tmp_path)
  )


def test_bad_files_are_named(tmp_path, error_of):
  load = lambda: error_of(data.load, "pathfinder", dir=str(tmp_path))
  assert "no curv_contour_length_14 in" in load()
  place = write(tmp_path)
  png, metadata = place / "imgs/0/sample_3.png", place / "metadata/0.npy"
  good, lines = png.read_bytes(), metadata.read_text()
  vast = good[:16] + b"\x00\x10\x00\x00" * 2 + good[24:]  # 2^20 pixels a side
  for broken in (b"no png", good[:60], good[:-30], vast):
    png.write_bytes(broken)
    assert "sample_3.png: not a readable PNG" in load()
  PIL.Image.new("L", (16, 32)).save(png)
  assert "expected 32 x 32 pixels, got 16 x 32" in load()
  png.unlink()
  assert "sample_3.png is missing" in load()
  metadata.write_text(lines + "imgs/0 sample_3.png 3\n")
  assert "0.npy:31: expected columns between spaces" in load()
  metadata.write_text(lines.replace(" 0 0.5", " 2 0.5"))
  assert "label 0 or 1; got 'imgs/0 sample_0.png 0 2'" in load()
  with metadata.open("wb") as file:
    np.save(file, np.array([{"evil": 1}]), allow_pickle=True)
  assert "expected lines of text, got a NumPy array" in load()
  metadata.write_text("".join(lines.splitlines(keepends=True)[:2]))
  assert "2 images can't be split, at least 10 are needed" in load()
  metadata.unlink()
  assert "metadata has no .npy files" in load()


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"resolution": 64}, "resolution must be 32 or 128, got 64"),
    ({"resolution": 128}, "images of resolution 128 are not drawn here"),
    ({"length": 1000}, "length must be at least 1024"),
    ({"num_eval": 0}, "num_eval must be an integer of at least 1"),
  ],
)
def test_options_are_checked(options, message, error_of):
  assert message in error_of(data.load, "pathfinder", **options)


def test_images_are_drawn_as_described():
  grey = {0: [], 1: []}
  for i in range(60):
    image = dashes.draw(np.random.Generator(np.random.Philox(i)), i % 2)
    assert image.shape == (32, 32)
    assert set(np.unique(image)) == {0, dashes.DASH_GREY, dashes.DOT_GREY}
    assert (image == dashes.DOT_GREY).sum() == 18  # two squares, apart
    grey[i % 2].append((image == dashes.DASH_GREY).sum())
  # The same number of dashes with both labels.
  assert abs(np.mean(grey[0]) - np.mean(grey[1])) < 4


def test_the_dots_stand_where_the_label_says():
  first = [((i, 1), (i, 2)) for i in (2, 5, 8, 11)]
  second = [((i, 20), (i, 21)) for i in (2, 5, 8, 11)]
  # 9 rows apart together, 18 to 21 columns apart otherwise.
  assert dashes._choose_ends(first, second) == ()
  second = [((i, 10), (i, 11)) for i in (2, 5, 8, 11)]
  apart, together = dashes._choose_ends(first, second)
  assert together in [((2, 1), (11, 2)), ((2, 10), (11, 11))]
  assert {x < 5 for _, x in apart} == {True, False}
  assert abs(math.dist(*apart) - math.dist(*together)) < dashes.DISTANCE_ERROR


def test_curves_touch_neither_each_other_nor_themselves():
  noise = dashes._noise(np.random.Generator(np.random.Philox(3)))
  curves = next(c for c in iter(lambda: dashes._curves(noise), 0) if c)
  assert [len(curve) for curve in curves] == [14, 14, 4, 4, 4, 4, 4]
  numbered = [
    (number, k, pixel)
    for number, curve in enumerate(curves)
    for k, dash in enumerate(curve)
    for pixel in dash
  ]
  for curve, k, (y, x) in numbered:
    assert 1 <= y < 31
    assert 1 <= x < 31
    for other, j, (v, u) in numbered:
      if other != curve or abs(j - k) > 1:
        assert max(abs(y - v), abs(x - u)) > 1


def test_drawn_examples_are_functions_of_seed_split_and_number(equal):
  sizes = {"num_eval": 200, "num_test": 5}
  load = lambda seed: data.load("pathfinder", seed=seed, **sizes)
  one, two = load(0), load(0)
  for split in ("train", "validation", "test"):
    assert equal(one.evaluation(split, 1024)[3], two.evaluation(split, 1024)[3])
  assert not equal(
    one.evaluation("test", 1024)[0], load(1).evaluation("test", 1024)[0]
  )
  assert one.fingerprint == load(1).fingerprint
  example = one.evaluation("test", 1088)[0]
  assert example["mask"].sum() == 1024
  labels = [
    int(one.evaluation("validation", 1024)[i]["label"]) for i in range(60)
  ]
  assert 15 < sum(labels) < 45
  assert one.baselines("test", 1024)["chance"] == 0.5
