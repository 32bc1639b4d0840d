"""Receipts: an answer, its slots, and the sentences in them."""

import dataclasses
import io
import json
import sys

import jax
import numpy as np
import pytest

from nema_lc_jax import evaluate
from nema_lc_jax.errors import ConfigError
from nema_lc_jax.runs.trace import ASKED
from nema_lc_jax.stream import Stream
from nema_lc_jax.stream.__main__ import main
from nema_lc_jax.stream.receipt_quality import receipt_quality
from tests.helpers import save_run, tiny_config
from tests.stream.test_words import T, written


@pytest.fixture(scope="module")
def asked(haystack_run):
  folder, experiment = haystack_run
  text, question, example = written(experiment, 0)
  stream = Stream(folder, history=3)
  stream.push(text)
  return stream, text, question, example


def test_the_answer_is_that_without_a_receipt(haystack_run, asked):
  stream, text, question, _ = asked
  probabilities = Stream(haystack_run[0]).push(text).answer(question)
  receipt = stream.ask(question)
  assert receipt.answer == stream.name(int(probabilities.argmax()))
  assert receipt.probability == pytest.approx(probabilities.max(), abs=1e-5)
  assert receipt == stream.ask(question)  # nothing has changed


def test_sources_are_the_slots_and_the_sentences_in_them(asked):
  stream, _, question, example = asked
  receipt = stream.ask(question)
  assert receipt.sources
  weights = [source.weight for source in receipt.sources]
  assert weights == sorted(weights, reverse=True)
  assert sum(weights) <= 1.001
  rows = example["inputs"].reshape(-1, T)
  memory = stream.state.memory
  for source in receipt.sources:
    assert memory.alive[source.slot]
    for span in (source.written, *source.updates):
      assert span.text == stream.text(rows[span.chunk])
      assert (span.start, span.end) == (T * span.chunk, T * span.chunk + T)
    chunks = [span.chunk for span in source.updates]
    assert chunks == sorted(chunks, reverse=True)
    assert all(n > source.written.chunk for n in chunks)
    # As if the slot were not there.
    before = stream.state
    strength = memory.strength.at[source.slot].set(0.0)
    stream.state = before.replace(memory=memory.replace(strength=strength))
    probabilities = stream.answer(question)
    stream.state = before
    best = int(probabilities.argmax())
    assert source.answer_without == stream.name(best)
    assert source.probability_without == pytest.approx(
      probabilities[best], abs=1e-5
    )


def test_provenance_does_not_depend_on_how_the_text_is_split(
  haystack_run, asked, tmp_path
):
  stream, text, question, _ = asked
  other = Stream(haystack_run[0], history=3)
  middle = text.index(". ", len(text) // 2) + 2
  other.push(text[:middle])
  other.save(tmp_path / "state")
  other = Stream(haystack_run[0], history=3).load(tmp_path / "state")
  other.push(text[middle:])
  one, two = stream.state.provenance, other.state.provenance
  jax.tree.map(np.testing.assert_array_equal, one, two)
  # A state without provenance is another one.
  Stream(haystack_run[0]).save(tmp_path / "bare")
  with pytest.raises(ConfigError, match="does not fit"):
    other.load(tmp_path / "bare")
  with pytest.raises(ConfigError, match="open it with a history"):
    Stream(haystack_run[0]).ask(question)


def test_the_command_prints_receipts(haystack_run, asked, monkeypatch, capsys):
  stream, text, question, _ = asked
  receipt = stream.ask(question)
  for form in ("text", "json"):
    piped = io.TextIOWrapper(io.BytesIO(text.encode()))
    monkeypatch.setattr(sys, "stdin", piped)
    arguments = ["--workdir", str(haystack_run[0]), "--query", question]
    assert main([*arguments, "--receipt", form]) == 0
    out = capsys.readouterr().out
    first = receipt.sources[0]
    if form == "text":
      assert f"answer {receipt.answer}, probability" in out
      assert f"slot {first.slot}, read with weight {first.weight:.2f}" in out
      assert f"written at {first.written.start:,} to" in out
    else:
      found = json.loads(out)
      assert found["answer"] == receipt.answer
      assert found["sources"][0]["written"]["text"] == first.written.text
      assert len(found["sources"]) == len(receipt.sources)


class Answered:
  """Examples with the labels that the model itself gives, but for the last."""

  def __init__(self, examples, labels):
    self.examples, self.labels = examples, labels

  def __len__(self):
    return len(self.labels)

  def __getitem__(self, i):
    return self.examples[i] | {"label": self.labels[i]}


def test_quality_is_that_of_receipts(haystack_run):
  folder, experiment = haystack_run
  examples = experiment.dataset.evaluation(
    "test", experiment.config.data.length
  )
  stream = Stream(folder, history=16)
  start, labels, rows = stream.state, [], []
  for i in range(4):
    example = examples[i]
    stream.state = start
    stream.push(example["inputs"][:-T])
    question = example["inputs"][-T:]
    receipt = stream.ask(question)
    labels.append(int(stream.answer(question).argmax()))
    spans = [
      {span.chunk for span in (source.written, *source.updates)}
      for source in receipt.sources
    ]
    truth = example["ground_truth"][:-T]
    asked = {*(np.flatnonzero(truth == ASKED) // T).tolist()}
    assert asked
    other = receipt.sources[0].answer_without != receipt.answer
    rows.append((asked <= set.union(*spans), bool(asked & spans[0]), other))
  labels[3] += 1  # a wrong answer
  dataset = dataclasses.replace(
    experiment.dataset, evaluation=lambda *_: Answered(examples, labels)
  )
  report = receipt_quality(
    dataclasses.replace(experiment, dataset=dataset), stream.params, "test", 4
  )
  assert report["right_answers"] == 3
  assert report["accuracy"] == 0.75
  names = ("named", "named_first", "changed_without_first")
  for name, column in zip(names, zip(*rows[:3], strict=True), strict=True):
    assert report[name] == pytest.approx(np.mean(column))
    low, high = report[f"{name}_interval"]
    assert low <= report[name] <= high


def test_tasks_without_known_facts_have_no_receipts_to_judge(tmp_path, capsys):
  config = tiny_config("mqar")
  folder = save_run(config, tmp_path)
  assert evaluate.main(["--workdir", str(folder), "--receipts"]) != 0
  (line,) = capsys.readouterr().err.strip().splitlines()
  assert "--receipts reads texts that end with their one question" in line
