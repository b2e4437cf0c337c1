"""Damages files as disks, networks, other programs and ill will do: bytes, texts, structures, archives, whole trees.

All is drawn from the `random.Random` that is given, so that a case can be made again from its number.
"""

import io
import json
import re
import struct
import tarfile
import zipfile
import zlib
from contextlib import suppress

LONG = "x" * 70_000
TEXTS = [
    "", " ", "\0", "a\0b", "\ud800", "\x1b[2J", "a\nb", "\r", "../../x", "/etc/passwd", "C:\\x\\y.png", "https://[::1/x.png", "%00", "%ff",
    "-1", "0", "1e999", "nan", "NaN", "9" * 5000, "٣", "²", "a" * 300, LONG, "é", "e\u0301", "\u202e", "true", "null", "255", "[", "{", "#12345",
    "s3://b/k", "data:image/png;base64,AAAA", "2024-01-01", "//x", "a/../b", ".", "..", "~", "$HOME", "{}", "%s", "__class__",
]  # fmt: skip
NUMBERS = [
    0, 1, -1, 2, 7, 255, 256, 65_535, 65_536, 2**31 - 1, 2**31, -(2**31), 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**30, 10**400,
    0.0, -0.0, 0.5, 1e-300, 1e9, 1e18, 1e300, -1e300,
]  # fmt: skip
RAW = [
    "NaN",
    "Infinity",
    "-Infinity",
    "9" * 5000,
    "1e400",
    "-" + "9" * 400,
    "[" * 100_000,
    '{"a":' * 50_000,
    "[" * 900 + "]" * 900,
    "'x'",
    "",
]
"""What JSON text may hold and Python's values do not."""


def mutate(rng, files, others):
    """Return a damaged copy of a tree, path -> bytes, or `None` for a path that shall be a folder.

    `others` are whole files of other kinds, which may take the place of one.
    """
    files = dict(files)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        name = rng.choice(sorted(files))
        if rng.random() < 0.06:
            change_tree(rng, files, name, others)
        elif files[name] is not None:
            files[name] = mutate_file(rng, name, files[name])
    return files


def change_tree(rng, files, name, others):
    """Take a file away, give it another name, another's content, or make a folder of it."""
    kind = rng.randrange(6)
    if kind == 0:
        del files[name]
        if not files:
            files["empty"] = b""
    elif kind == 1:
        files[name] = None
    elif kind == 2:
        files[name] = rng.choice(others)
    elif kind == 3:
        folder, _, last = name.rpartition("/")
        stem, dot, suffix = last.rpartition(".")
        new = rng.choice(
            [f"{stem}{dot}{rng.choice(['png', 'jpg', 'tif', 'json', 'txt', 'zip', 'xml', 'tar', 'JPG', 'gif', 'webp', 'toml', 'yaml', 'csv'])}", "a" * 250 + dot + suffix,
             "\udcff" + last, "new\nline" + last, " " + last, f".{last}", f"._{last}", f"{last}.bak", f"{stem}_mask{dot}{suffix}", f"x/{last}", f"{last} ", "é" + last, "e\u0301" + last]
        )  # fmt: skip
        files[f"{folder}/{new}" if folder else new] = files.pop(name)
    elif kind == 4:
        files[f"{name}.copy.{name.rpartition('.')[2]}"] = files[name]
    else:
        other = rng.choice(sorted(files))
        files[name], files[other] = files[other], files[name]


def mutate_file(rng, name, data):
    """Damage a file by what it is, or simply by its bytes."""
    structured = next((change for sign, change in KINDS if sign(name, data)), None)
    if structured is not None and rng.random() < 0.75:
        with suppress(Exception):  # what is damaged already has no structure
            return structured(rng, data)
    return mutate_bytes(rng, data)


# Bytes


