"""Results as Markdown: medians, ranges, and ratios paired by rounds."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from nema_lc_jax.benchmark import models
from nema_lc_jax.benchmark.machine import Ceilings
from nema_lc_jax.benchmark.measure import Timing, ratios, timing
from nema_lc_jax.benchmark.models import MEASURED, NO_FIT, Case
from nema_lc_jax.benchmark.parts import Breakdown, Sensitivity
from nema_lc_jax.runs.markup import markdown_table as table

OURS, BASE, ENCODER = "memory", "local", "encoder"
TITLES = {"train": "Training step", "forward": "Inference"}
PARTS = {
  "memory": "NeMA-LC, the whole step",
  "encoder": "the same encoder without memory, the whole step",
  "difference": "the difference of the two",
  "scan": "memory scan alone, forward and backward",
  "head": "mean pooling and head alone, forward and backward",
  "optimizer": "optimizer alone",
  "input": "input pipeline: one batch, in parallel with the step",
}


@dataclasses.dataclass
class Results:
  """All measurements of one run; parts that were not run are empty."""

  cases: list[Case] = dataclasses.field(default_factory=list)
  breakdown: Breakdown | None = None
  sensitivity: list[Sensitivity] = dataclasses.field(default_factory=list)
  ceilings: Ceilings | None = None
  compile_seconds: dict[str, float] = dataclasses.field(default_factory=dict)

  def to_json(self) -> dict[str, Any]:
    """The results as JSON values; some keys have older names."""
    ceilings = self.ceilings and self.ceilings._asdict()
    found = dataclasses.asdict(self) | {"ceilings": ceilings}
    cells = [
      {"contestant" if k == "model" else k: v for k, v in case.items()}
      for case in found.pop("cases")
    ]
    return {"cells": cells, **found}


def speed(case: Case) -> Timing:
  """Tokens per second."""
  return timing([case.tokens / seconds for seconds in case.samples])


def time_ratio(above: Case | None, below: Case | None) -> Timing:
  """Ratio of the times per token, paired by rounds."""
  if above is None or below is None:
    return timing([])
  per_token = lambda case: [seconds / case.tokens for seconds in case.samples]
  return timing(ratios(per_token(above), per_token(below)))


def find(
  cases: Sequence[Case], head: str, length: int, model: str, kind: str
) -> Case | None:
  """The case with these values, if there is one."""
  key = head, length, model, kind
  for case in cases:
    if (case.head, case.length, case.model, case.kind) == key:
      return case
  return None


def headline(cases: Sequence[Case]) -> list[str]:
  """Time of NeMA-LC relative to its encoder alone, a line per kind."""
  lines = []
  for case in cases:
    if case.head == "match" and case.model == OURS:
      bare = find(cases, "match", case.length, ENCODER, case.kind)
      lines.append(
        f"{TITLES[case.kind]}, NeMA-LC / the same encoder without memory, 2 x"
        f" {case.length:,} tokens: {_spread(time_ratio(case, bare))}"
      )
  return lines


def markdown(results: Results, about: Sequence[str]) -> str:
  """The whole report; `about` has lines that describe the setup."""
  texts = ["# Benchmark", "\n".join(f"- {line}" for line in about)]
  cases = results.cases
  if lines := headline(cases):
    texts.append("\n".join(f"- **{line}**" for line in lines))
  if cases:
    names = dict.fromkeys(case.model for case in cases)
    texts.append(
      "Median (minimum to maximum) of the rounds. Ratios are of the time per"
      f" token, paired by rounds: above 1 in “time / {BASE}”, the model is"
      " slower; above 1 in “NeMA-LC / this”, NeMA-LC is. Memory is that of the"
      " compiled program.\n\n"
      + "\n".join(f"- `{n}`: {models.ABOUT[n]}" for n in names)
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
      "## FLOPs and memory traffic",
      _costs(results.breakdown, results.ceilings),
    ]
  if results.sensitivity:
    texts += ["## Effect of the memory's settings", _settings(results)]
  if seconds := results.compile_seconds:
    rows = [[name, f"{value:.1f}"] for name, value in seconds.items()]
    texts += [
      "## Seconds to the first training step, without imports",
      table(["compilation cache", "seconds"], rows),
    ]
  return "\n\n".join(texts) + "\n"


def _cases_table(cases: Sequence[Case]) -> str:
  header = [
    "length", "model", "parameters", "batch", "tokens/s",
    f"time / {BASE}", "NeMA-LC / this", "memory, MiB",
  ]  # fmt: skip
  peaks = any(case.peak_bytes for case in cases)
  header += ["device peak, MiB"] if peaks else []
  rows = []
  for case in cases:
    other = lambda name, c=case: find(cases, c.head, c.length, name, c.kind)
    times = "2 x " if case.head == "match" else ""
    rows.append(
      [
        f"{times}{case.length:,}",
        case.model,
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
  size = f"Batch {found.batch}, length {found.length:,}, one text per example"
  header = ["part", "ms", "share of NeMA-LC's step"]
  return (
    f"{size}; the input pipeline is that of the config's data set.\n\n"
    + table(header, rows)
  )


def _costs(found: Breakdown, ceilings: Ceilings) -> str:
  text = (
    "Peak of the machine, measured in this run:"
    f" {ceilings.flops / 1e9:,.1f} GFLOP/s (a product of large matrices),"
    f" {ceilings.bytes / 1e9:,.1f} GB/s (a large copy). The work is from XLA's"
    " cost analysis, with every iteration of scans; caches may serve bytes, so"
    " their share can exceed 100%. Times are of the fastest round."
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
  header = ["program", "GFLOP", "share of peak", "GB", "share of peak"]
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
  return "Ratios of the times of training steps.\n\n" + table(header, rows)


def _spread(value: Timing, form: str = ".2f") -> str:
  if value.median != value.median:  # NaN
    return ""
  return f"{value.median:{form}} ({value.low:{form}} to {value.high:{form}})"


def _mebibytes(size: int | None) -> str:
  return "" if size is None else f"{size / 2**20:,.0f}"
