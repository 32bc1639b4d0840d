"""bAbI facts hidden in books or other prose, in the manner of BABILong.

python -m nema_lc_jax.main --config=configs/babilong_lc.py:TASK \
    --config.data.dir=BABI --config.data.background=BOOKS
  BABI is the unpacked tasks_1-20_v1-2. BOOKS is a folder of texts, such as
  PG-19's; without it, the prose is Python's documentation. qa1 took 12 minutes
  on one core beside other work; the others have not been trained.
python -m nema_lc_jax.evaluate --workdir=RUN --times=1,16,256,4096
  The same model on longer texts, with flat memory.

Names as in BABILong (arXiv:2406.10149), whose results cannot be compared
without a word: its models are pretrained, read tokens of GPT-2, and are not
told where a sentence begins.
"""

from ml_collections import ConfigDict, config_dict

from configs import default

WORDS = 8  # of the longest sentence of a story


def _task(c: ConfigDict, task: int | str, sentences: int) -> ConfigDict:
  c.data.name = "babilong"
  c.data.task = task  # 1 to 5, or joint
  # A folder of texts, split by file; None: Python's documentation.
  c.data.background = config_dict.placeholder(str)
  c.data.sentence_length = WORDS  # tokens of a sentence, and of a chunk
  c.data.length = sentences * WORDS
  c.data.vocabulary = 5000  # words of the prose with a token of their own
  c.data.num_eval = 1000  # validation examples
  c.data.num_test = 1000  # test examples
  c.model.num_layers = 1
  c.model.num_layers_after = 1
  c.model.mlp_ratio = 2.0
  c.model.chunk_length = WORDS  # a sentence
  c.model.remat = True
  c.memory.num_slots = 8
  c.memory.num_candidates = 1
  c.memory.overprovisioned_slots = 2
  # Most sentences are prose: a slot of their own for it costs nothing else.
  c.loss.write = 0.03
  c.eval.length_multipliers = (1, 4, 16, 64)
  # First a slot for every sentence.
  c.train.curriculum = ((0.3, c.data.length, sentences),)
  c.train.steps = 1500
  c.train.learning_rate = 2e-3
  c.train.eval_every = 500
  c.train.checkpoint_every = 500
  return c


def _qa1(c: ConfigDict) -> ConfigDict:
  return _task(c, 1, 32)


def _chain(c: ConfigDict, task: int | str, sentences: int) -> ConfigDict:
  """For questions that need several facts."""
  c = _task(c, task, sentences)
  c.model.num_hops = 3
  c.memory.num_slots = 16
  # First short texts, with a slot for every sentence.
  c.train.curriculum = ((0.3, 32 * WORDS, 32), (0.6, 32 * WORDS, 16))
  c.train.steps = 3000
  return c


def _qa2(c: ConfigDict) -> ConfigDict:
  return _chain(c, 2, 64)


def _qa3(c: ConfigDict) -> ConfigDict:
  return _chain(c, 3, 128)


def _qa4(c: ConfigDict) -> ConfigDict:
  return _task(c, 4, 32)


def _qa5(c: ConfigDict) -> ConfigDict:
  return _task(c, 5, 64)


def _joint(c: ConfigDict) -> ConfigDict:
  return _chain(c, "joint", 64)


VARIANTS = {
  "qa1": ("where is a person? the newest of several facts", _qa1),
  "qa2": ("where is an object? two facts", _qa2),
  "qa3": ("where was an object before? three facts", _qa3),
  "qa4": ("what is north of the garden? one of two facts", _qa4),
  "qa5": ("who gave what to whom? one fact", _qa5),
  "joint": ("one model for those of the five whose files are there", _joint),
}


def get_config(variant: str = "qa1") -> ConfigDict:
  """The config of a variant."""
  return default.choose("configs/babilong_lc.py", variant, VARIANTS)
