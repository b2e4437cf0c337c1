import io
import zipfile
from xml.sax.saxutils import XMLGenerator

import numpy as np
import pytest

from semivl_cli.data.annotation.tree import Tree
from semivl_cli.data.formats.cvat import open_cvat
from semivl_cli.errors import InputError


@pytest.fixture
def export(tmp_path):
    """Writes an export of a task as CVAT does: `images` are (attributes, shapes), a shape its kind and attributes."""

    def write(images, *, name="annotations.xml", subset="default"):
        text = io.StringIO()
        xml = XMLGenerator(text, "utf-8")

        def element(tag, content="", **attributes):
            xml.startElement(tag, {key: str(value) for key, value in attributes.items()})
            if callable(content):
                content()
            else:
                xml.characters(content)
            xml.endElement(tag)

        def label(label_name, color):
            element("label", lambda: (element("name", label_name), element("color", color), element("type", "any")))

        def labels():
            label("Road", "#fa3253")
            label("traffic_light", "#3d3df5")

        def task():
            element("id", "7")
            element("name", "streets")
            element("subset", subset)
            element("labels", labels)

        def body():
            element("version", "1.1")
            element("meta", lambda: element("task", task))
            for number, (more, shapes) in enumerate(images):
                attributes = {"id": number, "width": 30, "height": 20, **more}
                element("image", lambda shapes=shapes: [element(kind, **more) for kind, more in shapes], **attributes)

        xml.startDocument()
        element("annotations", body)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.getvalue(), encoding="utf-8")
        return path

    return write


def shape(kind, label, z=0, **more):
    return kind, {"label": label, "source": "manual", "occluded": 0, **more, "z_order": z}


def points(corners):
    return ";".join(f"{x:.2f},{y:.2f}" for x, y in corners)


ROAD = {"xtl": "10.00", "ytl": "5.00", "xbr": "20.00", "ybr": "15.00"}


def test_polygons_boxes_and_masks_are_painted(shop, boxes, export):
    light = {"rle": "0, 16", "left": 2, "top": 0, "width": 4, "height": 4}
    path = export(
        [
            (
                {"name": "a.jpg"},
                [shape("polygon", "Road", points=points(shop.road)), shape("mask", "traffic_light", **light)],
            ),
            (
                {"name": "day1/b.jpg"},
                [shape("box", "Road", **ROAD), shape("polygon", "traffic_light", points=points(shop.light))],
            ),
            ({"name": "c.jpg"}, []),
        ]
    )
    shop.prepare(path)
    shop.same(boxes, "a", "day1/b")
    assert shop.told("1 of 3 images have no shape: they have no mask")
    assert shop.told("CVAT for images")


def test_the_archive_that_cvat_delivers_is_read_with_its_images(shop, boxes, export, tmp_path):
    drawn = [
        shape("polygon", "Road", points=points(shop.road)),
        shape("polygon", "traffic_light", points=points(shop.light)),
    ]
    export([({"name": f"{name}.jpg"}, drawn) for name in ("a", "c")])
    path = tmp_path / "task_7_annotations.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(tmp_path / "annotations.xml", "annotations.xml")
        for name in ("a", "c"):
            archive.write(shop.root / f"images/{name}.jpg", f"images/{name}.jpg")
    (shop.root / "images").rename(shop.root / "elsewhere")
    shop.prepare(path)
    shop.same(boxes, "task_7_annotations/images/a", "task_7_annotations/images/c")


def test_a_mask_has_runs_along_its_rows_that_begin_outside(export):
    path = export([({"name": "a.jpg"}, [shape("mask", "Road", rle="1, 2, 2, 1", left=28, top=18, width=3, height=2)])])
    assert np.argwhere(painted(path) == 1).tolist() == [[18, 29]]  # what lies outside is cut off


class _Key:
    background, names = 0, ("background", "road", "traffic light")

    def __init__(self, class_of):
        self.class_of = class_of


def painted(path, **class_of):
    (drawing,) = open_cvat(Tree(path)).drawings()
    return drawing.paint(_Key(class_of or {"Road": 1, "traffic_light": 2}), (20, 30)).ids


