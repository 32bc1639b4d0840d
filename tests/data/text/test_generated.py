"""Generated files of one's own: examples are their rows, cut, or are refused.

The reference is lists and loops. Rows have duplicates, outliers among ids and
labels, one long row among short ones, holes and late starts; a file may have a
fault, and the length may cut tokens, labels and whole rows.
"""

import collections
import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nema_lc_jax import data
from nema_lc_jax.data.text.split import groups, split_rows

SMALL = (0, 1, 2)
SPARSE = (0, 1, 7, 10**6, 2**31 - 2)
# In 32 bits, the last two would be a class.
UNASKED = (-1, -1, -1, -100, 2 - 2**32, -(2**63))
NAMES = ("inputs", "inputs2")


class Row(NamedTuple):
  """A row of a file as the reference has it."""

  texts: list[list[int | None]]  # token ids; None is padding
  label: Any  # or one for each token, negative where nothing is asked
  question: list[int] | None = None  # with its line feed

  @property
  def key(self):
    """What must be in one split only."""
    return repr([text[: size_of(text)] for text in self.texts])


def size_of(text):
  return max((i + 1 for i, token in enumerate(text) if token is not None))


def cut(row, length):
  """The texts and the label that a model may see."""
  start = length - len(row.question or [])
  texts = [(text + [None] * start)[:start] for text in row.texts]
  if row.question:
    return [texts[0] + row.question], row.label
  if not isinstance(row.label, list):
    return texts, row.label
  labels = (row.label + [-1] * length)[:length]
  pairs = zip(texts[0], labels, strict=True)
  return texts, [-1 if t is None else max(label, -1) for t, label in pairs]


def read_back(example):
  texts = []
  for suffix in ("", "2"):
    if "inputs" + suffix in example:
      ids, mask = example["inputs" + suffix], example["mask" + suffix]
      assert (ids.dtype, mask.dtype) == (np.int32, bool)
      assert not ids[~mask].any()
      pairs = zip(ids.tolist(), mask.tolist(), strict=True)
      texts.append([token if valid else None for token, valid in pairs])
  label = example["label"].tolist()
  return texts, [max(x, -1) for x in label] if example["label"].ndim else label


def asked(rows, length):
  found = []
  for row in rows:
    label = cut(row, length)[1]
    found += (
      [x for x in label if x >= 0] if isinstance(label, list) else [label]
    )
  return found


def with_classes(files):
  """The rows with class numbers, the number of classes, and their names."""
  rows = [row for rows in files.values() for row in rows]
  every = [row.label for row in rows]
  if isinstance(every[0], list):
    every = [label for labels in every for label in labels if label >= 0]
  known = sorted(set(every))
  names = [str(label) for label in known]
  text = isinstance(known[0], str)
  if not text and known[-1] < 2 * len(known):
    return files, 1 + known[-1], []
  number = {label: i for i, label in enumerate(known)}

  def numbered(row):
    if not isinstance(row.label, list):
      return row._replace(label=number[row.label])
    return row._replace(label=[number.get(label, -1) for label in row.label])

  return (
    {name: [numbered(row) for row in rows] for name, rows in files.items()},
    len(known),
    names,
  )


def tables_of(files):
  """The rows of each split; those of one file are checked to be a partition."""
  if "all" not in files:
    return files
  rows = files["all"]
  keys = [row.key for row in rows]
  if len(set(keys)) < 3:
    return files
  parts = split_rows(groups(keys), 0)
  assert sorted(np.concatenate(list(parts.values()))) == list(range(len(rows)))
  homes = {(keys[i], split) for split, part in parts.items() for i in part}
  assert len(homes) == len(set(keys))
  return files | {s: [rows[i] for i in part] for s, part in parts.items()}


def fault_of_cut(tables, split, length):
  """What a refusal must say, or None: of the file first, then of each split."""
  if split not in tables:
    return ["can't be split in three"]
  for name in ("all",) if split == "all" else tables:
    where = [f"{name}: "] * (name != "all")
    sizes = [len(row.question) for row in tables[name] if row.question]
    if sizes and max(sizes) >= length:
      row = tables[name][sizes.index(max(sizes))]
      text = bytes(token - 1 for token in row.question[1:]).decode()
      return [*where, repr(text[:40]), f"at least {max(sizes) + 1}, got"]
    for text, key in enumerate(NAMES[: len(tables[name][0].texts)]):
      for number, row in enumerate(tables[name]):
        if all(token is None for token in row.texts[text][:length]):
          return [*where, f"row {number} of {key} has no token before posit"]
    if not asked(tables[name], length):
      return [*where, f"at the tokens of length {length}, so nothing is asked"]
  return None


def majority(tables, split, length):
  known = asked(tables["all" if split == "all" else "train"], length)
  counts = collections.Counter(known)
  best = min(counts, key=lambda label: (-counts[label], label))
  found = asked(tables[split], length)
  return sum(label == best for label in found) / len(found)


