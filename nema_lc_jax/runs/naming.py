"""What runs are called: their task, their method, their folder."""

from ml_collections import ConfigDict


def default(config: ConfigDict) -> str:
  """Where results go if no --workdir is given."""
  return f"runs/{task_name(config)}-{method_name(config)}-seed{config.seed}"


def task_name(config: ConfigDict) -> str:
  """The data set, and which of its tasks where it has several."""
  task = config.data.get("task")
  return f"{config.data.name}-{task}" if task else config.data.name


def method_name(config: ConfigDict) -> str:
  """What a run is compared as: its policy; without slots, its encoder."""
  model, memory = config.model, config.memory
  return memory.policy if model.encoder == "memory" else model.encoder
