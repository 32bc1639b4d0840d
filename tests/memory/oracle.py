"""The allocator once more, from the specification alone.

Plain sequential Python over lists: no sorting network, no masks, nothing in
common with `nema_lc_jax.memory.allocator` but the rules, so that an error of
the one is not an error of the other.
"""

import numpy as np

FLOOR = np.float32(1e-3)
NOTHING = float("-inf")


def number(value):
  """The value as a Python float; NaN counts as -inf."""
  value = float(value)
  return NOTHING if value != value else value


def slot_wish(actions, alive):
  """(utility, operation) of one slot: what it asks for, and how loudly."""
  retain, update, forget = (number(p) for p in actions)
  if not alive > 0:
    return NOTHING, None
  if alive <= FLOOR:
    return forget, "forget"
  if update > retain and update >= forget:
    return update, "update"
  if forget > retain and forget > update:
    return forget, "forget"
  return NOTHING, None


def candidate_wish(rank, strength, valid):
  """Utility of writing one candidate."""
  return number(rank) if valid and number(strength) > 0 else NOTHING


def allocate(actions, write, strength, keep, alive, valid, *, budget):
  """Update [M], forget [M], source [M] and evict [M], one decision at a time.

  Args:
    actions: [M, 3], probability of retain, update and forget.
    write: [K], rank of each candidate.
    strength: [K], strength it would get.
    keep: [M], what a rank must beat to replace the slot.
    alive: [M], strength of the slots, 0 where free.
    valid: [K], whether the candidate exists.
    budget: the most operations.
  """
  M, K = len(alive), len(valid)
  wishes = [slot_wish(actions[m], np.float32(alive[m])) for m in range(M)]
  wishes += [
    (candidate_wish(write[k], strength[k], valid[k]), "write") for k in range(K)
  ]

  # The budget goes to the loudest wish, again and again; of equals the first.
  chosen = []
  while len(chosen) < budget:
    best = None
    for i in range(M + K):
      if i in chosen or wishes[i][0] == NOTHING:
        continue
      if best is None or wishes[i][0] > wishes[best][0]:
        best = i
    if best is None:
      break
    chosen.append(best)

  update, forget, evict = [False] * M, [False] * M, [False] * M
  source = [-1] * M
  free = [not alive[m] > 0 for m in range(M)]
  for i in chosen:
    if wishes[i][1] == "update":
      update[i] = True
    elif wishes[i][1] == "forget":
      forget[i] = free[i] = True

  # `chosen` is in order of utility: the best write comes first.
  for i in chosen:
    if wishes[i][1] != "write":
      continue
    slot = next((m for m in range(M) if free[m] and source[m] < 0), None)
    if slot is None:
      for m in range(M):
        if update[m] or forget[m] or source[m] >= 0:
          continue
        if slot is None or number(keep[m]) < number(keep[slot]):
          slot = m
      if slot is None or not wishes[i][0] > number(keep[slot]):
        continue
      evict[slot] = True
    source[slot] = i - M

  return (
    np.array(update, bool),
    np.array(forget, bool),
    np.array(source, np.int32),
    np.array(evict, bool),
  )
