"""Checks of annotations before they are appended to a folder of image sets, where they can't be taken back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from index.errors import BadInput
from mining.sets.annotation import Annotation
from mining.sets.annotations import Annotations, distinct_ids

__all__ = ["check_added"]


def check_added(path: str, added: Sequence[Annotation], set_ids: pa.Array, sizes: npt.NDArray[np.int64]) -> None:
    """Raise BadInput where the folder `path` cannot take these annotations as one part.

    set_ids, sizes: the ids of the folder's sets and their numbers of members. An annotation must be of one of these
    sets and show only images that it has, be whole (`Annotation.check`), and have a parent of the same set, if any, in
    the folder or among `added`, without a circle.
    """
    places = pc.index_in(pa.array([each.set_id for each in added], pa.string()), value_set=set_ids)
    for each, place in zip(added, places.to_pylist(), strict=True):
        if place is None:
            raise BadInput(f"{path}: has no set {each.set_id!r:.100}, which an annotation ({each.kind}) names")
        each.check()
        each.check_images(int(sizes[place]))
    own = {each.annotation_id: each for each in distinct_ids(added)}
    children = [each for each in own.values() if each.parent is not None]
    if not children:
        return
    stored = _sets_of(path, {each.parent for each in children if each.parent is not None} - own.keys())
    for each in children:
        parent = str(each.parent)
        found = own[parent].set_id if parent in own else stored.get(parent)
        if found is None:
            raise BadInput(
                f"{path}: an annotation ({each.kind}) of set {each.set_id!r:.100} has the parent {parent!r:.60}, which "
                "is neither in the folder nor in this part; add the parent first"
            )
        if found != each.set_id:
            raise BadInput(
                f"{path}: an annotation ({each.kind}) of set {each.set_id!r:.100} has the parent {parent!r:.60}, which "
                f"is of set {found!r:.100}"
            )
    _check_circles(path, own)


def _sets_of(path: str, ids: set[str]) -> Mapping[str, str]:
    """{id of an annotation in the folder: its set}, as the folder is now."""
    if not ids:
        return {}
    known = Annotations.open(path).columns(["annotation_id", "set_id"])
    known = known.filter(pc.is_in(known["annotation_id"], value_set=pa.array(sorted(ids), pa.string())))
    return dict(zip(known["annotation_id"].to_pylist(), known["set_id"].to_pylist(), strict=True))


def _check_circles(path: str, own: Mapping[str, Annotation]) -> None:
    """What is in the folder was made before, so that a circle can only be among those that are added."""
    ended: set[str] = set()
    for name in own:
        chain: dict[str, None] = {}
        while name in own and name not in ended:
            if name in chain:
                each = own[name]
                raise BadInput(
                    f"{path}: the parents of an annotation ({each.kind}, {name!r:.60}) of set {each.set_id!r:.100} "
                    "lead back to it; a parent is what an annotation was made from"
                )
            chain[name] = None
            name = own[name].parent or ""
        ended.update(chain)
