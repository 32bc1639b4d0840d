"""Several fake CPU devices for every test; `policy` runs over all policies."""

import os

FAKE_DEVICES = 4
# Before jax is imported: it reads both when it starts.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = " ".join(
  [
    os.environ.get("XLA_FLAGS", ""),
    f"--xla_force_host_platform_device_count={FAKE_DEVICES}",
  ]
).strip()


def pytest_generate_tests(metafunc):
  """A test that takes `policy` runs once per name in `POLICIES`."""
  if "policy" in metafunc.fixturenames:
    # Not at the top: most tests of the data need no jax.
    from nema_lc_jax.models import POLICIES

    metafunc.parametrize("policy", POLICIES)
