"""The layout of a text and a question."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nema_lc_jax.data.byte_text import encode
from nema_lc_jax.data.layout import place, question_ids


def test_the_document_begins_and_the_question_ends_a_text(error_of):
  found = place(encode(b"abc"), question_ids(b"d?"), 8)
  assert found["inputs"].tolist() == [98, 99, 100, 0, 0, 11, 101, 64]
  assert found["mask"].tolist() == [1, 1, 1, 0, 0, 1, 1, 1]
  assert found["inputs"].dtype == np.int32
  found = place(encode(b"abc"), question_ids(b"d?"), 5)
  assert found["inputs"].tolist() == [98, 99, 11, 101, 64]
  assert "at least 4, got 3" in error_of(
    place, encode(b"abc"), question_ids(b"d?"), 3
  )


@given(st.binary(max_size=20), st.binary(max_size=8), st.integers(10, 30))
def test_nothing_but_the_end_of_the_document_is_lost(
  document, question, length
):
  found = place(encode(document), question_ids(question), length)
  assert len(found["inputs"]) == length
  room = length - 1 - len(question)
  text = bytes((found["inputs"][found["mask"]] - 1).tolist())
  assert text == document[:room] + b"\n" + question
  assert found["mask"][-1 - len(question) :].all()
