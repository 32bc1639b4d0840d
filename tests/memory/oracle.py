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


def chosen_slot(k, slot, prob, alive):
  """The slot that candidate k would update; None: it would be written."""
  m = int(slot[k])
  if 0 <= m < len(alive) and alive[m] > 0 and number(prob[m][k]) > 0:
    return m
  return None


def slot_wish(actions, alive):
  """How loudly one slot asks to be forgotten; NOTHING: not at all."""
  retain, update, forget = (number(p) for p in actions)
  if not alive > 0:
    return NOTHING
  if alive <= FLOOR or (forget > retain and forget > update):
    return forget
  return NOTHING


def allocate(
  actions,
  write,
  strength,
  keep,
  alive,
  valid,
  slot,
  prob,
  *,
  budget,
  copies=False,
):
  """Update and forget, source and evict [M], one decision at a time.

  Args:
    actions: [M, 3], probability of retain, update and forget.
    write: [K], rank of each candidate.
    strength: [K], strength it would get.
    keep: [M], what a rank must beat to replace the slot.
    alive: [M], strength of the slots, 0 where free.
    valid: [K], whether the candidate exists.
    slot: [K], which slot it would update; another number: none.
    prob: [M, K], how far.
    budget: the most operations.
    copies: whether a candidate that updates a slot is written, too.
  """
  M, K = len(alive), len(valid)
  alive = [np.float32(x) for x in alive]
  wishes = {}  # (utility, operation, slot) of a slot m, or candidate M + k
  for k in range(K):
    if not valid[k] or number(write[k]) == NOTHING:
      continue
    m = chosen_slot(k, slot, prob, alive)
    if m is None and number(strength[k]) > 0:
      wishes[M + k] = (number(write[k]), "write", None)
    if m is None:
      continue
    rival = next((i for i, w in wishes.items() if w[2] == m), None)
    if rival is None or number(write[k]) > wishes[rival][0]:
      wishes.pop(rival, None)
      wishes[M + k] = (number(write[k]), "update", m)
  taken = {wish[2] for wish in wishes.values()}
  for m in range(M):
    utility = slot_wish(actions[m], alive[m])
    if m not in taken and utility != NOTHING:
      wishes[m] = (utility, "forget", m)

  # The budget goes to the loudest wish, again and again; of equals the first.
  chosen = []
  while len(chosen) < budget and len(chosen) < len(wishes):
    rest = sorted(i for i in wishes if i not in chosen)
    chosen.append(max(rest, key=lambda i: wishes[i][0]))

  update, source = [-1] * M, [-1] * M
  forget, evict = [False] * M, [False] * M
  free = [not alive[m] > 0 for m in range(M)]
  for i in chosen:
    _, operation, m = wishes[i]
    if operation == "update":
      update[m] = i - M
    elif operation == "forget":
      forget[m] = free[m] = True

  writes = {i: wishes[i][0] for i in chosen if wishes[i][1] == "write"}
  for i in chosen:
    left = number(strength[i - M]) if i >= M else NOTHING
    if copies and i not in writes and left > FLOOR:
      writes[i] = left
  for i in sorted(writes, key=lambda i: (-writes[i], i)):
    place = next((m for m in range(M) if free[m] and source[m] < 0), None)
    if place is None:
      for m in range(M):
        if update[m] >= 0 or forget[m] or source[m] >= 0:
          continue
        if place is None or number(keep[m]) < number(keep[place]):
          place = m
      if place is None or not writes[i] > number(keep[place]):
        continue
      evict[place] = True
    source[place] = i - M

  return (
    np.array(update, np.int32),
    np.array(forget, bool),
    np.array(source, np.int32),
    np.array(evict, bool),
  )
