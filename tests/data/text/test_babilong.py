"""bAbI stories in prose: what is hidden is the story, and the rest is not."""

import pytest
from absl import logging

from nema_lc_jax import data
from nema_lc_jax.data.text.background import read_background
from tests.data.text.test_babi import write

T = 8
STORY = """1 Mary moved to the bathroom.
2 John went to the hallway.
3 Where is Mary?\tbathroom\t1
4 Mary went to the garden.
5 Where is Mary?\tgarden\t4
"""
CARRIED = """1 John took the apple.
2 John went to the hallway.
3 Where is the apple?\thallway\t1 2
"""
PROSE = "It was a bright cold day in {}. The clocks of {} struck thirteen! "


def books(folder, *, names="abcdefghij"):
  """Each file has sentences of its own."""
  folder.mkdir()
  for name in names:
    (folder / f"{name}.txt").write_text(
      "".join(PROSE.format(name + x, name + x) for x in "pqrstuvw")
    )
  return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
  root = tmp_path_factory.mktemp("babilong")
  write(root / "babi", 1, STORY * 20, STORY)
  write(root / "babi", 2, CARRIED * 20, CARRIED)
  return root / "babi", books(root / "books")


def load(folders, **options):
  babi, background = folders
  options = {"length": 8 * T, "vocabulary": 50} | options
  return data.load(
    "babilong", dir=str(babi), background=str(background), **options
  )


def sentences(dataset, example, field=None):
  rows = (example[field or "inputs"]).reshape(-1, T)
  if field:
    return rows.max(1).tolist()
  return [" ".join(dataset.token_names[i] for i in row if i) for row in rows]


@pytest.mark.parametrize("times", [1, 5])
def test_a_story_stands_in_order_among_sentences_of_a_book(folders, times):
  dataset = load(folders)
  moves = [
    "mary moved to the bathroom",
    "john went to the hallway",
    "mary went to the garden",
  ]
  source = dataset.evaluation("test", 8 * T * times)
  assert len(source) == 2
  for i in range(2):
    example = source[i]
    texts = sentences(dataset, example)
    truth = sentences(dataset, example, "ground_truth")
    told = [n for n, text in enumerate(texts) if text in moves]
    answer = dataset.label_names[example["label"]]
    count = {"bathroom": 2, "garden": 3}[answer]
    assert [texts[n] for n in told] == moves[:count]
    assert texts[-1] == "where is mary"
    newest = told[0] if answer == "bathroom" else told[2]
    assert [n for n, fact in enumerate(truth) if fact] == told
    assert truth[newest] == 2
    assert {truth[n] for n in told if n != newest} == {1}
    assert example["answer_position"].max() == newest * T
    for name in ("updates", "invalidates"):
      found = sentences(dataset, example, name)
      expected = [-1] * len(texts)
      if answer == "garden":
        expected[told[2]] = told[0] * T
      assert found == expected
    for n, text in enumerate(texts[:-1]):
      assert n in told or {"day", "clocks", "struck"} & {*text.split()}


def test_training_draws_other_prose_each_time(folders):
  source = load(folders).evaluation("train", 8 * T)
  assert len(source) > 10**6
  assert (source[0]["inputs"] == source[0]["inputs"]).all()
  rows = {source[i * 36]["inputs"].tobytes() for i in range(8)}
  assert len(rows) > 4


def test_only_task_1_knows_what_is_needed_no_more(folders):
  for task, kept in ((1, True), (2, False), ("joint", False)):
    dataset = load(folders, task=task)
    example = dataset.evaluation("test", 8 * T)[0]
    assert ("invalidates" in example) == kept
    assert ("answer_position" in example) == kept
  two = load(folders, task=2).evaluation("test", 8 * T)[0]
  assert sorted(set(two["ground_truth"])) == [0, 2]
  assert dataset.num_examples["test"] == 3
  assert {int(dataset.evaluation("test", 64)[i]["task"]) for i in range(3)} == {
    1,
    2,
  }


