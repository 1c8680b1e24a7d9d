"""Whether the boxes will run their bundles: each must be whole, and signed by a key that the boxes trust."""

from __future__ import annotations

from pathlib import Path

from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.key_rules import read_products
from vedette.runtime.bundle.keys import Keyring, KeyRule, UnknownSigner, key_id, read_public_key
from vedette.runtime.errors import ConfigProblem

from ..seed import FILE_NAME, read_seed
from .fleet_table import Box
from .seed_writer import INSTALLED, digest_file


def check_bundles(boxes: tuple[Box, ...], keys: list[Path], base: Path) -> None:
    """Verifies each bundle of the table once, with the keys that the boxes get.

    Args:
        boxes: the table
        keys: public keys
        base: folder from which the table names bundles

    Raises:
        ConfigProblem: a bundle or a key cannot be read.
        BundleProblem: a bundle was altered, or no key may sign it.
    """
    public = {path: read_public_key(path) for path in keys}
    keyring = Keyring(
        {key_id(key): key for key in public.values()},
        rules={key_id(key): KeyRule(path, read_products(path)) for path, key in public.items()},
    )
    named = {camera.bundle for box in boxes for camera in box.cameras if not camera.bundle.startswith(INSTALLED)}
    for path in sorted((base / name).resolve() for name in named):
        digest_file(path)  # says what to do if the file is missing
        try:
            Bundle.open(path, keyring)
        except UnknownSigner as problem:
            hint = "give the signer's public key with --key NAME.pub, or name it in keys of fleet.toml"
            raise problem.reworded(problem.message, hint) from None


def require_key(boxes: tuple[Box, ...]) -> None:
    """Refuses boxes with cameras and without a trusted key: they would refuse every bundle, and so their seed.

    Raises:
        ConfigProblem: a box has a camera.
    """
    if any(box.cameras for box in boxes):
        hint = (
            "give the signer's public key with --key NAME.pub, or name it in keys of fleet.toml; --keys-in-image if "
            "the image of the cards has it in /etc/vedette/keys"
        )
        raise ConfigProblem("no trusted key is given, so the boxes would refuse every bundle", hint=hint)


def check_keys_stay(out: Path) -> None:
    """Refuses a run without a trusted key if the cards of the run before have one: a forgotten --key.

    Args:
        out: folder of the run before, or one that does not exist

    Raises:
        ConfigProblem: the boxes would lose their keys, or a seed of the run before cannot be read.
    """
    for path in sorted(out.glob(f"boxes/*/{FILE_NAME}")):
        if read_seed(path).keys:
            hint = f"give --key NAME.pub again, or name it in keys of fleet.toml; to go without, remove {out}/boxes"
            raise ConfigProblem(f"no trusted key is given, and the cards in {out} have one", hint=hint)
