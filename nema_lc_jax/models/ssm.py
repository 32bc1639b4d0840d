"""The S5 layer, a linear recurrence over the whole text or inside each chunk.

S5 (Smith et al. 2023, "Simplified State Space Layers for Sequence Modeling")
has one diagonal complex state that all channels share, computed with an
associative scan.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from nema_lc_jax.memory.types import Array
from nema_lc_jax.models.config import ModelConfig

# Initial step sizes are log-uniform between these.
STEPS = (1e-3, 1e-1)


def recur(rate: Array, inputs: Array) -> Array:
  """The states x_t = rate * x_(t-1) + inputs_t from x = 0, all [..., L, P]."""

  def join(first, second):
    (a, x), (b, y) = first, second
    return a * b, b * x + y

  # All texts share the powers of the rates, which are computed once.
  rates = jnp.broadcast_to(rate, inputs.shape[-2:])
  rates = jnp.expand_dims(rates, range(inputs.ndim - 2))
  axis = inputs.ndim - 2
  return jax.lax.associative_scan(join, (rates, inputs), axis=axis)[1]


def log_steps(key: Array, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
  """Logarithms of initial step sizes."""
  low, high = map(math.log, STEPS)
  return jax.random.uniform(key, shape, dtype, low, high)


def _frequencies(key, shape, dtype=jnp.float32):
  del key
  return jnp.pi * jnp.arange(*shape, dtype=dtype)


class StateSpace(nn.Module):
  """The recurrence, [..., L, D] to [..., L, D], both float32.

  D states come in conjugate pairs, of which one half is computed. Eigenvalues
  start as S4D-Lin (Gu et al. 2022, "On the Parameterization and Initialization
  of Diagonal State Space Models"), -1/2 + i pi n, and their real parts stay
  negative; they are discretised by zero-order hold with learned step sizes.
  Unless the model is causal, a second scan runs backwards, and the outputs use
  both states. Padding adds nothing to a state, so that padding at the end of a
  text has no effect.
  """

  config: ModelConfig

  @nn.compact
  def __call__(self, x: Array, valid: Array) -> Array:
    """x [..., L, D], valid [..., L] -> [..., L, D]."""
    D = x.shape[-1]
    P = -(-D // 2)
    directions = 1 if self.config.causal else 2
    half = nn.initializers.constant(math.log(0.5))
    decay = self.param("decay", half, (P,))
    eigenvalue = -jnp.exp(decay) + 1j * self.param(
      "frequency", _frequencies, (P,)
    )
    step = jnp.exp(self.param("log_step", log_steps, (P,)))
    # Real and imaginary parts, since optimizers expect real parameters.
    real, imaginary = self.param(
      "input", nn.initializers.normal((2 * D) ** -0.5), (2, D, P)
    )
    rate = jnp.exp(eigenvalue * step)
    gain = (rate - 1.0) / eigenvalue
    inputs = (x @ real + 1j * (x @ imaginary)) * gain
    inputs = jnp.where(valid[..., None], inputs, 0.0)
    states = [recur(rate, inputs)]
    if directions == 2:
      states.append(jnp.flip(recur(rate, jnp.flip(inputs, -2)), -2))
    states = jnp.concatenate(states, axis=-1)
    real, imaginary = self.param(
      "output", nn.initializers.normal(P**-0.5), (2, directions * P, D)
    )
    through = self.param("through", nn.initializers.normal(1.0), (D,))
    # Twice the real part, which adds the conjugate half of the states.
    y = 2.0 * (states.real @ real - states.imag @ imaginary)
    return y + through * x


class StateSpaceBlock(nn.Module):
  """A pre-norm layer of the recurrence and a gated MLP."""

  config: ModelConfig

  @nn.compact
  def __call__(self, x: Array, valid: Array, train: bool) -> Array:
    """x [N, L, D], valid [N, L] -> [N, L, D]; N = 1 over a whole text."""
    c, D, dtype = self.config, x.shape[-1], x.dtype
    drop = nn.Dropout(c.dropout, deterministic=not train)
    dense = lambda width, name: nn.Dense(width, dtype=dtype, name=name)
    h = nn.LayerNorm(name="norm_ssm")(x.astype(jnp.float32))
    h = StateSpace(c, name="ssm")(h, valid)
    x = x + drop(nn.gelu(h).astype(dtype))
    h = nn.LayerNorm(dtype=dtype, name="norm_mlp")(x)
    hidden = int(c.mlp_ratio * D)
    h = nn.gelu(dense(hidden, "gate")(h)) * dense(hidden, "up")(h)
    return x + drop(dense(D, "down")(h))