def mutate_bytes(rng, data):
    """Flip bits, cut, insert, repeat, overwrite."""
    data = bytearray(data)
    kind = rng.randrange(10)
    at = rng.randrange(len(data) + 1)
    if kind <= 2:
        for _ in range(rng.choice((1, 1, 3, 20)) if data else 0):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 3:
        del data[at:]
    elif kind == 4:
        data[at:at] = rng.choice(
            (b"\0", b"\xff\xfe", b"\xef\xbb\xbf", rng.randbytes(rng.randrange(1, 40)), b"\x80", b"\n", b"\0" * 5000)
        )
    elif kind == 5:
        del data[at : at + rng.randrange(1, 200)]
    elif kind == 6:
        data[at:at] = data[at : at + rng.randrange(1, 500)] * rng.choice((1, 2, 50))
    elif kind == 7:
        number = rng.choice(
            (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1, 65500, 50_000)
        )
        width = rng.choice((1, 2, 4, 8))
        data[at : at + width] = (number % 2 ** (8 * width)).to_bytes(width, rng.choice(("little", "big")))
    elif kind == 8:
        size = rng.randrange(1, 64)
        data[at : at + size] = bytes(len(data[at : at + size]))
    else:
        return rng.choice(
            (
                b"",
                b"\0" * rng.randrange(1, 3000),
                rng.randbytes(rng.randrange(1, 300)),
                bytes(data) * 2,
                bytes(data[::-1]),
            )
        )
    return bytes(data)


# Texts

_NUMBER = re.compile(rb"-?\d+(\.\d+)?")
_WORD = re.compile(rb"[A-Za-z_][A-Za-z_0-9]*")
_LARGEST = 2**20
"""Bytes by which a text grows at once: what is repeated may be long already."""


