"""Long texts: facts hidden in prose, and the Long Range Arena (LRA).

python -m nema_lc_jax.main --config=configs/lra_lc.py
  Quick, without any download: who is where, as told by a few sentences that are
  scattered among those of Python's documentation?
python -m nema_lc_jax.main --config=configs/lra_lc.py:pytext
  Do two windows of bytes come from the same Python module? Modules of
  validation and test are never trained on.

LRA, for accelerators: lengths, batches, splits and steps follow the protocol
(google-research/long-range-arena, lra_benchmarks/*/configs); models have about
the reference's size. Our runs select the checkpoint on validation and test
every example.

python -m nema_lc_jax.main --config=configs/lra_lc.py:listops
  Lists are generated once, in minutes; or use --config.data.dir=lra_release.
python -m nema_lc_jax.main --config=configs/lra_lc.py:text \
    --config.data.dir=aclImdb
  Without dir: the data that tensorflow-datasets has prepared. We hold out
  validation from training; LRA's reference has none, and selects on the test.
python -m nema_lc_jax.main --config=configs/lra_lc.py:retrieval \
    --config.data.dir=lra_release
python -m nema_lc_jax.main --config=configs/lra_lc.py:image \
    --config.data.dir=cifar-10-batches-bin
  Without dir: the data that tensorflow-datasets has prepared.
python -m nema_lc_jax.main --config=configs/lra_lc.py:pathfinder \
    --config.data.dir=lra_release
  Without dir, images are generated, and results on them cannot be compared with
  published ones.
python -m nema_lc_jax.main --config=configs/lra_lc.py:pathx \
    --config.data.dir=lra_release

Small variants for 2 CPU cores, about 15 minutes each: shorter texts, fewer
steps, parts of validation and test. They cannot be compared with the above.
Path-X has none: its images cannot be shortened, and are not generated.

python -m nema_lc_jax.main --config=configs/lra_lc.py:listops_small
python -m nema_lc_jax.main --config=configs/lra_lc.py:text_small \
    --config.data.dir=aclImdb
python -m nema_lc_jax.main --config=configs/lra_lc.py:retrieval_small \
    --config.data.dir=lra_release
python -m nema_lc_jax.main --config=configs/lra_lc.py:image_small \
    --config.data.dir=cifar-10-batches-bin
python -m nema_lc_jax.main --config=configs/lra_lc.py:pathfinder_small
"""

from ml_collections import ConfigDict, config_dict

from configs import default


def _haystack(c: ConfigDict) -> ConfigDict:
  c.data.name = "haystack"
  c.data.length = 192  # 23 sentences and the question
  c.data.sentence_length = 8  # words
  # Questions: where, object, holder, before, count.
  c.data.kinds = ("where",)
  # A folder of texts, split by file; None: Python's documentation.
  c.data.background = config_dict.placeholder(str)
  c.data.num_people = 4  # in a story, at most 12
  c.data.num_objects = 3  # in a story, at most 8, if questions are about them
  c.data.min_facts = 6  # sentences of a story, at least
  c.data.max_facts = 12  # sentences of a story, at most
  c.data.vocabulary = 2000  # words of the prose with a token of their own
  c.data.num_eval = 1000  # validation examples
  c.data.num_test = 2000  # test examples
  c.model.num_layers = 1
  c.model.mlp_ratio = 2.0
  c.model.chunk_length = 8  # a sentence
  c.model.remat = True
  c.memory.num_slots = 6
  c.memory.num_candidates = 1
  c.memory.overprovisioned_slots = 2
  c.eval.length_multipliers = (1, 4, 16, 64)
  # Most sentences are prose: a slot of their own for it costs nothing else.
  c.loss.write = 0.03
  # First a slot for every sentence.
  c.train.curriculum = ((0.25, 192, 24),)
  c.train.steps = 1000
  c.train.learning_rate = 2e-3
  c.train.eval_every = 250
  c.train.checkpoint_every = 250
  return c


