"""Results as Markdown: medians and ranges, and ratios by rounds."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from nema_lc_jax.benchmark import contestants
from nema_lc_jax.benchmark.contestants import MEASURED, NO_FIT, Case
from nema_lc_jax.benchmark.machine import Ceilings
from nema_lc_jax.benchmark.measure import Timing, ratios, timing
from nema_lc_jax.benchmark.parts import Breakdown, Sensitivity
from nema_lc_jax.runs.markup import markdown_table as table

OURS, BASE, ENCODER = "memory", "local", "encoder"
TITLES = {"train": "Training step", "forward": "Inference"}
PARTS = {
  "memory": "NeMA-LC, the whole step",
  "encoder": "the same encoder without memory, the whole step",
  "difference": "the difference of the two",
  "scan": "memory scan alone, forward and backward",
  "head": "mean over tokens and head alone, forward and backward",
  "optimizer": "optimizer alone",
  "input": "input: making a batch, beside the step",
}


@dataclasses.dataclass
class Results:
  """All that one run measured; what was not asked for is empty."""

  cases: list[Case] = dataclasses.field(default_factory=list)
  breakdown: Breakdown | None = None
  sensitivity: list[Sensitivity] = dataclasses.field(default_factory=list)
  ceilings: Ceilings | None = None
  compile_seconds: dict[str, float] = dataclasses.field(default_factory=dict)

  def to_json(self) -> dict[str, Any]:
    """All samples, and by name what is a pair."""
    ceilings = self.ceilings and self.ceilings._asdict()
    found = dataclasses.asdict(self) | {"ceilings": ceilings}
    return {"cells": found.pop("cases"), **found}


def speed(case: Case) -> Timing:
  """Tokens per second."""
  return timing([case.tokens / seconds for seconds in case.samples])


def time_ratio(above: Case | None, below: Case | None) -> Timing:
  """Time per token of the one over that of the other, paired by rounds."""
  if above is None or below is None:
    return timing([])
  per_token = lambda case: [seconds / case.tokens for seconds in case.samples]
  return timing(ratios(per_token(above), per_token(below)))


def find(
  cases: Sequence[Case], head: str, length: int, contestant: str, kind: str
) -> Case | None:
  """The case of these, if there is one."""
  key = head, length, contestant, kind
  for case in cases:
    if (case.head, case.length, case.contestant, case.kind) == key:
      return case
  return None


def headline(cases: Sequence[Case]) -> list[str]:
  """Time of NeMA-LC over that of its own encoder, a line per kind."""
  lines = []
  for case in cases:
    if case.head == "match" and case.contestant == OURS:
      bare = find(cases, "match", case.length, ENCODER, case.kind)
      lines.append(
        f"{TITLES[case.kind]}, NeMA-LC / the same encoder without memory, 2 x"
        f" {case.length:,} tokens: {_spread(time_ratio(case, bare))}"
      )
  return lines


def markdown(results: Results, about: Sequence[str]) -> str:
  """The whole report; `about` says what was run, and on what."""
  texts = ["# Benchmark", "\n".join(f"- {line}" for line in about)]
  cases = results.cases
  if lines := headline(cases):
    texts.append("\n".join(f"- **{line}**" for line in lines))
  if cases:
    names = dict.fromkeys(case.contestant for case in cases)
    texts.append(
      "Median (least to greatest) of the rounds. Ratios are of the time per"
      f" token, paired by rounds: above 1 in “time / {BASE}”, the contestant is"
      " slower; above 1 in “NeMA-LC / this”, NeMA-LC is. Memory is what the"
      " compiled program needs.\n\n"
      + "\n".join(f"- `{n}`: {contestants.ABOUT[n]}" for n in names)
    )
  for head in ("match", "classify"):
    for kind, title in TITLES.items():
      chosen = [c for c in cases if (c.head, c.kind) == (head, kind)]
      if chosen:
        texts += [f"## {title}, {head}", _cases_table(chosen)]
  if results.breakdown is not None:
    texts += ["## Parts of a training step", _breakdown(results.breakdown)]
  if results.breakdown is not None and results.ceilings is not None:
    texts += [
      "## Arithmetic and bytes",
      _costs(results.breakdown, results.ceilings),
    ]
  if results.sensitivity:
    texts += ["## Against the memory's settings", _settings(results)]
  if seconds := results.compile_seconds:
    rows = [[name, f"{value:.1f}"] for name, value in seconds.items()]
    texts += [
      "## Seconds to the first training step, imports apart",
      table(["compilation cache", "seconds"], rows),
    ]
  return "\n\n".join(texts) + "\n"


def _cases_table(cases: Sequence[Case]) -> str:
  header = [
    "length", "contestant", "parameters", "batch", "tokens/s",
    f"time / {BASE}", "NeMA-LC / this", "memory, MiB",
  ]  # fmt: skip
  peaks = any(case.peak_bytes for case in cases)
  header += ["device's peak, MiB"] if peaks else []
  rows = []
  for case in cases:
    other = lambda name, c=case: find(cases, c.head, c.length, name, c.kind)
    times = "2 x " if case.head == "match" else ""
    rows.append(
      [
        f"{times}{case.length:,}",
        case.contestant,
        f"{case.parameters:,}",
        str(case.batch),
        _speed(case),
        _spread(time_ratio(case, other(BASE))),
        _spread(time_ratio(other(OURS), case)),
        _mebibytes(case.bytes),
        *([_mebibytes(case.peak_bytes)] if peaks else []),
      ]
    )
  return table(header, rows)


def _speed(case: Case) -> str:
  if case.status == MEASURED:
    return _spread(speed(case), ",.0f")
  if case.status == NO_FIT:
    return f"{NO_FIT}, batch {case.batch}"
  return f"skipped: at least {case.at_least:,.0f} s per step"


def _breakdown(found: Breakdown) -> str:
  samples = dict(found.samples)
  pairs = zip(samples["memory"], samples["encoder"], strict=True)
  samples["difference"] = [a - b for a, b in pairs]
  rows = []
  for name, title in PARTS.items():
    if name in samples:
      share = timing(ratios(samples[name], samples["memory"]))
      ours = _spread(timing([1e3 * s for s in samples[name]]), ",.1f")
      rows.append([title, ours, _spread(share)])
    else:
      rows.append([title, f"skipped: {found.skipped[name]}", ""])
  size = f"Batch {found.batch}, length {found.length:,}, one text an example"
  header = ["part", "ms", "share of NeMA-LC's step"]
  return f"{size}; the input is a batch of the config's data set.\n\n" + table(
    header, rows
  )


def _costs(found: Breakdown, ceilings: Ceilings) -> str:
  text = (
    f"Ceilings, measured in this run: {ceilings.flops / 1e9:,.1f} GFLOP/s (a"
    f" product of large matrices), {ceilings.bytes / 1e9:,.1f} GB/s (a large"
    " copy). Work by XLA's analysis with every turn of scans; caches may serve"
    " bytes, so that their share can exceed 100%. Of the fastest round."
  )
  rows = [
    [
      PARTS[name],
      f"{cost['flops'] / 1e9:,.2f}",
      f"{cost['flops_share']:.0%}",
      f"{cost['bytes'] / 1e9:,.2f}",
      f"{cost['bytes_share']:.0%}",
    ]
    for name, cost in found.costs.items()
  ]
  header = ["program", "GFLOP", "of the ceiling", "GB", "of the ceiling"]
  return f"{text}\n\n{table(header, rows)}"


def _settings(results: Results) -> str:
  rows = []
  for row in results.sensitivity:
    name = f"{row.field} = {row.value}" if row.field else "as configured"
    over = lambda part, s=row.samples: timing(ratios(s[part], s["encoder"]))
    rows.append([name, _spread(over("memory")), _spread(over("scan"))])
  header = [
    "setting", "NeMA-LC's step / encoder's", "memory scan alone / encoder's"
  ]  # fmt: skip
  return "Training steps, time over time.\n\n" + table(header, rows)


def _spread(value: Timing, form: str = ".2f") -> str:
  if value.median != value.median:  # NaN
    return ""
  return f"{value.median:{form}} ({value.low:{form}} to {value.high:{form}})"


def _mebibytes(size: int | None) -> str:
  return "" if size is None else f"{size / 2**20:,.0f}"