def refused(parts, function, *args, **kwargs):
  with pytest.raises(data.DataError) as error:
    function(*args, **kwargs)
  message = str(error.value)
  assert "\n" not in message
  for part in parts:
    assert part in message


def check(path, files, lengths, vocab_size):
  """Reads the files, and compares all that is given out with their rows."""
  dataset = data.load("file", path=str(path))
  files, num_classes, names = with_classes(files)
  tables = tables_of(files)
  assert dataset.vocab_size == vocab_size
  assert dataset.num_classes == max(2, num_classes)
  assert list(dataset.label_names) == names
  for split in (*data.SPLITS, *({"all"} & {*files})):
    rows = tables.get(split, [])
    assert dataset.num_examples[split] == len(rows)
    for length in lengths:
      fault = fault_of_cut(tables, split, length)
      if fault:
        refused([str(path), *fault], dataset.evaluation, split, length)
        refused([str(path), *fault], dataset.baselines, split, length)
        continue
      source = dataset.evaluation(split, length)
      found = [read_back(source[i]) for i in range(len(source))]
      assert found == [cut(row, length) for row in rows]
      expected = majority(tables, split, length)
      assert dataset.baselines(split, length)["majority"] == expected


def place(folder, suffix, count):
  """The path to load, and the files at it."""
  if count == 1:
    path = Path(folder) / f"a{suffix}"
    return path, {"all": path}
  return Path(folder), {s: Path(folder) / f"{s}{suffix}" for s in data.SPLITS}


LENGTHS = st.lists(st.integers(1, 14), min_size=1, max_size=2)
FILES = st.sampled_from([1, 1, 3])
# Most files have no fault.
FAULTY = st.sampled_from([False, False, False, True])


@st.composite
def token_rows(draw, kind, masked):
  """Rows of an npz: short ones, long ones, with holes, late ones, copies."""
  width = draw(st.integers(1, 12))
  token = st.integers(0 if masked else 1, 5) | st.sampled_from([9, 2**30 - 1])
  classes = draw(st.sampled_from([SMALL, SMALL[:1], SPARSE]))

  def text():
    size = draw(st.sampled_from([1, 2, 2, width]))
    start = draw(st.sampled_from([0, 0, 0, width - 1]))
    row = [None] * start + [draw(token) for _ in range(size)]
    row = (row + [None] * width)[:width]
    hole = draw(st.integers(0, 3 * width))
    return [None if i == hole and i != start else t for i, t in enumerate(row)]

  rows = []
  for _ in range(draw(st.integers(1, 9))):
    if rows and draw(st.integers(0, 4)) == 0:
      rows.append(draw(st.sampled_from(rows)))
      continue
    label = draw(st.sampled_from(classes))
    if kind == "causal_lm":
      labels = st.sampled_from((*UNASKED, *classes))
      label = [draw(labels) for _ in range(width)]
    rows.append(Row([text() for _ in range(1 + (kind == "match"))], label))
  return rows


def arrays_of(rows, masked, junk):
  found = {"labels": np.array([row.label for row in rows], np.int64)}
  for i, name in zip(range(len(rows[0].texts)), NAMES, strict=False):
    texts = [row.texts[i] for row in rows]
    ids = [[junk * masked if t is None else t for t in x] for x in texts]
    found[name] = np.array(ids, np.int64)
    if masked:
      valid = [[t is not None for t in text] for text in texts]
      found[name.replace("inputs", "mask")] = np.array(valid)
  return found


def spoil_arrays(draw, arrays):
  """Puts a fault into arrays, and returns what the refusal must say."""
  row = draw(st.integers(0, len(arrays["inputs"]) - 1))
  kind = draw(st.sampled_from(["id", "label", "padding"]))
  name = draw(st.sampled_from([name for name in NAMES if name in arrays]))
  if kind == "padding":
    key = name.replace("inputs", "mask")
    arrays[key if key in arrays else name][row] = 0
    return [f"row {row} of {name} is nothing but padding"]
  if kind == "id":
    arrays[name][row, -1] = value = draw(
      st.sampled_from([-1, 2**30, -(2**63), 2**40])
    )
    return [f"{name} must be in 0..1073741823, row {row} has {value}"]
  values = [2**31 - 1, 2**40] + [-1, -(2**40)] * (arrays["labels"].ndim == 1)
  value = draw(st.sampled_from(values))
  arrays["labels"].reshape(len(arrays["labels"]), -1)[row, -1] = value
  return [f"row {row} has {value}"]


