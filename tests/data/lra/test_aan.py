import errno

import numpy as np
import pytest

from nema_lc_jax import data
from nema_lc_jax.data.byte_text import encode
from nema_lc_jax.data.lra import aan
from nema_lc_jax.data.prepare import CACHE_VARIABLE

NAMES = {"train": "train", "validation": "eval", "test": "test"}


def write(folder, **lines):
  """The three files, of one good line each unless told."""
  folder.mkdir(parents=True, exist_ok=True)
  for name in NAMES.values():
    rows = lines.get(name, [f"1.0\ta\tb\tb'{name} one'\tb'two\\\\n'"])
    text = "".join(row + "\n" for row in rows)
    (folder / f"new_aan_pairs.{name}.tsv").write_bytes(text.encode())
  return folder


@pytest.mark.parametrize(
  "folder",
  [
    "",
    "tsv_data",
    "lra_release/tsv_data",
    "lra_release/lra_release/tsv_data",
  ],
)
def test_files_are_found_in_every_nesting(tmp_path, folder):
  write(tmp_path / folder)
  loaded = data.load("aan", dir=str(tmp_path))
  assert loaded.num_examples == {"train": 1, "validation": 1, "test": 1}
  assert loaded.byte_level
  assert loaded.label_names == ("unrelated", "related")
  for split, name in NAMES.items():
    example = loaded.evaluation(split, 40)[0]
    expected = encode(f"b'{name} one'".encode())
    np.testing.assert_array_equal(example["inputs"][example["mask"]], expected)


def test_texts_are_cut_and_padded_and_labels_read(tmp_path):
  rows = ["0.0\tx\ty\tabcdefgh\tab", "1\tx\ty\tq\t", "0\tx\ty\t\"\ta'b"]
  write(tmp_path, test=rows)
  loaded = data.load("aan", dir=str(tmp_path))
  first, second, third = (loaded.evaluation("test", 4)[i] for i in range(3))
  assert [int(e["label"]) for e in (first, second, third)] == [0, 1, 0]
  assert first["inputs"].tolist() == [98, 99, 100, 101]
  assert first["inputs2"].tolist() == [98, 99, 0, 0]
  assert first["mask2"].tolist() == [True, True, False, False]
  assert not second["mask2"].any()
  assert third["inputs"].tolist() == [35, 0, 0, 0]  # a quote is a byte
  assert (first["inputs"].dtype, first["label"].dtype) == (np.int32, np.int32)
  # The prepared texts are whole, so a longer length needs no new preparation.
  assert loaded.evaluation("test", 9)[0]["inputs"].tolist()[-2:] == [105, 0]


def test_the_reading_decides_what_the_bytes_are(tmp_path):
  write(tmp_path, test=["1.0\tx\ty\tb'a\\n'\tb\"it's\""])
  texts = {}
  for reading in ("raw", "decoded"):
    loaded = data.load("aan", dir=str(tmp_path), reading=reading)
    example = loaded.evaluation("test", 12)[0]
    texts[reading] = [
      bytes((example[f"inputs{s}"][example[f"mask{s}"]] - 1).tolist())
      for s in ("", "2")
    ]
    assert reading in loaded.description
  assert texts["raw"] == [b"b'a\\n'", b'b"it\'s"']
  assert texts["decoded"] == [b"a\n", b"it's"]


def test_changed_files_are_prepared_anew_and_said_so(tmp_path, caplog):
  prints = set()
  for label in ("0", "1"):
    write(tmp_path, test=[f"{label}\tx\ty\tone\ttwo"])
    loaded = data.load("aan", dir=str(tmp_path))
    assert loaded.evaluation("test", 4)[0]["label"] == int(label)
    prints.add(loaded.fingerprint)
  assert len(prints) == 2
  assert "aan is prepared anew: aan-" in caplog.text