def _pytext(c: ConfigDict) -> ConfigDict:
  c.data.name = "pytext"
  c.data.length = 1024
  c.data.gap = 256  # minimum number of bytes between two windows of a file
  # Pairs in training: in_batch (all of a batch) or labelled.
  c.data.pairs = "in_batch"
  c.data.num_eval = 1000  # validation examples
  c.data.num_test = 2000  # test examples
  # Small: embeddings of bytes are pooled into candidates, and one layer follows
  # the memory. Layers on bytes overfit to the training modules.
  c.model.num_layers = 0
  c.model.num_layers_after = 1
  c.model.mlp_ratio = 2.0
  c.model.chunk_length = 64
  c.model.pool = "slots"
  c.memory.num_slots = 12  # for 16 chunks
  c.memory.num_candidates = 1
  c.train.steps = 600
  c.train.learning_rate = 2e-3
  c.train.weight_decay = 0.1
  return c


def _full(c: ConfigDict) -> ConfigDict:
  """What the variants for accelerators share; four layers in all."""
  c.model.num_layers = 3
  c.model.num_layers_after = 1
  c.model.pool = "mean"
  c.model.remat = True
  c.memory.num_slots = 32
  c.memory.num_candidates = 4
  c.memory.budget = 4
  c.train.batch_size = 32
  c.train.learning_rate = 1e-3
  c.train.warmup_steps = 500
  c.train.weight_decay = 0.1
  c.train.log_every = 50
  c.train.eval_every = 500
  c.train.checkpoint_every = 500
  c.train.eval_batch_size = 64
  return c


def _small(c: ConfigDict) -> ConfigDict:
  """What the variants for 2 CPU cores share; two layers in all."""
  c.model.num_layers = 1
  c.model.num_layers_after = 1
  c.model.mlp_ratio = 2.0
  c.model.chunk_length = 64
  c.model.pool = "mean"
  c.model.chunk_batch_size = 1  # for a CPU: less memory, faster inference
  c.memory.num_slots = 12
  c.train.steps = 300
  c.train.batch_size = 32
  c.train.learning_rate = 2e-3
  c.train.eval_every = 150
  c.train.checkpoint_every = 150
  return c


def _listops_data(c: ConfigDict) -> ConfigDict:
  c.data.name = "listops"
  c.data.length = 2000
  c.data.min_length = 500  # generated lists have more tokens
  c.data.max_length = 2000  # generated lists have fewer tokens
  c.data.data_seed = 0  # seed of the generated lists, the same for all runs
  c.data.num_train = 96_000  # number of generated lists in training
  c.data.num_eval = 2000
  c.data.num_test = 2000
  return c


def _listops(c: ConfigDict) -> ConfigDict:
  c = _listops_data(_full(c))
  c.model.width = 512
  c.model.num_heads = 8
  c.model.mlp_ratio = 2.0
  c.model.chunk_length = 250
  c.train.steps = 5000
  c.train.warmup_steps = 1000
  return c


def _listops_small(c: ConfigDict) -> ConfigDict:
  c = _listops_data(_small(c))
  c.data.length = 512
  c.data.min_length = 100
  c.data.max_length = 500
  c.data.num_train = 20_000
  c.data.num_eval = 500
  c.train.steps = 500
  c.train.eval_every = 125
  c.train.checkpoint_every = 125
  return c


def _text(c: ConfigDict) -> ConfigDict:
  c = _full(c)
  c.data.name = "imdb"
  c.data.length = 4000
  c.data.num_eval = 2500  # held out from the 25,000 training reviews
  c.model.sequence_mixer = "ssm"  # text_small learns far sooner with it
  c.model.width = 256
  c.model.chunk_length = 250
  c.train.steps = 20_000
  c.train.warmup_steps = 1000
  c.train.eval_every = 1000
  return c


def _text_small(c: ConfigDict) -> ConfigDict:
  c = _small(c)
  c.data.name = "imdb"
  c.data.length = 512
  c.data.num_eval = 1000
  c.data.num_test = 2000
  # In so few steps layers do not learn words from bytes.
  c.model.ngram_sizes = (3, 4, 5, 6)
  c.model.num_layers = 0
  c.model.read_gain = 0.0  # tokens first: a memory is not needed here
  c.train.steps = 450
  return c


