"""Sizes are compared with the memory before anything is compiled."""

import dataclasses

import jax
import pytest

from nema_lc_jax.training import capacity, experiment
from nema_lc_jax.training.experiment import build, make_experiment, make_reader
from nema_lc_jax.training.task import TaskSpec
from tests.helpers import tiny_config


def needed_by(found):
  return capacity.of_training(
    found.config, found.dataset, found.stages, found.steps.template
  )


def error_of(config, function=build):
  with pytest.raises(ValueError, match="the model does not fit") as error:
    function(config)
  text = str(error.value)
  assert "\n" not in text
  return text


@pytest.mark.parametrize(
  ("field", "value", "largest"),
  [
    ("model.width", 2_000_000, "qkv.kernel [2000000, 6000000] with"),
    ("data.noise_vocab", 2**20, "embedding.token.embedding [1048584, 40000]"),
    ("memory.num_slots", 2**30, "memory [4, 1073741824, 8] with 128.0 GiB."),
    ("memory.controller.hidden", 2**31 - 1, "2147483647"),
    ("train.batch_size", 2**28, "token vectors [67108864, 80, 8] with"),
    ("train.eval_batch_size", 2**28, "token vectors [67108864, 80, 8]"),
    ("eval.length_multipliers", (1, 2**20), "[1, 83886080, 8] with 2.5 GiB."),
  ],
)
def test_what_does_not_fit_is_named(field, value, largest, monkeypatch):
  monkeypatch.setattr(capacity, "device_bytes", lambda: 2**31)
  config = tiny_config("toy")
  config.update_from_flattened_dict({field: value})
  if field == "data.noise_vocab":
    config.model.width = 40_000
  assert largest in error_of(config)


def test_nothing_is_compiled_for_it(monkeypatch):
  config = tiny_config("toy")
  config.model.width = 2_000_000
  monkeypatch.setattr(
    jax.stages.Lowered, "compile", lambda *_: pytest.fail("compiled")
  )
  error_of(config)


def test_the_origin_of_a_size_is_told(monkeypatch):
  load = experiment.load_data

  def from_a_file(config):
    origins = {"vocab_size": "id 1004 in row 3 of inputs in my.npz"}
    return dataclasses.replace(load(config), origins=origins)

  monkeypatch.setattr(experiment, "load_data", from_a_file)
  config = tiny_config("toy")
  config.data.noise_vocab = 1000
  make_experiment(config)
  monkeypatch.setattr(capacity, "device_bytes", lambda: 1000)
  config.model.width = 4  # The embedding is the largest array.
  config.memory.controller.hidden = 1
  text = error_of(config, make_experiment)
  assert "embedding [1008, 4]" in text
  assert text.endswith(
    "; vocab_size=1005 comes from id 1004 in row 3 of inputs in my.npz."
  )


def test_readers_of_a_trained_model_need_its_parameters_only(monkeypatch):
  config, task = tiny_config("toy"), TaskSpec("classify", 37, 4)
  reader = make_reader(config, task)
  arrays = capacity.of_params(reader.steps.template)
  params = jax.tree.leaves(reader.steps.template.params)
  needed = sum(a.bytes for a in arrays.values())
  assert needed == sum(4 * x.size for x in params)
  for limit, fits in ((needed, True), (needed - 1, False)):
    monkeypatch.setattr(capacity, "device_bytes", lambda limit=limit: limit)
    if fits:
      make_reader(config, task)
    else:
      error_of(config, lambda config: make_reader(config, task))


def test_training_needs_the_state_the_gradients_and_a_batch():
  found = make_experiment(tiny_config("toy"))
  arrays = needed_by(found)
  params = capacity.of_params(found.steps.template)
  state = sum(a.bytes for n, a in arrays.items() if "params" in n)
  assert state == sum(a.bytes for a in params.values())
  moments = [n for n in arrays if ".mu." in n or ".nu." in n]
  assert len(moments) == 2 * len(params)
  assert arrays["logits"].shape[1:] == (4,)
  assert arrays["memory"].shape[2:] == (8,)


def test_readers_hold_the_state_of_a_stream(monkeypatch):
  monkeypatch.setattr(capacity, "device_bytes", lambda: 2**20)
  config, task = tiny_config("toy"), TaskSpec("classify", 37, 4)
  state = {"memory": jax.ShapeDtypeStruct((10**6, 8), "float32")}
  text = error_of(config, lambda config: make_reader(config, task, state))
  assert "its largest array is state.memory [1000000, 8]" in text


def test_evaluation_needs_a_batch_of_long_texts(monkeypatch):
  monkeypatch.setattr(capacity, "device_bytes", lambda: 2**24)
  config = tiny_config("toy")
  make_experiment(config)
  config.data.length *= 2**12
  assert "token vectors [" in error_of(config, make_experiment)


@pytest.mark.parametrize("fsdp", [1, 4])
def test_a_device_holds_its_shard(fsdp):
  config = tiny_config("toy")
  config.model.width = 256
  config.train.fsdp = fsdp
  arrays = capacity.of_params(make_experiment(config).steps.template)
  largest = max(arrays.values(), key=lambda a: a.bytes)
  assert largest.shape == (256, 768)
  assert largest.bytes == 4 * 256 * 768 // fsdp


# The memory of the machine.


def test_devices_of_a_cpu_share_its_memory(monkeypatch):
  monkeypatch.setattr(capacity, "main_memory", lambda: 4000)
  assert capacity.device_bytes() == 4000 // jax.local_device_count()
  monkeypatch.setattr(capacity, "accelerator_bytes", lambda: 70)
  assert capacity.device_bytes() == 70


def test_a_container_has_what_its_limit_leaves(tmp_path, monkeypatch):
  assert 0 < capacity.main_memory() < 2**60
  group = ("limit", "used", "inactive_file")
  monkeypatch.setattr(capacity, "CGROUPS", [(str(tmp_path), *group)])
  free = capacity.main_memory()
  (tmp_path / "used").write_text("700\n")
  (tmp_path / "limit").write_text("max\n")
  assert capacity.main_memory() > 1000
  (tmp_path / "limit").write_text("1000\n")
  assert capacity.main_memory() == 300
  # What files hold is given back.
  (tmp_path / "memory.stat").write_text("anon 100\ninactive_file 600\n")
  assert capacity.main_memory() == 900
  (tmp_path / "limit").write_text(f"{2**62}\n")
  assert capacity.main_memory() <= 2 * free