def test_cut_off_and_odd_rows_are_named(tmp_path, error_of):
  good = "1.0\ta\tb\tb'one'\tb\"it's\""
  deep = "-" * 200_000 + "1"
  for row, reading, message in (
    ("1.0\ta\tb\tb'one'\tb'tw", "raw", "a text is cut off: it ends in"),
    ("1.0\ta\tb\tb'one'\tb'", "raw", "a text is cut off: it ends in"),
    ("2\ta\tb\tone\ttwo", "raw", "expected a label of 0, 0.0, 1 or 1.0"),
    ("\udcff\ta\tb\tone\ttwo", "raw", "expected a label of 0, 0.0, 1 or"),
    ("1\ta\tb\tone\ttwo", "decoded", "expected a bytes literal b'...', got"),
    ("1\ta\tb\tb'one'\t{{}}", "decoded", "expected a bytes literal b'...'"),
    (f"1\ta\tb\tb'one'\t{deep}", "decoded", "expected a bytes literal b'..."),
  ):
    write(tmp_path, test=[good])
    path = tmp_path / "new_aan_pairs.test.tsv"
    text = f"{good}\n{row}\n"
    path.write_bytes(text.encode(errors="surrogateescape"))
    found = error_of(data.load, "aan", dir=str(tmp_path), reading=reading)
    assert f"{path}:2: {message}" in found


def test_empty_texts_are_counted_and_said(tmp_path, caplog):
  rows = ["1.0\ta\tb\tb''\tb'two'", "1.0\ta\tb\tb'one'\tb'two'"]
  write(tmp_path, test=rows)
  loaded = data.load("aan", dir=str(tmp_path), reading="decoded")
  assert "test.tsv: 1 of 2 pairs have an empty text" in caplog.text
  assert not loaded.evaluation("test", 8)[0]["mask"].any()


def test_a_full_disk_leaves_nothing_that_is_used(tmp_path, monkeypatch):
  write(tmp_path, test=["1\ta\tb\tfull\tdisk"])
  with monkeypatch.context() as patch:
    patch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    patch.setattr(aan, "read_pairs", out_of_space)
    with pytest.raises(data.DataError, match="No space left on device"):
      data.load("aan", dir=str(tmp_path))
    assert not list((tmp_path / "cache").glob("*aan*"))
    patch.undo()
    patch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    loaded = data.load("aan", dir=str(tmp_path))
  assert loaded.num_examples == {"train": 1, "validation": 1, "test": 1}


def out_of_space(*_):
  ids = {"id1": b"a", "id2": b"b"}
  yield ids | {"label": 1, "text1": b"half", "text2": b"written"}
  raise OSError(errno.ENOSPC, "No space left on device")


def test_a_fixed_part_of_a_split_can_be_chosen(tmp_path, error_of, caplog):
  rows = [f"{i % 2}\ta\tb\t{i:02}\tother" for i in range(12)]
  write(tmp_path, eval=rows, test=rows)
  some = data.load("aan", dir=str(tmp_path), num_eval=4, num_test=5)
  assert some.num_examples == {"train": 1, "validation": 4, "test": 5}
  found = {bytes(some.evaluation("test", 2)[i]["inputs"] - 1) for i in range(5)}
  assert len(found) == 5
  # More than there are is all, and is said once.
  every = data.load("aan", dir=str(tmp_path), num_eval=4321)
  assert every.num_examples["validation"] == 12
  found = {
    bytes(every.evaluation("validation", 2)[i]["inputs"] - 1) for i in range(12)
  }
  assert len(found) == 12
  said = "config.data.num_eval=4321 is more than there are; 12 are used"
  assert caplog.text.count(said) == 1
  assert "num_eval must be an integer of at least 1, got 0" in error_of(
    data.load, "aan", dir=str(tmp_path), num_eval=0
  )