def _retrieval(c: ConfigDict) -> ConfigDict:
  c = _full(c)
  c.data.name = "aan"
  c.data.length = 4000
  # Reading of the release's texts: raw (with escapes, as in the reference) or
  # decoded.
  c.data.reading = "raw"
  # Left out of validation and test: nothing, the pairs that are in training
  # (in either order), or all pairs with one of its documents.
  c.data.exclude = "nothing"
  c.model.width = 128
  c.model.chunk_length = 250
  c.train.steps = 5000
  return c


def _retrieval_small(c: ConfigDict) -> ConfigDict:
  c = _small(c)
  c.data.name = "aan"
  c.data.length = 1024  # of each text
  c.data.reading = "raw"
  c.data.exclude = "nothing"
  c.data.num_eval = 500
  c.data.num_test = 1000
  c.train.batch_size = 16
  return c


def _image(c: ConfigDict) -> ConfigDict:
  c = _full(c)
  c.data.name = "cifar10"
  c.data.length = 1024
  c.model.width = 128
  c.model.num_heads = 8
  c.model.num_layers = 1  # as in the reference; the next one reads slots
  c.model.mlp_ratio = 1.0
  c.model.chunk_length = 64  # two rows of pixels
  c.train.steps = 35_000  # 200 epochs
  c.train.batch_size = 256
  c.train.eval_every = 1000
  return c


def _image_small(c: ConfigDict) -> ConfigDict:
  c = _small(c)
  c.data.name = "cifar10"
  c.data.length = 1024
  c.data.num_eval = 1000
  c.data.num_test = 2000
  return c


def _pathfinder(c: ConfigDict) -> ConfigDict:
  c = _full(c)
  c.data.name = "pathfinder"
  c.data.resolution = 32  # pixels per side: 32 or 128
  c.data.length = 32 * 32
  c.model.width = 32
  c.model.chunk_length = 64
  c.train.steps = 62_500  # 200 epochs
  c.train.batch_size = 512
  c.train.warmup_steps = 2500
  c.train.eval_every = 2500
  c.train.checkpoint_every = 2500
  c.train.eval_batch_size = 512
  return c


def _pathx(c: ConfigDict) -> ConfigDict:
  c = _pathfinder(c)
  c.data.resolution = 128
  c.data.length = 128 * 128
  c.model.chunk_length = 256  # two rows of pixels
  c.train.steps = 500_000  # 200 epochs
  c.train.batch_size = 64
  c.train.eval_batch_size = 64
  return c


def _pathfinder_small(c: ConfigDict) -> ConfigDict:
  c = _small(c)
  c.data.name = "pathfinder"
  c.data.resolution = 32
  c.data.length = 32 * 32
  c.data.num_eval = 1000
  c.data.num_test = 2000
  return c


VARIANTS = {
  "haystack": ("who is where? facts hidden in documentation", _haystack),
  "pytext": ("do two windows of bytes come from one Python module?", _pytext),
  "listops": ("the value of a nested list, up to 2,000 tokens", _listops),
  "text": ("is a review of IMDb positive? 4,000 bytes", _text),
  "retrieval": ("are two papers related? 2 x 4,000 bytes", _retrieval),
  "image": ("CIFAR-10, 1,024 grey pixels", _image),
  "pathfinder": ("are two dots on one curve? 1,024 pixels", _pathfinder),
  "pathx": ("pathfinder with 16,384 pixels", _pathx),
  "listops_small": ("listops with up to 500 tokens", _listops_small),
  "text_small": ("text with 512 bytes", _text_small),
  "retrieval_small": ("retrieval with 2 x 1,024 bytes", _retrieval_small),
  "image_small": ("image with fewer steps", _image_small),
  "pathfinder_small": ("pathfinder with fewer steps", _pathfinder_small),
}


def get_config(variant: str = "haystack") -> ConfigDict:
  """The config of a variant."""
  return default.choose("configs/lra_lc.py", variant, VARIANTS)
