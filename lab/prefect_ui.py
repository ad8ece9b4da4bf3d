"""A person in front of the Prefect UI: a real Chromium that opens flow runs, reads, and answers the approval form."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import httpx
from playwright.sync_api import Browser, Locator, Page, sync_playwright

_FLAGS = (
    "--no-sandbox",  # it runs as root in tests, and only sees our own server
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-domain-reliability",
    "--disable-sync",
    "--no-first-run",
)
PATIENCE_MILLISECONDS = 30_000
DRAWING_MILLISECONDS = 4_000


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window, and without calls to its maker.

    Raises:
        FileNotFoundError: there is no Chromium on this machine.
    """
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        raise FileNotFoundError("Chromium is not installed (Debian: chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(_FLAGS))
        try:
            yield browser
        finally:
            browser.close()


class PrefectUi:
    """One tab of the Prefect UI.

    Args:
        browser: the browser to open it in.
        url: where the UI is, without a path.
        height: of the window, in pixels.
    """

    def __init__(self, browser: Browser, url: str, *, width: int = 1280, height: int = 900) -> None:
        self.url = url
        self.page: Page = browser.new_page(viewport={"width": width, "height": height}, device_scale_factor=1)
        self.page.set_default_timeout(PATIENCE_MILLISECONDS)
        self.scripts_run: list[str] = []
        """What foreign text made the browser do: messages of alert(), confirm() and prompt()."""
        self.page.on("dialog", self._note_script)

    def _note_script(self, dialog: object) -> None:
        self.scripts_run.append(str(dialog))

    def open_run(self, flow_run_id: UUID | str) -> None:
        """The page of a flow run, with its tasks drawn."""
        self.page.goto(f"{self.url}/runs/flow-run/{flow_run_id}")
        self.page.get_by_role("link", name="disk-space-reclaim").first.wait_for()

    def _artifact(self, key: str) -> str:
        """The newest artifact of this key; a run leaves it a moment after its incident has ended."""
        wanted = {"artifacts": {"key": {"any_": [key]}}}
        give_up_at = time.monotonic() + PATIENCE_MILLISECONDS / 1000
        while True:
            found = httpx.post(f"{self.url}/api/artifacts/latest/filter", json=wanted, trust_env=False)
            if artifacts := found.raise_for_status().json():
                return str(artifacts[0]["latest_id"])
            if time.monotonic() > give_up_at:
                raise AssertionError(f"There is no artifact {key!r}.")
            time.sleep(0.2)

    def open_report(self, incident: int) -> Locator:
        """The report of an incident, as its artifact is shown; returns its text as rendered."""
        self.page.goto(f"{self.url}/artifacts/artifact/{self._artifact(f'incident-{incident}')}")
        report = self.page.locator("article.markdown-renderer", has=self.page.get_by_role("heading", name="Timeline"))
        report.wait_for()
        return report

    def open_form(self) -> Locator:
        """The form of the run on the screen, as the button Resume opens it."""
        self.page.get_by_role("button", name="Resume").click()
        self.form.get_by_role("button", name="Submit").wait_for()
        return self.form

    @property
    def form(self) -> Locator:
        """The form, once it is open."""
        return self.page.get_by_role("dialog")

    def type_into(self, field: str, text: str) -> None:
        """Fill one field of the form."""
        label = re.compile(rf"^\s*{field}")
        self.form.locator(".p-label.schema-form-property", has_text=label).locator("textarea").fill(text)

    def submit(self, *, decision: str, name: str, code: str = "", comment: str = "") -> None:
        """Fill the form and send it off; returns when the form has closed."""
        self.fill(decision=decision, name=name, code=code, comment=comment)
        self.form.get_by_role("button", name="Submit").click()
        self.form.wait_for(state="detached")

    def fill(self, *, decision: str, name: str, code: str = "", comment: str = "") -> None:
        """Fill the form."""
        self.type_into("Decision", decision)
        self.type_into("Name", name)
        self.type_into("Code", code)
        self.type_into("Comment", comment)

    def wait_until_drawn(self) -> None:
        """Let the timeline of a run come to rest; it is drawn on a canvas, which tells nobody when it is done."""
        self.page.locator("canvas").first.wait_for()
        self.page.wait_for_timeout(DRAWING_MILLISECONDS)

    def picture_of(self, part: Locator, file: Path) -> None:
        """What is on the screen there, as PNG."""
        part.screenshot(path=file)
