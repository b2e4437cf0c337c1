import pytest


@pytest.mark.parametrize("layout", ["images/train", "train/images"])
def test_yolo_polygons(tmp_path, shop, boxes, layout):
    root = shop.root.parent / "yolo"
    labels = root / layout.replace("images", "labels")
    labels.mkdir(parents=True)
    (root / layout).mkdir(parents=True)
    lines = [
        f"{number} " + " ".join(f"{x / 30:.6f} {y / 20:.6f}" for x, y in points)
        for number, points in ((1, shop.road), (0, shop.light))
    ]
    for name in ("a", "c"):
        (root / layout / f"{name}.jpg").write_bytes((shop.root / "images" / f"{name}.jpg").read_bytes())
        (labels / f"{name}.txt").write_text("\n".join(lines) + "\n")
    (root / layout / "unlabelled.jpg").write_bytes((shop.root / "images/day1/b.jpg").read_bytes())
    (root / "data.yaml").write_text("path: .\ntrain: images/train\nnames: [traffic light, road]\n")
    shop.prepare(root)  # beside the images of the root
    shop.same(boxes, "a", "c")
    shop.root = tmp_path / "empty"  # in place, where the root has none
    shop.prepare(root)
    shop.same(boxes, f"yolo/{layout}/a", f"yolo/{layout}/c")
