"""The arm64 package is installed and works on arm64: bookworm and trixie under emulation (`make test-arm64`).

Each system is installed from Debian's archive; the package then has no network but the system's own loopback interface,
and for the event a broker on this machine. emulated_system.py says what emulation does not show.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import msgspec
import pytest
from emulated_system import EmulatedSystem, why_not_here
from mosquitto import BINARY, Mosquitto
from paths import ROOT, TESTS
from products import texture_image, write_goal_for
from shared_build import made_once
from subscriber import Subscriber
from waiting import wait_for

pytest.importorskip("build")

from vedette.compress.build import BuildResult
from vedette.deploy.debian import build_deb, packages, wheels
from vedette.deploy.seed import Seed, SeedBroker, SeedCamera, SeedDevice, render_seed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        any(shutil.which(each) is None for each in ("dpkg-deb", "readelf")),
        reason="needs dpkg-deb, readelf: apt-get install dpkg binutils",
    ),
    pytest.mark.skipif(BINARY is None, reason="needs mosquitto: apt-get install mosquitto"),
]
DATE = 1_767_225_600
V1 = TESTS / "bundles" / "v1"
DETECTORS = ("student", "padim", "patchcore", "golden", "discriminative")
PASSWORD = "s3cret of box7"
PAGE = (
    "import io, vedette.runtime.page.page_server; from PIL import Image; "
    'Image.new("RGB", (64, 48)).save(io.BytesIO(), "JPEG", quality=80)'
)
# What the process of the self-test takes from itself; QEMU has no seccomp, and the filter says that it is not set.
LIMITS = """\
import resource
from vedette.runtime import process_limits
print("filter", process_limits.forbid_network_and_changes())
process_limits.limit_resources(60)
try:
    open("/tmp/written", "wb", buffering=0).write(b"a")
    print("written")
except OSError as error:
    print("not written:", error.strerror)
"""


def build_deb_of(folder: Path, suffix: str = "") -> Path:
    """The package, with a suffix of its version."""
    (package,) = packages.plan_packages(packages.FLAVORS["full"], ("arm64",), DATE)
    wheel = wheels.build_wheel(ROOT, folder / "wheel", DATE)
    package = msgspec.structs.replace(package, version=package.version + suffix)
    return build_deb.build_package(package, wheel, ROOT / "build" / "deb-cache", folder / "deb")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "arm64", build_deb_of)


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a higher version."""
    return made_once(tmp_path_factory, "arm64-later", lambda folder: build_deb_of(folder, "+later"))


@pytest.fixture(scope="module")
def bundles(
    tmp_path_factory: pytest.TempPathFactory,
    key_folder: Path,
    anomaly_images: Path,
    build_bundle: Callable[..., BuildResult],
    class_build: BuildResult,
    detection_build: BuildResult,
    behaviour_build: BuildResult,
) -> Path:
    """A folder with a key, a bundle of each task, and for anomalies one of each detector."""

    def collect(folder: Path) -> Path:
        shutil.copy(key_folder / "vedette.pub", folder)
        for detector in DETECTORS:
            place = tmp_path_factory.mktemp(detector)
            goal = write_goal_for(anomaly_images, place, ("[model]", f'[model]\ndetector = "{detector}"'))
            shutil.copy(build_bundle(goal, place / "out").bundle, folder / f"{detector}.vedette")
        for task, built in (("classify", class_build), ("detect", detection_build), ("behaviour", behaviour_build)):
            shutil.copy(built.bundle, folder / f"{task}.vedette")
        return folder

    return made_once(tmp_path_factory, "arm64-bundles", collect)


@pytest.fixture(scope="class")
def system(
    request: pytest.FixtureRequest, package: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmulatedSystem]:
    """A system with the package, installed without a network."""
    if reason := why_not_here():
        pytest.skip(reason)
    release: str = request.cls.release
    system = EmulatedSystem(release, tmp_path_factory.mktemp("system") / release)
    system.make("python3", "systemd")
    shutil.copy(package, system.root / "root" / "vedette.deb")
    system.run("apt-get install -y /root/vedette.deb")
    yield system
    shutil.rmtree(system.root)