def mutate_text(rng, data):
    """Change numbers, words and lines of a text."""
    kind = rng.randrange(9)
    lines = data.split(b"\n")
    line = rng.randrange(len(lines))
    if kind <= 2 and (found := list((_NUMBER, _WORD)[kind % 2].finditer(data))):
        one = rng.choice(found)
        value = rng.choice([*map(str, NUMBERS), *TEXTS, *RAW]).encode("utf-8", "surrogatepass")
        return data[: one.start()] + value + data[one.end() :]
    if kind == 3:
        del lines[line]
    elif kind == 4:
        again = lines[rng.randrange(len(lines))]
        lines[line:line] = [again] * min(rng.choice((1, 1, 3000)), 1 + _LARGEST // (len(again) + 1))
    elif kind == 5:
        lines[line] = lines[line][: rng.randrange(len(lines[line]) + 1)]
    elif kind == 6:
        lines[line] += rng.choice([*TEXTS, *RAW]).encode("utf-8", "surrogatepass")
    elif kind == 7:
        rng.shuffle(lines)
    else:
        return rng.choice(
            (
                b"\xef\xbb\xbf" + data,
                data.replace(b"\n", b"\r\n"),
                data.decode("utf-8", "replace").encode("utf-16"),
                data.replace(b" ", b"\t"),
                data.replace(b"\n", b"\x85"),
                data.replace(b'"', b"'"),
            )
        )
    return b"\n".join(lines)


def mutate_json(rng, data):
    """Change one place of JSON, also by what only its text can hold."""
    content = json.loads(data)
    places = list(_places(content))
    if not places:
        return rng.choice(RAW).encode()
    holder, key = rng.choice(places)
    kind = rng.randrange(9)
    mark = None
    if kind == 0:
        del holder[key]
    elif kind == 1:
        other, other_key = rng.choice(places)
        holder[key] = json.loads(json.dumps(other[other_key]))
    elif kind == 2 and isinstance(holder, dict):
        holder[rng.choice(TEXTS)] = holder.pop(key)
    elif kind == 3 and isinstance(holder, list):
        holder[key:key] = [json.loads(json.dumps(holder[key]))] * rng.choice((1, 1, 1000))
    elif kind == 4:
        holder[key] = rng.choice(([holder[key]], {"a": holder[key]}, str(holder[key]), [], {}, [[]], [{}]))
    elif kind == 5:
        mark = rng.choice(RAW)
        holder[key] = "\x01MARK\x01"
    else:
        holder[key] = rng.choice([*TEXTS, *NUMBERS, None, True, False, [], {}, [1], [[1, 2]], ["a"], {"a": 1}])
    text = json.dumps(content) if rng.random() < 0.9 else json.dumps(content, indent=1)
    if mark is not None:
        text = text.replace(json.dumps("\x01MARK\x01"), mark)
    elif kind == 2 and rng.random() < 0.3:
        text = text.replace("{", '{"id": 3, "id": 4, ', 1)
    return text.encode("utf-8", "surrogatepass")


def _places(value):
    """Yield every place in nested lists and tables as holder and key; of long lists the first."""
    if isinstance(value, dict):
        for key in list(value)[:50]:
            yield value, key
            yield from _places(value[key])
    elif isinstance(value, list):
        for key in range(min(len(value), 12)):
            yield value, key
            yield from _places(value[key])


def mutate_json_lines(rng, data):
    """Change a line of JSON lines as JSON."""
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    lines[at] = mutate_json(rng, lines[at])
    return b"\n".join(lines)


YAML = [
    b"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\nnames: [*d,*d,*d,*d,*d,*d,*d]\n",
    b"names: !!python/object/apply:os.system ['touch PWNED']\n", b"? [a, b]\n: c\n", b"names: {0: 2024-01-01, 1: 12:30:45}\n", b"- - - - - -\n",
    b"names: &x\n  - *x\n", b"<<: 3\n", b"names: !!binary aGk=\n", b"names: {{a: b}: c}\n", b"%YAML 9.9\n---\n", b"names: !!set {a, b}\n", b"---\na\n---\nb\n",
    b"names: " + b"[" * 5000, b"=: 3\n", b"names: 0x_\n", b"names: 0b_\n", b"names: 1:60:99\n", b"names: !!int x\n", b"names: !!timestamp x\n",
]  # fmt: skip


def mutate_yaml(rng, data):
    """Put in what YAML alone can do, or treat it as text."""
    if rng.random() < 0.25:
        return rng.choice(YAML) + (data if rng.random() < 0.5 else b"")
    return mutate_text(rng, data)


XML = [
    b'<?xml version="1.0"?><!DOCTYPE z [<!ENTITY a "xxxxxxxxxx"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;"><!ENTITY e "&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;"><!ENTITY f "&e;&e;&e;&e;&e;&e;&e;&e;&e;&e;">]><annotations><meta>&f;</meta></annotations>',
    b'<?xml version="1.0"?><!DOCTYPE z [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotations><version>&x;</version></annotations>',
    b"<a>" * 50_000, b'<?xml version="1.0" encoding="utf-32"?><annotations/>', b'<?xml version="1.0" encoding="no-such"?><annotations/>',
]  # fmt: skip


def mutate_xml(rng, data):
    """Put in what XML alone can do, or treat it as text."""
    return rng.choice(XML) if rng.random() < 0.15 else mutate_text(rng, data)


# Archives


def mutate_zip(rng, data):
    """Damage an entry, or the names of entries; what wrote the archive stays whole."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = [(info.filename, archive.read(info)) for info in archive.infolist()]
    at = rng.randrange(len(entries))
    name, content = entries[at]
    kind = rng.randrange(8)
    if kind < 4:
        entries[at] = name, mutate_file(rng, name, content)
    elif kind == 4:
        bad = [
            "../x.png",
            "/abs.png",
            f"./{name}",
            "a" * 300,
            f"{name}/",
            f"a//{name}",
            "C:\\x.png",
            name.upper(),
            "..\\x",
            f"\udcff{name}",
            ".",
            "..",
            "./",
            "__MACOSX/._a",
            name + "\\",
            "/",
        ]
        entries[at] = rng.choice(bad), content
    elif kind == 5:
        entries.append(rng.choice(entries))
    elif kind == 6:
        entries[at] = name, content + b"\0" * rng.choice((1000, 10_000, 100_000, 3_000_000))
    else:
        del entries[at]
    out = io.BytesIO()
    with zipfile.ZipFile(
        out, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    ) as archive:
        for one, held in entries:
            info = zipfile.ZipInfo(one.encode("utf-8", "replace").decode())
            info.compress_type = archive.compression
            if rng.random() < 0.05:
                info.external_attr = (
                    rng.choice((0xA1FF, 0x11FF, 0x61FF, 0x41FF)) << 16
                )  # a link, a pipe, a device, a folder
            archive.writestr(info, held)
    packed = bytearray(out.getvalue())
    if rng.random() < 0.15 and (found := packed.find(b"PK\1\2")) >= 0:  # a claim of the list of entries
        offset, width = rng.choice(((8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (42, 4)))
        packed[found + offset : found + offset + width] = rng.randbytes(width)
    return bytes(packed)


def mutate_tar(rng, data):
    """Damage an entry, or what a header claims, with a checksum that is right."""
    if rng.random() < 0.5:
        block = 512 * rng.randrange(max(len(data) // 512, 1))
        header = bytearray(data[block : block + 512])
        offset, width = rng.choice(
            ((0, 100), (100, 8), (124, 12), (136, 12), (156, 1), (157, 100), (257, 8), (345, 155))
        )
        value = rng.choice(
            (
                b"",
                b"\0" * width,
                b"9" * width,
                b"7" * width,
                b"\x80" + b"\xff" * (width - 1),
                b"../x.png",
                b"\xff\xfe",
                b"-1",
                b"x",
                b"L",
                b"g",
                b"S",
                b"2",
                b"K",
            )
        )
        header[offset : offset + width] = value[:width].ljust(width, b"\0")
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % (sum(header) & 0o777777)
        return data[:block] + bytes(header) + data[block + 512 :]
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        entries = [(info, archive.extractfile(info).read() if info.isfile() else b"") for info in archive]
    with tarfile.open(fileobj=out, mode="w", format=rng.choice((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT))) as archive:
        at = rng.randrange(len(entries))
        for number, (info, content) in enumerate(entries):
            if number == at:
                kind = rng.randrange(6)
                if kind < 2:
                    content = mutate_file(rng, info.name, content)  # noqa: PLW2901
                elif kind == 2:
                    info.name = rng.choice(
                        (
                            "../x.png",
                            "/abs.png",
                            f"./{info.name}",
                            "a" * 300 + ".png",
                            "é" * 90 + ".png",
                            ".",
                            "",
                            "a//b.png",
                        )
                    )
                elif kind == 3:
                    info.type = rng.choice(
                        (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE)
                    )
                    info.linkname = rng.choice(("/etc/passwd", "../..", info.name, "a.png"))
                    content = b""  # noqa: PLW2901
                elif kind == 4:
                    info.pax_headers = {
                        rng.choice(
                            (
                                "path",
                                "size",
                                "mtime",
                                "GNU.sparse.major",
                                "GNU.sparse.map",
                                "comment",
                                "hdrcharset",
                                "linkpath",
                            )
                        ): rng.choice(TEXTS).encode("utf-8", "replace").decode()
                    }
                else:
                    archive.addfile(info, io.BytesIO(content))
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


# Pictures


def mutate_png(rng, data):
    """Change a chunk, with a checksum that is right: sizes, depth, palette, texts."""
    chunks, at = [], 8
    while at + 8 <= len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        chunks.append([kind, data[at + 8 : at + 8 + size]])
        at += 12 + size
    chunk = rng.choice(chunks)
    if rng.random() < 0.4 or not chunk[1]:
        chunk = chunks[0]
    kind = rng.randrange(6)
    if chunk[0] == b"IHDR" and kind < 4:
        width, height, *rest = struct.unpack(">IIBBBBB", chunk[1])
        big = rng.choice((0, 1, 2, 50_000, 65_535, 2**31 - 1, 2**32 - 1))
        if kind < 2:
            width, height = rng.choice(((big, height), (width, big), (big, big)))
        else:
            rest[rng.randrange(5)] = rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 255))
        chunk[1] = struct.pack(">IIBBBBB", width, height, *rest)
    elif kind == 4:
        chunks.insert(
            1,
            [
                rng.choice((b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"tRNS", b"acTL", b"gAMA", b"PLTE", b"sBIT")),
                rng.choice((b"", b"a\0b", rng.randbytes(40), b"A\0\0" + zlib.compress(b"\0" * 3_000_000))),
            ],
        )
    elif kind == 5:
        chunks.remove(chunk)
    else:
        chunk[1] = mutate_bytes(rng, chunk[1])
    packed = (
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )
    return data[:8] + b"".join(packed)


def mutate_jpeg(rng, data):
    """Change a marker segment: sizes, tables, EXIF."""
    segments, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        size = struct.unpack(">H", data[at + 2 : at + 4])[0]
        segments.append((at, size))
        at += 2 + size
    at, size = rng.choice(segments)
    body = data[at + 4 : at + 2 + size]
    if data[at + 1] in (0xC0, 0xC2) and rng.random() < 0.7:
        side = struct.pack(">H", rng.choice((0, 1, 65_535, 50_000)))
        body = body[:1] + rng.choice((side + body[3:5], body[1:3] + side, side + side)) + body[5:]
    else:
        body = mutate_bytes(rng, body)[:65_000]
    return data[: at + 2] + struct.pack(">H", len(body) + 2) + body + data[at + 2 + size :]


def mutate_tiff(rng, data):
    """Change an entry of the first directory."""
    order = "<" if data[:2] == b"II" else ">"
    [at] = struct.unpack(order + "I", data[4:8])
    [count] = struct.unpack(order + "H", data[at : at + 2])
    entry = at + 2 + 12 * rng.randrange(count)
    tag, kind, number, value = struct.unpack(order + "HHII", data[entry : entry + 12])
    which = rng.randrange(4)
    if which == 0:
        tag = rng.choice(
            (256, 257, 258, 259, 262, 277, 278, 273, 279, 339, 317, 274, 34665, 330, 320, rng.randrange(65_536))
        )
    elif which == 1:
        kind = rng.randrange(20)
    elif which == 2:
        number = rng.choice((0, 1, 3, 2**16, 2**31, 2**32 - 1))
    else:
        value = rng.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 64, 50_000, 2**31, 2**32 - 1))
    return data[:entry] + struct.pack(order + "HHII", tag, kind, number, value) + data[entry + 12 :]


# Tensors


def mutate_safetensors(rng, data):
    """Change the header: the shapes it claims, and the JSON within its metadata."""
    size = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + size]
    content = json.loads(header)
    metadata = content.get("__metadata__", {})
    if metadata and rng.random() < 0.6:
        name = rng.choice(sorted(metadata))
        try:
            json.loads(metadata[name])
            metadata[name] = mutate_json(rng, metadata[name].encode()).decode("utf-8", "replace")
        except ValueError:
            metadata[name] = rng.choice(TEXTS).encode("utf-8", "replace").decode()
        header = json.dumps(content).encode()
    else:
        header = mutate_json(rng, header)
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[8 + size :]


def is_json(name, data):
    return name.endswith(".json") or data[:1] in (b"{", b"[")


KINDS = (
    (lambda name, data: data[:4] == b"PK\3\4" and not name.endswith(".pth"), mutate_zip),
    (lambda name, data: data[257:262] == b"ustar", mutate_tar),
    (lambda name, data: data[:4] == b"\x89PNG", mutate_png),
    (lambda name, data: data[:2] == b"\xff\xd8", mutate_jpeg),
    (lambda name, data: data[:4] in (b"II*\0", b"MM\0*"), mutate_tiff),
    (lambda name, data: name.endswith(".safetensors"), mutate_safetensors),
    (lambda name, data: name.endswith(".jsonl"), mutate_json_lines),
    (is_json, mutate_json),
    (lambda name, data: name.endswith((".yaml", ".yml")), mutate_yaml),
    (lambda name, data: name.endswith(".xml"), mutate_xml),
    (lambda name, data: name.endswith((".toml", ".txt", ".csv", ".py")), mutate_text),
)
"""What a file is, and how such a one is damaged; the first that fits."""
