from semivl_plugins.folder import Folder


def test_a_list_and_a_folder_of_more_images_are_unlabelled(shop, tmp_path, boxes):
    for name in ("a", "c"):
        shop.mask(f"{name}.png", boxes)
    more, listed = tmp_path / "more", tmp_path / "list.txt"
    for name in ("x", "deep/y"):
        (more / name).parent.mkdir(parents=True, exist_ok=True)
        (more / f"{name}.jpg").write_bytes(shop.image("c").read_bytes())
    listed.write_text(f"more/../more/x.jpg\n{shop.image('z', folder='elsewhere')}\n")
    shop.prepare(more)
    assert {r.id for r in Folder().records(shop.root, "train") if not r.label} == {"day1/b", "more/x", "more/deep/y"}
    shop.prepare(listed)
    assert {r.id for r in Folder().records(shop.root, "train") if not r.label} == {"day1/b", "more/x", "elsewhere/z"}