def test_boxes_and_ellipses_turn_about_their_centre(export):
    turned = export([({"name": "a"}, [shape("box", "Road", xtl=10, ytl=8, xbr=20, ybr=12, rotation="90.00")])])
    upright = export([({"name": "a"}, [shape("box", "Road", xtl=13, ytl=5, xbr=17, ybr=15)])], name="b.xml")
    assert (painted(turned) == painted(upright)).all()
    flat = export([({"name": "a"}, [shape("ellipse", "Road", cx=15, cy=10, rx=8, ry=4, rotation="90.00")])])
    y, x = np.mgrid[:20, :30] + 0.5
    assert np.count_nonzero((painted(flat) == 1) != (((x - 15) / 4) ** 2 + ((y - 10) / 8) ** 2 < 1)) <= 12


def test_the_higher_z_order_lies_on_top_then_what_is_drawn_later(export):
    over = [shape("box", "traffic_light", 1, **ROAD), shape("box", "Road", 0, **ROAD)]
    assert 1 not in painted(export([({"name": "a"}, over)]))
    later = [shape("box", "traffic_light", 0, **ROAD), shape("box", "Road", 0, **ROAD)]
    assert 2 not in painted(export([({"name": "a"}, later)], name="b.xml"))


def test_what_has_no_area_is_counted_and_needs_no_class(export):
    flat = [
        shape("polyline", "edge", points="1.00,1.00;5.00,5.00"),
        shape("skeleton", "pose"),
        ("tag", {"label": "day"}),
    ]
    source = open_cvat(Tree(export([({"name": "a"}, [*flat, shape("box", "Road", **ROAD)])])))
    assert source.labels == {"Road": (250, 50, 83)}
    assert source.notes == ["shapes that have no area are left out: polyline (1), skeleton (1)"]
    assert [drawing.marks for drawing in source.drawings()] == [3]


def test_subsets_of_tasks_images_and_folders_are_their_split(export):
    drawn = [shape("box", "Road", **ROAD)]
    of_task = open_cvat(Tree(export([({"name": "a"}, drawn)], subset="Validation"))).drawings()
    of_image = open_cvat(
        Tree(export([({"name": "a", "subset": "Test"}, drawn), ({"name": "train/b"}, drawn)]))
    ).drawings()
    assert [drawing.split for drawing in (*of_task, *of_image)] == ["val", "test", "train"]


@pytest.mark.parametrize(
    ("kind", "more", "message"),
    [
        ("polygon", {"points": "1,2;3"}, r"polygon \(Road\): expected points such as"),
        ("box", {"xtl": 1, "ytl": 1, "xbr": "x", "ybr": 5}, "expected a number for xbr, got 'x'"),
        ("mask", {"rle": "1, 2", "left": 0, "top": 0, "width": 2, "height": 2}, "does not fill its 2 x 2 pixels"),
        ("mask", {"rle": "1, b", "left": 0, "top": 0, "width": 2, "height": 2}, "no whole number"),
        ("mask", {"rle": "0, 4", "left": 0, "top": 0, "width": 10**6, "height": 10**6}, "more than 500 megapixels"),
        ("mask", {"rle": "0, 4", "left": "nan", "top": 0, "width": 2, "height": 2}, "a whole number for left"),
        ("ellipse", {"cx": "nan", "cy": 1, "rx": 1, "ry": 1}, "coordinate"),
    ],
)
def test_broken_shapes_are_told_by_image_and_kind(export, kind, more, message):
    path = export([({"name": "a"}, [shape(kind, "Road", **more)])])
    with pytest.raises(InputError, match=message) as caught:
        painted(path)
    assert "image 0" in str(caught.value)


def test_the_xml_of_films_is_refused_by_its_name(tmp_path):
    path = tmp_path / "annotations.xml"
    path.write_text('<annotations><track id="0" label="car"><box frame="0"/></track></annotations>')
    with pytest.raises(InputError, match="expected XML of the format 'CVAT for images"):
        open_cvat(Tree(path))


def test_two_images_of_one_name_are_refused_by_it(shop, export):
    box = [shape("box", "Road", **ROAD)]
    images = [({"name": "a.jpg", "task_id": 1}, box), ({"name": "a.jpg", "task_id": 2}, box), ({"name": "c.jpg"}, box)]
    images.append(({"name": "day1/b.jpg"}, box))
    shop.prepare(export(images))
    (problem,) = shop.problems["masks that cannot be matched with an image"]
    assert problem.endswith("a.jpg: 2 images are called so")
    assert [path.stem for path in (shop.root / "prepared/masks").rglob("*.png")] == ["c", "b"]
