"""Stories are read by a reader of its own, which knows only the grammar."""

import re

import numpy as np
import pytest

from nema_lc_jax import data
from nema_lc_jax.data.text import prose, story
from nema_lc_jax.data.text.corpus import Document
from tests.data.text.test_babilong import books

T = 8


class Reader:
  """Goes through the sentences from left to right."""

  def __init__(self):
    self.places, self.things = {}, {}
    self.history = {}

  def read(self, text):
    """Whether the sentence is one of a story."""
    words = text.split()
    if m := re.fullmatch(
      r"(\w+) (?:(?:went|walked|has gone) to|is back in) the (\w+)", text
    ) or re.fullmatch(r"(\w+) wanted the \w+ but chose the (\w+)", text):
      self.places.setdefault(m[1], []).append(m[2])
    elif m := re.fullmatch(r"(\w+) (?:took|picked up|grabbed) the (\w+)", text):
      self.things[m[2]] = m[1]
    elif m := re.fullmatch(r"(\w+) (?:left|put) the (\w+) in the (\w+)", text):
      assert self.places[m[1]][-1] == m[3]
      assert self.things[m[2]] == m[1]
      self.things[m[2]] = m[3]
    elif m := re.fullmatch(r"(\w+) (?:gave|handed) the (\w+) to (\w+)", text):
      assert self.things[m[2]] == m[1] != m[3]
      self.things[m[2]] = m[3]
    else:
      assert words[0] not in story.PEOPLE
      return False
    return True

  def answer(self, question):
    if m := re.fullmatch(r"where is (\w+)", question):
      return self.places[m[1]][-1]
    if m := re.fullmatch(r"where is the (\w+)", question):
      at = self.things[m[1]]
      return self.places[at][-1] if at in story.PEOPLE else at
    if m := re.fullmatch(r"who has the (\w+)", question):
      at = self.things[m[1]]
      return at if at in story.PEOPLE else "nobody"
    if m := re.fullmatch(r"where was (\w+) before the (\w+)", question):
      *_, before, here = self.places[m[1]]
      assert here == m[2]
      return before
    m = re.fullmatch(r"how many things has (\w+)", question)
    return story.NUMBERS[list(self.things.values()).count(m[1])]


@pytest.mark.parametrize("kind", [*story.KINDS, None])
def test_a_question_is_answered_as_one_who_reads_the_story_would(kind):
  kinds = story.KINDS if kind is None else (kind,)
  asked_about = set()
  for seed in range(300):
    told = story.Story(np.random.default_rng(seed), kinds, 4, 3)
    reader, answers = Reader(), []
    for _ in range(15):
      told.tell()
      assert reader.read(told.sentences[-1].words)
      assert len(told.sentences[-1].words.split()) <= T
    if (asked := told.ask()) is None:
      continue
    asked_about.add(asked.words.split()[0])
    assert asked.answer == reader.answer(asked.words)
    # The same question after each earlier sentence.
    again = Reader()
    for sentence in told.sentences:
      again.read(sentence.words)
      try:
        answers.append(again.answer(asked.words))
      except (KeyError, ValueError, AssertionError):
        continue  # not known yet, or asked about another place
    assert asked.stale <= {*answers, *story.PLACES} - {asked.answer}
    if kind not in ("before", None):
      # The story does not say who has nothing before it says who has something.
      unsaid = {"none"} if kind == "count" else set()
      assert asked.stale - unsaid == {*answers} - {asked.answer} - unsaid
    words = " ".join(told.sentences[n].words for n in asked.sources)
    if asked.answer in story.PLACES + story.PEOPLE:
      assert asked.answer in words.split()
  if kind is None:
    assert asked_about == {"where", "who", "how"}
  else:
    assert asked_about == {story.QUESTIONS[kind].split()[0]}


def test_a_sentence_makes_the_one_before_about_the_same_invalid():
  for kinds, kept in ((("where",), 1), (("where", "before"), 2)):
    for seed in range(50):
      told = story.Story(np.random.default_rng(seed), kinds, 3, 3)
      moves = {}
      for n in range(12):
        told.tell()
        person = told.sentences[n].words.split()[0]
        past = moves.setdefault(person, [])
        assert told.sentences[n].updates == (past[-1] if past else -1)
        void = past[-kept] if len(past) >= kept else -1
        assert told.sentences[n].invalidates == void
        past.append(n)


@pytest.fixture(scope="module")
def haystack():
  return data.load("haystack", length=24 * T)


def text_of(dataset, row):
  return " ".join(dataset.token_names[i] for i in row if i)