class PackageTests:
    """The tests of a release of Debian, in this order; each release may run in a process of its own."""

    release = ""

    def test_the_package_installs_and_doctor_finds_both_back_ends(self, system: EmulatedSystem) -> None:
        said = system.run("uname -m; id -nG vedette; stat -c %U:%G /var/lib/vedette; vedette doctor")
        assert said.splitlines()[:3] == ["aarch64", "vedette video", "vedette:vedette"]
        system.run(f"/opt/vedette/bin/python3 -I -c '{PAGE}'")
        assert "Cortex-A72" in said
        assert "ok   onnxruntime" in said
        assert "ok   ai-edge-litert" in said

    def test_every_task_reproduces_its_golden_outputs_bit_for_bit(self, system: EmulatedSystem, bundles: Path) -> None:
        """In the process of the self-test, which another program starts."""
        shutil.copytree(bundles, system.root / "bundles")
        shutil.copy(bundles / "vedette.pub", system.root / "etc/vedette/keys")
        said = system.run("for bundle in /bundles/*.vedette; do vedette verify $bundle; done")
        lines = [line for line in said.splitlines() if "golden outputs" in line]
        assert len(lines) == 2 * len(list(bundles.glob("*.vedette"))), said
        assert all("reproduced, largest difference 0 steps" in line for line in lines), said

    def test_the_self_test_limits_itself_as_far_as_emulation_goes(self, system: EmulatedSystem) -> None:
        (system.root / "limits.py").write_text(LIMITS)
        said = system.run("/opt/vedette/bin/python3 /limits.py")
        assert said.splitlines() == ["filter False", "not written: File too large"]

    def test_first_boot_takes_the_seed_and_an_event_reaches_a_broker(
        self, system: EmulatedSystem, tmp_path: Path
    ) -> None:
        """The unit's commands, for systemd does not run here: the set-up from the seed, then the camera's daemon.

        The two systems share this machine's network for the broker, and with it the locks of state folders: the
        camera has the name of the release.
        """
        name = system.release
        firmware, line = system.root / "boot/firmware", system.root / "opt/line"
        firmware.mkdir(parents=True)
        line.mkdir()
        for number in range(12):
            cv2.imwrite(str(line / f"{number:02}.png"), texture_image(1000 + number, number % 4 == 3))
        shutil.copy(V1 / "weave.vedette", firmware)
        broker = Mosquitto(tmp_path / "broker")
        broker.start()
        subscriber = Subscriber(broker.port)
        camera = SeedCamera(name=name, source="file:/opt/line?fps=2&loop=true", bundle="weave.vedette")
        login = SeedBroker(url=f"mqtt://127.0.0.1:{broker.port}", username="box7", password=PASSWORD)
        seed = Seed(
            instance="box7-1",
            device=SeedDevice(name="box7", site="plant"),
            broker=login,
            cameras=(camera,),
            keys={"weave.pub": (V1 / "vedette.pub").read_text()},
        )
        (firmware / "vedette.seed").write_text(render_seed(seed))
        daemon = None
        try:
            said = system.run("vedette setup --seed /boot/firmware/vedette.seed --consume")
            assert not (firmware / "vedette.seed").exists(), said
            result = (firmware / "vedette.seed.result").read_text()
            assert result == f"ok: instance box7-1, device box7, cameras {name}\n"
            daemon = system.start(
                f"exec setpriv --reuid=vedette --regid=vedette --init-groups vedette run {name}", False
            )
            arrived = "the first event of an emulated daemon"
            wait_for(lambda: subscriber.events or daemon.poll() is not None, arrived, 180)
            assert subscriber.events, daemon.communicate()[0]
        finally:
            if daemon is not None:
                daemon.kill()  # unshare(1), with all that it started; it lets no other signal through
                daemon.wait()
            subscriber.client.loop_stop()
            broker.kill()
        topics = [message.topic for message in subscriber.messages if "/evt/" in message.topic]
        assert topics[0].startswith(f"vedette/v1/plant/area/line/box7/evt/{name}/")
        assert json.loads(subscriber.latest("info") or b"{}"), "the box said what it is"

    def test_it_is_upgraded_removed_and_purged(self, system: EmulatedSystem, later: Path) -> None:
        """The last test of a system: nothing of the package is left."""
        kept = "cat /etc/vedette/kept /var/lib/vedette/kept"
        system.run("echo a=1 > /etc/vedette/kept; echo event > /var/lib/vedette/kept")
        shutil.copy(later, system.root / "root" / "later.deb")
        system.run("apt-get install -y /root/later.deb")
        assert system.run("dpkg-query -W -f '${Version}' vedette").endswith("+later")
        assert system.run("vedette --version").startswith("vedette ")
        system.run("apt-get remove -y vedette")
        assert system.run(kept) == "a=1\nevent\n"
        assert not (system.root / "opt" / "vedette").exists()
        system.run("dpkg --purge vedette")
        assert not any((system.root / folder).exists() for folder in ("etc/vedette", "var/lib/vedette"))


class TestBookworm(PackageTests):
    release = "bookworm"


class TestTrixie(PackageTests):
    release = "trixie"


def test_every_release_is_tested() -> None:
    assert {each.release for each in PackageTests.__subclasses__()} == set(packages.RELEASES)
