"""bAbI: questions about short stories, with one sentence per chunk.

python -m nema_lc_jax.main --config=configs/babi_lc.py:TASK \
    --config.data.dir=DIR
  DIR is the unpacked tasks_1-20_v1-2, or a folder of files
  qa<N>_*_{train,test}.txt. A run ends with the error of each task, the mean
  error, and the tasks above 5%.
python -m nema_lc_jax.by_task RUNS --published
  The table of finished runs, beside published results.
"""

from ml_collections import ConfigDict

from configs import default

# Names of the tasks by Weston et al. 2015 (arXiv:1502.05698).
TASKS = {
  "1": "one supporting fact",
  "2": "two supporting facts",
  "3": "three supporting facts",
  "4": "relations of two arguments",
  "5": "relations of three arguments",
  "6": "yes/no questions",
  "7": "counting",
  "8": "lists and sets",
  "9": "simple negation",
  "10": "indefinite knowledge",
  "11": "basic coreference",
  "12": "conjunction",
  "13": "compound coreference",
  "14": "time reasoning",
  "15": "basic deduction",
  "16": "basic induction",
  "17": "positional reasoning",
  "18": "size reasoning",
  "19": "path finding",
  "20": "an agent's motivations",
}
# Words of the longest sentence or question of tasks with more than 8.
WIDE = {"10": 9, "17": 11, "18": 9, "19": 10}
# Chunks that cover nearly all questions of tasks that do not need 11.
CHUNKS = {
  "2": 64, "3": 128, "4": 3, "5": 64, "6": 28, "7": 48, "8": 48, "14": 15,
  "15": 9, "16": 10, "17": 3, "18": 24, "19": 6, "20": 13,
}  # fmt: skip


def _fit(c: ConfigDict, chunks: int, words: int) -> None:
  """One sentence per chunk, and at first a slot for each, up to 64."""
  c.data.sentence_length = words  # tokens per sentence and per chunk
  c.data.length = chunks * words
  c.model.chunk_length = words
  if chunks > c.memory.num_slots:
    c.train.curriculum = ((0.4, c.data.length, min(chunks, 64)),)


def _task(c: ConfigDict) -> ConfigDict:
  c.data.name = "babi"
  c.data.num_eval = 1000  # maximum number of validation examples; None: all
  # The convolution sees the order of words, which tells giver from receiver.
  c.model.num_layers = 0
  c.model.conv_kernel_size = 3
  c.model.num_layers_after = 1
  c.model.mlp_ratio = 2.0
  c.model.num_hops = 3  # some questions need a chain of three facts
  c.memory.num_slots = 16
  c.memory.num_candidates = 1
  c.memory.overprovisioned_slots = 2
  # Forgetting drops a whole sentence, with any parts that are still valid.
  c.loss.forget = 0.3
  # Sentences share most of their words, so all would be about the same slot.
  c.memory.controller.update_threshold = 1.2
  # The loss would shut the write gate before reads are learned.
  c.loss.write = 0.0
  c.train.learning_rate = 2e-3
  c.train.steps = 2000
  c.train.eval_every = 500
  c.train.checkpoint_every = 500
  return c


def _joint(c: ConfigDict) -> ConfigDict:
  c = _task(c)
  _fit(c, 64, 12)
  c.model.width = 96
  c.loss.forget = 1.0  # over this many steps forgetting gains nothing
  c.loss.write = 0.003
  # First the last 15 sentences of a story, with a slot for each, which hold
  # nearly all answers; then longer stories, with fewer slots than sentences.
  c.train.curriculum = ((0.85, 16 * 12, 16), (0.95, 32 * 12, 16))
  c.train.batch_size = 32
  c.train.learning_rate = 1e-3
  c.train.warmup_steps = 400
  c.train.steps = 20_000
  c.train.log_every = 100
  c.train.eval_every = 2000
  c.train.checkpoint_every = 1000
  return c


VARIANTS = {
  "joint": ("one model for all tasks whose files are in data.dir", _joint),
  **{name: (line, _task) for name, line in TASKS.items()},
}


def get_config(variant: str = "joint") -> ConfigDict:
  """The config of a variant: a task's number, or joint."""
  c = default.choose("configs/babi_lc.py", variant, VARIANTS)
  # Task: 1 to 20, or joint, which is all tasks whose files are in data.dir.
  c.data.task = variant
  if variant != "joint":
    _fit(c, CHUNKS.get(variant, 11), WIDE.get(variant, 8))
  return c
