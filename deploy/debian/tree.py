"""The tree below /opt/vedette/lib: the packages of one or more Pythons, without what a device never uses.

A distribution whose files are equal for all Pythons lies in `lib/shared`, which a .pth file puts on the path. Others
lie in `lib/pythonX.Y/site-packages`, with links to the first Python's for large files that are equal. Only files are
links: dpkg would follow a link to a folder when a later version has a folder in its place.
"""

from __future__ import annotations

import csv
import filecmp
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

SHARED = Path("lib/shared")
LINKED_BYTES = 32 << 10

UNUSED = (
    r".*/(tests?|testdata|_pyinstaller)/.*",
    r".*\.(pyi|h|hpp|a|lib|pxd|pyx|cu|cmake|pc)",
    r".*/py\.typed",
    r"[^/]*\.dist-info/(RECORD|INSTALLER|REQUESTED|direct_url\.json|sboms/.*)",
    r"bin/.*",
    r"share/.*",
    r"cv2/data/.*\.xml",
    # Compilers and test helpers of NumPy.
    r"numpy/(f2py|distutils|conftest\.py|_core/include|_core/lib|random/_examples)(/.*)?",
    r"numpy/_core/_(multiarray_tests|operand_flag_tests|rational_tests|struct_ufunc_tests|umath_tests|simd)\..*",
    # Python runs ONNX Runtime through its extension module; the library beside it is for programs in C.
    r"onnxruntime/capi/libonnxruntime\.so\..*",
    r"onnxruntime/(transformers|quantization|tools|datasets|backend)/.*",
    # Plug-ins of other accelerators, and the compilers for them.
    r"ai_edge_litert/(aot|tools|vendors)/.*",
    r"ai_edge_litert/libLiteRt(WebGpuAccelerator)?\.so",
    # Pillow writes JPEG for the page; it does without these formats, fonts and color profiles where they are missing.
    r"PIL/_(avif|webp|imagingcms|imagingft|imagingmath|imagingmorph|imagingtk)\..*",
    r"pillow\.libs/lib(avif|brotli\w+|freetype|harfbuzz|lcms2|png16|sharpyuv|webp\w*)-.*",
)
_UNUSED = re.compile("|".join(f"(?:{pattern})" for pattern in UNUSED))


class Distribution(msgspec.Struct, frozen=True):
    """An installed package of one Python."""

    name: str
    folder: Path
    files: frozenset[str]
    """Relative to `folder`, without what is left out."""


def is_unused(name: str) -> bool:
    """Whether a file of a wheel, relative to site-packages, is left out."""
    return _UNUSED.fullmatch(name) is not None


def read_distributions(folder: Path) -> Iterator[Distribution]:
    """The packages that pip unpacked into a folder."""
    for record in sorted(folder.glob("*.dist-info/RECORD")):
        with record.open(newline="") as file:
            names = {os.path.normpath(row[0]) for row in csv.reader(file)}
        kept = frozenset(name for name in names if not is_unused(name) and (folder / name).is_file())
        yield Distribution(record.parent.name.partition("-")[0], folder, kept)


def lay_out(folders: dict[str, list[Path]], prefix: Path) -> None:
    """Copies the packages of each Python, in folders that pip unpacked, to below `prefix`."""
    pythons = {
        python: {each.name: each for folder in sources for each in read_distributions(folder)}
        for python, sources in folders.items()
    }
    first, *others = pythons
    for name in sorted({name for packages in pythons.values() for name in packages}):
        versions = [packages[name] for packages in pythons.values() if name in packages]
        if len(versions) == len(pythons) and all(_are_equal(versions[0], each) for each in versions[1:]):
            _copy(versions[0], prefix / SHARED)
            continue
        for python, packages in pythons.items():
            if name in packages:
                _copy(packages[name], site_packages(prefix, python))
    for python in others:
        _link_equal_files(site_packages(prefix, first), site_packages(prefix, python))
    for python in pythons:
        site_packages(prefix, python).mkdir(parents=True, exist_ok=True)
        (site_packages(prefix, python) / "shared.pth").write_text(f"../../{SHARED.name}\n")


def site_packages(prefix: Path, python: str) -> Path:
    """The folder that a Python of a virtual environment reads."""
    return prefix / "lib" / f"python{python}" / "site-packages"


def _are_equal(one: Distribution, other: Distribution) -> bool:
    return one.files == other.files and not any(
        not filecmp.cmp(one.folder / name, other.folder / name, shallow=False) for name in one.files
    )


def _copy(package: Distribution, folder: Path) -> None:
    for name in sorted(package.files):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(package.folder / name, folder / name)


def _link_equal_files(folder: Path, other: Path) -> None:
    for path in sorted(other.rglob("*")):
        twin = folder / path.relative_to(other)
        if not path.is_file() or path.is_symlink() or path.stat().st_size < LINKED_BYTES or not twin.is_file():
            continue
        if filecmp.cmp(path, twin, shallow=False):
            path.unlink()
            path.symlink_to(os.path.relpath(twin, path.parent))