def test_batches_train_and_evaluate(tmp_path):
  rows = [f"{i % 2}\ta\tb\ttext {i}\tother {i}" for i in range(12)]
  write(tmp_path, train=rows, test=rows)
  loaded = data.load("aan", dir=str(tmp_path))
  iterator = data.train_iterator(loaded, batch_size=4, seed=0, length=16)
  epoch = np.concatenate([next(iterator)["inputs"] for _ in range(3)])
  assert len({row.tobytes() for row in epoch}) == 12
  assert set(loaded.baselines("test", 16)) == {
    "chance",
    "byte_histogram",
    "byte_histogram_sqrt_idf",
  }


@pytest.mark.parametrize(
  ("row", "reading", "message"),
  [
    ("1.0\ta\tb\tone", "raw", "eval.tsv:2: expected 5 columns between tabs"),
    ("", "raw", "eval.tsv:2: expected 5 columns between tabs"),
    ("2\ta\tb\tc\td", "raw", "eval.tsv:2: expected a label of 0, 0.0, 1 or"),
    ("1\ta\tb\tc\tb'd'", "decoded", "eval.tsv:2: expected a bytes literal"),
    ("1\ta\tb\t'c'\tb'd'", "decoded", "eval.tsv:2: expected a bytes literal"),
  ],
)
def test_a_malformed_line_is_named(tmp_path, row, reading, message, error_of):
  write(tmp_path, eval=["0\ta\tb\tb'c'\tb'd'", row])
  assert message in error_of(
    data.load, "aan", dir=str(tmp_path), reading=reading
  )


def test_missing_files_say_where_to_get_them(tmp_path, error_of):
  message = error_of(data.load, "aan", dir=str(tmp_path))
  assert f"no new_aan_pairs.train.tsv in {tmp_path}" in message
  assert "lra_release.gz" in message
  assert "google-research/long-range-arena" in message
  (write(tmp_path / "tsv_data") / "new_aan_pairs.eval.tsv").unlink()
  assert "tsv_data lacks new_aan_pairs.eval.tsv" in error_of(
    data.load, "aan", dir=str(tmp_path)
  )
  write(tmp_path / "empty", test=[])
  assert "new_aan_pairs.test.tsv: the file is empty" in error_of(
    data.load, "aan", dir=str(tmp_path / "empty")
  )
  assert "reading must be one of raw, decoded; got 'x'" in error_of(
    data.load, "aan", dir=str(tmp_path), reading="x"
  )


def test_pairs_that_are_known_from_training_are_counted_and_left_out(
  tmp_path, error_of, caplog
):
  row = lambda ids, text: f"1\t{ids[0]}\t{ids[1]}\t{text}\tother"
  train = [row("ab", "x"), row("cd", "y")]
  # The same, reversed, two documents of different pairs, one document, none.
  test = [row(ids, ids) for ids in ("ab", "dc", "ac", "ea", "ef")]
  new = [row("gh", "new")]
  write(tmp_path, train=train, eval=new, test=test)
  for exclude, left in (
    ("nothing", ["ab", "dc", "ac", "ea", "ef"]),
    ("pairs", ["ac", "ea", "ef"]),
    ("documents", ["ef"]),
  ):
    loaded = data.load("aan", dir=str(tmp_path), exclude=exclude)
    examples = loaded.evaluation("test", 2)
    found = ["".join(chr(t - 1) for t in e["inputs"]) for e in examples]
    assert found == left
    assert loaded.num_examples["test"] == len(left)
    assert loaded.num_examples["train"] == 2
    said = "test.tsv: of 5 pairs, 2 are training pairs, too, and 4 have a"
    assert said in caplog.text
    # Nothing is said of a split that has nothing in common.
    assert "eval.tsv" not in caplog.text
  write(tmp_path, train=train, eval=new, test=test[:4])
  for exclude, words in (
    ("documents", "test.tsv: no pair is left with exclude='documents': all 4"),
    ("x", "exclude must be one of nothing, pairs, documents; got 'x'"),
  ):
    assert words in error_of(
      data.load, "aan", dir=str(tmp_path), exclude=exclude
    )
