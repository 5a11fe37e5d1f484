"""The arms of the ablation: which data each one is tuned on. Plain data."""

from __future__ import annotations

from dataclasses import dataclass

# Data by name; `benchmarks.cad_ablation.world` makes each of them. `{seed}` stands for the arm's seed: what was
# annotated by the phase-1 model of that seed.
MIXTURE = "instructions"  # single-image conversations, as LLaVA's 665K
LISTS = "commonalities+differences"
STRATEGIES = ("similar", "diverse", "overlap", "contrast", "attribute", "random")

# The figures of a result that the tables show, and the titles of their columns.
COLUMNS = {
    "bison": "BISON",
    "either order: bison": "both orders",
    "averaged: bison": "averaged",
    "svo": "SVO",
    "eqben": "EQBEN",
    "cola": "COLA",
    "differences precision": "diff. true",
    "differences recall": "diff. found",
    "commonalities precision": "comm. true",
    "commonalities recall": "comm. found",
    "single": "one image",
}


@dataclass(frozen=True)
class Arm:
    """One row of one table.

    Attributes:
        table: "7", "5", "6" of the paper, or "strategy".
        row: the row's letter, or the strategy's name.
        what: the training data in words.
        data: (name of the data, parts of the conversation or None for a file of records), beside MIXTURE.
        after: the row of table 7 whose model annotates this arm's data; None where no model does.
    """

    table: str
    row: str
    what: str
    data: tuple[tuple[str, str | None], ...] = ()
    after: str | None = None

    @property
    def name(self) -> str:
        return f"{self.table}-{self.row}"


# The choice stands alone: behind its comparison the letter can be read off the text, and so small a model learns that
# instead (row H; see `jobs.demo.loop.settings`).
_PAIRS = (("pairs", f"{LISTS}+hints"), ("pairs", "choice"))
_BEHIND = (("pairs", f"{LISTS}+choice+hints"), ("pairs", "choice"))
_REFINED = ("edits-refined-{seed}", LISTS)

ARMS: tuple[Arm, ...] = (
    Arm("7", "A", "single-image mix"),
    Arm("7", "B", "+ choice", (("pairs", "choice"),)),
    Arm("7", "C", "+ commonalities", (("pairs", "commonalities"),)),
    Arm("7", "D", "+ differences", (("pairs", "differences"),)),
    Arm("7", "E", "+ commonalities + differences", (("pairs", LISTS),)),
    Arm("7", "F", "+ commonalities + differences + choice", _PAIRS),
    Arm("7", "G", "F + edits, refined by F's model", (*_PAIRS, _REFINED), after="F"),
    Arm("7", "H", "F, with the choice behind the comparison too", _BEHIND),
    Arm("5", "B", "+ edits, original notes", (("edits", "note"),)),
    Arm("5", "C", "+ edits, annotated from scratch", (("edits-scratch-{seed}", LISTS),), after="F"),
    Arm("5", "D", "+ edits, refined from the notes", (_REFINED,), after="F"),
    Arm("6", "B", "+ frames, captions only", (("frames-captions", None),)),
    Arm("6", "C", "+ frames, annotated from scratch", (("frames-scratch-{seed}", LISTS),), after="F"),
    Arm("6", "D", "+ frames, annotated with their captions", (("frames-given-{seed}", LISTS),), after="F"),
    *(
        Arm("strategy", name, f"F on pairs of {name}", ((f"pairs-{name}", LISTS), (f"pairs-{name}", "choice")))
        for name in STRATEGIES
    ),
    Arm("strategy", "mix", "F on a mix of all six", (("pairs-mix", LISTS), ("pairs-mix", "choice"))),
)

# Rows of tables 5 and 6 that are rows of table 7.
SAME = {("5", "A"): ("7", "A"), ("5", "E"): ("7", "F"), ("5", "F"): ("7", "G"), ("6", "A"): ("7", "A")}


@dataclass(frozen=True)
class Plan:
    """The size of a run.

    Attributes:
        scenes: of the corpus. pairs: mined for the tables. edits, frames: pairs of each.
        strategy_pairs: mined by each strategy; as many as the rarest kind of pair has in the corpus.
        instructions: conversations of the mixture.
        steps, batch: of every arm, so that all train equally long.
        questions: of each held-out task. compared: held-out pairs that are compared.
        seeds: tunings of each arm.
    """

    name: str
    scenes: int
    pairs: int
    strategy_pairs: int
    edits: int
    frames: int
    instructions: int
    steps: int
    batch: int
    questions: int
    compared: int
    seeds: int

    @classmethod
    def quick(cls) -> Plan:
        return cls("quick", 1_000, 120, 24, 24, 24, 60, 2, 8, 10, 4, 1)

    @classmethod
    def default(cls) -> Plan:
        return cls("default", 16_000, 3_000, 600, 1_000, 1_000, 2_000, 900, 8, 120, 60, 3)


def arms_of(plan: Plan, tables: list[str] | None) -> list[tuple[Arm, int]]:
    """(arm, seed) in an order in which a model comes before the arms whose data it annotates."""
    wanted = [arm for arm in ARMS if not tables or arm.table in tables]
    needed = {arm.after for arm in wanted if arm.after}
    wanted += [arm for arm in ARMS if arm.table == "7" and arm.row in needed and arm not in wanted]
    ordered = sorted(wanted, key=lambda arm: arm.after is not None)
    first = [arm for arm in ordered if arm.table == "7" and arm.row in needed]
    rest = [arm for arm in ordered if arm not in first]
    return [(arm, seed) for arm in [*first, *rest] for seed in range(plan.seeds)]
