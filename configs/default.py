"""The fields of all runs, with their defaults; other configs override some.

The comment above or behind a field is its description in `--help` and in
docs/configuration.md.
"""

from collections.abc import Callable, Mapping

from ml_collections import ConfigDict, config_dict

# A config's variants by name: a description, and a function that sets fields.
Variants = Mapping[str, tuple[str, Callable[[ConfigDict], ConfigDict]]]


def choose(file: str, variant: str, variants: Variants) -> ConfigDict:
  """The default config, changed by a variant of a config file."""
  if variant not in variants:
    raise ValueError(
      f"{file} has no variant {variant!r}; it has: {', '.join(variants)}."
    )
  return variants[variant][1](get_config())


def get_config() -> ConfigDict:
  """The fields of all runs; a config adds the options of its data set."""
  c = ConfigDict()
  # Seed of parameters, batch order and generated examples, at least 0
  # and at most 4294967295.
  c.seed = 0

  # The data set. Configs add options of their own data sets.
  c.data = ConfigDict()
  # Data set: aan, babi, babilong, boxes, cifar10, count, delayed_qa, file,
  # forgetting_mqar, gather, haystack, imdb, listops, lm, mqar, pathfinder,
  # pi_updates, pressure, pytext, rebind, recall, remember, revoke, rewrite,
  # toy; or your own as FILE.py:function or module:function.
  c.data.name = ""
  # Folder of the data set's files, or, for pytext, of its prepared data. None:
  # the data set's default.
  c.data.dir = config_dict.placeholder(str)
  # Your own file or folder, for data.name=file and lm.
  c.data.path = config_dict.placeholder(str)
  # Tokens per text, at least 1; a multiple of model.chunk_length.
  c.data.length = 512

  # The Transformer around the memory.
  c.model = ConfigDict()
  # The encoder: memory, or a baseline without slots: local (attention within
  # chunks), full (attention over the whole text), recurrent (memory tokens),
  # ssm (a linear recurrence over the whole text), or a matrix in place of the
  # memory: delta (a gated delta rule) or routed (Raven's slots).
  c.model.encoder = "memory"
  # D, width of tokens and slots, at least 1; a multiple of num_heads.
  c.model.width = 64
  # Layers within a chunk before the memory is read, at least 0 and at most 100.
  c.model.num_layers = 2
  # Layers within a chunk after the read, at least 0 and at most 100.
  c.model.num_layers_after = 1
  c.model.num_heads = 4  # attention heads of each layer, at least 1
  # Hidden width of the MLPs divided by model.width, above 0 and at most 1000.
  c.model.mlp_ratio = 4.0
  # Layers that mix the tokens of a chunk: attention or ssm (linear recurrence).
  c.model.sequence_mixer = "attention"
  c.model.gated_mlp = False  # whether the MLPs are gated
  # Positions of tokens in a chunk: learned (added to embeddings) or rotary
  # (rotates queries and keys).
  c.model.position_embedding = "learned"
  # Sizes, in tokens, of n-grams whose hashed embeddings are added to those of
  # the tokens, each at least 2 and at most 100; (): none. In texts of bytes
  # they stand for words.
  c.model.ngram_sizes = ()
  # Rows of each size's table of embeddings, at least 1 and at most 16777216.
  c.model.ngram_rows = 2**14
  # Window, in tokens, of a convolution over the embeddings, at least 0 and at
  # most 100; 0: none.
  c.model.conv_kernel_size = 0
  c.model.chunk_length = 64  # T, tokens per chunk, at least 1
  # Pooling to a text's vector: last (tokens of the last chunk), mean (all
  # tokens), slots (the memory's contents at the end).
  c.model.pool = "last"
  # Dropout rate in training, at least 0 and below 1.
  c.model.dropout = 0.0
  # Type of activations: float32 or bfloat16; parameters and memory are always
  # float32.
  c.model.dtype = "float32"
  # Norm of read queries, above 0; it bounds what content adds to a read logit.
  c.model.query_norm = 5.0
  # Size of the projection of what is read, at first, in that of the other
  # projections, at least 0 and at most 1000; 0: tokens are learned first, and
  # a memory that is not needed costs less.
  c.model.read_gain = 1.0
  # Whether pairs of texts are also compared by the cosine of their vectors.
  c.model.cosine = True
  # Weights of a chunk's tokens in a candidate: sigmoid (each token's own) or
  # softmax (tokens compete).
  c.model.candidate_weights = "sigmoid"
  # Consecutive reads (hops) of the last chunk, at least 1 and at most 100; more
  # than 1 needs pool=last.
  c.model.num_hops = 1
  # Whether the backward pass recomputes activations, with less memory and more
  # time.
  c.model.remat = False
  # Chunks that layers process at a time, at least 0; 0: all chunks of a text.
  c.model.chunk_batch_size = 0
  # Maximum number of chunks for gradients (truncated BPTT), at least 1; None:
  # all.
  c.model.bptt_chunks = config_dict.placeholder(int)

  # The slots, and the policy that writes, updates and forgets them.
  c.memory = ConfigDict()
  # Policy: none, fifo, lru, lfu, random, oracle, write_gate, write_gate_lru,
  # learned, or your own as FILE.py:function or module:function.
  c.memory.policy = "learned"
  c.memory.num_slots = 16  # M, number of slots, at least 1
  # Additional slots in training, at least 0, for the learned policies: items
  # beyond num_slots decay there before they are lost.
  c.memory.overprovisioned_slots = 0
  c.memory.num_candidates = 2  # K, candidate items per chunk, at least 1
  # Maximum number of writes, updates and forgets per chunk, in total, at least
  # 0; 0: none.
  c.memory.budget = 2
  # Options of the learned policies; the others ignore them.
  c.memory.controller = ConfigDict()
  # Width of the controller's hidden layer, at least 1.
  c.memory.controller.hidden = 32
  # Largest fraction of its strength that a slot loses in a step, at least 0 and
  # at most 1.
  c.memory.controller.max_decay = 0.9
  # A candidate is written only if its score, between 0 and 1, exceeds this, at
  # least 0 and at most 1.
  c.memory.controller.write_threshold = 0.02
  # Factor per training step on the strength of an item beyond num_slots, above
  # 0 and at most 1.
  c.memory.controller.soft_eviction_decay = 0.02
  # Slot that a write replaces: strength (the weakest), fifo (the oldest) or lru
  # (the least recently used).
  c.memory.controller.eviction = "strength"
  c.memory.controller.allow_update = True  # whether slots may be updated
  # What an update makes of slot and candidate: gated_delta (learned),
  # gated_change (the same, and slots can count) or, for ablations, mean.
  c.memory.controller.update_rule = "gated_delta"
  # What training does beyond executed updates: soft (a candidate moves all
  # slots that it may be about) or, for ablations, straight_through or none.
  c.memory.controller.update_relaxation = "soft"
  # Cosine of slot and candidate from which on, at first, the candidate updates
  # the slot, at least -1 and at most 2; it is learned from there. Above 1
  # hardly any update is made at first.
  c.memory.controller.update_threshold = 0.5
  # Whether slots may be forgotten and lose strength.
  c.memory.controller.allow_forget = True
  # Input that is hidden from the controller, for ablations: content, age, usage
  # or context; empty: none.
  c.memory.controller.ablate_input = ""
  # Gradients of decisions: continuous (through strengths) or, for ablations,
  # straight_through.
  c.memory.controller.gradient_estimator = "continuous"

  # Weights of the lifecycle losses, at least 0. The task loss has weight 1.
  c.loss = ConfigDict()
  c.loss.write = 0.003  # weight of the cost of writes, at least 0
  # Weight of the cost of forgetting young and much used slots, from step 0, at
  # least 0.
  c.loss.forget = 0.1
  # Weight of the cost of changing decisions about a slot between chunks, at
  # least 0.
  c.loss.stability = 1e-3
  # Fraction of the steps before the write and stability losses start, at least
  # 0 and at most 1.
  c.loss.start = 0.2
  # Fraction of the steps over which these two rise to their full weights, at
  # least 0 and at most 1.
  c.loss.ramp = 0.2

  # Self-supervised training on the task's own texts, before the task.
  c.pretrain = ConfigDict()
  c.pretrain.steps = 0  # number of pretraining steps, at least 0; 0: none
  # Objective: masked_lm (predict hidden tokens) or causal_lm (the next token).
  c.pretrain.objective = "masked_lm"
  # Share of tokens that masked_lm hides, above 0 and at most 1.
  c.pretrain.mask_rate = 0.15
  c.pretrain.learning_rate = 1e-3  # highest learning rate, above 0

  # The test at the end of a run.
  c.eval = ConfigDict()
  # Test lengths as multiples of data.length; each at least 1.
  c.eval.length_multipliers = (1,)
  # Test examples at multiples above 1, at least 1; at data.length all are
  # tested.
  c.eval.examples = 256
  # Whether the first so many are also tested under fifo and as in training, if
  # the policy is learned.
  c.eval.diagnostics = True

  # Training on the task.
  c.train = ConfigDict()
  c.train.steps = 1000  # number of optimizer steps, at least 1
  # Examples per step over all devices, at least 1; a multiple of the number of
  # devices.
  c.train.batch_size = 32
  c.train.learning_rate = 1e-3  # highest learning rate of AdamW, above 0
  # Learning rate after the warm-up: cosine (to 0), constant, or rsqrt
  # (proportional to 1/sqrt(step)).
  c.train.schedule = "cosine"
  c.train.warmup_steps = 50  # steps of linear warm-up from 0, at least 0
  # Decay of matrices except the policy's, at least 0.
  c.train.weight_decay = 0.01
  # Global norm to which gradients are clipped, above 0.
  c.train.clip_norm = 1.0
  # Learning rate of the policy's parameters divided by that of the others, at
  # least 0.
  c.train.policy_lr_factor = 0.5
  # Easier stages before the task, as triples ((end as a fraction of the steps,
  # text length, slots), ...); then data.length and memory.num_slots.
  c.train.curriculum = ()
  # Probability that a text starts with the memory that the one before in its
  # row of the batch has left, at least 0 and at most 1, else with an empty one;
  # gradients end there. Of lm, rows then read documents from start to end.
  c.train.carry = 0.0
  # Lengths of batches of shorter texts, which then need less padding; each at
  # least 1, rising, and a multiple of model.chunk_length; (): all batches have
  # data.length. Of data whose texts are the same in each epoch.
  c.train.buckets = ()
  # A run from whose best parameters to start; None: from new ones. Tokens are
  # matched by their names, and other labels get a new head.
  c.train.init_from = config_dict.placeholder(str)
  # Steps between two logs of training metrics, at least 1.
  c.train.log_every = 20
  c.train.eval_every = 200  # steps between two validations, at least 1
  c.train.checkpoint_every = 200  # steps between two checkpoints, at least 1
  # Examples per evaluation step, at least 1; a multiple of the number of
  # devices.
  c.train.eval_batch_size = 128
  # Steps with non-finite gradients are skipped; the run stops after more
  # consecutive ones than this, at least 0.
  c.train.max_consecutive_nonfinite = 20
  # Reaction to a checkpoint that cannot be written: stop or continue.
  c.train.on_save_error = "stop"
  c.train.parallel = "jit"  # parallelism over devices: jit or pmap
  # Devices over which parameters are sharded, at least 1, a divisor of the
  # number of devices; 1: parameters are replicated.
  c.train.fsdp = 1
  return c
