"""Names of runs: task, method and default folder."""

from ml_collections import ConfigDict


def default(config: ConfigDict) -> str:
  """The folder of a run without --workdir."""
  task, method = map(safe, (task_name(config), method_name(config)))
  return f"runs/{task}-{method}-seed{config.seed}"


def safe(name: str) -> str:
  """A name as a part of a path; of FILE.py:FUNCTION, without the folders."""
  return name.rpartition("/")[2]


def task_name(config: ConfigDict) -> str:
  """The name of the data set and, if it has several tasks, of the task."""
  task = config.data.get("task")
  return f"{config.data.name}-{task}" if task else config.data.name


def method_name(config: ConfigDict) -> str:
  """The method in comparisons: the policy or, without slots, the encoder."""
  model, memory = config.model, config.memory
  return memory.policy if model.encoder == "memory" else model.encoder