@pytest.mark.parametrize("times", [1, 16])
def test_facts_stand_among_prose_and_the_question_at_the_end(haystack, times):
  source = haystack.evaluation("test", 24 * T * times)
  for i in range(40):
    example = source[i]
    rows = example["inputs"].reshape(-1, T)
    reader, facts, newest = Reader(), [], {}
    for n, row in enumerate(rows[:-1]):
      assert row[0] > 0
      text = text_of(haystack, row)
      truth = example["ground_truth"].reshape(-1, T)[n]
      assert set(truth[row == 0]) <= {0}
      assert reader.read(text) == (truth.max() > 0)
      if truth.max():
        assert (truth[row > 0] > 0).all()
        person = text.split()[0]
        before = newest.get(person, -1)
        for name in ("updates", "invalidates"):
          found = example[name].reshape(-1, T)[n]
          assert set(found[row > 0]) == {before}
        newest[person] = n * T
        facts.append(n)
    assert 6 <= len(facts) <= 12
    question = text_of(haystack, rows[-1])
    answer = reader.answer(question)
    assert haystack.label_names[example["label"]] == answer
    source_of = example["answer_position"].max()
    assert source_of == newest[question.split()[-1]]
    (told,) = np.nonzero(example["ground_truth"] == 2)
    assert set(told // T * T) == {source_of}
    old = {haystack.label_names[x] for x in example["stale"] if x >= 0}
    assert old == {*reader.places[question.split()[-1]]} - {answer}


def test_prose_of_the_test_is_never_trained_on(haystack):
  def lines(split):
    source = haystack.evaluation(split, 24 * T * 16)
    found = set()
    for i in range(30):
      example = source[i]
      rows = example["inputs"].reshape(-1, T)
      noise = example["ground_truth"].reshape(-1, T).max(1) == 0
      found |= {row.tobytes() for row in rows[:-1][noise[:-1]] if 1 not in row}
    return found

  train, test = lines("train"), lines("test")
  assert min(len(train), len(test)) > 500
  # A few short phrases occur anywhere.
  assert len(train & test) < 0.02 * len(test)


def test_chance_and_the_last_sentences_are_counted(haystack):
  found = haystack.baselines("test", 24 * T)
  assert found == {"majority": pytest.approx(1 / 8, abs=0.04),
                   "best_possible": 1.0}  # fmt: skip
  shares = []
  source = haystack.evaluation("test", 24 * T)
  for i in range(1000):
    at = source[i]["answer_position"].max()
    shares.append(at >= (23 - 6) * T)
  expected = np.mean(shares) + (1 - np.mean(shares)) * found["majority"]
  limits = haystack.limits("test", 24 * T, 6)
  assert limits == {"last_sentences": pytest.approx(expected)}
  assert haystack.limits("test", 24 * T, 24)["last_sentences"] == 1.0


def test_the_prose_may_be_of_a_folder(tmp_path):
  folder = books(tmp_path / "books")
  dataset = data.load("haystack", length=24 * T, background=str(folder))
  example = dataset.evaluation("test", 24 * T)[0]
  rows = example["inputs"].reshape(-1, T)
  facts = example["ground_truth"].reshape(-1, T).max(1) > 0
  for row in rows[:-1][~facts[:-1]]:
    assert {"day", "clocks", "struck"} & {*text_of(dataset, row).split()}
  own = data.load("haystack", length=24 * T)
  assert dataset.fingerprint != own.fingerprint


def test_rare_words_share_a_token():
  few = data.load("haystack", length=24 * T, vocabulary=50)
  assert len(few.token_names) < 50 + len(story.WORDS) + 3
  assert few.token_names[:2] == ("", "<unk>")
  rows = few.evaluation("test", 24 * T)[0]["inputs"]
  assert (rows == 1).mean() > 0.1


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"length": 100}, "a length that is a multiple of sentence_length=8"),
    ({"length": 96}, "at least 104, for max_facts=12 and a question; got 96"),
    ({"sentence_length": 7}, "sentence_length must be an integer of at least"),
    ({"kinds": ("where", "why")}, "some of where, object, holder, before,"),
    ({"kinds": ("where", "why")}, "got 'why'"),
    ({"kinds": ()}, "kinds must be a tuple of some of where, object, holder,"),
    ({"kinds": None}, "got None"),
    ({"kinds": "where"}, "got 'where'"),
    ({"sentence_length": 10**6}, "sentence_length must be an integer of at mo"),
    (
      {"kinds": ("before",), "min_facts": 1, "max_facts": 1},
      "in 1000 stories nothing could be asked (kinds=before); max_facts=1",
    ),
    ({"num_people": 13}, "num_people must be an integer of at most 12"),
    ({"num_objects": 0}, "num_objects must be an integer of at least 1"),
    ({"max_facts": 5}, "max_facts must be an integer of at least 6, got 5"),
    ({"vocabulary": 0}, "vocabulary must be an integer of at least 8"),
  ],
)
def test_errors_name_the_options(options, message, error_of):
  assert message in error_of(data.load, "haystack", **{"length": 192} | options)


def test_sentences_are_plain_words_in_pieces():
  text = b'''"""Return the first item, or None if there isn't one.

  >>> f(1) + g[2] -> {3: 4}

  A "quoted" word (and another) is plain; x = y + z * 3 isn't.
  """
  s = "a b c d e"
'''
  document = Document("mod.py", "mod", text, "train")
  found = [" ".join(words) for words in prose.sentences(document)]
  assert found == [
    "return the first item or none if there isn't one",
    "a quoted word and another is plain",
  ]
  words = [str(i) for i in range(20)]
  assert [len(p) for p in prose.pieces(words, 8)] == [6, 7, 7]
  assert [word for p in prose.pieces(words, 8) for word in p] == words
  other = Document("b.py", "b", text, "test")
  both = prose.prose([document, other], 8)
  assert both["test"] == []
  assert [len(p) for p in both["train"]] == [5, 5, 7]