def test_the_oldest_sentences_of_a_long_story_are_cut(folders):
  dataset = load(folders)
  source = dataset.evaluation("test", 3 * T)
  found = {
    dataset.label_names[x["label"]]: sentences(dataset, x)
    for x in (source[0], source[1])
  }
  assert found["garden"] == [
    "john went to the hallway",
    "mary went to the garden",
    "where is mary",
  ]


def test_what_the_last_sentences_answer_is_counted(folders):
  dataset = load(folders)
  limits = dataset.limits("test", 3 * T, 1)
  # Of two questions, garden is in the last sentence, and bathroom is not.
  assert limits == {"last_sentences": pytest.approx(0.5 + 0.5 * 0.5)}
  assert dataset.limits("test", 3 * T, 2) == {"last_sentences": 1.0}


def test_a_background_is_split_by_file(tmp_path):
  found = read_background(str(books(tmp_path / "books")))
  assert {d.split for d in found} == {"train", "validation", "test"}
  assert len({d.name for d in found}) == 10
  for split, names in (("train", "ab"), ("validation", "c"), ("test", "d")):
    (tmp_path / "pg" / split).mkdir(parents=True)
    for name in names:
      (tmp_path / "pg" / split / f"{name}.txt").write_text(f"Text {name}.")
  # A copy of a text of training would be seen in both.
  (tmp_path / "pg" / "validation" / "z.txt").write_text("Text a.")
  (tmp_path / "pg" / "README").write_text("Not a part of any split.")
  pg = read_background(str(tmp_path / "pg"))
  assert {(d.name, d.split) for d in pg} == {
    ("train/a.txt", "train"), ("train/b.txt", "train"),
    ("validation/c.txt", "validation"), ("test/d.txt", "test"),
  }  # fmt: skip


def test_what_is_no_text_is_left_out_and_said(tmp_path, monkeypatch):
  said = []
  monkeypatch.setattr(logging, "warning", lambda t, *a: said.append(t % a))
  folder = books(tmp_path / "books")
  (folder / "picture.png").write_bytes(b"\x89PNG\0\0")
  (folder / ".hidden").write_text("hidden")
  (folder / "latin.txt").write_bytes(
    "Caf\xe9 life is good here. ".encode("latin1")
  )
  names = {d.name for d in read_background(str(folder))}
  assert "latin.txt" in names
  assert not {"picture.png", ".hidden"} & names
  assert len(said) == 2
  assert "1 files of" in said[0]
  assert "picture.png" in said[0]
  assert "not UTF-8, latin.txt among them" in said[1]


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda folder: None, "is not a folder of texts"),
    (lambda folder: folder.mkdir(), "has 0 text files, none of them for train"),
    (lambda folder: books(folder, names="a"), "has 1 text files, none of them"),
    (
      lambda folder: [
        folder.mkdir(),
        [
          (folder / f"{i}.csv").write_text("1,2\n" * 9 + str(i))
          for i in range(9)
        ],
      ],
      "has no sentence of plain words, at least 4 of them",
    ),
  ],
)
def test_a_folder_without_enough_text_is_an_error(
  make, message, folders, tmp_path, error_of
):
  make(tmp_path / "texts")
  found = error_of(load, (folders[0], tmp_path / "texts"))
  assert message in found
  assert "\n" not in found


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"task": 6}, "babi: task must be joint or 1 to 5, got '6'"),
    ({"task": 3}, "babi: task 3 has no train and no test file in"),
    ({"length": 20}, "babilong needs a length that is a multiple of"),
    ({"sentence_length": 4, "length": 64}, "sentence_length must be an integ"),
    ({"vocabulary": 0}, "vocabulary must be an integer of at least 8"),
    ({"num_test": 0}, "num_test must be an integer of at least 1"),
  ],
)
def test_errors_name_the_options(options, message, folders, error_of):
  assert message in error_of(load, folders, **options)


def test_a_sentence_that_is_longer_than_a_chunk_is_an_error(
  tmp_path, folders, error_of
):
  long = STORY.replace("the garden", "the garden and then to the kitchen again")
  write(tmp_path / "babi", 1, long * 20, long)
  found = error_of(load, (tmp_path / "babi", folders[1]))
  assert "task 1 has a sentence of 11 words" in found
