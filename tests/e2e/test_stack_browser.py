"""What people see: the four apps in a real browser, over TLS."""

import base64
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.browser import Browser, browser, find_chromium
from support.stack import DOMAINS, FRONTENDS, Stack

pytestmark = pytest.mark.stack

# A red square of 8 by 8 pixels.
PHOTO = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEklEQVR4nGP4z8CAFWEXHbQSACj/P8Fu7N9hAAAAAElFTkSuQmCC"
)


@pytest.fixture(scope="module")
def chromium(stack: Stack, say: Callable[[str], None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    executable = find_chromium(say)
    with browser(stack, executable, tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def screenshots(tmp_path_factory: pytest.TempPathFactory, say: Callable[[str], None]) -> Path:
    folder = tmp_path_factory.mktemp("screenshots")
    say(f"screenshots in {folder}")
    return folder


def test_four_apps_and_a_vehicle_that_appears_live(
    stack: Stack, chromium: Browser, screenshots: Path, tmp_path: Path
) -> None:
    version = str(stack.health()["version"])
    pages = {name: chromium.open(f"https://{DOMAINS[name]}/") for name in FRONTENDS}
    for page in pages.values():
        page.get_by_test_id("live-status").get_by_text("live", exact=True).wait_for()
        assert page.get_by_test_id("version").inner_text() == version

    plate, photo = f"E2E-{int(time.time()) % 1_000_000}", tmp_path / "photo.png"
    photo.write_bytes(PHOTO)
    client, driver = pages["frontend-client"], pages["frontend-driver"]
    client.get_by_test_id("plate-input").fill(plate)
    client.get_by_test_id("photo-input").set_input_files(photo)
    client.get_by_test_id("add-button").click()

    # Nobody reloads the driver's page: the row comes by WebSocket, and its photo from the uploads.
    row = driver.get_by_test_id("vehicle-row").filter(has_text=plate)
    row.wait_for()
    row.get_by_text("ready").wait_for()
    image = row.get_by_role("img")
    driver.wait_for_function("image => image.complete && image.naturalWidth === 8", arg=image.element_handle())

    for name, page in pages.items():
        page.screenshot(path=screenshots / f"{name}.png")
    assert chromium.complaints == []


def test_driver_is_installed_as_an_app(stack: Stack, chromium: Browser) -> None:
    page = chromium.open(f"https://{DOMAINS['frontend-driver']}/")
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    assert chromium.complaints == []
