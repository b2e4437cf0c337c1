"""Label Studio's JSON and JSON-MIN: which annotation of a task counts, and which of its images a region belongs to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Annotated, Any

from pydantic import BeforeValidator

from semivl_cli.data.annotation.annotations import Annotations, Drawing, left_out
from semivl_cli.data.annotation.format_contract import Format, Given
from semivl_cli.data.annotation.image_names import names_picture
from semivl_cli.data.annotation.tree import Tree
from semivl_cli.data.formats.labelstudio_regions import ANSWERS, Region, Result, paint_regions, regions_of
from semivl_cli.documents import Document, Id, as_type
from semivl_cli.errors import InputError

_NO_PICTURE = "its data name no picture"


class _Annotation(Document):
    result: list[Result] | None = None
    was_cancelled: bool | None = None
    skipped: bool | None = None
    ground_truth: bool | None = None
    created_at: str | float | None = None
    updated_at: str | float | None = None

    @property
    def rank(self) -> tuple[bool, str]:
        """Of several annotations the one that is the ground truth counts, else the newest."""
        return bool(self.ground_truth), str(self.updated_at or self.created_at or "")


def _texts(data: object) -> object:
    """Return the values of a task that may name pictures: texts, and lists of texts."""
    if not isinstance(data, Mapping):
        return data
    lists = {key: [value] if isinstance(value, str) else value for key, value in data.items()}
    return {
        key: value
        for key, value in lists.items()
        if isinstance(value, list) and value and all(isinstance(text, str) for text in value)
    }


class _Task(Document):
    id: Id | None = None
    data: Annotated[dict[str, list[str]], BeforeValidator(_texts)]
    annotations: list[_Annotation] | None = None
    completions: list[_Annotation] | None = None  # before version 1
    drafts: list[object] | None = None
    predictions: list[object] | None = None
    is_min: bool = False

    @cached_property
    def pictures(self) -> dict[str, list[str]]:
        """The data that name pictures; where several name the same one, the first of these."""
        found = {key: texts for key, texts in self.data.items() if any(map(names_picture, texts))}
        same = {tuple(text.rpartition("/")[2] for text in texts): key for key, texts in reversed(found.items())}
        return {key: found[key] for key in found if key in same.values()} or (self.data if len(self.data) == 1 else {})


@dataclass(slots=True)
class _Found:
    """What became of the tasks of a file."""

    drawings: list[Drawing] = field(default_factory=list)
    labels: dict[str, None] = field(default_factory=dict)
    flat: Counter[str] = field(default_factory=Counter)
    unlabeled: int = 0
    open_polygons: int = 0
    several: int = 0
    idle: Counter[str] = field(default_factory=Counter)
    unseen: int = 0
    strays: list[str] = field(default_factory=list)

    def notes(self, tasks: int) -> Iterator[str]:
        """Yield what is worth telling."""
        if self.several:
            yield f"{self.several} tasks were annotated more than once: the ground truth counts, else the newest"
        if self.idle:
            reasons = ", ".join(f"{count} {reason}" for reason, count in self.idle.items() if reason)
            why = f" ({reasons})" if reasons else ""
            yield f"{self.idle.total()} of {tasks} tasks were not annotated{why}: their images have no mask"
        yield from left_out(self.flat)
        if self.unlabeled:
            yield f"{self.unlabeled} regions have no label: their pixels are ignored"
        if self.open_polygons:
            yield f"{self.open_polygons} polygons are not closed: taken as if they were"
        if self.unseen:
            yield f"{self.unseen} images of tasks with several have no region: they have no mask"


def find_labelstudio(given: Given) -> list[Tree]:
    """Return the JSON files that hold a list of tasks, or one."""
    contents = ((file, content if isinstance(content, list) else [content]) for file, content in given.json)
    return [file for file, tasks in contents if tasks and all(_is_task(task) for task in tasks[:10])]


def open_labelstudio(file: Tree) -> Annotations:
    """Open an export; a task that was not annotated is an image without a mask.

    Raises:
        InputError: if it holds what Label Studio does not write.
    """
    tasks = _read_tasks(file)
    found = _Found()
    for task in tasks:
        valid = [one for one in task.annotations or task.completions or () if not one.was_cancelled and not one.skipped]
        found.several += len(valid) > 1
        if valid:
            chosen = max(reversed(valid), key=lambda one: one.rank)
            _take_task(task, regions_of(chosen.result or ()), file, found)
        else:
            found.idle[_why_idle(task)] += 1
    return Annotations(
        kind="Label Studio JSON",
        where=str(file),
        labels=found.labels,
        drawings=lambda: found.drawings,
        notes=list(found.notes(len(tasks))),
        strays=found.strays,
        on_top="the region that was drawn later lies on top",
    )


def _is_task(task: object) -> bool:
    if not isinstance(task, Mapping):
        return False
    full = isinstance(task.get("data"), Mapping)
    return (full and any(key in task for key in ("annotations", "completions", "predictions"))) or _is_min(task)


def _is_min(task: Mapping[str, Any]) -> bool:
    return "data" not in task and ("annotator" in task or "annotation_id" in task)


def _read_tasks(file: Tree) -> list[_Task]:
    content = file.json()
    records: list[Any] = content if isinstance(content, list) else [content]
    if not any(isinstance(record, Mapping) and _is_min(record) for record in records):
        return as_type(records, list[_Task], str(file))
    merged: dict[str, dict[str, Any]] = {}
    for number, record in enumerate(as_type(records, list[dict[str, Any]], str(file))):
        task = _unfolded(record)
        first = merged.setdefault(repr(record.get("id", f"without id {number}")), task)
        if first is not task:  # a record an annotation
            first["annotations"] += task["annotations"]
    return as_type(list(merged.values()), list[_Task], str(file))


def _unfolded(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record of JSON-MIN as a task: regions stand among the data, under the names of their controls."""
    results, data = [], {}
    for name, value in record.items():
        values = [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
        for one in values:
            kind = next((key for key in one if key.endswith("labels")), None)
            if kind or "original_width" in one:
                results.append({**one, "type": next((key for key in one if key in ANSWERS), kind), "value": one})
        if not values and name not in ("id", "annotator", "annotation_id", "created_at", "updated_at"):
            data[name] = value
    annotation = {"result": results, "created_at": record.get("created_at"), "updated_at": record.get("updated_at")}
    return {"id": record.get("id"), "data": data, "annotations": [annotation], "is_min": True}


def _why_idle(task: _Task) -> str:
    if task.annotations or task.completions:
        return "cancelled"
    if task.drafts:
        return "with a draft alone"
    return "with a prediction alone" if task.predictions else ""


def _take_task(task: _Task, regions: Sequence[Region], file: Tree, found: _Found) -> None:
    """Draw the regions of a task on the images that they belong to."""
    origin = f"{file}: task {'(without id)' if task.id is None else task.id}"
    try:
        drawn = _by_image(task, regions)
    except InputError as error:
        found.strays.append(f"{origin}: {error}")
        return
    found.unseen += max(sum(map(len, task.pictures.values())) - len(drawn), 0)
    for region in regions:
        if region.has_area:
            found.labels.update(region.labels)
            found.unlabeled += not region.labels
            found.open_polygons += region.result.value.closed is False
        else:
            found.flat[region.kind] += 1
    for image, on_it in drawn.items():
        found.drawings.append(
            Drawing(
                image=image,
                origin=origin,
                stamp=file.stamp,
                size=next(filter(None, (region.size for region in on_it)), None),
                marks=len(on_it),
                paint=partial(paint_regions, on_it, origin),
            )
        )


def _by_image(task: _Task, regions: Sequence[Region]) -> dict[str, list[Region]]:
    """Return what was drawn on each image of a task: on the only one perhaps nothing, of several those with regions.

    Raises:
        InputError: if the task names no picture, or it cannot be told which one is meant.
    """
    pictures = [image for images in task.pictures.values() for image in images]
    key_of = _keys_of(task, {region.result.to_name for region in regions if region.has_area})
    drawn: dict[str, list[Region]] = {}
    for region in regions:
        name = region.result.to_name
        if region.has_area:
            drawn.setdefault(_image_of(task, region, key_of[name]), []).append(region)
        elif len(pictures) == 1 and (name in task.pictures or name not in task.data):
            drawn.setdefault(pictures[0], []).append(region)
    if not drawn and not pictures:
        raise InputError(_NO_PICTURE)
    return drawn or ({pictures[0]: []} if len(pictures) == 1 else {})


def _keys_of(task: _Task, names: set[str | None]) -> dict[str | None, str]:
    """Return the datum that each image tag shows: the one that is called like it, else the only one that is left.

    Raises:
        InputError: if that cannot be told.
    """
    known: dict[str | None, str] = {name: name for name in names if name in task.data}
    others = names - set(known)
    left = [key for key in task.pictures if key not in known]
    if not others or (len(others) == 1 and len(left) == 1):
        return {**known, **dict.fromkeys(others, next(iter(left), ""))}
    if not task.pictures:
        raise InputError(_NO_PICTURE)
    if task.is_min:
        raise InputError(
            f"its data name the pictures {', '.join(task.pictures)}, and JSON-MIN does not say which one a region "
            "belongs to: export as JSON"
        )
    tags = ", ".join(repr(name) for name in sorted(others, key=str))
    raise InputError(
        f"its data name the pictures {', '.join(task.pictures)}, and regions belong to {tags}: which of several it is "
        "cannot be told: call the tags in the JSON (to_name) like the data that they show"
    )


def _image_of(task: _Task, region: Region, key: str) -> str:
    images, index = task.data[key], region.result.item_index
    if index is None and len(images) > 1:
        what = "JSON-MIN does not say which one a region belongs to: export as JSON" if task.is_min else "no item_index"
        raise InputError(f"its data name several images ({len(images)}), and {region}: {what}")
    if not 0 <= (index or 0) < len(images):
        raise InputError(f"{region}: its item_index is {index}, but the images of the task are {len(images)}")
    return images[index or 0]


FORMAT = Format(title="Label Studio JSON", find=find_labelstudio, open=open_labelstudio)
