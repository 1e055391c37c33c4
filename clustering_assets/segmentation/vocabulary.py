"""The words and figures that segments are named, described and judged by: a YAML file, read and checked."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter
from typing import Annotated, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from clustering_assets.segmentation.facts import DERIVED, FEATURES, TOTAL_SHARES

FACTS = frozenset({*FEATURES, *DERIVED, *TOTAL_SHARES})
"""What conditions and summaries may speak of."""

Share = Annotated[float, Field(ge=0, le=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Bounds(_Strict):
    """Bounds of a fact, all of which have to hold.

    ``times_at_least`` and ``times_at_most`` bound the fact divided by the same fact of the whole shop.
    """

    at_least: float | None = None
    at_most: float | None = None
    times_at_least: float | None = None
    times_at_most: float | None = None


class Measure(_Strict):
    """The shares of the two costs of returns that an action is taken to avert, and where that is known from."""

    handling: Share = 0.0
    value_loss: Share = 0.0
    source: str


class Entry(_Strict):
    """A kind of segment: its name, when a segment is one, what to say of it and what to do.

    ``summary`` is a list of clauses; one that speaks of an unknown figure is left out.
    """

    name: Annotated[str, Field(pattern=r"^[^,]*[^,\d\s]$")]
    when: dict[str, Bounds] = {}
    summary: list[str]
    action: str
    saves: Measure | None = None


class Words(_Strict):
    """How a segment is told from its likes if a feature is higher, or lower, than theirs."""

    high: str | None = None
    low: str | None = None


class Cost(_Strict):
    """A figure and where it is known from."""

    value: Annotated[float, Field(ge=0)]
    source: str


class Costs(_Strict):
    """What a return costs beside the refund.

    ``handling_per_line`` is money per returned line, in the currency of the order lines; ``value_lost_share`` is the
    share of the returned value that is lost on resale.
    """

    handling_per_line: Cost
    value_lost_share: Cost


class Vocabulary(_Strict):
    """Everything of the YAML file; the file says in comments how to change it."""

    costs: Costs
    outliers: Entry
    names: list[Entry]
    closing: list[str] = []
    words: dict[str, Words]

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        entries = [self.outliers, *self.names]
        names = [entry.name for entry in entries]
        if len(set(names)) < len(names):
            raise ValueError("two entries have the same name")
        if not self.names or self.names[-1].when or not all(entry.when for entry in self.names[:-1]):
            raise ValueError("the last of the names, and no other, must be without conditions")
        clauses = [*self.closing, *(clause for entry in entries for clause in entry.summary)]
        spoken_of = {field for clause in clauses for _, field, _, _ in Formatter().parse(clause) if field is not None}
        unknown = (spoken_of | {fact for entry in entries for fact in entry.when}) - FACTS | set(self.words) - {
            *FEATURES
        }
        if unknown:
            raise ValueError(f"not known: {', '.join(sorted(unknown))}")
        return self

    def base_of(self, name: str) -> Entry | None:
        """Return the entry whose name, bare or followed by a qualifier, is ``name``; None if there is none."""
        bare = re.sub(r"(, .*| \d+)$", "", name)
        return next((entry for entry in self.names if entry.name == bare), None)


def load_vocabulary(path: Path | None = None) -> Vocabulary:
    """Read a vocabulary from a YAML file; by default the one beside this module.

    Raises
    ------
    pydantic.ValidationError
        If a key is missing or unknown, or a fact is spoken of that does not exist.
    """
    path = path or Path(__file__).with_name("vocabulary.yaml")
    return Vocabulary.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