@settings(deadline=None, max_examples=150)
@given(draws=st.data(), count=FILES, faulty=FAULTY, lengths=LENGTHS)
def test_arrays(draws, count, faulty, lengths):
  draw = draws.draw
  kind = draw(st.sampled_from(["classify", "causal_lm", "match"]))
  masked, junk = draw(st.booleans()), draw(st.sampled_from([0, 3, 2**29]))
  with tempfile.TemporaryDirectory() as folder:
    path, paths = place(folder, ".npz", count)
    files = {name: draw(token_rows(kind, masked)) for name in paths}
    spoilt = draw(st.sampled_from(sorted(paths))) if faulty else ""
    said = []
    for name, rows in files.items():
      arrays = arrays_of(rows, masked, junk)
      if name == spoilt:
        said = [str(paths[name]), *spoil_arrays(draw, arrays)]
      elif not said and arrays["labels"].max() < 0:
        said = [str(paths[name]), "the largest of them is"]
      dtype = draw(st.sampled_from(["i8", ">i8"]))
      arrays = {
        key: x if x.dtype == bool else x.astype(dtype)
        for key, x in arrays.items()
      }
      np.savez(paths[name], **arrays)
      if said:
        refused(said, data.load, "file", path=str(paths[name]))
        return
    texts = [t for rows in files.values() for row in rows for t in row.texts]
    largest = max(t for text in texts for t in text if t is not None)
    check(path, files, lengths, max(2, 1 + largest))


WORDS = st.text("aé \0", min_size=1, max_size=3) | st.sampled_from(
  ["same", "same too", "long " * 9, "long " * 9 + "end"]
)
CLASSES = st.sampled_from(["x", "x", " x ", "y", "x\0", "é" * 200, "1", "01"])


def ids_of(text):
  return [byte + 1 for byte in text.encode()]


@settings(deadline=None, max_examples=100)
@given(draws=st.data(), count=FILES, faulty=FAULTY, lengths=LENGTHS)
def test_lines(draws, count, faulty, lengths):
  draw = draws.draw
  names = ["label", "text1", "text2"][: draw(st.sampled_from([2, 3]))]
  row = st.tuples(CLASSES, *[WORDS for _ in names[1:]])
  order = draw(st.permutations(range(len(names))))
  header = draw(st.booleans())
  with tempfile.TemporaryDirectory() as folder:
    path, paths = place(folder, ".tsv", count)
    files = {}
    for name, file in paths.items():
      cells = draw(st.lists(row, min_size=1, max_size=9))
      files[name] = [
        Row([ids_of(text) for text in texts], label.strip())
        for label, *texts in cells
      ]
      at = draw(st.integers(0, len(cells) - 1))
      lines = [list(line) for line in cells]
      fault = draw(st.sampled_from(["text", "label", "more", "all"]))
      if faulty and (header or fault != "all"):
        line = 1 + header + at * (fault != "all")
        what = spoil_lines(lines, at, fault)
        said = [f"{file}:{line}: ", what]
      if header:
        lines = [names, *lines]
        lines = [[x[i] for i in order] + x[len(names) :] for x in lines]
      text = "".join("\t".join(line) + "\n" for line in lines)
      file.write_text(text, newline="")
      if faulty and (header or fault != "all"):
        if not header and at == 0 and fault == "more":
          return  # The first line says how many columns there are.
        refused(said, data.load, "file", path=str(file))
        return
    check(path, files, lengths, 257)


def spoil_lines(lines, at, fault):
  """Puts a fault into lines, and returns what the refusal must say."""
  if fault in ("more", "all"):
    for line in lines if fault == "all" else [lines[at]]:
      line.append("more")
    return f"got {len(lines[at])}"
  lines[at][-1 if fault == "text" else 0] = "" if fault == "text" else " "
  return "a text is empty" if fault == "text" else "the label is empty"


@settings(deadline=None, max_examples=100)
@given(draws=st.data(), count=FILES, faulty=FAULTY, lengths=LENGTHS)
def test_questions(draws, count, faulty, lengths):
  draw = draws.draw
  fields = ("document", "question", "answer")
  word = WORDS.filter(str.strip)
  asks = st.sampled_from(["q", "q", "who?", "q" * 9]).filter(str.strip)
  row = st.tuples(word, asks, CLASSES)
  suffix = draw(st.sampled_from([".jsonl", ".tsv"]))
  with tempfile.TemporaryDirectory() as folder:
    path, paths = place(folder, suffix, count)
    files = {}
    for name, file in paths.items():
      rows = draw(st.lists(row, min_size=1, max_size=9))
      files[name] = [
        Row([ids_of(text)], answer.strip(), ids_of("\n" + question))
        for text, question, answer in rows
      ]
      if faulty:
        at = draw(st.integers(0, len(rows) - 1))
        empty = draw(st.sampled_from(range(3)))
        rows[at] = tuple("  " if i == empty else x
                         for i, x in enumerate(rows[at]))  # fmt: skip
      lines = ["\t".join(row) for row in (fields, *rows)]
      if suffix == ".jsonl":
        found = [dict(zip(fields, row, strict=True)) for row in rows]
        lines = [json.dumps(row | {"id": 1}) for row in found]
      file.write_text("\n".join(lines) + "\n", newline="")
      if faulty:
        line = 1 + at + (suffix == ".tsv")
        said = [f"{file}:{line}: the {fields[empty]} is empty"]
        refused(said, data.load, "file", path=str(file))
        return
    check(path, files, lengths, 257)
