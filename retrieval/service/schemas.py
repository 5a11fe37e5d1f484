"""Requests and responses of the HTTP API as typed models, from which the OpenAPI page is made.

Requests with unknown fields are refused, so that a misspelt filter is an error and not a filter without effect. Limits
that an operator sets are not checked here: `service.search` and `service.concept_stream` check k and the number of
queries, `service.security` the bytes of a body.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from index.store.embedding_store import Modality
from retrieval.data_frames import frame_of_rows
from retrieval.query_blocks import Mode
from retrieval.rules import SAME_IMAGE, CrossConcept, Rules
from retrieval.search.planner import Method
from retrieval.service.settings import MOST_QUERIES

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "COLUMNS",
    "MOST_TEXT",
    "ColumnFilter",
    "ConceptItem",
    "ConceptListResponse",
    "ConceptListText",
    "ConceptsRequest",
    "Filters",
    "IndexInfo",
    "IndexesResponse",
    "PageLink",
    "Problem",
    "Query",
    "QueryResult",
    "Row",
    "RulesItem",
    "SearchOptions",
    "SearchRequest",
    "SearchResponse",
]

# The metadata columns of each result, unless a request names others.
COLUMNS = ("key", "shard", "caption", "url", "width", "height")

# Characters of a text that is encoded; models read some tens of words. To clean a text of HTML entities in each other
# takes time in proportion to the square of its length: of 10,000 characters most of a second.
MOST_TEXT = 2_000
MOST_DIMENSIONS = 65_536  # of a vector: far beyond any model's
MOST_LIST_TEXT = 1_000_000  # characters of a concept list; of YAML fewer, see `retrieval.concept_yaml`

Name = Annotated[str, Field(min_length=1, max_length=1_000)]
Cosine = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]
RowId = Annotated[int, Field(ge=0, lt=1 << 63)]
Comparison = Literal["eq", "ne", "lt", "le", "gt", "ge", "in", "contains", "is_null", "not_null"]


# A long list in which everything is wrong must not cost an error for each: reading ends at the first one (fail_fast).
Numbers = Annotated[
    list[Annotated[float, Field(allow_inf_nan=False)]], Field(max_length=MOST_DIMENSIONS, fail_fast=True)
]


class Strict(BaseModel):
    """A model that refuses fields it doesn't know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Query(Strict):
    """One query: exactly one of its fields."""

    text: Annotated[str, Field(max_length=10_000)] | None = Field(
        None, description=f"of which the first {MOST_TEXT:,} characters are read, or as many as the model reads"
    )
    image: str | None = Field(None, description="an image file's bytes in base64")
    image_url: Annotated[str, Field(max_length=4_096)] | None = Field(
        None, description="an image on the web; refused unless the operator allows fetching"
    )
    embedding: Numbers | None = Field(None, description="a vector of the store's model; scaled to unit length")
    embedding_b64: Annotated[str, Field(max_length=MOST_DIMENSIONS * 6)] | None = Field(
        None, description="a vector as little-endian float32 bytes in base64"
    )
    row_id: RowId | None = Field(None, description="the image of a row (or its caption, where captions are searched)")

    @model_validator(mode="after")
    def _one_of(self) -> Query:
        given = [name for name in Query.model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            found = f"has {', '.join(given)}" if given else "is empty"
            raise ValueError(f"a query {found}: give exactly one of {', '.join(Query.model_fields)}")
        return self


FilterText = Annotated[str, Field(max_length=10_000)]
FilterValues = Annotated[list[FilterText | bool | int | float], Field(max_length=100_000, fail_fast=True)]


class ColumnFilter(Strict):
    """A condition on one metadata column. A null value meets only `is_null` and `ne`."""

    column: Annotated[str, Field(min_length=1, max_length=200)]
    op: Comparison = "eq"
    value: FilterText | bool | int | float | FilterValues | None = Field(
        None, description="a list for `in`; text, found in any case, for `contains`; nothing for the null tests"
    )


class Filters(Strict):
    """Conditions on results. Rows that were forgotten are never results."""

    min_score: Cosine | None = None
    min_side: Annotated[int, Field(ge=1)] | None = Field(None, description="pixels of the shorter side")
    near_duplicates: Cosine | None = Field(None, description="drop images this close to a better result")
    columns: Annotated[list[ColumnFilter], Field(max_length=20, fail_fast=True)] = []
    exclude: Annotated[list[RowId], Field(max_length=100_000, fail_fast=True)] = Field(
        [], description="row ids not to return"
    )


class SearchOptions(Strict):
    """The options of a search, for queries of any kind."""

    modality: Modality = Field("image", description="what is searched: images or captions")
    k: Annotated[int, Field(ge=1)] = 10
    filters: Filters = Filters()
    columns: Annotated[list[str], Field(max_length=50, fail_fast=True)] | None = Field(
        None, description=f"metadata of each result; by default {', '.join(COLUMNS)}"
    )
    method: Method | None = Field(None, description="by default whichever the planner expects to be faster")
    mark_duplicates: Cosine | None = Field(
        None, description=f"list for each result its near-duplicates among the results, from this cosine ({SAME_IMAGE})"
    )


class SearchRequest(SearchOptions):
    """Queries that are answered together."""

    queries: Annotated[list[Query], Field(min_length=1, max_length=MOST_QUERIES, fail_fast=True)]


class Row(BaseModel):
    """A result: its row id, its score, and the metadata columns, which are attributes too (`row.caption`)."""

    model_config = ConfigDict(extra="allow")

    row_id: int
    score: float = Field(description="cosine of query and image (or caption)")
    near_duplicates: list[int] | None = Field(None, description="row ids, where `mark_duplicates` was asked for")


def _fields(row: Row) -> dict[str, Any]:
    """A result as a dict, without `near_duplicates` where they were not asked for."""
    return row.model_dump(exclude={"near_duplicates"} if row.near_duplicates is None else None)


class QueryResult(BaseModel):
    """One query's answer, best first."""

    rows: list[Row]
    text_cut: bool = Field(False, description="the text was longer than the model's context; its end was not read")
    searched: int = Field(description="number of nearest rows that were looked at before the filters")
    complete: bool = Field(description="false when filters left fewer than k and deeper rows were not looked at")

    def __repr__(self) -> str:
        return f"QueryResult({len(self.rows)} rows)"


class SearchResponse(BaseModel):
    """The answers, in the order of the queries."""

    results: list[QueryResult]
    plan: str = Field(description="how the rows were found, and why in this way")
    partial: bool = Field(False, description="some shards did not answer; `missing` names them")
    missing: list[str] = []

    def __repr__(self) -> str:
        return f"SearchResponse({len(self.results)} queries, {sum(len(found.rows) for found in self.results)} rows)"

    def to_pandas(self) -> pd.DataFrame:
        """A data frame with a line for each result: query (from 0), rank (from 1), row_id, score, metadata columns.

        Raises BadInput when pandas is not installed.
        """
        rows = [
            {"query": query, "rank": rank, **_fields(row)}
            for query, found in enumerate(self.results)
            for rank, row in enumerate(found.rows, 1)
        ]
        return frame_of_rows(rows, ["query", "rank", "row_id", "score"])


class ConceptItem(Strict):
    """A concept of a list: as in a concept file; or its query vectors instead of prompts."""

    name: Name
    aliases: Annotated[list[Name], Field(max_length=1_000, fail_fast=True)] = []
    templates: Annotated[list[Name], Field(max_length=1_000, fail_fast=True)] | None = None
    id: str | None = None
    prompts: Annotated[list[Name], Field(max_length=1_000, fail_fast=True)] = Field(
        [], description="queries as they stand, in place of the list's templates"
    )
    embeddings_b64: str | None = Field(
        None, description="vectors [n, d] as little-endian float32 bytes in base64, instead of name and templates"
    )


class RulesItem(Strict):
    """The selection rules of `clipmine retrieve`, except the exclusion of another store, which is the operator's."""

    min_score: Cosine | None = None
    min_score_t2i: Cosine | None = None
    min_score_t2t: Cosine | None = None
    min_side: Annotated[int, Field(ge=1)] | None = None
    cross_concept: CrossConcept = "best"
    exact_duplicates: bool = True
    near_duplicates: Cosine | None = None
    cap: Annotated[int, Field(ge=1)] | None = None

    def to_rules(self) -> Rules:
        """The rules; the field `cap` is their `per_concept`."""
        fields = self.model_dump()
        return Rules(per_concept=fields.pop("cap"), **fields)


class ConceptsRequest(Strict):
    """A concept list, as `clipmine retrieve` takes it."""

    concepts: Annotated[list[Name | ConceptItem], Field(min_length=1, max_length=100_000, fail_fast=True)]
    templates: Annotated[list[Name], Field(max_length=1_000, fail_fast=True)] = Field(
        ["simple"], description="names of template sets, or texts with {}; never files"
    )
    mode: Mode = "both"
    k: Annotated[int, Field(ge=1)] = 50
    rules: RulesItem = RulesItem()
    columns: Annotated[list[str], Field(max_length=50, fail_fast=True)] | None = Field(
        None, description="metadata of each row; by default key, shard, caption, url"
    )
    reserve: Annotated[float, Field(ge=0, le=10)] = Field(
        0.5, description="how much deeper than k is searched, as a share of k; the same as the command's"
    )
    method: Method | None = None


class ConceptListText(Strict):
    """A concept list as a file has it: names, one a line, or CSV, YAML or JSON."""

    text: Annotated[str, Field(max_length=MOST_LIST_TEXT)]


class ConceptListResponse(BaseModel):
    """The concepts of a text and the list's own templates, as POST /concepts takes them."""

    concepts: list[ConceptItem]
    templates: list[str] | None = Field(None, description="the list's own; where there are none, choose some")
    notes: list[str] = Field([], description="what of the text was not read, a sentence each")


class IndexInfo(BaseModel):
    """One modality of the store and how it is searched."""

    modality: Modality
    rows: int
    indexed: int | None = Field(None, description="rows in the index; those that were added later are scanned")
    kind: str = Field(description="hnsw or exact")
    shards: int
    ef_search: int | None = Field(None, description="the recall contract's")
    recall_at_10: float | None = Field(None, description="measured at that efSearch against exact search")
    least_recall_at_10: float | None = Field(None, description="of captions and of queries that graphs find hard")
    forgotten_since_recall: int | None = Field(None, description="rows forgotten after these were measured")


class PageLink(BaseModel):
    """A further page that the service shows."""

    name: str
    href: str = Field(description="relative to the service's root")


class IndexesResponse(BaseModel):
    """A store that is served, and the names of all."""

    name: str
    stores: list[str] = Field([], description="names for the parameter `store`; the first is the default")
    generation: str = Field("", description="of the files that are open; another one after the store has changed")
    exact: bool = Field(True, description="whether an exact scan may be asked for")
    rows: int
    forgotten: int
    parts: int
    identity: str = Field(description="of the store; a selection keeps it to know its store again")
    dim: int
    model: dict[str, Any] = Field(description="the fingerprint of the model that made the vectors")
    columns: list[str]
    images: bool = Field(description="whether images can be shown")
    indexes: list[IndexInfo]
    pages: list[PageLink] = Field([], description="pages beside the search page")


class Problem(BaseModel):
    """An error: one line that says what is wrong and what to do."""

    error: str
